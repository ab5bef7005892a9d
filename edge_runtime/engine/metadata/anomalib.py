"""Models of Anomalib 2, which carry no metadata: their outputs have names that nobody else uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph

_NAMES: Final = {"pred_score", "pred_label", "anomaly_map", "pred_mask"}
"""Fields of anomalib's `InferenceBatch`; a model has those that are not ``None`` (`export_mixin/mixin.py`)."""
_AXES: Final = 4


def stated(graph: Graph) -> dict[str, object]:
    """Return what holds for all of them: RGB 0..1 in, resized with antialiasing as torchvision's `Resize` does.

    Normalisation, and that resize once more, are in the graph (`openvino_inferencer.py`).
    """
    names = [{one.name, *one.aliases} & _NAMES for one in graph.outputs]
    image = graph.inputs[0] if len(graph.inputs) == 1 else None
    if not names or not all(names) or image is None or not image.dtype.startswith("float"):
        return {}
    if not {"pred_score", "anomaly_map"} & set().union(*names) or len(image.shape or ()) != _AXES:
        return {}
    return {
        "task": "anomaly",
        "decoder": "anomalib",
        "input.layout": "NCHW",
        "input.color": "RGB",
        "input.scale": 255.0,
        "input.resize": "stretch",
        "input.interpolation": "antialias",
    }
