"""The model that devices are tried with: a right ONNX file, written without the onnx package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edge_runtime.engine.base import EngineOptions
from edge_runtime.engine.gates.onnxgate import inspect_onnx
from edge_runtime.engine.ort import OrtEngine
from edge_runtime.engine.ov import OpenVinoEngine
from edge_runtime.engine.probe_model import CHANNELS, GREY, SIDE, SPEC, is_right, probe_model


@pytest.mark.parametrize("quantized", [False, True])
def test_it_is_a_model_by_the_rules_of_onnx_and_passes_our_own_gate(quantized: bool) -> None:  # noqa: FBT001 - a parameter of the test
    content = probe_model(quantized=quantized)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    facts = inspect_onnx(content, "probe")
    assert facts.operators["Conv"] == 1
    assert str(facts.inputs[0]) == f"x float32 [1,3,{SIDE},{SIDE}]"


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_both_engines_run_it_in_its_precision_and_answer_right(quantized: bool, backend: str) -> None:  # noqa: FBT001 - a parameter of the test
    content = probe_model(quantized=quantized)
    options = EngineOptions()
    engine = (
        OpenVinoEngine(content, b"", SPEC, None, options)
        if backend == "openvino"
        else OrtEngine(content, SPEC, options)
    )
    request = engine.open_request()
    request.canvas().fill(GREY)
    assert is_right(request.infer()[0])
    assert engine.info.precision == ("int8" if quantized else "fp32")


def test_an_answer_of_which_one_number_is_off_is_wrong() -> None:
    answer = np.full((1, CHANNELS, SIDE - 2, SIDE - 2), GREY / 255, np.float32)
    assert is_right(answer)
    answer[0, 3, 4, 5] *= 1.05
    assert not is_right(answer)
    assert not is_right(np.full_like(answer, np.nan))
    assert not is_right(answer[:, :, 1:])
