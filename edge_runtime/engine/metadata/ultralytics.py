"""What Ultralytics' exporters write: into a model, and as `metadata.yaml` beside an OpenVINO IR.

Read of ultralytics 8.4 (`engine/exporter.py`, the heads in `nn/modules/head.py`, and the predictors of each task): keys
in a file are ``str()`` of Python objects. An export of YOLOv5's own repository has only `stride` and `names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.core.description import DECODERS
from edge_runtime.core.layouts import METADATA_NAME
from edge_runtime.engine.metadata.values import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.engine.metadata.graph import Graph

_FAMILIES: Final = {
    "classify": ("classification", "probabilities", "probabilities"),
    "detect": ("detection", "yolo", "end2end"),
    "obb": ("oriented_detection", "yolo", "end2end"),
    "pose": ("keypoints", "yolo", "end2end"),
    "segment": ("instance_segmentation", "yolo", "end2end"),
    "semantic": ("semantic_segmentation", "argmax", "argmax"),
}
"""By its word: our task, the decoder of a raw head, the decoder of one that suppresses in the graph."""
_COLORS: Final = {"1": "GRAY", "3": "RGB"}
_IOU: Final = 0.7
"""Of its predictors, unless the caller says otherwise (`cfg/default.yaml`)."""
_ROW: Final = 6
_AXES: Final = 3


def stated(graph: Graph) -> dict[str, object]:
    """Return what stands in the model file itself."""
    # an IR that was made from its ONNX keeps the keys in a section
    return _read({key.removeprefix("framework/"): value for key, value in graph.metadata.items()}, graph)


def stated_beside(graph: Graph) -> dict[str, object]:
    """Return what stands in the file beside the model, if it belongs to it."""
    return {} if is_of_other_model(graph) else _read(_beside(graph), graph)


def is_of_other_model(graph: Graph) -> bool:
    """Tell whether the file beside the model was left there by another one.

    The exporter writes the labels into the section `model_info` of the model as well, with "_" for blanks.
    """
    known, names = graph.metadata.get("model_info/labels", "").split(), _names(_beside(graph))
    return bool(known) and names is not None and [one.replace(" ", "_") for one in names] != known


def _beside(graph: Graph) -> dict[str, str]:
    prefix = f"{METADATA_NAME}/"
    return {key.removeprefix(prefix): value for key, value in graph.metadata.items() if key.startswith(prefix)}


def _read(metadata: Mapping[str, str], graph: Graph) -> dict[str, object]:
    names = _names(metadata)
    if metadata.get("author") != "Ultralytics":
        return _yolov5(metadata, names, graph)
    task, channels = metadata.get("task", ""), metadata.get("channels", "3")
    values: dict[str, object] = {
        "labels": names,
        "input.color": _COLORS.get(channels),
        "input.scale": 255.0,
        "input.size": _size(metadata),
    }
    family, raw, finished = _FAMILIES.get(task, ("", "", ""))
    if raw not in DECODERS.get(family, ()):
        return values
    arguments = literal(metadata.get("args"))
    is_finished = metadata.get("end2end") == "True" or (isinstance(arguments, dict) and arguments.get("nms") is True)
    values |= {"task": family, "decoder": finished if is_finished else raw, "input.resize": "letterbox"}
    if task == "classify":
        # as torchvision does it: a square is cut out of the middle, to another size a picture is stretched
        size = values["input.size"]
        is_square = not isinstance(size, tuple) or size[0] == size[1]
        return values | {"input.resize": "crop" if is_square else "stretch", "input.interpolation": "antialias"}
    if task == "pose":
        values["output.keypoints"] = _keypoints(metadata)
    if task == "detect" and _is_rtdetr(metadata, names, graph):
        return values | _rtdetr(graph)
    if raw == "yolo" and not is_finished and "model_info/iou_threshold" not in graph.metadata:
        values["thresholds.iou"] = _IOU
    return values


def _yolov5(metadata: Mapping[str, str], names: tuple[str, ...] | None, graph: Graph) -> dict[str, object]:
    """Return what an export of YOLOv5's own repository leaves to be known: its keys, and the shape of its output."""
    is_one = names is not None and "stride" in metadata and any(s[2] == 5 + len(names) for s in _shapes(graph))
    if not is_one:
        return {}
    return {
        "task": "detection",
        "decoder": "yolov5",
        "labels": names,
        "input.color": "RGB",
        "input.resize": "letterbox",
        "input.scale": 255.0,
    }


def _names(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    names = literal(metadata.get("names"))
    if isinstance(names, list):  # of old exports
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(isinstance(key, int) for key in names):
        return None
    return tuple(str(names[key]) for key in sorted(names))


def _size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    size = literal(metadata.get("imgsz"))
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):  # noqa: PLR2004 - height, width
        return size[0], size[1]
    return None


def _keypoints(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the names of the points, or their numbers; each class may have names of its own, then they are numbers."""
    shape, named = literal(metadata.get("kpt_shape")), literal(metadata.get("kpt_names"))
    if not isinstance(shape, list | tuple) or not shape or not isinstance(shape[0], int) or not 0 < shape[0] <= 1000:  # noqa: PLR2004 - more is no body
        return None
    lists = list(named.values()) if isinstance(named, dict) else [named]
    first = lists[0] if lists else None
    is_known = isinstance(first, list) and len(first) == shape[0] and all(one == first for one in lists)
    return tuple(map(str, first if is_known and isinstance(first, list) else range(shape[0])))


def _shapes(graph: Graph) -> Sequence[tuple[int | None, ...]]:
    return [one.shape for one in graph.outputs if one.shape is not None and len(one.shape) == _AXES]


def _is_rtdetr(metadata: Mapping[str, str], names: tuple[str, ...] | None, graph: Graph) -> bool:
    """Tell RT-DETR by its name, or before that was written by its axes: queries come first."""
    if "head" in metadata:
        return metadata["head"] == "RTDETRDecoder"
    columns = 4 + len(names or ())
    return any(shape[2] == columns != shape[1] for shape in _shapes(graph))


def _rtdetr(graph: Graph) -> dict[str, object]:
    """Return how RT-DETR differs: pictures are stretched, boxes are centre and sides in fractions of the input.

    Its rows are box, score, class; before 8.4 they were box and one score per label.
    """
    rows = any(shape[2] == _ROW for shape in _shapes(graph))
    return {
        "decoder": "end2end" if rows else "detr",
        "input.resize": "stretch",
        "output.boxes": "cxcywh",
        "output.normalized": True,
        "output.activation": "none",
    }
