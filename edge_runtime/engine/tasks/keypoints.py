"""Points of objects: in rows beside boxes (`yolo`, `end2end`), of one object (`movenet`), along both axes (`simcc`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import SCORE_SLACK, InvalidOutputError, softmax, to_frame_points
from edge_runtime.engine.tasks.base import find_output, refuse_labels, refuse_outputs, static_shape
from edge_runtime.engine.tasks.boxes import BOX
from edge_runtime.engine.tasks.finished import EndToEnd
from edge_runtime.engine.tasks.yolo import Yolo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

SEEN_MIN: Final = 0.2
"""A point with a lower score does not count for the box around its object (MoveNet's tutorial crops by that)."""
BESIDE_MAX: Final = 0.25
"""How far beside the input a point that was seen may lie, as a fraction of its side."""
SHARPNESS: Final = 900.0
"""By which SimCC numbers are multiplied before a softmax: 150 times a sigma of 6 (OpenVINO Model API, mmpose)."""
_HEADS: Final[dict[str, tuple[type[Yolo | EndToEnd], int]]] = {"yolo": (Yolo, BOX), "end2end": (EndToEnd, 6)}
_PLACE: Final = 2  # x, y
_POINT: Final = 3  # x, y, score
_ROWS: Final = 3  # axes
_HELP: Final = "the weights are damaged, or the decoder is another one"


class BesideBoxes:
    """Rows of `Yolo` or `EndToEnd` with x, y, or x, y and a score, of each point in input pixels; a `Decoder`.

    Points without a score have that of their object.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        count = len(spec.output.keypoints)
        if not count:
            message = f"decoder {spec.decoder!r} needs to know how many keypoints there are"
            help_ = 'write "output": {"keypoints": ["left end", "right end"]}, one name per keypoint in their order'
            raise DataError("model.ambiguous", message, help=help_)
        head, others = _HEADS[spec.decoder]
        named = len(spec.labels) if spec.decoder == "yolo" else 0
        sizes = {others + named + count * numbers: numbers for numbers in (_POINT, _PLACE)}
        axis = 1 if spec.decoder == "yolo" else 2
        rows = [shape[axis] for one in outputs if len(shape := static_shape(one)) == _ROWS]
        self._numbers = next((sizes[one] for one in rows if one in sizes), _POINT)
        self._head = head(spec, outputs, extra=count * self._numbers)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        rows = self._head.read(outputs)
        found = []
        for row, one in self._head.place(rows.corners, rows.scores, rows.classes, transform):
            points = rows.extras[row].reshape(-1, self._numbers)
            places = self._head.scaled(np.tile(points[:, :_PLACE], 2))[:, :_PLACE]
            scores = points[:, _PLACE] if self._numbers == _POINT else np.full(len(points), one.score, np.float32)
            found.append(replace(one, keypoints=_in_frame(places, scores, transform)))
        return tuple(found)


class MoveNet:
    """Points of one person, [1, 1, n, 3]: y, x as fractions of the input, and a score; a `Decoder`.

    The score of the person is the mean of all points', the box are the bounds of those that were seen.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        self._finish = _OnePerson(spec)
        count = len(spec.output.keypoints)
        self._position = find_output(
            spec,
            outputs,
            f"an output [1,1,{count},3], one row for each of output.keypoints",
            lambda shape: shape == (1, 1, count, _POINT) and count > 0,
        )
        self._sides = np.array((spec.input.size[1], spec.input.size[0]), np.float32)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        rows = outputs[self._position][0, 0]
        return self._finish(rows[:, 1::-1] * self._sides, rows[:, 2], transform)


class SimCC:
    """Points of one object, each as numbers along x [1, n, kw] and along y [1, n, kh], the largest counts; a `Decoder`.

    There are k places per pixel of the input (SimCC, arXiv 2107.03332; RTMPose). The score of a point is the lesser of
    both numbers, with ``output.activation`` softmax after `SHARPNESS` and a softmax.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the outputs; see `tasks.make_decoder` for what is raised."""
        self._finish = _OnePerson(spec)
        self._activation = spec.output.activation
        height, width = spec.input.size
        count = len(spec.output.keypoints)
        lengths = {
            i: shape[2]
            for i, one in enumerate(outputs)
            if len(shape := static_shape(one)) == _ROWS and shape[:2] == (1, count) and shape[2] > 0
        }
        pairs = [
            (x, y)
            for x in _called(spec, outputs, "x")
            for y in _called(spec, outputs, "y")
            if x != y and {x, y} <= lengths.keys() and lengths[x] * height == lengths[y] * width
        ]
        if len(pairs) != 1:
            expected = (
                f"[1,{count},k*{width}] along x and [1,{count},k*{height}] along y, a row for each of output.keypoints "
                '(which is which can be written as "output": {"names": {"x": ..., "y": ...}})'
            )
            refuse_outputs(spec, expected, outputs)
        self._positions = pairs[0]
        self._split = lengths[pairs[0][0]] / width

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        along = [outputs[position][0] for position in self._positions]
        if not all(np.isfinite(one).all() for one in along):
            raise InvalidOutputError("the numbers along an axis are not finite", help=_HELP)
        places = np.stack([one.argmax(axis=1) for one in along], axis=1) / np.float32(self._split)
        if self._activation == "softmax":
            along = [softmax(one * np.float32(SHARPNESS)) for one in along]
        scores = np.clip(np.minimum(*(one.max(axis=1) for one in along)), 0, 1)
        return self._finish(places.astype(np.float32), scores, transform)


class _OnePerson:
    """The end of decoders whose model sees one object, of the only label."""

    def __init__(self, spec: ModelSpec) -> None:
        if len(spec.labels) != 1:
            refuse_labels(1, spec)
        (self._label,) = spec.labels
        self._floor = spec.thresholds.by_label.get(self._label, spec.thresholds.score)
        self._sides = np.array((spec.input.size[1], spec.input.size[0]), np.float32)

    def __call__(
        self, places: NDArray[np.float32], scores: NDArray[np.float32], transform: Transform
    ) -> tuple[Prediction, ...]:
        """Return the object, or nothing when it is not sure enough or no point of it was seen.

        Args:
            places: (n, 2) x, y in canvas pixels.
            scores: (n,) 0..1.
            transform: of the frame.
        """
        points = _in_frame(places, scores, transform)
        seen = scores >= SEEN_MIN
        beside = (places < -BESIDE_MAX * self._sides) | (places > (1 + BESIDE_MAX) * self._sides)
        if beside[seen].any():
            x, y = places[seen][beside[seen].any(axis=1)][0].tolist()
            message = f"a point at {x:.5g}, {y:.5g} lies beside the input of {self._sides[0]:g} x {self._sides[1]:g}"
            raise InvalidOutputError(message, help=_HELP)
        score = float(scores.mean())
        if score < self._floor or not seen.any():
            return ()
        around = np.array(points)[seen, :_PLACE]
        (x, y), (right, bottom) = around.min(axis=0).tolist(), around.max(axis=0).tolist()
        box = (x, y, round(right - x, 2), round(bottom - y, 2))
        return (Prediction(self._label, round(min(score, 1.0), 6), box, keypoints=points, id=0),)


def _in_frame(
    places: NDArray[np.float32], scores: NDArray[np.float32], transform: Transform
) -> tuple[tuple[float, float, float], ...]:
    """Return points in frame pixels, clipped to the frame.

    Args:
        places: (n, 2) x, y in canvas pixels.
        scores: (n,) 0..1.
        transform: of the frame.

    Raises:
        InvalidOutputError: a place is no number, or a score not 0..1.
    """
    if not np.isfinite(places).all() or not (scores.min() >= -SCORE_SLACK and scores.max() <= 1 + SCORE_SLACK):
        message = f"keypoints that are no numbers, or scores from {scores.min():.3g} to {scores.max():.3g}"
        raise InvalidOutputError(message, help=_HELP)
    inside = np.clip(to_frame_points(places, transform), 0, (transform.width, transform.height)).round(2).tolist()
    sure = np.clip(scores, 0, 1).astype(np.float64).round(4).tolist()
    return tuple((x, y, score) for (x, y), score in zip(inside, sure, strict=True))


def _called(spec: ModelSpec, outputs: Sequence[TensorInfo], axis: str) -> list[int]:
    """Return the outputs that ``output.names`` or their names say are along ``axis``, all of them where none does."""
    wanted = spec.output.names.get(axis)
    if wanted is not None:
        return [i for i, one in enumerate(outputs) if wanted in (one.name, *one.aliases)]
    ending = [i for i, one in enumerate(outputs) if one.name.endswith(f"_{axis}")]
    return ending or list(range(len(outputs)))
