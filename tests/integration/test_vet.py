"""The trial of a model in a real process: what passes the gate and kills an engine is contained and worded."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app import vetting
from edge_runtime.pipeline.vet_link import Stage, VetLink, VetReport, VetSpec
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import Supervisor
from tests.assets.evil_models import TRIAL
from tests.assets.make_models import write_package
from tests.daemons import MODEL
from tests.fault.test_hostile_models import CLASSIFIER, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)

MEMORY_BYTES = 2 << 30
DEADLINE_S = 8.0
THREE = {**CLASSIFIER, "labels": ["red", "green", "blue"]}


def tried(path: Path, entry: str = vetting.VET_ENTRY, **changes: Any) -> VetReport:
    """Try ``path`` in a process of a zygote of its own."""
    reports: list[VetReport] = []
    spec = VetSpec(path=path, **{"deadline_s": DEADLINE_S, "memory_bytes": MEMORY_BYTES, **changes})
    loop = Loop(name="vet")
    supervisor = Supervisor(loop, preload=() if entry != vetting.VET_ENTRY else vetting.PRELOAD)
    supervisor.start()
    try:
        VetLink(spec, entry, Stage(loop, supervisor), reports.append).start()
        while not reports:
            loop.turn(0.1)
    finally:
        supervisor.stop()
        loop.close()
    return reports[0]


def code(report: VetReport) -> str | None:
    return None if report.error is None else report.error.code


@pytest.mark.parametrize("name", TRIAL)
def test_what_passes_the_gate_is_contained(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / name, {"model.onnx": TRIAL[name].content()}, THREE)
    report = tried(root, backend="openvino")
    assert code(report) in TRIAL[name].codes, report
    assert report.error is not None
    assert TRIAL[name].words in report.error.message
    assert report.error.help
    assert report.seconds < DEADLINE_S + 3


def test_the_shipped_model_passes_on_both_backends() -> None:
    for backend in ("openvino", "onnxruntime"):
        report = tried(MODEL, backend=backend, deadline_s=100)
        assert report.error is None
        assert (report.facts["golden"], report.facts["latency_ms"]) != ({}, {})
        golden = report.facts["golden"]
        assert isinstance(golden, dict)
        assert golden["frames"] == 8


def test_a_model_that_sees_other_things_than_the_trusted_run_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "surface-defects"
    shutil.copytree(MODEL, root)
    answers = root / "golden" / "expected.json"
    document = json.loads(answers.read_text())
    document["frames"][1]["predictions"][0]["label"] = "stain"
    answers.write_text(json.dumps(document))
    report = tried(root, deadline_s=100)
    assert code(report) == "golden.differs"
    assert report.error is not None
    assert "frame-02.jpg: stain 0.8821 at 512,157 was not found" in report.error.message


def test_a_limit_of_memory_is_said_in_words(tmp_path: Path) -> None:
    report = tried(write_package(tmp_path, "colours"), memory_bytes=80 << 20)
    assert code(report) in ("model.memory", "model.crashed")


@pytest.mark.parametrize(
    ("entry", "expected", "words"),
    [
        ("crash", "model.crashed", "died of SIGSEGV"),
        ("starve", "model.memory", "was killed, as the system does when memory runs out"),
        ("fail", "model.crashed", "ended without a verdict"),
        ("hang", "model.hangs", "did not end within 1 s and was stopped"),
        ("babble", "model.crashed", "ended without a verdict"),
    ],
)
def test_whatever_becomes_of_the_process_is_said_in_words(
    tmp_path: Path, entry: str, expected: str, words: str
) -> None:
    report = tried(tmp_path / "m.onnx", f"tests.unit.pipeline.vet_entries:{entry}", deadline_s=1.0)
    assert code(report) == expected
    assert report.error is not None
    assert words in report.error.message
    assert report.seconds < 4
