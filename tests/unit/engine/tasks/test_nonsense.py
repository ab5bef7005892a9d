"""Whatever a detector answers, it is refused in words or it is boxes in the frame."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec
from tests.unit.engine.tasks.test_nanodet import NANO_SHAPES

if TYPE_CHECKING:
    from edge_runtime.core.result import Prediction

FRAME = Transform(0.5, 0.25, 3, 0, 50, 100)
LISTS = ((1, 9, 4), (1, 9), (1, 9))
FAMILIES: dict[str, tuple[str, str, tuple[tuple[int, ...], ...], dict[str, str]]] = {
    "yolo": ("detection", "yolo", ((1, 6, 30),), {}),
    "yolov5": ("detection", "yolov5", ((1, 30, 7),), {}),
    "yolox": ("detection", "yolox", ((1, 21, 7),), {}),
    "nanodet": ("detection", "nanodet", NANO_SHAPES, {}),
    "end2end": ("detection", "end2end", ((1, 9, 6),), {}),
    "ssd": ("detection", "ssd", ((1, 1, 9, 7),), {"background": "first"}),
    "boxes": ("detection", "boxes", LISTS, {}),
    "detr sigmoid": ("detection", "detr", ((1, 9, 4), (1, 9, 2)), {"activation": "sigmoid"}),
    "detr softmax": ("detection", "detr", ((1, 9, 4), (1, 9, 3)), {"activation": "softmax", "background": "last"}),
    "detr none": ("detection", "detr", ((1, 9, 6),), {}),
    "oriented yolo": ("oriented_detection", "yolo", ((1, 7, 30),), {}),
    "oriented end2end": ("oriented_detection", "end2end", ((1, 9, 7),), {}),
}
ODD = (np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-38, -1.0, 0.0, 1.0, 2.0, 0.5, 1e6)


def answers(random: np.random.Generator, shape: tuple[int, ...], dtype: str, kind: int, scale: float) -> np.ndarray:
    """From plausible (0) by way of spoilt (1, 2) to nothing but odd numbers (3)."""
    if dtype == "int64":
        return random.choice([0, 1] if kind == 0 else [-(2**62), -1, 0, 0, 1, 1, 2, 2**62], shape)
    plain = random.uniform(0, 1, shape)
    if shape[-1] in (6, 7):  # finished rows: a class beside the score
        plain[..., 1 if len(shape) == 4 else 5] = random.choice([1, 2] if len(shape) == 4 else [0, 1], shape[:-1])
    boxes = plain[:, :4] if shape[-1] == 30 else plain[..., :4]  # of raw heads a row for each number
    boxes *= scale if len(shape) == 3 and shape[-1] not in (2, 3, 20) else 1
    odd = random.random(shape) < (0, 0.02, 0.3, 1)[kind]
    return np.where(odd, random.choice(ODD, shape), plain).astype(np.float32)


def check(found: tuple[Prediction, ...]) -> None:
    for one in found:
        assert one.label in ("scratch", "dent")
        assert 0 <= one.score <= 1
        assert one.box is not None
        x, y, width, height = one.box
        assert 0 <= x < x + width <= 50.02
        assert 0 <= y < y + height <= 100.02
        assert one.polygon is None or all(map(math.isfinite, np.ravel(one.polygon)))


@pytest.mark.parametrize("family", FAMILIES)
def test_nonsense_is_refused_or_it_is_boxes_in_the_frame(family: str) -> None:
    task, decoder, shapes, output = FAMILIES[family]
    kinds = ["int64" if decoder == "boxes" and i == 1 else "float32" for i in range(len(shapes))]
    listed = [TensorInfo(f"out{i}", kind, shape) for i, (kind, shape) in enumerate(zip(kinds, shapes, strict=True))]
    normal = decoder in ("ssd", "detr")
    boxes = "cxcywh" if decoder in ("yolo", "yolov5", "yolox", "detr") else "xyxy"
    spec = model_spec(
        decoder,
        task=task,
        thresholds=ThresholdSpec(0.25, 0.5, 100),
        output=OutputSpec(None, boxes, normalized=normal, **output),
    )
    read = make_decoder(spec, listed)
    random = np.random.default_rng(11)
    scale = 1.0 if decoder in ("yolox", "ssd", "detr") else 30.0  # pixels
    seen = 0
    for round_ in range(400):
        answer = [answers(random, shape, kind, round_ % 4, scale) for shape, kind in zip(shapes, kinds, strict=True)]
        # as in a lane, where arithmetic may overflow
        with contextlib.suppress(InvalidOutputError), np.errstate(all="ignore"):
            found = read.decode(answer, FRAME)
            check(found)
            seen += len(found)
    assert seen
