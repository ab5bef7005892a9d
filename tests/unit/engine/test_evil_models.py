"""Each way in which a model is made to do harm is refused by the gate, in words, before native code sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.gates.onnxgate import inspect_onnx
from tests.assets.evil_models import GATE, TRIAL, branches, changed, loop, make, with_nodes

if TYPE_CHECKING:
    from onnx import NodeProto


@pytest.mark.parametrize("name", GATE)
def test_the_gate_refuses_it_in_words(name: str) -> None:
    evil = GATE[name]
    with pytest.raises(DataError) as caught:
        inspect_onnx(evil.content(), "m.onnx")
    assert caught.value.code in evil.codes
    assert evil.words in caught.value.message
    assert "m.onnx" in caught.value.message
    assert caught.value.help


@pytest.mark.parametrize("name", TRIAL)
def test_the_gate_cannot_know_of_it(name: str) -> None:
    inspect_onnx(TRIAL[name].content(), "m.onnx")


def test_an_old_pad_has_one_input() -> None:
    model = with_nodes(make("Pad", ["x"], ["z"], pads=[0] * 8))
    model.opset_import[0].version = 10
    inspect_onnx(model.SerializeToString(), "m.onnx")


def test_operators_need_not_be_in_order() -> None:
    model = with_nodes(make("Relu", ["late"], ["z"]), make("Neg", ["x"], ["late"]))
    inspect_onnx(model.SerializeToString(), "m.onnx")


def test_control_flow_within_reason_passes() -> None:
    inspect_onnx(changed(branches(20, depth=1))(), "m.onnx")
    inspect_onnx(changed(branches(1, depth=4))(), "m.onnx")


@pytest.mark.parametrize(
    ("turns", "still"), [("three", make("Identity", ["go_on"], ["still"])), ("", make("Not", ["go_on"], ["still"]))]
)
def test_a_loop_that_may_end_passes(turns: str, still: NodeProto) -> None:
    inspect_onnx(changed(loop(turns, "yes", [still]))(), "m.onnx")
