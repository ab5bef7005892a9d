"""RF-DETR: its exports say nothing about themselves, but their outputs are called `dets` and `labels`.

Read of rfdetr 1.11 (`export/_onnx/inference.py`, `export/_runtime/decode.py`, `RFDETR.predict`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph

_NAMES: Final = ("dets", "labels")
_AXES: Final = 3
_BOX: Final = 4


def stated(graph: Graph) -> dict[str, object]:
    """Return how pictures are shown to RF-DETR and its answers are read.

    Labels are in no file. Whether there is a score more than there are labels depends on the checkpoint, so that
    ``output.background`` is not stated either: where the numbers differ, the decoder asks for it.
    """
    shapes = {name: one.shape for one in graph.outputs for name in (one.name, *one.aliases) if name in _NAMES}
    if any(len(shapes.get(name) or ()) != _AXES for name in _NAMES) or (shapes["dets"] or ())[-1] != _BOX:
        return {}
    values: dict[str, object] = {
        "input.color": "RGB",
        "input.resize": "stretch",
        "input.scale": 255.0,
        "input.mean": (0.485, 0.456, 0.406),
        "input.std": (0.229, 0.224, 0.225),
        "output.names": {"boxes": "dets", "scores": "labels"},
        "output.activation": "sigmoid",
        "thresholds.score": 0.5,
    }
    if len(graph.outputs) == len(_NAMES):  # masks or keypoints beside them are another task
        values |= {"task": "detection", "decoder": "detr"}
    return values
