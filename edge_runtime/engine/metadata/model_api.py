"""What OpenVINO Model API, Geti and others write into the section `model_info`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.engine.metadata.values import first, floats

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph


def stated(graph: Graph) -> dict[str, object]:
    """Return the part of the section that means the same here; `model_type` YOLO is told by its output."""
    info = {key.partition("/")[2]: value for key, value in graph.metadata.items() if key.startswith("model_info/")}
    info |= {
        key.removeprefix("model_info "): value for key, value in graph.metadata.items() if key.startswith("model_info ")
    }
    values: dict[str, object] = {}
    if labels := info.get("labels", "").split():
        values["labels"] = tuple(label.replace("_", " ") for label in labels)
    if "reverse_input_channels" in info:
        values["input.color"] = "RGB" if info["reverse_input_channels"].lower() in ("true", "yes") else "BGR"
    resizes = {"fit_to_window_letterbox": "letterbox", "fit_to_window": "fit", "standard": "stretch", "crop": "crop"}
    values["input.resize"] = resizes.get(info.get("resize_type", ""))
    # Model API: (pixel - mean) / scale, both in pixels
    values["input.std"] = floats(info.get("scale_values"))
    values["input.mean"] = floats(info.get("mean_values"))
    pad = first(info.get("pad_value"))
    values["input.pad"] = int(pad) if pad is not None and pad.is_integer() else pad
    values["thresholds.score"] = first(info.get("confidence_threshold"))
    values["thresholds.iou"] = first(info.get("iou_threshold"))
    shapes = [one.shape for one in graph.outputs if one.shape is not None and len(one.shape) == 3]  # noqa: PLR2004 - [1, a, b]
    if info.get("model_type", "").lower() in ("yolo", "yolov8", "yolo11") and len(shapes) == 1:
        values |= {"task": "detection", "decoder": "end2end" if shapes[0][2] == 6 else "yolo"}  # noqa: PLR2004 - x1 y1 x2 y2 score class
    return values
