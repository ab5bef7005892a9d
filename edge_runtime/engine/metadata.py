"""Where each value of a model's description comes from, and what to write when it comes from nowhere.

Order of truth: `edge-model.json`, then `model_info` (OpenVINO Model API), then Ultralytics' keys, then plain keys
(`character`, `labels`), then the shapes in the graph. Defaults exist only for what cannot turn a verdict silently:
thresholds, interpolation, the grey of a border. Everything else that is not stated is an error that says what to
write: wrong preprocessing gives plausible nonsense.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import DECODERS, MANIFEST_NAME, wrong_values
from edge_runtime.core.result import PREDICTIONS_LIMIT
from edge_runtime.engine.spec import InputSpec, ModelSpec, OutputSpec, ThresholdSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.core.manifest import Manifest
    from edge_runtime.engine.base import TensorInfo

INPUT_DTYPES: Final = ("float32", "float16", "uint8")
_RANK: Final = 4
_NORMALISATION: Final = {"input.scale": 1.0, "input.mean": (0.0,), "input.std": (1.0,)}
_THRESHOLDS: Final = {
    "classification": {"thresholds.score": 0.0, "thresholds.iou": 1.0, "thresholds.max_predictions": 5},
    "detection": {"thresholds.score": 0.25, "thresholds.iou": 0.45, "thresholds.max_predictions": 300},
}
_EXAMPLES: Final = {
    "task": '"task": "detection"',
    "decoder": '"decoder": "yolo"',
    "labels": '"labels": ["good", "scratch"]',
    "input.size": '"size": [640, 640]',
    "input.color": '"color": "RGB"',
    "input.layout": '"layout": "NCHW"',
    "input.resize": '"resize": "letterbox"',
    "input.scale": '"scale": 255',
}


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it was read."""

    value: object
    source: str


Layer = tuple[str, dict[str, object]]


def resolve(
    manifest: Manifest | None,
    metadata: Mapping[str, str],
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    where: str,
) -> tuple[ModelSpec, dict[str, Sourced]]:
    """Return the complete description of a model and the source of each of its values.

    Args:
        manifest: what the package says, if there is one.
        metadata: what the model file says: ONNX `metadata_props`, or an IR's `rt_info` as ``section/key``.
        inputs: inputs of the graph, as the file declares them.
        outputs: its outputs.
        where: name of the model for messages.

    Raises:
        DataError: code ``model.wrong_input`` (not a model of one picture), ``model.ambiguous`` (with what to write),
            ``model.wrong_value`` (stated, but not a value that may stand in a manifest).
    """
    image = _image_input(inputs, where)
    layers: list[Layer] = [
        (MANIFEST_NAME, _from_manifest(manifest)),
        ("model_info", _from_model_info(metadata, outputs)),
        ("Ultralytics metadata", _from_ultralytics(metadata)),
        ("metadata", _from_plain_keys(metadata)),
    ]
    stated = _Stated(layers)
    layout = stated.take("input.layout", graph=_layout(image))
    _check_against_graph(image, layout, stated, where)
    _add_defaults(stated)
    missing = [key for key in _EXAMPLES if key not in stated.found]
    if missing:
        message = f"{where}: not stated anywhere: {', '.join(missing)}"
        wanted = _what_to_write(missing)
        raise DataError("model.ambiguous", message, help=f"write it in {MANIFEST_NAME} beside the model, like {wanted}")
    _check_values(stated.found, where)
    stated.found["input.name"] = Sourced(image.name, "graph")
    stated.found["input.dtype"] = Sourced(image.dtype, "graph")
    spec = _spec(stated.found, image)
    if image.dtype == "uint8" and not spec.input.is_raw:
        message = f"{where}: the input is of uint8 and takes pixels as they are, but scale, mean or std are stated"
        help_ = f'write "input": {{"scale": 1, "mean": [0], "std": [1]}} in {MANIFEST_NAME} beside the model'
        raise DataError("model.wrong_input", message, help=help_)
    return spec, stated.found


def _check_values(found: Mapping[str, Sourced], where: str) -> None:
    """Hold what a model says about itself to the limits of a manifest: with a floor above 1 it would find nothing."""
    sections: dict[str, dict[str, object]] = {}
    for key, one in found.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = list(one.value) if isinstance(one.value, tuple) else one.value
    values = {**sections.pop(""), **sections}
    problems = [f"{text} (from {found[text.partition(':')[0]].source})" for text in wrong_values(values)]
    if problems:
        message = f"{where}: {'; '.join(problems)}"
        help_ = f"correct the model, or write the right value in {MANIFEST_NAME} beside it"
        raise DataError("model.wrong_value", message, help=help_)


class _Stated:
    """Takes values from the first layer that has them."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.found: dict[str, Sourced] = {}
        for name, values in layers:
            stated = {key: value for key, value in values.items() if value is not None}
            if any(key in self.found for key in _NORMALISATION):  # the three are one statement, never a mixture
                stated = {key: value for key, value in stated.items() if key not in _NORMALISATION}
            for key, value in stated.items():
                self.found.setdefault(key, Sourced(value, name))

    def take(self, key: str, *, graph: object = None, default: object = None) -> object:
        """Return the value of ``key``; what the graph says is used only when nobody states it."""
        if graph is not None:
            self.found.setdefault(key, Sourced(graph, "graph"))
        if default is not None:
            self.found.setdefault(key, Sourced(default, "default"))
        return self.found[key].value if key in self.found else None


def _what_to_write(missing: Sequence[str]) -> str:
    """Return the missing keys as they stand in a manifest, with values of a usual model."""
    parts = [_EXAMPLES[key] for key in missing if not key.startswith("input.")]
    inside = [_EXAMPLES[key] for key in missing if key.startswith("input.")]
    return ", ".join([*parts, *([f'"input": {{{", ".join(inside)}}}'] if inside else [])])


def _image_input(inputs: Sequence[TensorInfo], where: str) -> TensorInfo:
    listed = "; ".join(map(str, inputs)) or "none"
    if len(inputs) != 1:
        message = f"{where}: expected one input (a picture), found {len(inputs)}: {listed}"
        raise DataError("model.wrong_input", message, help="models with other inputs are not supported")
    image = inputs[0]
    if image.shape is None or len(image.shape) != _RANK:
        message = f"{where}: expected an input of 4 axes, [1,3,H,W] or [1,H,W,3], found {listed}"
        raise DataError("model.wrong_input", message, help="export the model with its batch axis")
    if image.dtype not in INPUT_DTYPES:
        message = f"{where}: expected an input of {', '.join(INPUT_DTYPES)}, found {listed}"
        raise DataError("model.wrong_input", message, help="export the model with a float input")
    if image.shape[0] not in (1, None):
        message = f"{where}: expected a batch of 1, found {listed}"
        raise DataError("model.wrong_input", message, help="export the model with batch 1 or a dynamic batch")
    return image


def _layout(image: TensorInfo) -> str | None:
    shape = image.shape or ()
    planar, interleaved = shape[1] in (1, 3), shape[3] in (1, 3)
    if planar == interleaved:
        return None
    return "NCHW" if planar else "NHWC"


def _check_against_graph(image: TensorInfo, layout: object, stated: _Stated, where: str) -> None:
    if layout is None:
        return
    shape = image.shape or ()
    channels, height, width = (shape[1], shape[2], shape[3]) if layout == "NCHW" else (shape[3], shape[1], shape[2])
    if channels not in (1, 3, None):
        message = f"{where}: expected 1 or 3 channels, {layout} makes {image} one of {channels}"
        raise DataError(
            "model.wrong_input", message, help="correct input.layout, or use a model of grey or colour pictures"
        )
    if height is not None and width is not None:
        size = stated.take("input.size", graph=(height, width))
    else:
        size = stated.take("input.size")
    for given, fixed in zip(size if isinstance(size, tuple) else (), (height, width), strict=False):
        if fixed not in (None, given):
            message = f"{where}: input.size {list(size)} does not fit the model's {image}"  # type: ignore[call-overload]  # a tuple, seen above
            raise DataError("model.wrong_input", message, help="write the model's own size, or leave it out")
    color = stated.take("input.color", graph="GRAY" if channels == 1 else None)
    if channels is not None and color is not None and (color == "GRAY") != (channels == 1):
        message = f"{where}: input.color {color} does not fit the model's {image}"
        raise DataError("model.wrong_input", message, help="GRAY is for models of one channel")
    if image.dtype == "uint8":
        stated.take("input.scale", default=1.0)


def _add_defaults(stated: _Stated) -> None:
    if any(key in stated.found for key in _NORMALISATION):
        for key, value in _NORMALISATION.items():
            stated.take(key, default=value)
    task = stated.take("task")
    decoder = stated.take("decoder")
    for name, decoders in DECODERS.items():
        if task is None and decoder in decoders:
            task = stated.take("task", default=name)
    for key, value in _THRESHOLDS.get(str(task), {}).items():
        stated.take(key, default=_DECODER_THRESHOLDS.get((str(decoder), key), value))
    stated.take("input.interpolation", default="linear")
    stated.take("input.crop", default=1.0)
    stated.take("input.pad", default=114)
    stated.take("output.boxes", default="cxcywh" if decoder == "yolo" else "xyxy")
    stated.take("output.normalized", default=False)


_DECODER_THRESHOLDS: Final = {
    ("end2end", "thresholds.iou"): 1.0,
    ("sigmoid", "thresholds.score"): 0.5,
    ("sigmoid", "thresholds.max_predictions"): PREDICTIONS_LIMIT,  # any number is present, none may be left out
}


def _from_manifest(manifest: Manifest | None) -> dict[str, object]:
    if manifest is None:
        return {}
    values: dict[str, object] = {"task": manifest.task, "decoder": manifest.decoder, "labels": manifest.labels}
    values |= {f"input.{one.name}": getattr(manifest.input, one.name) for one in fields(manifest.input)}
    values |= {f"output.{one.name}": getattr(manifest.output, one.name) for one in fields(manifest.output)}
    values |= {f"thresholds.{one.name}": getattr(manifest.thresholds, one.name) for one in fields(manifest.thresholds)}
    return values | {"thresholds.by_label": manifest.thresholds.by_label or None}


def _from_ultralytics(metadata: Mapping[str, str]) -> dict[str, object]:
    """Keys of ultralytics 8 `engine/exporter.py`; values are ``str()`` of Python objects."""
    metadata = {key.removeprefix("framework/"): value for key, value in metadata.items()}  # an IR made from its ONNX
    if metadata.get("author") != "Ultralytics":
        return {}
    task, head = metadata.get("task"), metadata.get("head")
    values: dict[str, object] = {"input.color": "RGB", "input.scale": 255.0}
    names = _literal(metadata.get("names"))
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        values["labels"] = tuple(str(names[key]) for key in sorted(names))
    size = _literal(metadata.get("imgsz"))
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):  # noqa: PLR2004 - height, width
        values["input.size"] = (size[0], size[1])
    arguments = _literal(metadata.get("args"))
    suppressed = isinstance(arguments, dict) and arguments.get("nms") is True
    if task == "classify":
        values |= {"task": "classification", "decoder": "probabilities", "input.resize": "crop"}
    elif task == "detect" and head != "RTDETRDecoder":  # its rows are written differently: say so in the manifest
        done = suppressed or metadata.get("end2end") == "True"
        values |= {"task": "detection", "decoder": "end2end" if done else "yolo", "input.resize": "letterbox"}
    return values


def _from_model_info(metadata: Mapping[str, str], outputs: Sequence[TensorInfo]) -> dict[str, object]:
    """The part of OpenVINO Model API's section that means the same here; `model_type` YOLO is told by its output."""
    info = {key.partition("/")[2]: value for key, value in metadata.items() if key.startswith("model_info/")}
    info |= {key.removeprefix("model_info "): value for key, value in metadata.items() if key.startswith("model_info ")}
    values: dict[str, object] = {}
    if labels := info.get("labels", "").split():
        values["labels"] = tuple(label.replace("_", " ") for label in labels)
    if "reverse_input_channels" in info:
        values["input.color"] = "RGB" if info["reverse_input_channels"].lower() in ("true", "yes") else "BGR"
    resizes = {"fit_to_window_letterbox": "letterbox", "fit_to_window": "fit", "standard": "stretch", "crop": "crop"}
    values["input.resize"] = resizes.get(info.get("resize_type", ""))
    # Model API: (pixel - mean) / scale, both in pixels
    values["input.std"] = _floats(info.get("scale_values"))
    values["input.mean"] = _floats(info.get("mean_values"))
    pad = _first(info.get("pad_value"))
    values["input.pad"] = int(pad) if pad is not None and pad.is_integer() else pad
    values["thresholds.score"] = _first(info.get("confidence_threshold"))
    values["thresholds.iou"] = _first(info.get("iou_threshold"))
    shapes = [one.shape for one in outputs if one.shape is not None and len(one.shape) == 3]  # noqa: PLR2004 - [1, a, b]
    if info.get("model_type", "").lower() in ("yolo", "yolov8", "yolo11") and len(shapes) == 1:
        values |= {"task": "detection", "decoder": "end2end" if shapes[0][2] == 6 else "yolo"}  # noqa: PLR2004 - x1 y1 x2 y2 score class
    return values


def _from_plain_keys(metadata: Mapping[str, str]) -> dict[str, object]:
    """Labels under the keys that converters use: one a line (`character` of PaddleOCR's), or a Python list."""
    for key in ("character", "labels", "classes"):
        text = metadata.get(key)
        if text:
            listed = _literal(text)
            lines = [str(one) for one in listed] if isinstance(listed, list) else text.split("\n")
            return {"labels": tuple(lines)}
    return {}


def _literal(text: str | None) -> object:
    try:
        return ast.literal_eval(text) if text is not None and len(text) < 1 << 20 else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _floats(text: str | None) -> tuple[float, ...] | None:
    try:
        numbers = tuple(
            float(one) for one in (text or "").replace(",", " ").replace("[", " ").replace("]", " ").split()
        )
    except ValueError:
        return None
    return numbers or None


def _first(text: str | None) -> float | None:
    numbers = _floats(text)
    return numbers[0] if numbers else None


def _spec(found: Mapping[str, Sourced], image: TensorInfo) -> ModelSpec:
    value = {key: one.value for key, one in found.items()}
    pick = value.get
    names = ("layout", "color", "size", "resize", "interpolation", "crop", "mean", "std", "scale", "pad")
    return ModelSpec(
        task=str(value["task"]),
        decoder=str(value["decoder"]),
        input=InputSpec(name=image.name, dtype=image.dtype, **{key: value[f"input.{key}"] for key in names}),  # type: ignore[arg-type]  # checked where they were read
        output=OutputSpec(pick("output.name"), str(value["output.boxes"]), bool(value["output.normalized"])),  # type: ignore[arg-type]  # a text or None
        labels=value["labels"],  # type: ignore[arg-type]  # a tuple of texts in every layer
        thresholds=ThresholdSpec(
            score=value["thresholds.score"],  # type: ignore[arg-type]  # a number in every layer
            iou=value["thresholds.iou"],  # type: ignore[arg-type]  # a number in every layer
            max_predictions=value["thresholds.max_predictions"],  # type: ignore[arg-type]  # a number in every layer
            by_label=pick("thresholds.by_label", {}),  # type: ignore[arg-type]  # a mapping from the manifest
        ),
    )
