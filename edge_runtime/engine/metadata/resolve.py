"""Where each value of a model's description comes from, and what to write when it comes from nowhere.

Order of truth: `edge-model.json`; what the exporter itself wrote into the model (Ultralytics) or beside it
(`metadata.yaml`, where it agrees with the model; transformers' `config.json`); `model_info` (OpenVINO Model API), of
which Ultralytics writes one, too, that says less and spells labels differently; the graphs of PaddleOCR's models; plain
keys (`character`, `labels`); `labels.txt` beside the model; Triton's `config.pbtxt`; published models that are known by
their signature; outputs that are called as only one family calls them; the shapes in the graph. Defaults exist only for
what cannot turn a verdict silently: thresholds, interpolation, the grey of a border. Everything else that is not stated
is an error that says what to write: wrong preprocessing gives plausible nonsense.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from edge_runtime.core.description import DECODERS, wrong_values
from edge_runtime.core.errors import DataError
from edge_runtime.core.layouts import HUGGING_FACE_NAME, METADATA_NAME, REPOSITORY_NAME
from edge_runtime.core.manifest import MANIFEST_NAME, SCHEMA
from edge_runtime.engine.metadata import (
    anomalib,
    huggingface,
    lists,
    model_api,
    own,
    paddle,
    plain,
    rfdetr,
    signatures,
    triton,
    ultralytics,
)
from edge_runtime.engine.metadata.defaults import (
    CENTRED,
    DECODER_THRESHOLDS,
    EXAMPLES,
    FRACTIONS,
    LABELS,
    THRESHOLDS,
    UNTOLD,
)
from edge_runtime.engine.metadata.values import UnusableMetadataError, dotted
from edge_runtime.engine.sidecars import LABELS_NAME
from edge_runtime.engine.sizes import FIRST
from edge_runtime.engine.spec import WHOLE_DTYPES, InputSpec, ModelSpec, OutputSpec, ThresholdSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.core.manifest import Manifest
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.metadata.graph import Graph

INPUT_DTYPES: Final = ("float32", "float16", *WHOLE_DTYPES)
FITS: Final = {"text_detection": "text", "text_recognition": "line"}
_RANK: Final = 4
_TABLE_RANK: Final = 2
_NORMALISATION: Final = {"input.scale": 1.0, "input.mean": (0.0,), "input.std": (1.0,)}


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it was read."""

    value: object
    source: str


Layer = tuple[str, dict[str, object]]
_SOURCES: Final[tuple[tuple[str, Callable[[Graph], dict[str, object]]], ...]] = (
    ("edge metadata", own.stated),
    ("Ultralytics metadata", ultralytics.stated),
    (METADATA_NAME, ultralytics.stated_beside),
    (HUGGING_FACE_NAME, huggingface.stated),
    (huggingface.PREPROCESSOR_NAME, huggingface.stated_beside),
    ("model_info", model_api.stated),
    ("PaddleOCR", paddle.stated),
    ("metadata", plain.stated),
    (LABELS_NAME, plain.stated_beside),
    (REPOSITORY_NAME, triton.stated),
    ("signature", signatures.stated),
    ("RF-DETR's outputs", rfdetr.stated),
    ("names of outputs", lists.stated),
    ("Anomalib's outputs", anomalib.stated),
)


def resolve(
    manifest: Manifest | None,
    graph: Graph,
    where: str,
) -> tuple[ModelSpec, dict[str, Sourced]]:
    """Return the complete description of a model and the source of each of its values.

    Args:
        manifest: what the package says, if there is one.
        graph: what the model file says.
        where: name of the model for messages.

    Raises:
        DataError: code ``model.wrong_input`` (not a model of one picture), ``model.ambiguous`` (with what to write),
            ``model.wrong_value`` (stated, but not a value that may stand in a manifest), ``model.unsupported`` (it asks
            for what is not built).
    """
    image = _image_input(graph.inputs, where)
    stated = _Stated([(MANIFEST_NAME, dotted(manifest.description) if manifest else {}), *_ask(graph, where)])
    layout = stated.take("input.layout", graph=_layout(image))
    _check_against_graph(image, layout, stated, where)
    _add_defaults(stated)
    fit = _fit(stated, image, layout)
    untold = UNTOLD.get(str(stated.take("decoder")), ())
    needed = [key for key in EXAMPLES if key in untold or not key.startswith("output.")]
    missing = [key for key in needed if key not in stated.found]
    if missing:
        message = f"{where}: not stated anywhere: {', '.join(missing)}"
        wanted = _what_to_write(missing)
        help_ = f"write it in {MANIFEST_NAME} beside the model, like {wanted}"
        if manifest is None:
            head = f'"schema": "{SCHEMA}", "name": "my-model", "version": "1", "weights": {{"file": "{where}"}}'
            help_ = (
                f"write {MANIFEST_NAME} beside the model, like {{{head}, {wanted}}}, then "
                "edge-runtime models pack DIRECTORY adds the hash"
            )
        raise DataError("model.ambiguous", message, help=help_)
    _check_family(stated.found, where)
    _check_values(stated.found, where)
    stated.found["input.name"] = Sourced(image.name, "graph")
    stated.found["input.dtype"] = Sourced(image.dtype, "graph")
    spec = _spec(stated.found, image, fit)
    if spec.input.is_whole and not spec.input.is_raw:
        message = (
            f"{where}: the input is of {image.dtype} and takes pixels as they are, but scale, mean or std are stated"
        )
        help_ = f'write "input": {{"scale": 1, "mean": [0], "std": [1]}} in {MANIFEST_NAME} beside the model'
        raise DataError("model.wrong_input", message, help=help_)
    if fit != "fixed":  # a package that states a size has that one
        del stated.found["input.size"]
    return spec, stated.found


def other_labels(graph: Graph, labels: Sequence[str]) -> tuple[str, ...]:
    """Return a note for each source that knows other labels than those that are used; spelling counts."""
    if "output.characters" in paddle.stated(graph):  # plain keys take an alphabet for labels
        return ()
    is_stray = ultralytics.is_of_other_model(graph)
    notes = [f"{METADATA_NAME} beside the model is not used: its labels are not those of the model"] if is_stray else []
    for name, source in _SOURCES:
        listed = source(graph).get("labels")
        if isinstance(listed, tuple) and listed != tuple(labels):
            pairs = [(one, other) for one, other in zip(listed, labels, strict=False) if one != other]
            what = f"{pairs[0][0]!r} for {pairs[0][1]!r}" if pairs else f"{len(listed)} labels, not {len(labels)}"
            notes.append(f"labels in {name} are not used: it has {what}")
    return tuple(notes)


def _ask(graph: Graph, where: str) -> list[Layer]:
    layers = []
    for name, source in _SOURCES:
        try:
            layers.append((name, source(graph)))
        except UnusableMetadataError as error:
            raise DataError("model.unsupported", f"{where}: {name} {error}", help=error.help) from error
    return layers


def _check_family(found: Mapping[str, Sourced], where: str) -> None:
    task, decoder = found["task"], found["decoder"]
    known = DECODERS.get(str(task.value), ())
    if decoder.value in known:
        return
    message = (
        f"{where}: decoder {decoder.value!r} (from {decoder.source}) is none of task {task.value!r}: {', '.join(known)}"
    )
    raise DataError(
        "model.unsupported", message, help=f"write the right task and decoder in {MANIFEST_NAME} beside the model"
    )


def _check_values(found: Mapping[str, Sourced], where: str) -> None:
    """Hold what a model says about itself to the limits of a manifest: with a floor above 1 it would find nothing."""
    sections: dict[str, dict[str, object]] = {}
    for key, one in found.items():
        section, _, name = key.rpartition(".")
        if one != Sourced((), "default"):  # families without labels
            sections.setdefault(section, {})[name] = _as_json(one.value)
    values = {**sections.pop(""), **sections}
    problems = [f"{text} (from {found[text.partition(':')[0]].source})" for text in wrong_values(values)]
    if problems:
        message = f"{where}: {'; '.join(problems)}"
        help_ = f"correct the model, or write the right value in {MANIFEST_NAME} beside it"
        raise DataError("model.wrong_value", message, help=help_)


def _as_json(value: object) -> object:
    return [_as_json(one) for one in value] if isinstance(value, tuple) else value


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
    parts = [EXAMPLES[key] for key in missing if "." not in key]
    for section in ("input", "output"):
        inside = [EXAMPLES[key] for key in missing if key.startswith(f"{section}.")]
        parts += [f'"{section}": {{{", ".join(inside)}}}'] if inside else []
    return ", ".join(parts)


def _image_input(inputs: Sequence[TensorInfo], where: str) -> TensorInfo:
    listed = "; ".join(map(str, inputs)) or "none"
    if len(inputs) != 1:
        message = f"{where}: expected one input (a picture), found {len(inputs)}: {listed}"
        raise DataError("model.wrong_input", message, help="models with other inputs are not supported")
    image = inputs[0]
    if image.shape is None or len(image.shape) != _RANK:
        message = f"{where}: expected an input of 4 axes, [1,3,H,W] or [1,H,W,3], found {listed}"
        is_table = image.shape is not None and len(image.shape) <= _TABLE_RANK
        way_out = "only pictures are judged, not numbers measured elsewhere; a model of pictures needs its batch axis"
        raise DataError(
            "model.wrong_input", message, help=way_out if is_table else "export the model with its batch axis"
        )
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
    if image.dtype in WHOLE_DTYPES:
        stated.take("input.scale", default=1.0)


def _add_defaults(stated: _Stated) -> None:
    if any(key in stated.found for key in _NORMALISATION):
        for key, value in _NORMALISATION.items():
            stated.take(key, default=value)
    task = stated.take("task")
    decoder = stated.take("decoder")
    tasks = [name for name, decoders in DECODERS.items() if decoder in decoders]
    if task is None and len(tasks) == 1:
        task = stated.take("task", default=tasks[0])
    if len(decoders := DECODERS.get(str(task), ())) == 1:
        decoder = stated.take("decoder", default=decoders[0])
    groups = stated.take("output.groups")
    stated.take("labels", default=tuple(chain(*groups)) if isinstance(groups, tuple) else LABELS.get(str(task)))
    for key, value in THRESHOLDS.get(str(task), {}).items():
        stated.take(key, default=DECODER_THRESHOLDS.get((str(decoder), key), value))
    stated.take("input.interpolation", default="linear")
    stated.take("input.crop", default=1.0)
    stated.take("input.pad", default=114)
    labels = stated.take("labels")
    if isinstance(labels, tuple) and labels[:1] and str(labels[0]).strip("_").lower() == "background":
        stated.take("output.background", default="none")  # it has a place among the labels, so numbers are theirs
    is_centred = decoder in CENTRED or task == "oriented_detection"
    stated.take("output.boxes", default="cxcywh" if is_centred else "xyxy")
    stated.take("output.normalized", default=decoder in FRACTIONS)


def _fit(stated: _Stated, image: TensorInfo, layout: object) -> str:
    """Return how the input follows from the frame; only of a reader of text whose size is open and not stated.

    A line has a height that the model was made for, so that one has to be fixed.
    """
    fit = FITS.get(str(stated.take("task")), "fixed")
    height, width = (image.shape or ())[2:] if layout == "NCHW" else (image.shape or ())[1:3]
    if fit == "fixed" or "input.size" in stated.found or width is not None or (height is None) == (fit == "line"):
        return "fixed"
    stated.take("input.size", default=(height or FIRST[fit][0], FIRST[fit][1]))
    return fit


def _spec(found: Mapping[str, Sourced], image: TensorInfo, fit: str) -> ModelSpec:
    value = {key: one.value for key, one in found.items()}
    pick = value.get
    names = ("layout", "color", "size", "resize", "interpolation", "crop", "mean", "std", "scale", "pad")
    output: dict[str, Any] = {
        one.name: value[key] for one in fields(OutputSpec) if (key := f"output.{one.name}") in value
    }
    return ModelSpec(
        task=str(value["task"]),
        decoder=str(value["decoder"]),
        input=InputSpec(name=image.name, dtype=image.dtype, fit=fit, **{key: value[f"input.{key}"] for key in names}),  # type: ignore[arg-type]  # checked where they were read
        output=OutputSpec(**output),
        labels=value["labels"],  # type: ignore[arg-type]  # a tuple of texts in every layer
        thresholds=ThresholdSpec(
            score=value["thresholds.score"],  # type: ignore[arg-type]  # a number in every layer
            iou=value["thresholds.iou"],  # type: ignore[arg-type]  # a number in every layer
            max_predictions=value["thresholds.max_predictions"],  # type: ignore[arg-type]  # a number in every layer
            by_label=pick("thresholds.by_label", {}),  # type: ignore[arg-type]  # a mapping from the manifest
        ),
    )
