"""Models are switched under a running line: real processes, the shipped model and another one."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_runtime.pipeline.slot import SlotSpec
from edge_runtime.pipeline.vet_link import VetSpec
from edge_runtime.system.priority import Priority
from tests.daemons import MODEL, wait_until
from tests.lines import RunningLine, line_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.vet_link import VetReport

WAIT_S = 40.0


class _Listener:
    def __init__(self) -> None:
        self.said: queue.SimpleQueue[tuple[object, ...]] = queue.SimpleQueue()

    def on_ready(self, facts: ModelFacts) -> None:
        self.said.put(("ready", facts.model.version))

    def on_refused(self, code: str, message: str) -> None:
        self.said.put(("refused", code, message))

    def on_lost(self, message: str) -> None:
        self.said.put(("lost", message))

    def on_switched(self, to_standby: bool, inspections: tuple[str, ...], first_frame: dict[str, int]) -> None:  # noqa: FBT001
        self.said.put(("switched", to_standby, inspections, first_frame["top"]))

    def hears(self, word: str) -> tuple[object, ...]:
        said = self.said.get(timeout=WAIT_S)
        assert said[0] == word, said
        return said


def _other_version(folder: Path) -> Path:
    package = shutil.copytree(MODEL, folder / "other")
    about = package / "edge-model.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"version": "9.9"}))
    return package


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningLine]:
    """A line that judges every frame of a camera, with a queue for those that a slow machine is late with."""
    camera = {"source": "sim:conveyor?fps=15&size=448x256", "stall_s": 5.0, "capture": "every", "queue": 60}
    with RunningLine(line_settings(tmp_path / "state", cameras={"top": camera})) as line:
        line.wait_ready()
        line.wait_results(5)
        yield line


def _nice(pid: int) -> set[int]:
    return {os.getpriority(os.PRIO_PROCESS, int(one.name)) for one in Path(f"/proc/{pid}/task").iterdir()}


def _pid(running: RunningLine) -> int:
    pid = running.line.line.picture.standbys["defects"].pid
    assert pid is not None
    return pid


def test_every_frame_is_judged_once_while_models_are_switched_and_die(running: RunningLine, tmp_path: Path) -> None:
    listener, line = _Listener(), running.line
    priority = Priority()
    began = running.results[-1].frame_id
    low, normal = ({priority.low}, {priority.normal}) if priority.can_come_back else ({priority.normal},) * 2
    line.stand_by("defects", SlotSpec("defects", str(_other_version(tmp_path)), release=2), listener)
    listener.hears("ready")
    wait_until(lambda: "defects" in line.line.picture.standbys, WAIT_S, "it is seen")
    assert _nice(_pid(running)) == low
    line.shadow("defects", on=True)
    running.wait_results(5)
    line.switch("defects")
    first = listener.hears("switched")[3]
    running.wait_results(10)
    assert _nice(_pid(running)) == normal
    line.switch_back("defects")
    back = listener.hears("switched")[3]
    running.wait_results(5)
    line.switch("defects")
    again = listener.hears("switched")[3]
    running.wait_results(5)
    os.kill(_pid(running), signal.SIGKILL)
    listener.hears("lost")
    running.wait_results(5)
    listener.hears("ready")
    wait_until(lambda: line.line.picture.standbys["defects"].pid is not None, WAIT_S, "the new process is seen")
    assert _nice(_pid(running)) == low
    line.switch("defects")
    listener.hears("switched")
    line.settle("defects")
    running.wait_results(5)
    wait_until(lambda: line.line.picture.standbys == {}, WAIT_S, "it is settled")
    wait_until(lambda: not line.engine.alive, WAIT_S, "the process of the old model has ended")
    running.wait_results(5)

    results = running.results
    assert [one.frame_id for one in results] == list(range(results[0].frame_id, results[0].frame_id + len(results)))
    lost = [(one.frame_id, one.reason) for one in results if one.model is None and one.frame_id >= began]
    assert lost == []
    changes = [b.frame_id for a, b in pairwise(results) if a.model != b.model and b.frame_id > began]
    assert len(changes) == 5, "to it, back, to it, its death, to it"
    assert [first, back, again] == [pytest.approx(one, abs=2) for one in changes[:3]]
    assert results[-1].model is not None
    assert (results[-1].model.version, results[-1].model.release) == ("9.9", 2)


def test_a_model_is_tried_at_low_priority_beside_a_line(running: RunningLine, tmp_path: Path) -> None:
    reports: queue.SimpleQueue[VetReport] = queue.SimpleQueue()
    running.line.vet(VetSpec(path=_other_version(tmp_path)), "defects", reports.put)
    report = reports.get(timeout=WAIT_S)
    assert report.error is None
    running.line.vet(VetSpec(path=_other_version(tmp_path / "2")), "defects", reports.put)
    running.line.dismiss("defects")
    assert reports.get(timeout=WAIT_S).error is not None, "it was ended"
    running.wait_results(1)


def test_the_end_of_the_line_is_no_verdict_on_a_model_that_is_being_tried(running: RunningLine, tmp_path: Path) -> None:
    reports: queue.SimpleQueue[VetReport] = queue.SimpleQueue()
    running.line.vet(VetSpec(path=_other_version(tmp_path)), "defects", reports.put)
    wait_until(lambda: bool(running.line._vets), WAIT_S, "it is being tried")
    running.stop()
    assert reports.empty()
