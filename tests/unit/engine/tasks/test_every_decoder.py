"""What holds of every decoder there is: whatever a model answers, it is refused in words or lies in the frame."""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.core.description import DECODERS
from edge_runtime.core.errors import DataError
from edge_runtime.engine import tasks
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata.defaults import THRESHOLDS
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import ModelSpec, OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.runlengths import pixels
from tests.unit.engine.specs import model_spec
from tests.unit.engine.tasks.test_nanodet import NANO_SHAPES

if TYPE_CHECKING:
    from edge_runtime.core.result import Prediction

TWO = ("scratch", "dent")
POINTS = ("left", "middle", "right")
FRACTIONS = {"normalized": True}
EVERY: dict[tuple[str, str], tuple[tuple[str, ...], tuple[tuple[int, ...], ...], dict[str, object]]] = {
    ("anomaly", "anomalib"): (("good", "bad", "spot"), ((1, 1), (1, 1), (1, 1, 8, 8), (1, 1, 8, 8)), {}),
    ("anomaly", "anomaly_map"): (
        ("good", "bad", "spot"),
        ((1, 1, 8, 8),),
        {"image_threshold": 0.5, "pixel_threshold": 0.4},
    ),
    ("classification", "probabilities"): (TWO, ((1, 2),), {}),
    ("classification", "softmax"): (TWO, ((1, 2),), {}),
    ("classification", "sigmoid"): (TWO, ((1, 2),), {}),
    ("classification", "auto"): (TWO, ((1, 2),), {}),
    ("classification", "hierarchical"): (("a", "b", "c"), ((1, 3),), {"groups": (("a", "b"), ("c",))}),
    ("detection", "yolo"): (TWO, ((1, 6, 30),), {"boxes": "cxcywh"}),
    ("detection", "nanodet"): (TWO, NANO_SHAPES, {}),
    ("detection", "end2end"): (TWO, ((1, 9, 6),), {}),
    ("detection", "yolov5"): (TWO, ((1, 30, 7),), {"boxes": "cxcywh"}),
    ("detection", "yolox"): (TWO, ((1, 21, 7),), {"boxes": "cxcywh"}),
    ("detection", "ssd"): (TWO, ((1, 1, 9, 7),), {"background": "first", **FRACTIONS}),
    ("detection", "boxes"): (TWO, ((1, 9, 4), (1, 9), (1, 9)), {}),
    ("detection", "detr"): (
        TWO,
        ((1, 9, 4), (1, 9, 2)),
        {"activation": "sigmoid", "boxes": "cxcywh", **FRACTIONS},
    ),
    ("oriented_detection", "yolo"): (TWO, ((1, 7, 30),), {"boxes": "cxcywh"}),
    ("oriented_detection", "end2end"): (TWO, ((1, 9, 7),), {}),
    ("instance_segmentation", "yolo"): (TWO, ((1, 10, 30), (1, 4, 8, 8)), {"boxes": "cxcywh"}),
    ("instance_segmentation", "end2end"): (TWO, ((1, 9, 10), (1, 4, 8, 8)), {}),
    ("instance_segmentation", "maskrcnn"): (TWO, ((9, 5), (9,), (9, 14, 14)), {}),
    ("semantic_segmentation", "argmax"): (TWO, ((1, 2, 8, 8),), {"activation": "softmax"}),
    ("semantic_segmentation", "threshold"): (("crack",), ((1, 1, 8, 8),), {}),
    ("keypoints", "yolo"): (TWO, ((1, 15, 30),), {"boxes": "cxcywh", "keypoints": POINTS}),
    ("keypoints", "end2end"): (TWO, ((1, 9, 15),), {"keypoints": POINTS}),
    ("keypoints", "movenet"): (("hand",), ((1, 1, 3, 3),), {"keypoints": POINTS}),
    ("keypoints", "simcc"): (
        ("hand",),
        ((1, 3, 64), (1, 3, 64)),
        {"keypoints": POINTS, "names": {"x": "out0", "y": "out1"}},
    ),
    ("raw", "tensors"): ((), ((1, 3), (1,)), {}),
    ("regression", "values"): (TWO, ((1, 2),), {}),
    ("text_detection", "db"): (("text",), ((1, 1, 32, 32),), {}),
    ("text_recognition", "ctc"): (("text",), ((1, 9, 4),), {"characters": ("a", "b")}),
}  # fmt: skip
"""Labels, shapes of the outputs and how they are written."""
NAMES = {"anomalib": ("pred_score", "pred_label", "anomaly_map", "pred_mask")}
ODD = (np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-38, -1.0, 0.0, 1.0, 2.0, 0.5, 1e6)
FRAMES = {  # of a canvas of 32 x 32
    "wider": Transform(0.25, 0.25, 0, 8, 128, 64),
    "taller": Transform(0.25, 0.25, 8, 0, 64, 128),
    "smaller": Transform(4, 4, 2, 2, 7, 7),
    "stretched": Transform(0.5, 0.25, 0, 0, 64, 128),
    "cropped": Transform(0.5, 0.5, -16, 0, 128, 64),
}
SCALES = dict.fromkeys(("yolox", "ssd", "detr", "ctc"), 1.0)
"""By decoder, of what boxes are written in when it is not pixels."""


def spec_of(task: str, decoder: str, limit: int = 5, **thresholds: float) -> tuple[ModelSpec, list[TensorInfo]]:
    labels, shapes, output = EVERY[task, decoder]
    spec = model_spec(
        decoder,
        labels,
        task=task,
        thresholds=ThresholdSpec(0.25, 0.5, limit, thresholds),
        output=OutputSpec(**output),  # type: ignore[arg-type]  # by word, as in a manifest
    )
    names = NAMES.get(decoder) or [f"out{i}" for i in range(len(shapes))]
    kinds = ["int64" if decoder in ("boxes", "maskrcnn") and i == 1 else "float32" for i in range(len(shapes))]
    return spec, [TensorInfo(*one) for one in zip(names, kinds, shapes, strict=True)]


def answer(random: np.random.Generator, one: TensorInfo, spoilt: float, scale: float) -> np.ndarray:
    shape = tuple(int(side or 0) for side in one.shape or ())
    if one.dtype == "int64":
        return random.choice([0, 1] if not spoilt else [-(2**62), -1, 0, 0, 1, 1, 2, 2**62], shape)
    plain = random.uniform(0, 1, shape)
    if len(shape) == 3 and shape[1] == 9 and shape[2] >= 6:  # finished rows: a class beside the score
        plain[..., 5] = random.choice([0, 1], shape[:-1])
    if len(shape) == 4 and shape[-1] == 7:
        plain[..., 1] = random.choice([1, 2], shape[:-1])
    elif len(shape) == 3 and shape[-1] == 30:
        plain[:, :4] *= scale
    elif shape[0] == 9 or shape == (1, 9, 4) or (len(shape) == 3 and shape[-1] >= 6 and shape[-1] < 20):
        plain[..., :4] *= scale
    return np.where(random.random(shape) < spoilt, random.choice(ODD, shape), plain).astype(np.float32)


def check(found: tuple[Prediction, ...], spec: ModelSpec, frame: Transform) -> None:
    for one in found:
        assert one.id is not None
        assert not spec.labels or one.label == spec.labels[one.id]
        assert 0 <= one.score <= 1
        assert one.value is None or math.isfinite(one.value)
        if one.box is not None:
            x, y, width, height = one.box
            assert 0 <= x <= x + width <= frame.width + 0.02
            assert 0 <= y <= y + height <= frame.height + 0.02
        for x, y, *_ in (*(one.polygon or ()), *(one.keypoints or ())):
            assert math.isfinite(x)
            assert math.isfinite(y)
            if spec.task != "oriented_detection":  # whose corners may lie outside
                assert 0 <= x <= frame.width
                assert 0 <= y <= frame.height
        if one.rle is not None:
            mask = pixels(one.rle, frame.width, frame.height)
            assert mask.shape == (frame.height, frame.width)
            assert mask.any()


def test_every_decoder_that_may_be_stated_is_there_and_no_other() -> None:
    stated = {(task, decoder) for task, decoders in DECODERS.items() for decoder in decoders}
    assert set(tasks._DECODERS) == stated == set(EVERY)
    assert set(THRESHOLDS) == {
        task for task, decoders in DECODERS.items() if decoders
    }  # a chain has those of its parts


@pytest.mark.parametrize(("task", "decoder"), EVERY)
@pytest.mark.parametrize("frame", FRAMES)
def test_nonsense_is_refused_or_it_lies_in_the_frame(task: str, decoder: str, frame: str) -> None:
    spec, outputs = spec_of(task, decoder, limit=100)
    read = make_decoder(spec, outputs)
    random = np.random.default_rng(5)
    scale = SCALES.get(decoder, 30.0)
    seen = 0
    for spoilt in (0, 0, 0, 0, 0.02, 0.3, 1) * 12:
        given = [answer(random, one, spoilt, scale) for one in outputs]
        before = [one.copy() for one in given]
        # as in a lane, where arithmetic may overflow
        with contextlib.suppress(InvalidOutputError), np.errstate(all="ignore"):
            found = read.decode(given, FRAMES[frame])
            check(found, spec, FRAMES[frame])
            seen += len(found)
        for one, copy in zip(given, before, strict=True):  # they are the engine's own memory
            np.testing.assert_array_equal(one, copy)
    assert seen or decoder in ("probabilities", "argmax")


@pytest.mark.parametrize(("task", "decoder"), EVERY)
def test_a_decoder_of_another_family_is_refused_in_words_or_reads(task: str, decoder: str) -> None:
    spec, _ = spec_of(task, decoder)
    for other in EVERY:
        _, outputs = spec_of(*other)
        with contextlib.suppress(DataError):
            read = make_decoder(spec, outputs)
            random = np.random.default_rng(1)
            given = [answer(random, one, 0.02, 30.0) for one in outputs]
            with contextlib.suppress(InvalidOutputError), np.errstate(all="ignore"):
                check(read.decode(given, FRAMES["wider"]), spec, FRAMES["wider"])


@pytest.mark.parametrize(("task", "decoder"), EVERY)
def test_what_was_found_is_not_changed_by_the_next_frame(task: str, decoder: str) -> None:
    spec, outputs = spec_of(task, decoder)
    random = np.random.default_rng(3)
    scale = SCALES.get(decoder, 30.0)
    one, other = make_decoder(spec, outputs), make_decoder(spec, outputs)
    first, second = ([answer(random, out, 0, scale) for out in outputs] for _ in range(2))
    if decoder == "probabilities":
        first, second = [np.array([[0.7, 0.3]], np.float32)], [np.array([[0.1, 0.9]], np.float32)]
    alone = [one.decode(first, FRAMES["wider"]), one.decode(second, FRAMES["taller"])]
    mixed = other.decode(second, FRAMES["taller"]), other.decode(first, FRAMES["wider"])
    assert alone == list(reversed(mixed))


def test_turns_of_each_pair_of_frames_leave_no_trace() -> None:
    spec, outputs = spec_of("instance_segmentation", "yolo")
    random = np.random.default_rng(3)
    given = [answer(random, out, 0, 30.0) for out in outputs]
    fresh = {name: make_decoder(spec, outputs).decode(given, frame) for name, frame in FRAMES.items()}
    shared = make_decoder(spec, outputs)
    for pair in itertools.permutations(FRAMES, 2):
        for name in pair:
            assert shared.decode(given, FRAMES[name]) == fresh[name]


@pytest.mark.parametrize(("task", "decoder"), EVERY)
def test_no_more_is_found_than_is_wanted(task: str, decoder: str) -> None:
    if task in ("raw", "regression"):
        return
    spec, outputs = spec_of(task, decoder, limit=3)
    read = make_decoder(spec, outputs)
    random = np.random.default_rng(9)
    scale = SCALES.get(decoder, 30.0)
    for _ in range(20):
        given = [answer(random, one, 0, scale) for one in outputs]
        with contextlib.suppress(InvalidOutputError):
            found = read.decode(given, FRAMES["stretched"])
            places = [one for one in found if task != "anomaly" or one.id == len(spec.labels) - 1]
            assert len(places) <= 3
