"""What Ultralytics' exporter writes into a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.engine.metadata.values import literal

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph


def stated(graph: Graph) -> dict[str, object]:
    """Return what ultralytics 8 wrote (`engine/exporter.py`): values are ``str()`` of Python objects."""
    metadata = {
        key.removeprefix("framework/"): value for key, value in graph.metadata.items()
    }  # an IR made from its ONNX
    if metadata.get("author") != "Ultralytics":
        return {}
    task, head = metadata.get("task"), metadata.get("head")
    values: dict[str, object] = {"input.color": "RGB", "input.scale": 255.0}
    names = literal(metadata.get("names"))
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        values["labels"] = tuple(str(names[key]) for key in sorted(names))
    size = literal(metadata.get("imgsz"))
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):  # noqa: PLR2004 - height, width
        values["input.size"] = (size[0], size[1])
    arguments = literal(metadata.get("args"))
    suppressed = isinstance(arguments, dict) and arguments.get("nms") is True
    if task == "classify":
        values |= {"task": "classification", "decoder": "probabilities", "input.resize": "crop"}
    elif task == "detect" and head != "RTDETRDecoder":  # its rows are written differently: say so in the manifest
        done = suppressed or metadata.get("end2end") == "True"
        values |= {"task": "detection", "decoder": "end2end" if done else "yolo", "input.resize": "letterbox"}
    return values
