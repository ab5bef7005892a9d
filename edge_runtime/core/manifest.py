"""`edge-model.json`: what a model package says about itself, parsed from bytes and checked.

The identity of a package is ``sha256:`` and the hex SHA-256 of the bytes of its `edge-model.json`, exactly as they
lie in the file. The manifest lists the SHA-256 of every weights file, so the one digest pins the whole model.

A value that is missing stays ``None``: `engine.metadata` may find it inside the model; nothing is invented here.
Unknown keys are kept in `Manifest.ignored` (a newer publisher may add some), but a key that resembles a known one is
refused as a slip of the pen. Normalisation means ``tensor = (pixel / scale - mean) / std``, per channel in the
model's own colour order.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_runtime.core.acceptance import Gates, Tolerances, read_gates, read_tolerances
from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.core.result import PREDICTIONS_LIMIT
from edge_runtime.core.steps import Step, parse_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA: Final = "edge-model/1"
MANIFEST_NAME: Final = "edge-model.json"
SIZE_LIMIT_BYTES: Final = 1 << 20
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
FORMATS: Final = ("onnx", "openvino-ir")
PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8")
LAYOUTS: Final = ("NCHW", "NHWC")
COLORS: Final = ("RGB", "BGR", "GRAY")
RESIZES: Final = ("letterbox", "fit", "stretch", "crop", "line")
INTERPOLATIONS: Final = ("linear", "nearest", "area", "cubic", "antialias")
BOXES: Final = ("cxcywh", "xyxy")
ACTIVATIONS: Final = ("none", "sigmoid", "softmax")
BACKGROUNDS: Final = ("none", "first", "last")
BACKENDS: Final = ("openvino", "onnxruntime")
SIDE_LIMIT_PX: Final = 8192
LABEL_LIMIT: Final = 100_000
LABEL_BYTES_LIMIT: Final = 256
"""Of one label, written as JSON: `PREDICTIONS_LIMIT` predictions fit one message between two processes (1 MiB)."""
LABELS_BYTES_LIMIT: Final = 640 << 10
"""Of all of them: they fit one message beside `BY_LABEL_LIMIT` thresholds; the 21 843 names of ImageNet-21k do, too."""
BY_LABEL_LIMIT: Final = 1000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"(?!.*(^|/)\.\.?(/|$))[0-9A-Za-z_.-][0-9A-Za-z_./-]{0,199}")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of the weights: relative path in the package and lower-case hex SHA-256 of its bytes."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Weights:
    """One form of the model.

    Attributes:
        files: the model file first, then what belongs to it (the `.bin` of an OpenVINO IR).
        format: one of `FORMATS`.
        precision: one of `PRECISIONS`, what the publisher quantized to; ``None`` when not stated.
        backends: engines this form is meant for, best first; a subset of `BACKENDS`.
    """

    files: tuple[WeightsFile, ...]
    format: str
    precision: str | None
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InputFields:
    """How a frame becomes the input tensor; ``None`` = not stated.

    Attributes:
        size: height, width in pixels, 1..8192 each.
        resize: `letterbox` centred with `pad`, `fit` the same at the top left, `stretch`, `crop` centred,
            `line` as high as the input at the left, and squeezed only when it is longer than that.
        interpolation: one of `INTERPOLATIONS`; `antialias` is what Pillow and torchvision call bilinear.
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
class Manifest:
    """A whole `edge-model.json`; `digest` is the identity of the package.

    Attributes:
        release: counter of the publisher, >= 0; orders releases of the same name.
        hardware: free names of boxes this was measured on.
        requires: minimal versions by library, as written.
        steps: of a chain, which has no weights of its own.
        golden: the section as written; `tolerances` and `gates` are its checked parts.
        ignored: dotted names of keys this version does not know.
    """

    name: str
    version: str
    digest: str
    weights: tuple[Weights, ...]
    release: int | None = None
    task: str | None = None
    decoder: str | None = None
    input: InputFields = InputFields()
    output: OutputFields = OutputFields()
    labels: tuple[str, ...] | None = None
    thresholds: Thresholds = Thresholds()
    tolerances: Tolerances = field(default_factory=Tolerances)
    gates: Gates = field(default_factory=Gates)
    hardware: tuple[str, ...] = ()
    requires: Mapping[str, object] = field(default_factory=dict)
    golden: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    ignored: tuple[str, ...] = ()


def parse_manifest(raw: bytes, *, where: str = MANIFEST_NAME) -> Manifest:
    """Return the manifest in ``raw`` or say everything that is wrong with it at once.

    Args:
        raw: the bytes of the file.
        where: name of the file for messages.

    Raises:
        DataError: code ``manifest.unreadable`` (not one JSON object) or ``manifest.invalid`` (all problems).
    """
    data = load_object(raw, where, limit_bytes=SIZE_LIMIT_BYTES)
    problems: list[str] = []
    ignored: list[str] = []
    top = Section(data, "", problems, ignored)
    schema = top.text("schema", required=True)
    if schema is not None and schema != SCHEMA:
        problems.append(f"schema: expected {SCHEMA!r}, found {schema!r}")
    task = top.choice("task", TASKS)
    manifest = Manifest(
        name=top.text("name", required=True, pattern=_NAME) or "",
        version=top.text("version", required=True, pattern=_VERSION) or "",
        digest="sha256:" + hashlib.sha256(raw).hexdigest(),
        release=top.integer("release", 0, 2**53),
        weights=() if task == CHAIN else _weights(top),
        task=task,
        decoder=top.choice("decoder", DECODERS[task] if task else tuple(d for all_ in DECODERS.values() for d in all_)),
        input=_input(top.section("input")),
        output=_output(top.section("output")),
        labels=_labels(top),
        thresholds=_thresholds(top.section("thresholds")),
        tolerances=read_tolerances(top.section("golden", open_ended=True)),
        gates=read_gates(top.section("golden", open_ended=True)),
        hardware=top.texts("hardware") or (),
        requires=top.mapping("requires"),
        golden=top.mapping("golden"),
        provenance=top.mapping("provenance"),
        steps=parse_steps(top) if task == CHAIN else (),
    )
    top.close(also=("description", "license", "$schema", "created"))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError(
            "manifest.invalid",
            f"{where}: {count}\n  " + "\n  ".join(problems),
            help="correct the model package; a package that was signed must be published again",
        )
    return replace(manifest, ignored=tuple(ignored))


def wrong_values(values: Mapping[str, object]) -> tuple[str, ...]:
    """Return what is wrong with ``values``, wherever they were read: each ``dotted.name: expected ..., found ...``.

    Args:
        values: `labels`, `input`, `output` and `thresholds` as they would stand in a manifest.
    """
    problems: list[str] = []
    top = Section(values, "", problems, [])
    _labels(top)
    _input(top.section("input"))
    _output(top.section("output"))
    _thresholds(top.section("thresholds"))
    return tuple(problems)


def bare_digest(sha256: Sequence[str]) -> str:
    """Return the identity of weights that came without a manifest.

    One file: ``sha256:`` and its hex SHA-256. Several (an IR's `.xml`, then its `.bin`; then the files beside the model
    that a value was read from, by name): the SHA-256 of their hex digests in that order, each followed by a line feed.
    """
    if len(sha256) == 1:
        return f"sha256:{sha256[0]}"
    return "sha256:" + hashlib.sha256("".join(f"{one}\n" for one in sha256).encode()).hexdigest()


def _weights(top: Section) -> tuple[Weights, ...]:
    forms = []
    for section in top.sections("weights"):
        files = [_weights_file(section)]
        files += (
            [_weights_file(part, close=True) for part in section.sections("parts")] if "parts" in section.data else []
        )
        kind = section.choice("format", FORMATS)
        name = files[0].file
        if kind is None:
            kind = {"onnx": "onnx", "xml": "openvino-ir"}.get(name.rpartition(".")[2])
        if kind is None and "format" not in section.data:
            section.wrong("format", "one of " + ", ".join(FORMATS), None)
        backends = section.texts("backends")
        default = BACKENDS if kind == "onnx" else ("openvino",)
        if backends is not None and (not backends or not set(backends) <= set(default)):
            section.wrong("backends", f"some of {', '.join(default)} for {kind}", list(backends))
        forms.append(Weights(tuple(files), kind or "", section.choice("precision", PRECISIONS), backends or default))
        section.close(also=("size_bytes", "quantization"))
    return tuple(forms)


def _weights_file(section: Section, *, close: bool = False) -> WeightsFile:
    found = WeightsFile(
        section.text("file", required=True, pattern=_FILE) or "",
        section.text("sha256", required=True, pattern=_SHA256) or "",
    )
    if close:
        section.close(also=("size_bytes",))
    return found


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
