"""How good the model is, and how far its engines agree."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from surface_defects.dataset import INPUT_SIZE, Dataset
from surface_defects.engines import Detections, Floats, Infer, overlap_matrix, read_output
from surface_defects.export import to_tensor
from surface_defects.precision import LEVELS, average_precision
from surface_defects.scene import LABELS

SCORE_MIN: Final = 0.25
IOU_MAX: Final = 0.5
_PAIR_IOU: Final = 0.5
"""Boxes of two runs that overlap by less are not the same box."""
_WARM_UP: Final = 10
_LOWEST_SCORE: Final = 0.005


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Average precision over labels and per label, and precision, recall and false alarms at the score threshold."""

    map50: float
    map50_95: float
    per_label: dict[str, float]
    precision: float
    recall: float
    false_alarms_on_good: int
    good_images: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two runs of the same images compared at the score threshold."""

    images: int
    boxes: int
    matched: int
    same_label: int
    iou_min: float
    iou_mean: float
    score_difference_max: float
    score_difference_mean: float
    images_within: int
    raw_box_max: float
    raw_score_max: float


def run_all(infer: Infer, data: Dataset, count: int | None = None) -> list[Floats]:
    """Raw outputs of the images, or of the first `count`."""
    return [infer(to_tensor(image)).copy() for image in data.images[:count]]


def detect(raw: Floats, score_min: float = SCORE_MIN) -> Detections:
    """Boxes of a raw output at the thresholds of the package."""
    return read_output(raw, score_min=score_min, iou_max=IOU_MAX, size=INPUT_SIZE)


def _hits(found: list[Detections], data: Dataset, label: int, level: float) -> tuple[Floats, int]:
    scored: list[tuple[float, float]] = []
    truths = 0
    for detections, target in zip(found, data.targets, strict=True):
        truth = target[target[:, 0] == label, 1:]
        truths += len(truth)
        mine = detections.labels == label
        overlaps = overlap_matrix(detections.corners[mine], truth)
        free = np.ones(len(truth), np.bool_)
        for row, score in enumerate(detections.scores[mine]):
            candidates = np.where(free, overlaps[row], -1.0) if len(truth) else np.array([-1.0])
            best = int(candidates.argmax())
            hit = candidates[best] >= level
            if hit:
                free[best] = False
            scored.append((float(score), float(hit)))
    scored.sort(key=lambda pair: -pair[0])
    return np.array([hit for _, hit in scored], np.float32), truths


def judge(raws: list[Floats], data: Dataset) -> Accuracy:
    """Compare raw outputs with the truth."""
    found = [detect(raw, _LOWEST_SCORE) for raw in raws]
    table = np.array([[average_precision(*_hits(found, data, i, v)) for v in LEVELS] for i in range(len(LABELS))])
    firm = [detect(raw) for raw in raws]
    right = boxes = truths = 0
    for label in range(len(LABELS)):
        hits, count = _hits(firm, data, label, 0.5)
        right, boxes, truths = right + int(hits.sum()), boxes + hits.size, truths + count
    good = [d for d, target in zip(firm, data.targets, strict=True) if len(target) == 0]
    return Accuracy(
        map50=float(table[:, 0].mean()),
        map50_95=float(table.mean()),
        per_label={label: float(table[i, 0]) for i, label in enumerate(LABELS)},
        precision=right / max(boxes, 1),
        recall=right / max(truths, 1),
        false_alarms_on_good=sum(len(d.labels) > 0 for d in good),
        good_images=len(good),
    )


def compare(a: list[Floats], b: list[Floats], *, iou: float, score: float) -> Agreement:
    """Compare two runs box by box.

    Args:
        a: Raw outputs of the first run.
        b: Raw outputs of the second run on the same images.
        iou: Least overlap of a pair for the image to count as within tolerance.
        score: Greatest difference of scores for the same.
    """
    overlaps: list[float] = []
    differences: list[float] = []
    boxes = same_label = within = 0
    for raw_a, raw_b in zip(a, b, strict=True):
        first, second = detect(raw_a), detect(raw_b)
        matrix = overlap_matrix(first.corners, second.corners)
        boxes += max(len(first.labels), len(second.labels))
        fine = len(first.labels) == len(second.labels)
        for row in range(len(first.labels)):
            column = int(matrix[row].argmax()) if matrix.shape[1] else -1
            if column < 0 or matrix[row, column] < _PAIR_IOU:
                fine = False
                continue
            overlaps.append(float(matrix[row, column]))
            differences.append(float(abs(first.scores[row] - second.scores[column])))
            same = first.labels[row] == second.labels[column]
            same_label += int(same)
            fine = fine and bool(same) and overlaps[-1] >= iou and differences[-1] <= score
            matrix[:, column] = -1
        within += int(fine)
    return Agreement(
        images=len(a),
        boxes=boxes,
        matched=len(overlaps),
        same_label=same_label,
        iou_min=min(overlaps, default=1.0),
        iou_mean=float(np.mean(overlaps)) if overlaps else 1.0,
        score_difference_max=max(differences, default=0.0),
        score_difference_mean=float(np.mean(differences)) if differences else 0.0,
        images_within=within,
        raw_box_max=max(float(np.abs(x[:4] - y[:4]).max()) for x, y in zip(a, b, strict=True)),
        raw_score_max=max(float(np.abs(x[4:] - y[4:]).max()) for x, y in zip(a, b, strict=True)),
    )


def latency_ms(engines: dict[str, Infer], data: Dataset, *, rounds: int = 60) -> dict[str, tuple[float, float]]:
    """10th percentile and median of the time per image; the engines take turns so that all see the same machine."""
    tensors = [to_tensor(image) for image in data.images[:8]]
    times: dict[str, list[float]] = {name: [] for name in engines}
    for index in range(rounds + _WARM_UP):
        for name, infer in engines.items():
            started = time.perf_counter()
            infer(tensors[index % len(tensors)])
            if index >= _WARM_UP:
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: (float(np.percentile(t, 10)), float(np.percentile(t, 50))) for name, t in times.items()}
