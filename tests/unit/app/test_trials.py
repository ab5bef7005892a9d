"""The process that tries devices may do anything; whoever asks gets an answer or a reason, in time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.accelerators import Box
from edge_runtime.app.devices import examine_devices
from edge_runtime.app.trials import Trials
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

CHILD = """
import json, os, signal, sys, time
told = json.loads(sys.argv[1])
for line in sys.stdin:
    order = json.loads(line)
    what = order.get("precision") or order["op"]
    match what:
        case "fp32": os.kill(os.getpid(), signal.SIGSEGV)
        case "bf16": time.sleep(60)
        case "fp16": sys.exit("driver: no licence")
        case "int8": answer = {"error": "model.not_compiled", "message": "no", "help": "try"}
        case "wrong": answer = {"device": "X", "precision": "wrong", "right": False}
        case "other": answer = {"device": "X", "precision": "fp32", "right": True}
        case "devices": answer = DEVICES
        case "list": answer = []
        case _: answer = {"op": order["op"], "told": told}
    print(json.dumps(answer), flush=True)
"""


def strange(devices: object = None) -> Trials:
    """A child of which each precision fails in a way of its own."""
    return Trials(command=[sys.executable, "-c", f"DEVICES = {devices!r}\n{CHILD}"])


@pytest.mark.parametrize(
    ("precision", "code", "words"),
    [
        ("fp32", "device.crashed", "it crashed the process that tries it (SIGSEGV)"),
        ("bf16", "device.silent", "it did not answer within 0.3 s"),
        ("fp16", "device.crashed", "the process that tries it ended with 1: driver: no licence"),
        ("int8", "model.not_compiled", "no"),
    ],
)
def test_each_way_of_giving_no_answer_has_its_words_and_the_next_order_is_served(
    precision: str, code: str, words: str
) -> None:
    with strange() as trials:
        with pytest.raises(UnavailableError) as caught:
            trials.ask({"op": "try", "precision": precision}, 0.3 if code == "device.silent" else 10.0)
        assert (caught.value.code, caught.value.message) == (code, words)
        assert trials.ask({"op": "hello"}, 5.0)["op"] == "hello"


def test_an_answer_that_is_none_is_no_answer() -> None:
    with strange() as trials, pytest.raises(UnavailableError, match="answered"):
        trials.ask({"op": "list"}, 5.0)


def test_the_process_is_told_what_it_may_touch(tmp_path: Path) -> None:
    with Trials([tmp_path], cache_dir=tmp_path, command=[sys.executable, "-c", CHILD]) as trials:
        told = trials.ask({"op": "hello"}, 5.0)["told"]
    assert told == {"models": [str(tmp_path)], "cache_dir": str(tmp_path)}


def test_a_device_that_crashes_hangs_or_errs_is_said_to_be_unusable_and_the_others_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.app.devices.TRY_TIMEOUT_S", 1.5)  # all but one answer long before
    precisions = ["fp32", "bf16", "fp16", "int8", "wrong", "other"]
    devices = {"openvino": [{"device": "GPU.0", "name": "Iris", "precisions": precisions}], "onnxruntime": "not there"}
    with strange(devices) as trials:
        found = list(examine_devices(trials, Box(tmp_path)))
    assert [(one.level, one.what.partition(":")[0]) for one in found] == [
        ("warn", "onnxruntime cannot be used"),
        ("ok", "openvino runs on GPU.0 (Iris)"),
        *[("warn", f"openvino on GPU.0 cannot run {one}") for one in ("FP32", "BF16", "FP16", "INT8")],
        ("fail", "openvino on GPU.0 cannot run WRONG"),
        ("ok", "no NPU"),
    ]
    assert found[1].what.endswith(": OTHER (reported as FP32)")
    assert all(one.mend for one in found if one.level != "ok")
    assert found[5].mend == "try"


def test_engines_that_cannot_be_asked_are_one_finding(tmp_path: Path) -> None:
    with Trials(command=[sys.executable, "-c", "raise SystemExit('broken')"]) as trials:
        (finding,) = examine_devices(trials, Box(tmp_path))
    assert finding.level == "fail"
    assert "ended with 1: broken" in finding.what


def test_every_precision_that_a_device_of_this_box_states_really_runs(tmp_path: Path) -> None:
    with Trials() as trials:
        stated = trials.ask({"op": "devices"}, 60)
        found = list(examine_devices(trials, Box(tmp_path)))
    assert [one for one in found if one.level == "fail"] == []
    cpu = next(one for one in stated["openvino"] if one["device"] == "CPU")  # type: ignore[attr-defined]  # JSON
    line = next(one.what for one in found if one.what.startswith("openvino runs on CPU"))
    assert all(precision.upper() in line for precision in cpu["precisions"])
    assert "onnxruntime runs on CPU: FP32, INT8" in [one.what for one in found]
    assert json.dumps(stated)
