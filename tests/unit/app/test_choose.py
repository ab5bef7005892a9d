"""The cheapest that is fast enough is chosen; what failed, even once, is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_runtime.app.choose import (
    Candidate,
    Form,
    Target,
    Task,
    Trial,
    candidates,
    cheapest,
    forms_of,
    try_all,
    why_none,
)
from edge_runtime.app.devices import Device
from edge_runtime.app.trials import Trials
from edge_runtime.core.errors import DataError, UnavailableError
from tests.assets.make_models import write_package

ONNX = Form(Path("/m/model.onnx"), "fp32", ("openvino", "onnxruntime"))
IR = Form(Path("/m/int8.xml"), "int8", ("openvino",))
OPENVINO = Device("openvino", "CPU", "", ())
ORT = Device("onnxruntime", "CPU", "", ())


def trial(fps: float, p99_ms: float, cpu_ms: float, failure: str = "", device: str = "CPU") -> Trial:
    return Trial(Candidate(ONNX, "openvino", device, 1, 1), "fp32", failure, [(fps, p99_ms / 2, p99_ms, cpu_ms)])


def test_the_cheapest_of_those_that_are_fast_enough_is_chosen() -> None:
    slow, dear, good = trial(20, 60, 5), trial(90, 12, 22), trial(40, 25, 15)
    assert cheapest([slow, dear, good], Target(fps=30)) is good
    assert cheapest([slow, dear, good], Target(fps=10)) is slow
    assert cheapest([slow, dear, good], Target(p99_ms=20)) is dear
    assert cheapest([slow, dear, good], Target(fps=30, p99_ms=20)) is dear
    assert cheapest([slow, dear, good], Target(fps=100)) is None


def test_of_two_that_cost_the_same_the_one_that_answers_sooner_is_chosen() -> None:
    late, soon = trial(40, 30, 10), trial(40, 20, 10)
    assert cheapest([late, soon], Target(fps=30)) is soon


def test_a_device_that_failed_once_is_not_chosen_however_cheap_it_was() -> None:
    npu, cpu = trial(500, 2, 0.1, "it crashed the process", "NPU"), trial(40, 25, 15)
    assert cheapest([npu, cpu], Target(fps=30)) is cpu
    assert cheapest([npu], Target(fps=30)) is None


def test_a_target_out_of_reach_is_answered_with_what_is_in_reach() -> None:
    found = [trial(20, 60, 5), trial(90, 70, 22), trial(0, 0, 0, "no driver", "GPU")]
    error = why_none(found, Target(fps=200, p99_ms=10))
    assert error.message == (
        "nothing here reaches fps=200,p99=10ms: most is 90.0 frames per second (openvino on CPU, 1 thread, 1 stream, "
        "model.onnx), the shortest p99 60.0 ms (openvino on CPU, 1 thread, 1 stream, model.onnx)"
    )
    assert "INT8" in str(error.help)
    assert why_none(found[2:], Target(fps=1)).message == "nothing runs this model here: no driver"


@pytest.mark.parametrize(
    ("cores", "ways"),
    [(1, [(1, 1)]), (2, [(1, 1), (2, 1), (2, 2)]), (8, [(1, 1), (4, 1), (4, 4), (8, 1), (8, 8)])],
)
def test_threads_and_streams_are_tried_from_one_to_all_cores(cores: int, ways: list[tuple[int, int]]) -> None:
    assert [(one.threads, one.streams) for one in candidates([ONNX], [OPENVINO], cores)] == ways


def test_each_form_is_tried_on_the_engines_it_is_meant_for_and_an_npu_in_one_stream() -> None:
    npu, gpu = Device("openvino", "NPU", "", ()), Device("openvino", "GPU.1", "", ())
    found = candidates([ONNX, IR], [ORT, npu, gpu], 1)
    assert [(one.form, one.backend, one.device, one.streams) for one in found] == [
        (ONNX, "onnxruntime", "CPU", 1),
        (ONNX, "openvino", "NPU", 1),
        *[(ONNX, "openvino", "GPU.1", streams) for streams in (1, 2)],
        (IR, "openvino", "NPU", 1),
        *[(IR, "openvino", "GPU.1", streams) for streams in (1, 2)],
    ]


def test_the_forms_of_a_package_are_those_of_its_manifest_and_a_file_is_one(tmp_path: Path) -> None:
    package = write_package(tmp_path, "colours")
    assert forms_of(package) == [Form(package / "colours.onnx", "fp32", ("openvino", "onnxruntime"))]
    assert forms_of(tmp_path / "a.onnx") == [Form(tmp_path / "a.onnx", None, ("openvino", "onnxruntime"))]
    assert forms_of(tmp_path / "a.xml")[0].backends == ("openvino",)
    with pytest.raises(DataError, match="is a directory without"):
        forms_of(tmp_path)


CHILD = """
import json, os, signal, sys
runs = 0
for line in sys.stdin:
    order = json.loads(line)
    answer = {}
    if order["op"] == "devices":
        two = [{"device": device, "name": "", "precisions": []} for device in ("CPU", "GPU")]
        answer = {"openvino": two, "onnxruntime": "no"}
    if order["op"] == "measure":
        if order["device"] == "GPU" and order["streams"] == 1:
            answer = {"error": "model.not_compiled", "message": "no such operator", "help": None}
        elif order["device"] == "GPU":
            os.kill(os.getpid(), signal.SIGSEGV)
        else:
            runs += 1
            answer = {"precision": "fp32", "fps": 10.0 * runs, "p50_ms": 1, "p99_ms": 2, "cpu_ms": 3}
    print(json.dumps(answer), flush=True)
"""


def task(model: Path, device: str = "auto", backend: str = "auto") -> Task:
    return Task(model, Target(fps=1), device, backend, 1, 60.0, (64, 48), model.parent)


def test_every_candidate_has_its_turn_in_every_round_unless_it_failed(tmp_path: Path) -> None:
    told: list[str] = []
    with Trials(command=[sys.executable, "-c", CHILD]) as trials:
        found = try_all(task(tmp_path / "m.onnx"), trials, told.append)
    assert [len(one.rounds) for one in found] == [3, 0, 0]
    assert [one.failure for one in found] == [
        "",
        "no such operator",
        "it crashed the process that tries it (SIGSEGV)",
    ]
    assert sum(text.startswith("round 3 of 3: openvino on CPU") for text in told) == 1
    assert found[0].fps in (10.0, 20.0)  # the crash began a new process, which counts anew


@pytest.mark.parametrize(
    ("device", "backend", "words"),
    [("npu", "auto", "device npu with backend auto"), ("cpu", "onnxruntime", "device cpu with backend onnxruntime")],
)
def test_what_is_not_here_is_an_error(tmp_path: Path, device: str, backend: str, words: str) -> None:
    with (
        Trials(command=[sys.executable, "-c", CHILD]) as trials,
        pytest.raises(UnavailableError, match=words) as caught,
    ):
        try_all(task(tmp_path / "m.onnx", device, backend), trials, print)
    assert caught.value.code == "device.missing"
    assert "openvino:CPU, openvino:GPU" in caught.value.message


def test_a_package_without_a_form_for_the_engine_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with Trials() as trials, pytest.raises(DataError, match="has no form for onnxruntime"):
        try_all(task(tmp_path / "m.xml", backend="onnxruntime"), trials, print)


def test_real_engines_are_measured(tmp_path: Path) -> None:
    package = write_package(tmp_path, "colours")
    few = Task(package, Target(fps=1), "cpu", "auto", 1, 0.1, (64, 48), tmp_path)
    with Trials([package], cache_dir=tmp_path) as trials:
        found = try_all(few, trials, print)
    assert [(one.candidate.backend, one.precision, one.failure) for one in found] == [
        ("openvino", "fp32", ""),
        ("onnxruntime", "fp32", ""),
    ]
    assert cheapest(found, Target(fps=1)) is not None
