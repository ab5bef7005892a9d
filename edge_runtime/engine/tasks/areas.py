"""Which pixels belong to what: numbers per class (`argmax`), or one probability per pixel (`threshold`).

One prediction per class that is there, the largest first: all of its pixels as run lengths, the outline of its largest
part, their bounds as box, and as score how sure the model is of them on average.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_runtime.core.result import SHAPES_BYTES_LIMIT, Prediction
from edge_runtime.engine.masks import Grid, Grids, draw, each_part
from edge_runtime.engine.postprocess import SCORE_SLACK, InvalidOutputError, sigmoid
from edge_runtime.engine.tasks.base import Decoder, find_output, refuse_labels, static_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

SUM_SLACK: Final = 0.05
"""How far the probabilities of a pixel may be from a sum of 1."""
_MAP: Final = 4  # axes
_NUMBERS: Final = 3
_DAMAGED: Final = "the weights are damaged or overflow in this precision"


class _Areas:
    """What the three decoders share: the grid of a frame, and how masks become predictions."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        own = spec.thresholds.by_label
        self.floors = [own.get(label, spec.thresholds.score) for label in spec.labels]
        self._grids = Grids(spec.input.size)

    def grid(self, cells: NDArray[Any], transform: Transform) -> Grid:
        """Return the grid of an (x, y) map."""
        return self._grids.of((cells.shape[1], cells.shape[0]), transform)

    def predictions(
        self,
        areas: NDArray[np.int32],
        place: tuple[int, int],
        scores: Mapping[int, float],
        transform: Transform,
    ) -> tuple[Prediction, ...]:
        """Return a prediction for each label of ``scores`` that reaches its floor, the largest first.

        Args:
            areas: (x, y) labels of frame pixels, those of nothing are negative.
            place: column and row of the frame where ``areas`` begin.
            scores: 0..1 by label.
            transform: of the frame.
        """
        found, spent = [], 0
        for label, score in scores.items():
            if score < self.floors[label]:
                continue
            one = Prediction(self.spec.labels[label], round(min(max(score, 0.0), 1.0), 6), id=label)
            if spent > SHAPES_BYTES_LIMIT:  # of noise: the message has no room for more, the result is partial already
                found.append((0, one))
                continue
            drawn = draw(areas == label, *place, (transform.width, transform.height))
            if drawn is not None:
                spent += len(drawn.rle)
                found.append((drawn.area, replace(one, box=drawn.box, polygon=drawn.polygon, rle=drawn.rle)))
        found.sort(key=lambda pair: -pair[0])
        return tuple(one for _, one in found)

    def largest(self, areas: NDArray[np.int32]) -> list[int]:
        """Return the labels in ``areas`` with the most cells, at most as many as there may be predictions."""
        counts = np.bincount(areas[areas >= 0], minlength=len(self.floors))
        order = np.argsort(-counts, kind="stable")[: self.spec.thresholds.max_predictions]
        return [int(label) for label in order if counts[label]]


def argmax(spec: ModelSpec, outputs: Sequence[TensorInfo]) -> Decoder:
    """Return the decoder of the output that numbers per class, or the numbers of classes, are in.

    See `tasks.make_decoder` for what is raised.
    """
    classes = len(spec.labels) + (spec.output.background != "none")
    maps = [shape for one in outputs if len(shape := static_shape(one)) == _MAP]
    if spec.output.name is None and len(maps) == len(outputs) == 1 and not {1, classes} & {maps[0][1], maps[0][3]}:
        refuse_labels(maps[0][1 if spec.input.layout == "NCHW" else 3] - (spec.output.background != "none"), spec)
    position = find_output(
        spec,
        outputs,
        f"an output [1,{classes},h,w] of numbers per class, or [1,h,w] of the number of a class",
        lambda shape: (
            min(shape, default=0) > 0
            and shape[0] == 1
            and (_is_plane(shape) or (len(shape) == _MAP and _channels(shape, classes) is not None))
        ),
    )
    shape = static_shape(outputs[position])
    if _is_plane(shape):
        return ClassNumbers(spec, position, shape)
    is_last = _channels(shape, classes) == _MAP - 1 and (shape[1] != classes or spec.input.layout == "NHWC")
    return ClassMaps(spec, position, is_last=is_last)


def _channels(shape: Sequence[int], count: int) -> int | None:
    """Return the axis of ``count`` channels in [1, c, h, w] or [1, h, w, c]; the last of both."""
    return max((axis for axis in (1, _MAP - 1) if shape[axis] == count), default=None)


class ClassMaps(_Areas):
    """Numbers per class [1, c, h, w] or [1, h, w, c], of which the largest counts; a `Decoder`.

    They are interpolated to frame pixels before they are compared. Classes that are the largest nowhere in the map
    itself are not looked at. ``output.activation`` makes probabilities of them, for the scores only.
    """

    def __init__(self, spec: ModelSpec, position: int, *, is_last: bool) -> None:
        """Read the output at ``position``; ``is_last``: the axis of the classes is the last one."""
        super().__init__(spec)
        self._position = position
        self._is_last = is_last
        self._first = 1 if spec.output.background == "first" else 0

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        raw = outputs[self._position][0]
        maps = raw.transpose(2, 1, 0) if self._is_last else raw.transpose(0, 2, 1)
        if not np.isfinite(maps).all():
            raise InvalidOutputError("the map is not made of finite numbers", help=_DAMAGED)
        grid = self.grid(maps[0], transform)
        seen = maps[:, *grid.inside()]
        best, classes = _largest(seen)
        sure = self._probabilities(seen, best)
        present = np.flatnonzero(np.bincount(classes.ravel(), minlength=len(maps)))
        labels = self._labels(classes)
        scores = {label: float(sure[labels == label].mean()) for label in self.largest(labels)}
        if not scores:
            return ()
        window = grid.whole()
        shape = (window.columns[-1].size, window.rows[-1].size)
        best, areas = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int32)
        for number in present.tolist():

            def use(columns: slice, values: NDArray[np.float32], number: int = number) -> None:
                better = values > best[columns]
                np.copyto(best[columns], values, where=better)
                np.copyto(areas[columns], number, where=better)

            each_part(maps[number, *window.cells], window, use)
        return self.predictions(self._labels(areas), (window.left, window.top), scores, transform)

    def _labels(self, classes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return label indices, those of the background negative."""
        labels = classes - np.int32(self._first)
        if self.spec.output.background == "last":
            labels[labels == len(self.floors)] = -1
        return labels

    def _probabilities(self, maps: NDArray[np.float32], best: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how sure the model is of the largest class in each cell, 0..1."""
        kind = self.spec.output.activation
        if kind == "sigmoid":
            return sigmoid(best)
        total = np.zeros_like(best)
        for one in maps:
            total += np.exp(one - best) if kind == "softmax" else one
        if kind == "softmax":
            return np.float32(1) / total
        low = float(maps.min())
        if low < -SCORE_SLACK or np.abs(total - 1).max() > SUM_SLACK:
            message = f"numbers from {low:.3g} to {maps.max():.3g}, expected probabilities that sum to 1 in each pixel"
            raise InvalidOutputError(message, help='for logits write "output": {"activation": "softmax"}')
        return best


def _largest(maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the largest number in each cell and which map it is in, the first of equals.

    Map by map: numpy's argmax along the first axis takes several times as long.
    """
    best, classes = maps[0].copy(), np.zeros(maps.shape[1:], np.int32)
    for number, one in enumerate(maps[1:], start=1):
        better = one > best
        np.copyto(best, one, where=better)
        np.copyto(classes, number, where=better)
    return best, classes


class ClassNumbers(_Areas):
    """The number of a class per cell, [1, h, w], [1, 1, h, w] or [1, h, w, 1]; a `Decoder`.

    Nothing is interpolated, and the score is 1. Without a stated background the numbers of a model with one label are 0
    for nothing and 1 for the label (as Ultralytics' `SemanticSegment` writes them).
    """

    def __init__(self, spec: ModelSpec, position: int, shape: Sequence[int]) -> None:
        """Read the output of ``shape`` at ``position``."""
        super().__init__(spec)
        self._position = position
        self._plane = _plane(shape)
        background = spec.output.background
        self._background = "first" if background == "none" and len(spec.labels) == 1 else background

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        written = outputs[self._position][self._plane].T
        count = len(self.floors) + (self._background != "none")
        # what is no number fails each comparison
        if not ((written >= 0) & (written < count) & (written == np.floor(written))).all():
            message = f"numbers from {written.min():.6g} to {written.max():.6g}, expected those of {count} classes"
            help_ = "correct labels and output.background; for the probabilities of one label write decoder threshold"
            raise InvalidOutputError(message, help=help_)
        labels = written.astype(np.int32)
        if self._background == "first":
            labels -= 1
        elif self._background == "last":
            labels[labels == len(self.floors)] = -1
        areas, left, top = self.grid(labels, transform).spread(labels)
        return self.predictions(areas, (left, top), dict.fromkeys(self.largest(areas), 1.0), transform)


class Probability(_Areas):
    """The probability of the only label per cell, [1, h, w], [1, 1, h, w] or [1, h, w, 1]; a `Decoder`.

    It is interpolated to frame pixels; those with at least ``thresholds.score`` belong to the label. With
    ``output.activation`` sigmoid the model writes logits.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        if len(spec.labels) != 1:
            refuse_labels(1, spec)
        self._position = find_output(
            spec,
            outputs,
            "an output [1,1,h,w], [1,h,w,1] or [1,h,w]",
            lambda shape: min(shape, default=0) > 0 and shape[0] == 1 and _is_plane(shape),
        )
        self._plane = _plane(static_shape(outputs[self._position]))

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        values = outputs[self._position][self._plane].T.astype(np.float32, copy=False)
        if self.spec.output.activation == "sigmoid" and np.isfinite(values).all():
            values = sigmoid(values)
        low, high = float(values.min()), float(values.max())
        if not (low >= -SCORE_SLACK and high <= 1 + SCORE_SLACK):
            message = f"numbers from {low:.3g} to {high:.3g}, expected probabilities of 0 to 1"
            raise InvalidOutputError(message, help='for logits write "output": {"activation": "sigmoid"}')
        window = self.grid(values, transform).whole()
        areas = np.full((window.columns[-1].size, window.rows[-1].size), -1, np.int32)
        total = 0.0

        def use(columns: slice, found: NDArray[np.float32]) -> None:
            nonlocal total
            inside = found >= self.floors[0]
            np.copyto(areas[columns], 0, where=inside)
            total += float(found.sum(where=inside, dtype=np.float64))

        each_part(values[window.cells], window, use)
        pixels = int(np.count_nonzero(areas == 0))
        scores = {0: total / pixels} if pixels else {}
        return self.predictions(areas, (window.left, window.top), scores, transform)


def _is_plane(shape: Sequence[int]) -> bool:
    """Tell whether there is one number per cell."""
    return len(shape) == _NUMBERS or (len(shape) == _MAP and _channels(shape, 1) is not None)


def _plane(shape: Sequence[int]) -> tuple[int | slice, ...]:
    """Return the index of the (h, w) numbers of an output for which `_is_plane` holds."""
    if len(shape) == _NUMBERS:
        return (0,)
    return (0, 0) if shape[1] == 1 else (0, slice(None), slice(None), 0)
