"""Golden frames: pictures with the answers of a trusted run, by which a box checks a new model before it works."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from surface_defects.dataset import INPUT_SIZE
from surface_defects.engines import Detections, Infer, overlap_matrix
from surface_defects.evaluate import SCORE_MIN, compare, detect
from surface_defects.export import to_tensor
from surface_defects.render import Box, render_scene
from surface_defects.scene import LABELS, sample_scene

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GOLDEN_SPLIT: Final = 3
_PAD: Final = 114
_QUALITY: Final = 92
_WANTED: Final = ("good", "scratch", "dent", "stain", "missing_hole", "chip", "good", "several")
_NARROW_WIDTH: Final = 768
"""The last frame is cut to 4:3, so that the bars of the letterbox are judged too."""
_TRUE_IOU: Final = 0.7
_ENGINES_IOU: Final = 0.95
_ENGINES_SCORE: Final = 0.02
_SEVERAL: Final = 3
_DOUBT: Final = 0.12
"""No score of a golden frame may be nearer to the threshold: such a box would come and go with rounding."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a frame lies in the network's input: scale, and the width of the left and top bars."""

    scale: float
    left: int
    top: int


def letterbox(frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Letterbox]:
    """Fit a frame, (H, W, 3) BGR, into the network's input, RGB, centred between grey bars."""
    height, width = INPUT_SIZE
    scale = min(height / frame.shape[0], width / frame.shape[1])
    inner = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.full((height, width, 3), _PAD, np.uint8)
    small = cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    return canvas, Letterbox(scale, left, top)


def predictions(found: Detections, fit: Letterbox, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Detections as the golden file states them: label, score and x, y, width, height in pixels of the frame."""
    rows = []
    for label, score, corners in zip(found.labels, found.scores, found.corners, strict=True):
        left, top, right, bottom = ((corners - (fit.left, fit.top, fit.left, fit.top)) / fit.scale).tolist()
        left, top = max(0.0, left), max(0.0, top)
        right, bottom = min(float(size[1]), right), min(float(size[0]), bottom)
        box = [round(v, 2) for v in (left, top, right - left, bottom - top)]
        rows.append({"label": LABELS[int(label)], "score": round(float(score), 4), "box": box})
    return rows


def _kind(boxes: tuple[Box, ...]) -> str:
    labels = {box.label for box in boxes}
    if not boxes:
        return "good"
    return boxes[0].label if len(boxes) == 1 else "several" if len(labels) >= _SEVERAL else "other"


def _is_plain(raw: NDArray[np.float32], found: Detections, boxes: tuple[Box, ...], fit: Letterbox) -> bool:
    """Whether the answer is the truth and no score is near the threshold."""
    if len(found.labels) != len(boxes) or (np.abs(raw[4:].max(axis=0) - SCORE_MIN) < _DOUBT / 3).any():
        return False
    if not boxes:
        return True
    truth = np.array([(b.left, b.top, b.right, b.bottom) for b in boxes], np.float32) * np.float32(fit.scale)
    truth += np.array((fit.left, fit.top, fit.left, fit.top), np.float32)
    matrix = overlap_matrix(found.corners, truth)
    best = matrix.argmax(axis=1)
    right = all(LABELS[int(label)] == boxes[int(i)].label for label, i in zip(found.labels, best, strict=True))
    return right and bool((matrix.max(axis=1) > _TRUE_IOU).all()) and bool((found.scores > SCORE_MIN + _DOUBT).all())


def _cut(image: NDArray[np.uint8], boxes: tuple[Box, ...]) -> tuple[NDArray[np.uint8], tuple[Box, ...]] | None:
    """The middle of the picture at 4:3, or None if damage lies at or beyond the cut."""
    left = (image.shape[1] - _NARROW_WIDTH) // 2
    right = left + _NARROW_WIDTH
    if any(box.left < left + 10 or box.right > right - 10 for box in boxes):
        return None
    moved = tuple(Box(b.label, b.left - left, b.top, b.right - left, b.bottom) for b in boxes)
    return image[:, left:right], moved


def _find(
    infer: Infer, other: Infer, wanted: str, *, seed: int, first: int, narrow: bool
) -> tuple[int, bytes, list[dict[str, Any]]]:
    for index in range(first, first + 600):
        scene = sample_scene(seed, GOLDEN_SPLIT, index)
        picture = render_scene(scene)
        image, boxes = picture.image, picture.boxes
        hidden = sum(len(p.part.defects) for p in scene.placements) != len(boxes)
        cut = _cut(image, boxes) if narrow else (image, boxes)
        if _kind(boxes) != wanted or hidden or cut is None:
            continue
        image, boxes = cut
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        frame = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        tensor, fit = letterbox(frame)
        raw = infer(to_tensor(tensor))
        found = detect(raw)
        if not _is_plain(raw, found, boxes, fit):
            continue
        if compare([raw], [other(to_tensor(tensor))], iou=_ENGINES_IOU, score=_ENGINES_SCORE).images_within:
            return index, packed.tobytes(), predictions(found, fit, (frame.shape[0], frame.shape[1]))
    message = f"no plain golden frame of kind {wanted} among 600 scenes; the model is too weak"
    raise RuntimeError(message)


def write_golden(folder: Path, infer: Infer, other: Infer, *, seed: int) -> int:
    """Choose golden frames, one for each kind of damage and two good ones, and write them with the trusted answers.

    Args:
        folder: Directory `golden` of the package; older frames in it are removed.
        infer: The trusted engine with the INT8 model; its answers are written.
        other: The second engine; a frame on which it differs by more than a fraction of the tolerance is not chosen.
        seed: Seed of the scenes.

    Returns:
        Number of frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("frame-*"):
        old.unlink()
    frames, first = [], 0
    for number, wanted in enumerate(_WANTED, 1):
        narrow = number == len(_WANTED)
        index, data, rows = _find(infer, other, wanted, seed=seed, first=first, narrow=narrow)
        first = index + 1
        name = f"frame-{number:02d}.jpg"
        (folder / name).write_bytes(data)
        frames.append({"file": name, "predictions": rows})
    text = json.dumps({"schema": "golden/1", "frames": frames}, indent=1)
    (folder / "expected.json").write_text(text + "\n", "utf-8")
    return len(frames)
