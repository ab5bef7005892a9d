from __future__ import annotations

from dataclasses import replace

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata import Graph, Sourced, resolve
from edge_runtime.engine.metadata.signatures import COCO, COCO_KEYPOINTS, PUBLISHED

MOVENET = Graph({}, [TensorInfo("input:0", "int32", (1, 192, 192, 3))], [TensorInfo("o", "float32", (1, 1, 17, 3))])
SELFIE = Graph(
    {},
    [TensorInfo("input_1:0", "float32", (1, 256, 256, 3))],
    [TensorInfo("activation_10:0", "float32", (1, 256, 256, 1))],
    {"Conv": 54, "ConvTranspose": 1, "AveragePool": 10, "Sigmoid": 11, "Resize": 3, "Relu": 22},
)
NANODET = Graph(
    {},
    [TensorInfo("i", "float32", (1, 3, 416, 416))],
    [TensorInfo(f"o{n}{k}", "float32", (1, n, k)) for k in (44, 80) for n in (169, 676, 2704)],
)
CENTERNET = Graph(
    {},
    [TensorInfo("tower_0/images:0", "float32", (1, 512, 512, 3))],
    [
        TensorInfo("tower_0/wh", "float32", (1, 128, 128, 4)),
        TensorInfo("tower_0/keypoints", "float32", (1, 128, 128, 80)),
        TensorInfo("tower_0/detections", "float32", (1, 100, 6)),
    ],
)
GRAPHS = (MOVENET, SELFIE, NANODET, CENTERNET)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (MOVENET, ("keypoints", "movenet", "RGB", "letterbox", 1)),
        (SELFIE, ("semantic_segmentation", "threshold", "RGB", "stretch", 255)),
        (NANODET, ("detection", "nanodet", "BGR", "stretch", 1)),
        (CENTERNET, ("detection", "end2end", "RGB", "stretch", 1)),
    ],
    ids=["movenet", "selfie", "nanodet", "centernet"],
)
def test_a_published_model_needs_nothing_else(graph: Graph, expected: tuple[object, ...]) -> None:
    spec, sources = resolve(None, graph, "m.onnx")
    assert (spec.task, spec.decoder, spec.input.color, spec.input.resize, spec.input.scale) == expected
    assert sources["input.color"] == Sourced(expected[2], "signature")


def test_movenet_sees_black_around_a_person_of_17_points() -> None:
    spec, _ = resolve(None, MOVENET, "m.onnx")
    assert (spec.labels, spec.input.pad, spec.input.layout) == (("person",), 0, "NHWC")
    assert spec.output.keypoints == COCO_KEYPOINTS
    assert len(COCO_KEYPOINTS) == 17
    assert len(set(COCO)) == 80


@pytest.mark.parametrize(
    "graph",
    [
        replace(MOVENET, inputs=[TensorInfo("input:0", "float32", (1, 192, 192, 3))]),
        replace(MOVENET, inputs=[TensorInfo("input:0", "int32", (1, 224, 224, 3))]),
        replace(MOVENET, outputs=[TensorInfo("o", "float32", (1, 1, 21, 3))]),
        replace(MOVENET, outputs=[*MOVENET.outputs, TensorInfo("o2", "float32", (1, 2))]),
        replace(SELFIE, operators={}),
        replace(SELFIE, operators={**SELFIE.operators, "Conv": 53}),  # a U-Net of somebody else
        replace(SELFIE, outputs=[TensorInfo("mask", "float32", (1, 256, 256, 1))]),
        replace(NANODET, outputs=NANODET.outputs[1:]),
        replace(CENTERNET, outputs=[replace(one, name=one.name[8:]) for one in CENTERNET.outputs]),
    ],
)
def test_a_model_that_is_only_like_a_published_one_is_not_guessed(graph: Graph) -> None:
    with pytest.raises(DataError, match="not stated anywhere: task, decoder, labels") as caught:
        resolve(None, graph, "m.onnx")
    assert caught.value.code == "model.ambiguous"
    assert '"resize"' in str(caught.value)


def test_no_model_is_two_published_ones() -> None:
    for graph in GRAPHS:
        assert sum(one.fits(graph) for one in PUBLISHED) == 1
    two = replace(MOVENET, inputs=[*MOVENET.inputs, *MOVENET.inputs])
    assert not any(one.fits(two) for one in PUBLISHED)
