"""Whether a picture is like those it was trained with: the outputs of Anomalib 2 (`anomalib`), or one map or number.

Labels are, in this order: what a picture is when nothing is wrong, what it is otherwise, and (if regions are wanted)
what a place is that is. Of the first two one is the answer and the other its alternative, so that a rule for the second
decides about the whole picture; regions have a label of their own, so that a rule can count or measure them.

Scores are such that 0.5 is the threshold. What the model says itself decides (`pred_label`, `pred_mask`), unless the
description states thresholds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import SCORE_SLACK, InvalidOutputError, to_frame
from edge_runtime.engine.regions import Region, connected_regions
from edge_runtime.engine.tasks.base import find_output, refuse_outputs, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

MIDDLE: Final = 0.5
"""The threshold, in scores."""
_LABELS = (2, 3)
_CORNERS = 3


class _AnomalyDecoder:
    """What both share: the verdict about the picture, and the regions of a map."""

    def __init__(self, spec: ModelSpec) -> None:
        if len(spec.labels) not in _LABELS:
            message = f"expected 2 or 3 labels of an anomaly model, found {len(spec.labels)}"
            help_ = "write labels for a good picture, for a bad one, and (if they are wanted) for bad regions"
            raise DataError("model.wrong_labels", message, help=help_)
        self._labels = spec.labels
        self._size = spec.input.size
        self._limit = spec.thresholds.max_predictions
        self._floor = spec.thresholds.by_label.get(spec.labels[-1], spec.thresholds.score)  # of a place

    def _finish(
        self,
        score: float,
        regions: tuple[NDArray[np.float32], NDArray[np.bool_]] | None,
        transform: Transform,
        *,
        bad: bool,
    ) -> tuple[Prediction, ...]:
        """Return the predictions for a picture whose score is ``score``, with map and mask (h, w) of its regions."""
        scores = (1 - score, score)
        verdict = [
            Prediction(self._labels[i], round(scores[i], 6), id=i, alternative=i != bad)
            for i in (int(bad), int(not bad))
        ]
        if regions is None or len(self._labels) < max(_LABELS):
            return tuple(verdict)
        heights, mask = regions
        mask = mask & (heights >= self._floor)
        found = connected_regions(mask, heights, self._limit) if mask.any() else []
        places = [self._place(region, mask.shape, transform) for region in found]
        return (*verdict, *(one for one in places if one is not None))

    def _place(self, region: Region, cells: tuple[int, ...], transform: Transform) -> Prediction | None:
        height, width = self._size
        side = np.array((width / cells[1], height / cells[0]), np.float32)
        corners = np.array([region.box], np.float32) * np.tile(side, 2)
        x, y, w, h = to_frame(corners, transform)[0].tolist()
        if w <= 0 or h <= 0:  # wholly in the border around the picture
            return None
        points = to_frame(np.tile(region.outline * side, 2), transform)[:, :2].round(2).tolist()
        polygon = tuple((px, py) for px, py in points) if len(points) >= _CORNERS else None
        box = (round(x, 2), round(y, 2), round(w, 2), round(h, 2))
        return Prediction(self._labels[2], round(region.peak, 6), box, polygon, id=2)


class Anomalib(_AnomalyDecoder):
    """Outputs `pred_score`, `pred_label`, `anomaly_map`, `pred_mask` of Anomalib 2, those that are there; a `Decoder`.

    Scores are normalised by the graph (anomalib `post_processing/post_processor.py`): 0.5 is the threshold.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the outputs by their names; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        self._threshold, self._pixel_threshold = spec.output.image_threshold, spec.output.pixel_threshold
        self._at: dict[str, int] = {}
        for role in ("pred_score", "pred_label", "anomaly_map", "pred_mask"):
            wanted = spec.output.names.get(role, role)
            for position, one in enumerate(outputs):
                if wanted in (one.name, *one.aliases):
                    self._at[role] = position
        if "pred_score" not in self._at and "anomaly_map" not in self._at:
            refuse_outputs(spec, "an output pred_score or anomaly_map", outputs)
        fits = {
            role: _is_map(static_shape(outputs[at])) == role.endswith(("map", "mask")) for role, at in self._at.items()
        }
        if not all(fits.values()):
            refuse_outputs(
                spec, "numbers for pred_score and pred_label, [1,1,h,w] for anomaly_map and pred_mask", outputs
            )

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        scores = _scores(self._read(outputs, "pred_score" if "pred_score" in self._at else "anomaly_map"))
        score = float(scores.max())
        if self._threshold is None and "pred_label" in self._at:
            bad = bool(self._read(outputs, "pred_label").max() > MIDDLE)
        else:
            bad = score > (MIDDLE if self._threshold is None else self._threshold)
        return self._finish(score, self._regions(outputs, score), transform, bad=bad)

    def _regions(
        self, outputs: Sequence[NDArray[np.float32]], score: float
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        mask = _plane(self._read(outputs, "pred_mask")) > MIDDLE if "pred_mask" in self._at else None
        if "anomaly_map" not in self._at:
            return None if mask is None else (np.full(mask.shape, score, np.float32), mask)
        heights = _scores(_plane(self._read(outputs, "anomaly_map")))
        if self._pixel_threshold is not None or mask is None or mask.shape != heights.shape:
            mask = heights > (MIDDLE if self._pixel_threshold is None else self._pixel_threshold)
        return heights, mask

    def _read(self, outputs: Sequence[NDArray[np.float32]], role: str) -> NDArray[np.float32]:
        """Return an output that is there as finite numbers (labels and masks are booleans in the graph)."""
        return _finite(outputs[self._at[role]].astype(np.float32, copy=False))


class AnomalyMap(_AnomalyDecoder):
    """One map [1,1,h,w], or one number, in the model's own unit: Anomalib 1, OpenVINO Model API; a `Decoder`.

    A number becomes a score as in Model API's `AnomalyDetection`: (number - threshold) / normalization_scale + 0.5. The
    picture's number is the highest of its map.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        self._position = find_output(
            spec, outputs, "a map [1,1,h,w] or one number", lambda shape: _is_map(shape) or set(shape) <= {1}
        )
        self._is_map = _is_map(static_shape(outputs[self._position]))
        threshold, pixel_threshold = spec.output.image_threshold, spec.output.pixel_threshold
        if threshold is None:
            message = "the number from which on a picture is anomalous is not stated anywhere: output.image_threshold"
            help_ = 'write "output": {"image_threshold": ..., "normalization_scale": ...} in edge-model.json'
            raise DataError("model.ambiguous", message, help=help_)
        self._threshold = threshold
        self._pixel_threshold = threshold if pixel_threshold is None else pixel_threshold
        self._scale = spec.output.normalization_scale

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        numbers = _finite(outputs[self._position].astype(np.float32, copy=False))
        highest = float(numbers.max())
        score = float(self._score(highest, self._threshold))
        regions = None
        if self._is_map:
            plane = _plane(numbers)
            regions = self._score(plane, self._pixel_threshold).astype(np.float32), plane >= self._pixel_threshold
        return self._finish(score, regions, transform, bad=highest > self._threshold)

    def _score(self, number: float | NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
        score: NDArray[np.float64] = np.clip((np.asarray(number, np.float64) - threshold) / self._scale + MIDDLE, 0, 1)
        return score


def _is_map(shape: tuple[int, ...]) -> bool:
    """Tell whether ``shape`` is [1,1,h,w] or the like: two axes that are longer than 1, which are the last."""
    return len(shape) > 1 and min(shape[-2:]) > 1 and set(shape[:-2]) <= {1}


def _plane(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    return numbers.reshape(numbers.shape[-2:])


def _finite(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(numbers).all():
        message = f"{int((~np.isfinite(numbers)).sum())} of {numbers.size} numbers are not finite"
        raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
    return numbers


def _scores(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(numbers.min()), float(numbers.max())
    if low < -SCORE_SLACK or high > 1 + SCORE_SLACK:
        message = f"expected scores from 0 to 1, found {low:.3g} to {high:.3g}"
        help_ = "export the model with its post-processor, or write decoder anomaly_map with output.image_threshold"
        raise InvalidOutputError(message, help=help_)
    return np.clip(numbers, 0, 1)
