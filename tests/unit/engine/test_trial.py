"""Orders and answers of the process that tries devices, without the process."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.engine import trial
from edge_runtime.engine.trial import import_backends, serve
from tests.assets.make_models import write_package

if TYPE_CHECKING:
    from pathlib import Path


def ask(*orders: dict[str, object], unusable: dict[str, str] | None = None) -> list[dict[str, Any]]:
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(order) + "\n" for order in orders)), answers, unusable or {})
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_devices_are_told_by_backend_with_what_they_state() -> None:
    ready, found = ask({"op": "ready"}, {"op": "devices"})
    assert ready == {}
    assert found["openvino"][0]["device"] == "CPU"
    assert "fp32" in found["openvino"][0]["precisions"]
    assert found["onnxruntime"] == [{"device": "CPU", "name": "", "precisions": ["fp32", "int8"]}]


def test_a_backend_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trial._MODULES, "onnxruntime", "edge_runtime.engine.not_there")
    unusable = import_backends()
    assert list(unusable) == ["onnxruntime"]
    assert "not_there" in unusable["onnxruntime"]
    (found,) = ask({"op": "devices"}, unusable=unusable)
    assert found["onnxruntime"] == unusable["onnxruntime"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_device_is_tried_in_the_precision_that_is_asked_for(backend: str, precision: str) -> None:
    (answer,) = ask({"op": "try", "backend": backend, "device": "CPU", "precision": precision})
    assert answer == {"device": "CPU", "precision": precision, "right": True}


def test_a_device_that_is_not_there_is_an_answer_with_its_code() -> None:
    (answer,) = ask({"op": "try", "backend": "onnxruntime", "device": "NPU", "precision": "fp32"})
    assert answer["error"] == "device.missing"
    assert answer["help"]


def test_a_model_is_measured_as_it_would_run(tmp_path: Path) -> None:
    order = {"op": "measure", "backend": "openvino", "device": "cpu", "threads": 2, "streams": 2, "seconds": 0.02}
    order |= {"width": 64, "height": 48, "path": str(write_package(tmp_path, "colours")), "cache_dir": str(tmp_path)}
    (answer,) = ask(order)
    assert (answer["device"], answer["precision"], answer["threads"]) == ("CPU", "fp32", 2)
    assert min(answer[key] for key in ("fps", "p50_ms", "p99_ms", "cpu_ms", "frames")) > 0


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"op": "try", "device": "CPU"}, "precision: expected a text"),
        ({"op": "measure", "seconds": "soon"}, "seconds: expected a number"),
    ],
)
def test_an_order_that_makes_no_sense_is_said_to_make_none(order: dict[str, object], words: str) -> None:
    (answer,) = ask(order)
    assert (answer["error"], answer["message"]) == ("trial.order", words)


def test_what_a_driver_raises_in_a_way_of_its_own_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> bytes:
        raise OSError("firmware mismatch")

    monkeypatch.setattr(trial, "probe_model", broken)
    (answer,) = ask({"op": "try", "backend": "openvino", "device": "CPU", "precision": "fp32"})
    assert answer == {"error": "model.unforeseen", "message": "OSError: firmware mismatch", "help": None}
