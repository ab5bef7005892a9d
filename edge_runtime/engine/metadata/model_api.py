"""What OpenVINO Model API, Geti, Ultralytics and DL Streamer write into the section `model_info`.

Keys and their meaning: open-edge-platform/model_api 0.4 (`models/parameters.py`, `docs/.../model-configuration.md`) and
DL Streamer's `model_info_xml.md`. A key that would change an answer in a way that is not built here is refused; one
that leaves something open states nothing, so that it is asked for.
"""

from __future__ import annotations

import json
import math
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final

from edge_runtime.core.result import PREDICTIONS_LIMIT
from edge_runtime.engine.metadata.defaults import LABELS, THRESHOLDS
from edge_runtime.engine.metadata.values import UnusableMetadataError, first, floats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.engine.metadata.graph import Graph

_RESIZES: Final = {
    "fit_to_window_letterbox": "letterbox",
    "fit_to_window": "fit",
    "standard": "stretch",
    "crop": "crop",
}
_INTERPOLATIONS: Final = {"LINEAR": "linear", "CUBIC": "cubic", "NEAREST": "nearest"}
_IMAGENET_RED: Final = (0.485, 123.675)
_IMAGENET_BLUE: Final = (0.406, 103.53)
_NEAR: Final = 0.01  # of each other: exporters round these two
_GETI: Final = ("otx_version", "getitune_version", "label_info", "optimization_config")
"""Keys that only OTX and Geti write. They feed RGB pictures to Model API, so `reverse_input_channels` False leaves the
colours open: RGB as they came, or a model of BGR."""
_BITS_8: Final = "u8"
_BOX: Final = 4
_SSD_ROW: Final = 7
_END_TO_END_ROW: Final = 6
_RAW_HEAD_AXES: Final = 3
_MAP_AXES: Final = 4


def stated(graph: Graph) -> dict[str, object]:
    """Return what the section says.

    Raises:
        UnusableMetadataError: it asks for something that is not built.
    """
    info = _section(graph)
    if not info:
        return {}
    _refuse_unknown(info)
    values: dict[str, object] = {"labels": None if "path_to_labels" in info else _labels(info)}
    values |= _picture(info, graph)
    kind = info.get("model_type", "").lower().translate(str.maketrans("", "", " _-"))
    read = _FAMILIES.get(kind)
    return values | (_thresholds(info) if read is None else read(info, graph))


def _section(graph: Graph) -> dict[str, str]:
    """Return the keys of the section: of an IR, of an ONNX file, or of an IR that was made from one."""
    info = {}
    for key, value in graph.metadata.items():
        inside = key.removeprefix("framework/")
        if inside.startswith(("model_info/", "model_info ")) and value != "None":
            info[inside[len("model_info/") :]] = value
    return info


def _flag(info: Mapping[str, str], key: str) -> bool | None:
    return info[key].lower() in ("true", "yes", "1") if key in info else None


def _whole(info: Mapping[str, str], key: str) -> int | None:
    number = first(info.get(key))
    return int(number) if number is not None and math.isfinite(number) else None


def _refuse_unknown(info: Mapping[str, str]) -> None:
    if "tile_size" in info:
        _refuse("tile_size", info, "the picture would have to be judged in tiles", "export the model without tiling")
    mode = info.get("intensity_mode", "none")
    if mode not in ("none", "scale_to_unit"):
        _refuse("intensity_mode", info, "none and scale_to_unit are built", "export the model for 8-bit pictures")
    if info.get("input_dtype", _BITS_8) not in (_BITS_8, "f32"):
        _refuse("input_dtype", info, "pictures of cameras have 8 bits", "export the model for 8-bit pictures")
    if (first(info.get("blur_strength")) or -1) > 0:
        _refuse("blur_strength", info, "no blur is built", "export the model with blur_strength -1")
    if _flag(info, "agnostic_nms") and _flag(info, "nms_execute") is not False:
        message = "boxes of different labels would have to suppress one another"
        _refuse("agnostic_nms", info, message, "export the model without agnostic_nms")


def _refuse(key: str, info: Mapping[str, str], message: str, help_: str) -> None:
    text = f"says {key} = {info[key]}: {message}"
    raise UnusableMetadataError(text, help_)


def _labels(info: Mapping[str, str]) -> tuple[str, ...] | None:
    return tuple(label.replace("_", " ") for label in info.get("labels", "").split()) or None


def _picture(info: Mapping[str, str], graph: Graph) -> dict[str, object]:
    pad = first(info.get("pad_value"))
    values: dict[str, object] = {
        "input.layout": next((one for one in ("NCHW", "NHWC") if one in _letters(info.get("layout", ""))), None),
        "input.resize": _resize(info, graph),
        "input.interpolation": _INTERPOLATIONS.get(info.get("interpolation_mode", "").upper()),
        "input.pad": int(pad) if pad is not None and pad.is_integer() else pad,
    }
    height, width = _whole(info, "orig_height"), _whole(info, "orig_width")
    if _flag(info, "embedded_processing"):
        # resize, colours and normalisation are in the graph, for any size: at its own it has nothing left to resize
        size = None if height is None or width is None else (height, width)
        image = graph.inputs[0] if len(graph.inputs) == 1 else None
        if image is None or image.dtype != "uint8" or size is None:
            message = "such models take pictures of uint8, and orig_height and orig_width say their size"
            _refuse("embedded_processing", info, message, "export the model without embedded processing")
        return values | {"input.size": size, "input.color": "BGR", "input.scale": 1.0}
    return values | {"input.color": _color(info)} | _normalisation(info)


def _resize(info: Mapping[str, str], graph: Graph) -> str | None:
    """Return the word for `resize_type`; of `crop` only for square inputs.

    For others Model API 0.4 crops to height : width (`adapters/utils.py`, `crop_resize_graph`), which no training did.
    """
    word = _RESIZES.get(info.get("resize_type", ""))
    sides = {side for one in graph.inputs for side in (one.shape or ())[1:]} - {1, 3, None}
    return None if word == "crop" and len(sides) > 1 else word


def _letters(layout: str) -> str:
    return "".join(one for one in layout.upper() if one.isalpha())


def _normalisation(info: Mapping[str, str]) -> dict[str, object]:
    """Model API: (pixel - mean) / scale, both in pixels; with `scale_to_unit` the pixel was divided before."""
    if info.get("input_dtype", _BITS_8) != _BITS_8:  # of unknown range
        return {}
    values: dict[str, object] = {
        "input.std": floats(info.get("scale_values")),
        "input.mean": floats(info.get("mean_values")),
    }
    if info.get("intensity_mode") == "scale_to_unit":
        return values | {"input.scale": first(info.get("intensity_max_value")) or 255.0}
    if all(info.get(key) == "" for key in ("scale_values", "mean_values")):  # an empty list is written as nothing
        return {"input.scale": 1.0}
    return values


def _color(info: Mapping[str, str]) -> str | None:
    reverse = _flag(info, "reverse_input_channels")
    if reverse is None or reverse:
        return "RGB" if reverse else None
    mean = first(info.get("mean_values")) or 0.0
    if any(abs(mean - one) < _NEAR * one for one in _IMAGENET_RED):
        return (
            "RGB"  # the mean is that of red: pictures are meant to come as RGB, whatever Model API is told to reverse
        )
    known = any(abs(mean - one) < _NEAR * one for one in _IMAGENET_BLUE)
    return "BGR" if known or not any(key in info for key in _GETI) else None


def _thresholds(info: Mapping[str, str]) -> dict[str, object]:
    return {
        "thresholds.score": first(info.get("confidence_threshold")),
        "thresholds.iou": first(info.get("iou_threshold")),
    }


def _classification(info: Mapping[str, str], _graph: Graph) -> dict[str, object]:
    family: dict[str, object] = {"task": "classification"}
    if _flag(info, "hierarchical"):
        return (
            family
            | {"decoder": "hierarchical", "thresholds.score": first(info.get("confidence_threshold"))}
            | _tree(info)
        )
    if _flag(info, "multilabel"):
        return family | {"decoder": "sigmoid", "thresholds.score": first(info.get("confidence_threshold"))}
    # the best is reported whatever its score; more than the usual number may be wanted, with less some would be hidden
    usual = int(THRESHOLDS["classification"]["thresholds.max_predictions"])
    best = min(_whole(info, "topk") or 1, PREDICTIONS_LIMIT)
    return family | {"decoder": "auto", "thresholds.max_predictions": best if best > usual else None}


def _tree(info: Mapping[str, str]) -> dict[str, object]:
    """Return groups and parents of `hierarchical_config` (OTX `HLabelInfo`): several labels a head, then the others."""
    try:
        config = json.loads(info.get("hierarchical_config", ""))
        heads = config["cls_heads_info"]
        groups = tuple(tuple(map(str, group)) for group in heads["all_groups"])
        count, alone = heads["num_multiclass_heads"], heads["num_multilabel_classes"]
        ends = [0, *(heads["head_idx_to_logits_range"][str(i)][1] for i in range(count))]
        begins = [heads["head_idx_to_logits_range"][str(i)][0] for i in range(count)]
        sizes = [end - begin for begin, end in pairwise(ends)]
        parents = {str(child): str(parent) for child, parent in config["label_tree_edges"]}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        text = f"says hierarchical, but its hierarchical_config is not one: {type(error).__name__}: {error}"
        raise UnusableMetadataError(text, "export the model again") from error
    found = [len(group) for group in groups]
    if (
        begins != ends[:-1]
        or 1 in sizes
        or found[:count] != sizes
        or found[count:] != [1] * (len(groups) - count)
        or (alone != len(groups) - count)
    ):
        text = f"says hierarchical with heads of {sizes} numbers and {alone} alone, but groups of {found} labels"
        raise UnusableMetadataError(text, "export the model again")
    return {"output.groups": groups, "output.parents": parents or None, "labels": tuple(chain(*groups))}


def _ssd(info: Mapping[str, str], graph: Graph) -> dict[str, object]:
    """Model API `SSD`: one output of rows of 7, boxes of 5, or boxes, labels and scores; only the 5 are in pixels."""
    columns = [one.shape[-1] for one in graph.outputs if one.shape]
    single = len(graph.outputs) == 1 and columns == [_SSD_ROW]
    values: dict[str, object] = {
        "task": "detection",
        "decoder": "ssd" if single else "boxes",
        "output.normalized": single or _BOX + 1 not in columns,
        "output.background": "none",  # the number of a class is the position of its label, whatever that is called
    }
    return values | _thresholds(info) | _suppression(info, usual=False)


def _suppression(info: Mapping[str, str], *, usual: bool) -> dict[str, object]:
    executed = _flag(info, "nms_execute")
    most = _whole(info, "nms_max_predictions")
    return {
        **({} if executed or (executed is None and usual) else {"thresholds.iou": 1.0}),
        "thresholds.max_predictions": min(most, PREDICTIONS_LIMIT) if most and most > 0 else None,
    }


def _yolo(info: Mapping[str, str], graph: Graph) -> dict[str, object]:
    """Ultralytics writes YOLO for every head, Model API means its oldest by it: the output has to fit."""
    shapes = [one.shape for one in graph.outputs if one.shape is not None]
    values = _thresholds(info) | _suppression(info, usual=True)
    if len(shapes) != 1 or len(shapes[0]) != _RAW_HEAD_AXES:
        return values
    _, rows, columns = shapes[0]
    if columns == _END_TO_END_ROW:
        return values | {"task": "detection", "decoder": "end2end", "thresholds.iou": None}
    if rows == _BOX + len(_labels(info) or ()):
        return values | {"task": "detection", "decoder": "yolo"}
    return values


def _yolox(info: Mapping[str, str], _graph: Graph) -> dict[str, object]:
    return {"task": "detection", "decoder": "yolox"} | _thresholds(info) | _suppression(info, usual=True)


def _yolo_seg(info: Mapping[str, str], _graph: Graph) -> dict[str, object]:
    return {"task": "instance_segmentation", "decoder": "yolo"} | _thresholds(info) | _suppression(info, usual=True)


def _mask_rcnn(info: Mapping[str, str], _graph: Graph) -> dict[str, object]:
    """Model API adds 1 to the number of a class; OTX writes an empty label before the others for it."""
    labels = _labels(info) or ()
    family = {"task": "instance_segmentation", "decoder": "maskrcnn", "output.background": "none"}
    return family | {"labels": labels[1:] or None} | _thresholds(info) | _suppression(info, usual=False)


def _segmentation(info: Mapping[str, str], graph: Graph) -> dict[str, object]:
    """Model API takes class 0 for the background, and labels for those of the others."""
    labels = len(_labels(info) or ())
    classes = {one.shape[1] for one in graph.outputs if one.shape is not None and len(one.shape) == _MAP_AXES}
    background = "none" if classes == {labels} else "first"
    return {"task": "semantic_segmentation", "decoder": "argmax", "output.background": background}


def _keypoints(info: Mapping[str, str], graph: Graph) -> dict[str, object]:
    """Points of the one object of the picture: its labels are theirs. The first output is along x."""
    values: dict[str, object] = {
        "task": "keypoints",
        "decoder": "simcc",
        "labels": ("object",),
        "output.keypoints": _labels(info),
        "output.activation": "none" if _flag(info, "apply_softmax") is False else "softmax",
    }
    names = [one.name for one in graph.outputs]
    return values | ({"output.names": {"x": names[0], "y": names[1]}} if len(names) == len(("x", "y")) else {})


def _anomaly(info: Mapping[str, str], graph: Graph) -> dict[str, object]:
    """Model API `AnomalyDetection`: all outputs of Anomalib 2, or one map in the model's own unit."""
    labels = _labels(info) or ()
    both = 2
    values: dict[str, object] = {"task": "anomaly"}
    if len(labels) == both:
        values["labels"] = (*labels, LABELS["anomaly"][-1])
    names = {name for one in graph.outputs for name in (one.name, *one.aliases)}
    if {"pred_score", "pred_label", "pred_mask", "anomaly_map"} <= names:
        return values | {"decoder": "anomalib"}
    return values | {
        "decoder": "anomaly_map",
        "output.image_threshold": first(info.get("image_threshold")),
        "output.pixel_threshold": first(info.get("pixel_threshold")),
        "output.normalization_scale": first(info.get("normalization_scale")),
    }


_FAMILIES: Final[dict[str, Callable[[Mapping[str, str], Graph], dict[str, object]]]] = {
    "classification": _classification,
    "label": _classification,
    "ssd": _ssd,
    "detectionoutput": _ssd,
    **dict.fromkeys(("yolo", "yolov5", "yolov8", "yolo11", "yolov10", "yolo26"), _yolo),
    "yolox": _yolox,
    "yoloseg": _yolo_seg,
    **dict.fromkeys(("maskrcnn", "rotateddetection"), _mask_rcnn),
    "segmentation": _segmentation,
    "keypointdetection": _keypoints,
    "anomalydetection": _anomaly,
}
"""By `model_type` in lower case without blanks, `_` and `-`. What is not here is told by its outputs or asked for."""
