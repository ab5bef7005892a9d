"""What a model is, how it is fed and how its answers are read: the words of a manifest, checked.

Normalisation means ``tensor = (pixel / scale - mean) / std``, per channel in the model's own colour order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_runtime.core.jsonfields import Section
from edge_runtime.core.result import PREDICTIONS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

DECODERS: Final[dict[str, tuple[str, ...]]] = {
    "anomaly": ("anomalib", "anomaly_map"),
    "classification": ("probabilities", "softmax", "sigmoid", "auto", "hierarchical"),
    "detection": ("yolo", "nanodet", "end2end", "yolov5", "yolox", "ssd", "boxes", "detr"),
    "oriented_detection": ("yolo", "end2end"),
    "instance_segmentation": ("yolo", "end2end", "maskrcnn"),
    "semantic_segmentation": ("argmax", "threshold"),
    "keypoints": ("yolo", "end2end", "movenet", "simcc"),
    "raw": ("tensors",),
    "regression": ("values",),
    "text_detection": ("db",),
    "text_recognition": ("ctc",),
    "chain": (),
}
"""Families of models, and the ways in which each family's answers may be written."""
TASKS: Final = tuple(DECODERS)
CHAIN: Final = "chain"
"""The task of a package that is made of others, its `steps`."""
LAYOUTS: Final = ("NCHW", "NHWC")
COLORS: Final = ("RGB", "BGR", "GRAY")
RESIZES: Final = ("letterbox", "fit", "stretch", "crop", "line")
INTERPOLATIONS: Final = ("linear", "nearest", "area", "cubic", "antialias", "antialias_cubic")
BOXES: Final = ("cxcywh", "xyxy")
ACTIVATIONS: Final = ("none", "sigmoid", "softmax")
BACKGROUNDS: Final = ("none", "first", "last")
SIDE_LIMIT_PX: Final = 8192
LABEL_LIMIT: Final = 100_000
LABEL_BYTES_LIMIT: Final = 256
"""Of one label, written as JSON: `PREDICTIONS_LIMIT` predictions fit one message between two processes (1 MiB)."""
LABELS_BYTES_LIMIT: Final = 640 << 10
"""Of all of them: they fit one message beside `BY_LABEL_LIMIT` thresholds; the 21 843 names of ImageNet-21k do, too."""
BY_LABEL_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True)
class InputFields:
    """How a frame becomes the input tensor; ``None`` = not stated.

    Attributes:
        size: height, width in pixels, 1..8192 each.
        resize: `letterbox` centred with `pad`, `fit` the same at the top left, `stretch`, `crop` centred,
            `line` as high as the input at the left, and squeezed only when it is longer than that.
        interpolation: one of `INTERPOLATIONS`; `antialias` is what Pillow and torchvision call bilinear,
            `antialias_cubic` what they call bicubic.
        crop: fraction of the shorter side that `crop` keeps, 0 < crop <= 1.
        pad: grey level 0..255 around a letterboxed picture.
    """

    layout: str | None = None
    color: str | None = None
    size: tuple[int, int] | None = None
    resize: str | None = None
    interpolation: str | None = None
    crop: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None
    pad: int | None = None


@dataclass(frozen=True, slots=True)
class OutputFields:
    """Which outputs carry the answer and how boxes are written; ``None`` = not stated.

    Attributes:
        name: output tensor to read; needed only when several would fit.
        names: the same for decoders that read several outputs: tensor names by the decoder's word for each.
        boxes: one of `BOXES`.
        normalized: whether boxes are fractions of the input instead of its pixels.
        activation: one of `ACTIVATIONS`, what still has to be done to scores.
        background: one of `BACKGROUNDS`, the class beside the labels that stands for nothing.
        keypoints: names of a model's keypoints, in their order.
        groups: labels of a hierarchical classifier in the order of its numbers: of several in a group one is present,
            one that is alone is present or not.
        parents: label above each label of a hierarchical classifier that has one.
        image_threshold: number from which on a picture is anomalous.
        pixel_threshold: number from which on a place of an anomaly map is.
        normalization_scale: difference of such numbers that is 1 in scores, more than 0.
        characters: what a recogniser tells apart, in its order, without the blank before and the space behind them.
    """

    name: str | None = None
    names: Mapping[str, str] | None = None
    boxes: str | None = None
    normalized: bool | None = None
    activation: str | None = None
    background: str | None = None
    keypoints: tuple[str, ...] | None = None
    groups: tuple[tuple[str, ...], ...] | None = None
    parents: Mapping[str, str] | None = None
    image_threshold: float | None = None
    pixel_threshold: float | None = None
    normalization_scale: float | None = None
    characters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the decoder keeps: scores and IoU 0..1, `max_predictions` 1..1000 best first; ``None`` = not stated.

    `by_label` holds the score from which on the publisher calls a label present; `score` is the floor for all others.
    """

    score: float | None = None
    iou: float | None = None
    max_predictions: int | None = None
    by_label: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """What a model is and how it is fed and read, wherever that is written; ``None`` = not stated.

    Attributes:
        task: one of `TASKS`.
        decoder: one of the task's `DECODERS`.
    """

    task: str | None = None
    decoder: str | None = None
    input: InputFields = InputFields()
    output: OutputFields = OutputFields()
    labels: tuple[str, ...] | None = None
    thresholds: Thresholds = Thresholds()


def read_description(top: Section) -> Description:
    """Read the keys of a description out of ``top``; what is wrong is noted there."""
    task = top.choice("task", TASKS)
    return Description(
        task=task,
        decoder=top.choice("decoder", DECODERS[task] if task else tuple(d for all_ in DECODERS.values() for d in all_)),
        input=_input(top.section("input")),
        output=_output(top.section("output")),
        labels=_labels(top),
        thresholds=_thresholds(top.section("thresholds")),
    )


def wrong_values(values: Mapping[str, object]) -> tuple[str, ...]:
    """Return what is wrong with ``values``, wherever they were read: each ``dotted.name: expected ..., found ...``.

    Args:
        values: what stands in a `Description`, as it would be written in a manifest.
    """
    problems: list[str] = []
    top = Section(values, "", problems, [])
    read_description(top)
    return tuple(problems)


def _input(section: Section) -> InputFields:
    size = section.get("size")
    if size is not None and not (isinstance(size, list) and len(size) == 2 and all(map(_is_side, size))):  # noqa: PLR2004
        section.wrong("size", f"[height, width], whole numbers from 1 to {SIDE_LIMIT_PX}", size)
        size = None
    pad = section.get("pad")
    if isinstance(pad, list) and pad and pad.count(pad[0]) == len(pad):
        section = replace(section, data={**section.data, "pad": pad[0]})
    found = InputFields(
        layout=section.choice("layout", LAYOUTS),
        color=section.choice("color", COLORS),
        size=(size[0], size[1]) if isinstance(size, list) else None,
        resize=section.choice("resize", RESIZES),
        interpolation=section.choice("interpolation", INTERPOLATIONS),
        crop=section.number("crop", 0.05, 1.0),
        mean=section.numbers("mean", -1e6, 1e6),
        std=section.numbers("std", 1e-6, 1e6),
        # pixels are divided by it: a factor below 1 means that somebody wrote 1/255
        scale=section.number("scale", 1.0, 65535.0),
        pad=section.integer("pad", 0, 255),
    )
    channels = 1 if found.color == "GRAY" else 3
    for key, values in (("mean", found.mean), ("std", found.std)):
        if values is not None and len(values) > channels:
            section.wrong(key, "one number for a grey model", list(values))
    section.close(also=("name", "dtype"))
    return found


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= SIDE_LIMIT_PX


def _output(section: Section) -> OutputFields:
    found = OutputFields(
        name=section.text("name"),
        names=section.text_map("names"),
        boxes=section.choice("boxes", BOXES),
        normalized=section.boolean("normalized"),
        activation=section.choice("activation", ACTIVATIONS),
        background=section.choice("background", BACKGROUNDS),
        keypoints=section.texts("keypoints"),
        groups=section.text_lists("groups"),
        parents=section.text_map("parents"),
        image_threshold=section.number("image_threshold", -1e12, 1e12),
        pixel_threshold=section.number("pixel_threshold", -1e12, 1e12),
        normalization_scale=section.number("normalization_scale", 1e-12, 1e12),
        characters=_characters(section),
    )
    section.close(also=("shape",))
    return found


def _characters(section: Section) -> tuple[str, ...] | None:
    """Read texts that may be blanks: some alphabets hold several kinds of them."""
    value = section.get("characters")
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        section.wrong("characters", "a list of characters", value)
        return None
    return tuple(value)


def _labels(top: Section) -> tuple[str, ...] | None:
    labels = top.texts("labels")
    if labels is None:
        return None
    if not 1 <= len(labels) <= LABEL_LIMIT:
        top.wrong("labels", f"1 to {LABEL_LIMIT} labels", list(labels))
    sizes = [len(json.dumps(label, ensure_ascii=False).encode()) for label in labels]
    if max(sizes, default=0) > LABEL_BYTES_LIMIT:
        top.wrong("labels", f"labels of at most {LABEL_BYTES_LIMIT} bytes", labels[sizes.index(max(sizes))])
    if sum(sizes) + len(sizes) > LABELS_BYTES_LIMIT:
        top.wrong("labels", f"labels of at most {LABELS_BYTES_LIMIT} bytes in all", list(labels))
    return labels


def _thresholds(section: Section) -> Thresholds:
    by_label = section.section("by_label")
    if len(by_label.data) > BY_LABEL_LIMIT:
        section.wrong("by_label", f"at most {BY_LABEL_LIMIT} labels", by_label.data)
    found = Thresholds(
        score=section.number("score", 0, 1),
        iou=section.number("iou", 0, 1),
        max_predictions=section.integer("max_predictions", 1, PREDICTIONS_LIMIT),
        by_label={key: value for key in by_label.data if (value := by_label.number(key, 0, 1)) is not None},
    )
    section.close()
    return found
