"""Where text is (`db`), and what a line of it says (`ctc`): the two halves of reading, as PaddleOCR's models do it.

Numbers and order of the steps are those of RapidOCR 3.10 (`ch_ppocr_det/utils.py`, its config.yaml), so that texts are
the same as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import SCORE_SLACK, InvalidOutputError
from edge_runtime.engine.quads import grown, mean_inside, ordered, regions, smallest_rectangle
from edge_runtime.engine.tasks.base import find_output, refuse_labels, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

TEXT: Final = "text"
"""The one label of both families."""
PIXEL_MIN: Final = 0.3
"""Probability above which a pixel belongs to a text."""
GROW: Final = 1.6
"""What is found is the core of a text: it is shrunk for training, and grown by this ratio again (`unclip_ratio`)."""
REGIONS_LIMIT: Final = 1000
LINE_PX: Final = 10
"""Texts whose tops are less than this many frame pixels apart stand in one line."""
_CORE_MIN_PX = 3
_SIDE_MIN_PX = 3
_MAP_AXES = 4
_STEP_AXES = 3


class TextRegions:
    """Reads a map [1, 1, H, W] of probabilities that a pixel is text; a `Decoder`.

    What it returns is in reading order: from the top, and in a line from the left. Of more texts than
    `thresholds.max_predictions` the best are kept.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        self._position = find_output(
            spec,
            outputs,
            "an output [1,1,H,W]",
            lambda shape: len(shape) == _MAP_AXES and shape[:2] == (1, 1) and min(shape) > 0,
        )
        if len(spec.labels) != 1:
            refuse_labels(1, spec)
        self._label = spec.labels[0]
        self._input = spec.input.size
        self._floor = spec.thresholds.by_label.get(self._label, spec.thresholds.score)
        self._limit = spec.thresholds.max_predictions

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`; predictions have four corners, clockwise from the top left one, and a box around them."""
        values = outputs[self._position][0, 0]
        _check_probabilities(values)
        found = []
        for region in regions(values > PIXEL_MIN, limit=REGIONS_LIMIT):
            core, side = smallest_rectangle(region)
            if side < _CORE_MIN_PX:
                continue
            score = mean_inside(values, core)
            if score < self._floor:
                continue
            # RapidOCR's library counts in whole pixels here; a core of 3 pixels grows to its least of 5 always
            corners, _ = smallest_rectangle(grown(np.trunc(core), GROW))
            quad = self._to_frame(corners, values.shape, transform)
            if min(np.linalg.norm(quad[0] - quad[1]), np.linalg.norm(quad[0] - quad[3])) < _SIDE_MIN_PX + 1:
                continue
            found.append((min(1.0, score), quad))
        found.sort(key=lambda one: -one[0])
        return tuple(self._prediction(score, quad) for score, quad in _in_reading_order(found[: self._limit]))

    def _to_frame(
        self, corners: NDArray[np.float32], size: tuple[int, ...], transform: Transform
    ) -> NDArray[np.float32]:
        """Corners of a map of ``size`` in whole frame pixels."""
        rows, columns = size
        canvas = corners * (self._input[1] / columns, self._input[0] / rows)
        frame = (canvas - (transform.offset_x, transform.offset_y)) / (transform.scale_x, transform.scale_y)
        return ordered(np.clip(np.round(frame), 0, (transform.width - 1, transform.height - 1)))

    def _prediction(self, score: float, quad: NDArray[np.float32]) -> Prediction:
        low, high = quad.min(axis=0).tolist(), quad.max(axis=0).tolist()
        return Prediction(
            self._label,
            round(score, 6),
            (low[0], low[1], high[0] - low[0], high[1] - low[1]),
            tuple((x, y) for x, y in quad.tolist()),
            id=0,
        )


class TextLine:
    """Reads [1, T, classes] probabilities of a line's characters from left to right; a `Decoder`.

    Connectionist temporal classification, read greedily: of each step the best class; repetitions are one character,
    and the first class is the blank between two (Graves et al., ICML 2006). A line of which nothing is read, or less
    surely than `thresholds.score`, has no prediction.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        self._position = find_output(
            spec,
            outputs,
            "an output [1,T,classes]",
            lambda shape: len(shape) == _STEP_AXES and shape[0] == 1 and min(shape) > 0,
        )
        if len(spec.labels) != 1:
            refuse_labels(1, spec)
        classes = static_shape(outputs[self._position])[2]
        # PaddleOCR's CTCLabelDecode: the blank first; the space last, unless the alphabet was made without
        alphabet = ("", *spec.output.characters, " ")[:classes]
        if len(alphabet) != classes or classes < len(spec.output.characters) + 1:
            message = f"the model tells {classes} characters apart, {len(spec.output.characters)} are stated"
            help_ = "state them without the blank before and the space behind them"
            raise DataError("model.wrong_labels", message, help=help_)
        self._alphabet = alphabet
        self._label = spec.labels[0]
        self._floor = spec.thresholds.by_label.get(self._label, spec.thresholds.score)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`; the score is the mean of the characters'."""
        del transform  # the whole picture is one line
        steps = outputs[self._position][0]
        best = steps.argmax(axis=1)
        scores = steps[np.arange(len(steps)), best]
        _check_probabilities(scores)
        kept = best != 0
        kept[1:] &= best[1:] != best[:-1]
        text = "".join(self._alphabet[index] for index in best[kept]).strip()
        score = min(1.0, float(scores[kept].mean())) if kept.any() else 0.0
        if not text or score < self._floor:
            return ()
        return (Prediction(self._label, round(score, 6), text=text, id=0),)


def _check_probabilities(values: NDArray[np.float32]) -> None:
    """Refuse what is no probability.

    Raises:
        InvalidOutputError: with what was found instead.
    """
    low, high = float(values.min()), float(values.max())
    if low >= -SCORE_SLACK and high <= 1 + SCORE_SLACK:  # false of NaN, too
        return
    finite = np.isfinite(values)
    if not finite.all():
        message = f"{int((~finite).sum())} of {values.size} probabilities are not finite numbers"
        raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
    message = f"probabilities from {low:.3g} to {high:.3g}, expected 0 to 1"
    raise InvalidOutputError(message, help="export the model with its sigmoid or softmax")


def _in_reading_order(
    found: list[tuple[float, NDArray[np.float32]]],
) -> list[tuple[float, NDArray[np.float32]]]:
    """Sort by line, then from the left; a line ends where the next top is `LINE_PX` lower than the last one."""
    lines: list[list[tuple[float, NDArray[np.float32]]]] = []
    last = -np.inf
    for one in sorted(found, key=lambda one: float(one[1][0, 1])):
        top = float(one[1][0, 1])
        if top - last >= LINE_PX:
            lines.append([])
        lines[-1].append(one)
        last = top
    return [one for line in lines for one in sorted(line, key=lambda one: float(one[1][0, 0]))]
