"""Each model that is wrong on purpose is stopped where it should be, under a running line that never notices.

The plant is the product: publisher, registry, daemon, its processes, a broker; see `tests.updates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.bad_models import nan_later
from tests.updates import QUICK, Plant, switches

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.updates import Step


class Case(NamedTuple):
    """What is rolled out, and what must come of it."""

    kind: str
    mode: str
    end: str
    stage: str  # the last state before the end
    gates: Mapping[str, object] = QUICK
    times: int = 2  # how often each inspection is switched


# verdicts change every 8 frames: whoever judges few frames sees another share of bad parts than whoever judged many
SHARES = {**QUICK, "not_ok_shift_max": 1.0}
LONG = {**SHARES, "probation_frames": 2000}

CASES = [
    Case("wrong", "active", "rejected", "vetting", times=0),
    Case("slow", "active", "rejected", "vetting", times=0),
    Case("crash_load", "active", "rejected", "vetting", times=0),
    Case("memory_load", "active", "rejected", "vetting", times=0),
    Case("hang_load", "active", "rejected", "vetting", times=0),
    Case("opposite", "shadow", "rejected", "shadow", times=0),
    Case("crash_live", "shadow", "rejected", "shadow", {**SHARES, "shadow_frames": 200}, times=0),
    Case("crash_live", "active", "rolled_back", "probation", LONG),
    Case("hang_live", "active", "rolled_back", "probation", LONG),
    Case("memory_live", "active", "rolled_back", "probation", LONG),
    Case("slow_live", "active", "rolled_back", "probation", {**SHARES, "probation_frames": 300}),
    Case("nan_later", "active", "rolled_back", "probation", LONG),
    Case("leak", "active", "rolled_back", "probation", {**LONG, "latency_ratio_max": 100.0}),
    Case("unsure", "active", "rolled_back", "probation", {**SHARES, "probation_frames": 300}),
    Case("good", "active", "committed", "probation", SHARES, times=1),
    Case("good", "canary", "committed", "probation", SHARES, times=1),
    Case("good", "shadow", "committed", "probation", SHARES, times=1),
]


def rolled_out(plant: Plant, case: Case, **more: Any) -> tuple[int, Step]:
    """Roll a release of the kind out and wait for its end; return its number and the last step."""
    network = nan_later(99, after=30) if case.kind == "nan_later" else None
    number = plant.release(case.kind, network=network)
    seq = plant.roll_out(number, case.gates, mode=case.mode, **more)
    return number, plant.wait_end(seq, timeout_s=240)


def judged(plant: Plant, case: Case, number: int, end: Step) -> None:
    """Check what became of it."""
    states = [one.state for one in plant.record.steps if one.id == end.id]
    assert (states[-1], states[-2]) == (case.end, case.stage), (states, end.reason)
    assert end.reason or case.end == "committed"
    plant.wait_verdicts(10)
    for inspection in ("left", "right"):
        assert len(switches(plant.record.of(inspection))) == case.times, inspection
    expected = number if case.end == "committed" else 1
    assert plant.links().current == plant.releases.manifests[expected]
    assert plant.record.rows[-1].digest == plant.releases.digests[expected]
    assert plant.lost() == 0
    assert plant.twice() == 0
    plant.check()


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=[f"{case.kind}-{case.mode}" for case in CASES])
def test_it_is_stopped_where_it_should_be(tmp_path: Path, case: Case) -> None:
    with Plant(tmp_path) as plant:
        plant.first()
        plant.wait_verdicts(60)  # there is something to compare with
        judged(plant, case, *rolled_out(plant, case))
