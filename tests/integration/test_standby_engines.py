"""A second model beside the first, in real processes: whatever it does, each frame has one verdict, and a right one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.pipeline.slot import SlotSpec
from tests.bad_models import LIVE_BIT, SOURCE, is_bad, nan_later, write
from tests.daemons import wait_until
from tests.lines import RunningLine, line_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_runtime.core.result import Result
    from edge_runtime.pipeline.facts import ModelFacts


class Heard:
    """What a standby engine said; a `StandbyListener`."""

    def __init__(self) -> None:
        self.ready = 0
        self.refused: list[str] = []
        self.lost: list[str] = []
        self.switched: list[tuple[bool, Mapping[str, int]]] = []

    def on_ready(self, facts: ModelFacts) -> None:  # noqa: ARG002 - the interface
        self.ready += 1

    def on_refused(self, code: str, message: str) -> None:
        self.refused.append(f"{code}: {message}")

    def on_lost(self, message: str) -> None:
        self.lost.append(message)

    def on_switched(self, to_standby: bool, inspections: tuple[str, ...], first_frame: Mapping[str, int]) -> None:  # noqa: FBT001
        assert set(inspections) == set(first_frame)
        self.switched.append((to_standby, dict(first_frame)))


class Rig:
    """A line with two inspections on one slot, and models beside."""

    def __init__(self, folder: Path, line: RunningLine) -> None:
        self.folder, self.line = folder, line
        self.numbers = itertools.count(2)
        self.begin = len(line.results)  # before that, the first model was loaded

    def beside(self, kind: str, **more: Any) -> tuple[Heard, str]:
        """Load a model of a kind beside the first; return what it says and its version."""
        number, heard = next(self.numbers), Heard()
        path = write(self.folder / str(number), kind, release=number, **more)
        self.line.line.stand_by("parts", SlotSpec("parts", str(path), release=number), heard)
        wait_until(lambda: heard.ready or heard.refused, 30, "the standby engine")
        assert not heard.refused, heard.refused
        return heard, f"{number}.0.0"

    def results(self, inspection: str) -> list[Result]:
        return [one for one in list(self.line.results)[self.begin :] if one.inspection == inspection]

    def wait_round(self) -> None:
        """Wait until live pictures and others were judged."""
        self.line.wait_results(4 << LIVE_BIT)

    def check(self) -> None:
        """Each frame has one verdict, and a right one."""
        for inspection in ("left", "right"):
            found = self.results(inspection)
            frames = [one.frame_id for one in found]
            assert frames == list(range(frames[0], frames[0] + len(frames))), inspection
            wrong = [
                (one.frame_id, one.evaluation.text, one.reason, one.model and one.model.version)
                for one in found
                if one.evaluation.text != ("NotOK" if is_bad(one.frame_id) else "OK")
            ]
            assert wrong == [], inspection

    def versions(self, inspection: str) -> list[str]:
        """Who judged, one after the other."""
        models = [one.model.version for one in self.results(inspection) if one.model is not None]
        return [version for version, _ in itertools.groupby(models)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    first = write(tmp_path / "1", "good", release=1)
    camera = {"source": SOURCE, "capture": "every", "queue": 60, "stall_s": 10.0}
    settings = line_settings(
        tmp_path / "state",
        cameras={"left": camera, "right": camera},
        models={"parts": {"path": str(first)}},
        recipes={"parts": {"version": "1", "not_ok": ({"label": "bad", "score_min": 0.5},)}},
        inspections={
            name: {"camera": name, "model": "parts", "recipe": "parts", "deadline_ms": 5000}
            for name in ("left", "right")
        },
    )
    with RunningLine(settings) as line:
        line.wait_ready()
        line.wait_results(10)
        yield Rig(tmp_path, line)


def test_a_switch_and_its_way_back_lie_between_two_frames(rig: Rig) -> None:
    heard, version = rig.beside("good")
    rig.line.line.switch("parts")
    rig.line.wait_results(20)
    rig.line.line.switch_back("parts")
    rig.line.wait_results(20)
    rig.line.line.switch("parts", ("right",))
    rig.line.wait_results(20)
    rig.line.line.switch("parts")
    rig.line.wait_results(20)
    rig.line.line.settle("parts")
    rig.line.wait_results(20)
    rig.check()
    assert rig.versions("left") == ["1.0.0", version, "1.0.0", version]
    assert rig.versions("right") == ["1.0.0", version, "1.0.0", version]
    for to_standby, first in heard.switched:
        for inspection, frame in first.items():
            one = next(one for one in rig.results(inspection) if one.frame_id == frame)
            assert one.model is not None
            assert (one.model.version == version) is to_standby


def test_attack_35_a_model_that_is_right_on_golden_frames_and_crashes_live_costs_no_verdict(rig: Rig) -> None:
    heard, _ = rig.beside("crash_live")
    rig.line.line.switch("parts")
    wait_until(lambda: heard.lost, 20, "its end")
    # whoever is first: the system reaps it, or the next frame finds nobody
    assert any(words in heard.lost[0] for words in ("SIGSEGV", "does not take messages"))
    rig.wait_round()
    rig.check()
    assert rig.versions("left")[-1] == rig.versions("right")[-1] == "1.0.0"


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["hang_live", "memory_live", "nan_later", "leak", "slow_live"])
def test_whatever_it_does_live_costs_no_verdict(rig: Rig, kind: str) -> None:
    heard, version = rig.beside(kind, network=nan_later(99, after=5) if kind == "nan_later" else None)
    rig.line.line.switch("parts")
    for _ in range(3):
        rig.wait_round()
    rig.line.line.dismiss("parts")
    rig.line.wait_results(20)
    rig.check()
    assert {"1.0.0", version} == {*rig.versions("left"), *rig.versions("right")}
    assert heard.refused == []
