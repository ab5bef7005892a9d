"""The steps of a trial, here in this process: what each says, and with which words a model is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import write_golden
from edge_runtime.engine import vet
from edge_runtime.engine.vet import PeakMemory, VetOrder, Vetting
from tests.assets.make_models import SIDE, write_bare, write_package

if TYPE_CHECKING:
    from edge_runtime.engine.protocol import Reply

GREEN = {"label": "green", "score": 1.0}


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vet, "RUNS_S", 0.0)
    monkeypatch.setattr(vet, "RUNS_MIN", 3)


def order(path: Path, **changes: Any) -> VetOrder:
    fixed: dict[str, Any] = {"device": "auto", "backend": "onnxruntime", "threads": 1, "memory_bytes": 1 << 40}
    return VetOrder(**{"path": path, **fixed, "record": None, "load_only": False, **changes})


def tried(path: Path, **changes: Any) -> tuple[dict[str, Any], list[Reply]]:
    said: list[Reply] = []
    with PeakMemory() as peak:
        verdict = Vetting(order(path, **changes), said.append, peak).run()
    json.dumps([verdict, *said], allow_nan=False)
    return verdict, said


def golden_package(folder: Path, *rows: dict[str, Any], **manifest: Any) -> Path:
    """`colours` with a green picture and what a trusted run is said to have seen in it."""
    root = write_package(folder, "colours", **manifest)
    (root / "golden").mkdir()
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, :, 1] = 255
    cv2.imwrite(str(root / "golden" / "green.png"), picture)
    (root / "golden" / "expected.json").write_bytes(write_golden({"green.png": list(rows)}, {}))
    return root


def test_a_good_model_goes_through_every_step(tmp_path: Path) -> None:
    verdict, said = tried(golden_package(tmp_path, GREEN, golden={"gates": {"p99_ms": 1000}}))
    assert verdict["ok"], verdict
    assert [one["step"] for one in said if one["op"] == "begin"] == ["gate", "engine", "golden", "speed"]
    assert [one["step"] for one in said if one["op"] == "done"] == ["gate", "engine", "golden", "speed"]
    assert verdict["model"]["name"] == "colours"
    assert verdict["engine"]["backend"] == "onnxruntime"
    assert verdict["golden"]["frames"] == 1
    assert verdict["golden"]["cosine"] == pytest.approx(1, abs=1e-3)
    assert verdict["latency_ms"]["frames"] == 3
    assert verdict["memory_mb"] > 10
    assert verdict["gates"] == {"p99_ms": 1000}


def test_onnx_runtime_goes_first_where_openvino_shall_run_it(tmp_path: Path) -> None:
    verdict, said = tried(write_package(tmp_path, "colours"), backend="openvino", load_only=True)
    assert verdict["ok"], verdict
    assert [one["step"] for one in said if one["op"] == "begin"] == ["gate", "reference", "engine"]
    assert said[-2]["what"] == "openvino on CPU"
    assert "latency_ms" not in verdict


def test_what_onnx_runtime_refuses_openvino_never_sees(tmp_path: Path) -> None:
    verdict, said = tried(write_package(tmp_path, "unknown_operator"), backend="openvino")
    assert (verdict["ok"], verdict["step"]) == (False, "reference")
    assert verdict["error"]["code"] == "model.not_compiled"
    assert [one["step"] for one in said if one["op"] == "begin"] == ["gate", "reference"]


def test_a_model_that_cannot_be_described_ends_at_the_gate(tmp_path: Path) -> None:
    verdict, _ = tried(write_bare(tmp_path, "colours"))
    assert (verdict["step"], verdict["error"]["code"]) == ("gate", "model.ambiguous")
    assert verdict["error"]["exit_code"] == 65
    assert verdict["error"]["help"]


def test_a_bare_model_has_no_golden_frames(tmp_path: Path) -> None:
    package = write_package(tmp_path, "colours")
    verdict, _ = tried(package)
    assert (verdict["ok"], verdict["golden"]["frames"]) == (True, 0)


def test_a_model_that_sees_something_else_is_refused_with_the_frame(tmp_path: Path) -> None:
    verdict, _ = tried(golden_package(tmp_path, {"label": "red", "score": 1.0}))
    assert (verdict["step"], verdict["error"]["code"]) == ("golden", "golden.differs")
    assert "green.png: " in verdict["error"]["message"]
    assert verdict["golden"]["problems"]


@pytest.mark.parametrize(
    ("gates", "rows", "step", "words"),
    [
        ({"cosine": 1.0, "score": 0.0}, [{"label": "green", "score": 0.99}], "golden", "scores are 0.0"),
        ({"p50_ms": 0.000001}, [GREEN], "speed", "p50_ms is"),
        ({"p99_ms": 0.000001}, [GREEN], "speed", "p99_ms is"),
        ({"memory_mb": 1}, [GREEN], "speed", "memory_mb is"),
    ],
)
def test_a_gate_that_is_missed_refuses_the_model(
    tmp_path: Path, gates: dict[str, float], rows: list[dict[str, Any]], step: str, words: str
) -> None:
    verdict, _ = tried(golden_package(tmp_path, *rows, golden={"gates": gates}))
    assert (verdict["step"], verdict["error"]["code"]) == (step, "golden.gate")
    assert words in verdict["error"]["message"]


def test_a_golden_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    root = golden_package(tmp_path, GREEN)
    (root / "golden" / "green.png").unlink()
    verdict, _ = tried(root)
    assert verdict["error"]["code"] == "golden.unreadable"
    assert "green.png" in verdict["error"]["message"]


def test_answers_are_recorded(tmp_path: Path) -> None:
    root = golden_package(tmp_path, {"label": "red", "score": 0.1})
    verdict, said = tried(root, record=("green.png",))
    assert verdict["ok"], verdict
    (frame,) = [one for one in said if one["op"] == "frame"]
    assert frame["file"] == "green.png"
    rows: Any = frame["predictions"]
    assert rows[0]["label"] == "green"
    assert "latency_ms" not in verdict


def test_an_answer_without_sense_is_refused(tmp_path: Path) -> None:
    verdict, _ = tried(write_package(tmp_path, "unsigmoided"))
    assert verdict["step"] == "engine"
    assert verdict["error"]["exit_code"] == 65


@pytest.mark.parametrize("failure", [MemoryError("no room"), RuntimeError("std::bad_alloc")])
def test_memory_that_ran_out_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def load(*_: object, **__: object) -> None:
        if isinstance(failure, MemoryError):
            raise failure
        raise DataError("model.not_compiled", "openvino cannot compile it") from failure

    monkeypatch.setattr(vet, "load_engine", load)
    verdict, _ = tried(write_package(tmp_path, "colours"), memory_bytes=300 << 20)
    assert verdict["error"]["code"] == "model.memory"
    assert "step engine: the model needs more than the 300 MiB" in verdict["error"]["message"]


def test_the_peak_can_be_begun_anew() -> None:
    with PeakMemory() as peak:
        peak.reset()
        before = peak.mb()
        block = np.ones(40 << 20, np.uint8)
        assert peak.mb() - before > 30
        del block
        peak.reset()
        assert peak.mb() < before + 30


def test_a_system_without_the_counter_says_something_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(vet.os, "open", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    with PeakMemory() as peak:
        peak.reset()
        assert peak.mb() > 10


def test_a_model_is_timed_beside_the_one_that_works_now(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = write_package(tmp_path / "old", "colours")
    verdict, said = tried(golden_package(tmp_path, GREEN), against=old, slower_max=1000.0)
    assert verdict["ok"], verdict
    assert [one["step"] for one in said if one["op"] == "done"][-1] == "pace"
    assert verdict["pace"]["ratio"] == pytest.approx(
        verdict["pace"]["p50_ms"] / verdict["pace"]["usual_p50_ms"], rel=0.1
    )


def test_a_model_that_is_too_much_slower_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").mkdir()
    old = write_package(tmp_path / "old", "colours")
    new = golden_package(tmp_path, GREEN)
    verdict, _ = tried(new, against=old, slower_max=0.001)
    assert verdict["ok"], "by less than anybody sees"
    monkeypatch.setattr(vet, "SLOWER_MS", -1000.0)
    verdict, _ = tried(new, against=old, slower_max=0.001)
    assert verdict["error"]["code"] == "model.slower"
    assert "0.001 times is allowed" in verdict["error"]["message"]


def test_a_model_that_works_now_and_cannot_be_timed_says_nothing_of_the_new_one(tmp_path: Path) -> None:
    verdict, _ = tried(golden_package(tmp_path, GREEN), against=tmp_path / "gone", slower_max=2.0)
    assert verdict["ok"], verdict
    assert "pace" not in verdict
