from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata import Graph, resolve

if TYPE_CHECKING:
    from edge_runtime.engine.spec import ModelSpec

PICTURE = TensorInfo("x", "float32", (None, 3, None, None))
LINE = TensorInfo("x", "float32", (None, 3, 48, None))
MAP = Graph(
    {},
    [PICTURE],
    [TensorInfo("fetch_name_0", "float32", (None,) * 4)],
    {"Conv": 1, "ConvTranspose": 2, "Sigmoid": 1},
    "PaddlePaddle Graph in PIR mode",
)
STEPS = Graph({"character": "a\nb\n\u3000"}, [LINE], [TensorInfo("fetch_name_0", "float32", (None, None, 5))])
DIRECTION = Graph(
    {}, [PICTURE], [TensorInfo("save_infer_model/scale_0.tmp_1", "float32", (None, 2))], {}, "PaddlePaddle"
)


def described(graph: Graph) -> ModelSpec:
    return resolve(None, graph, "m.onnx")[0]


def test_a_text_detector_is_told_by_its_graph() -> None:
    spec = described(MAP)
    assert (spec.task, spec.decoder, spec.labels) == ("text_detection", "db", ("text",))
    assert (spec.input.color, spec.input.scale, spec.input.mean, spec.input.std) == ("BGR", 255, (0.5,) * 3, (0.5,) * 3)
    assert (spec.input.resize, spec.input.size, spec.input.fit) == ("stretch", (736, 1312), "text")
    assert spec.thresholds.score == 0.5


def test_a_recogniser_is_told_by_its_alphabet() -> None:
    spec = described(STEPS)
    assert (spec.task, spec.decoder, spec.labels) == ("text_recognition", "ctc", ("text",))
    assert spec.output.characters == ("a", "b", "\u3000")
    assert (spec.input.resize, spec.input.size, spec.input.fit, spec.input.pad) == ("line", (48, 320), "line", 127)


def test_a_recogniser_is_told_in_an_ir_made_from_its_onnx_too() -> None:
    moved = {f"framework/{key}": value for key, value in STEPS.metadata.items()}
    assert described(replace(STEPS, metadata=moved)).output.characters == ("a", "b", "\u3000")


def test_a_direction_classifier_of_the_second_paddleocr_is_told_by_its_output() -> None:
    spec = described(DIRECTION)
    assert (spec.task, spec.labels, spec.input.size, spec.input.fit) == (
        "classification",
        ("0", "180"),
        (48, 192),
        "fixed",
    )
    assert (spec.input.resize, spec.thresholds.score) == ("line", 0.9)


def test_a_fixed_size_is_kept() -> None:
    fixed = replace(MAP, inputs=[TensorInfo("x", "float32", (1, 3, 640, 960))])
    assert (described(fixed).input.size, described(fixed).input.fit) == ((640, 960), "fixed")
    narrow = replace(STEPS, inputs=[TensorInfo("x", "float32", (1, 3, 32, 256))])
    assert (described(narrow).input.size, described(narrow).input.fit) == ((32, 256), "fixed")


@pytest.mark.parametrize(
    "graph",
    [
        replace(MAP, producer="pytorch"),
        replace(MAP, operators={"Conv": 1}),
        replace(MAP, inputs=[replace(PICTURE, name="image")]),
        replace(MAP, inputs=[replace(PICTURE, shape=(1, 1, None, None))]),
        replace(MAP, outputs=[TensorInfo("fetch_name_0", "float32", (1, 21, None, None))]),
        replace(MAP, outputs=[*MAP.outputs, *MAP.outputs]),
        replace(STEPS, metadata={}),
        replace(STEPS, metadata={"character": "a\nb\nc\nd\ne"}),
        replace(STEPS, outputs=[TensorInfo("y", "float32", (1, 5))]),
        replace(STEPS, inputs=[TensorInfo("x", "float32", (1, 3, None, None))]),  # made for which height?
        replace(DIRECTION, outputs=[TensorInfo("fetch_name_0", "float32", (None, 2))]),
        replace(DIRECTION, outputs=[TensorInfo("save_infer_model/scale_0.tmp_1", "float32", (None, 3))]),
    ],
)
def test_what_only_resembles_them_has_to_be_described(graph: Graph) -> None:
    with pytest.raises(DataError) as caught:
        described(graph)
    assert caught.value.code == "model.ambiguous"
