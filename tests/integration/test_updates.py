"""Each model that is wrong on purpose is stopped where it should be, under a running line that never notices.

The plant is the product: publisher, registry, daemon, its processes, a broker; see `tests.updates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.bad_models import nan_later
from tests.updates import QUICK, Plant, Row, Step, disorder, overlaps, switches, untruths

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Case(NamedTuple):
    """What is rolled out, and what must come of it."""

    kind: str
    mode: str
    end: str
    stage: str  # the last state before the end
    gates: Mapping[str, object] = QUICK
    times: int = 0  # how often each inspection is switched, but for what is rolled back


# verdicts change every 8 frames: whoever judges few frames sees another share of bad parts than whoever judged many
# and on a machine that is shared a vet may find anything slow
SHARES = {**QUICK, "not_ok_shift_max": 1.0, "latency_ratio_max": 20.0}
LONG = {**SHARES, "probation_frames": 2000}

CASES = [
    Case("wrong", "active", "rejected", "vetting"),
    Case("slow", "active", "rejected", "vetting"),
    Case("crash_load", "active", "rejected", "vetting"),
    Case("memory_load", "active", "rejected", "vetting"),
    Case("hang_load", "active", "rejected", "vetting"),
    Case("opposite", "shadow", "rejected", "shadow", SHARES),
    Case("crash_live", "shadow", "rejected", "shadow", {**SHARES, "shadow_frames": 200}),
    Case("crash_live", "active", "rolled_back", "probation", LONG),
    Case("hang_live", "active", "rolled_back", "probation", LONG),
    Case("memory_live", "active", "rolled_back", "probation", LONG),
    Case(
        "slow_live", "active", "rolled_back", "probation", {**SHARES, "probation_frames": 300, "latency_ratio_max": 3.0}
    ),
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
        count = len(switches(plant.record.of(inspection)))
        # what crashes has three tries, and gives back each frame that it did not judge
        assert count == case.times if case.end != "rolled_back" else count % 2 == 0, inspection
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


# those who look notice what is wrong


def row(number: int, **changes: Any) -> Row:
    good = Row(
        0.0, number / 30, "boot", "left", number, number, "NotOK" if number & 8 else "OK", None, "a", 1, 1, 5, number, 0
    )
    return good._replace(**changes)


def test_a_line_that_loses_nothing_is_in_order() -> None:
    rows = [row(number) for number in range(1, 40)]
    assert disorder("left", rows, killed=False) + untruths("left", rows) == []
    counted = [row(1), row(4, lost=2), row(5, lost=2)]
    assert disorder("left", counted, killed=False) == []
    assert switches([row(1), row(2, evaluation="NotDecidable", digest="b"), row(3)]) == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"frame": 1}, "frame 1 after 1"),
        ({"frame": 4}, "2 frames before 4, 0 counted"),
        ({"frame": 4, "lost": 1}, "2 frames before 4, 1 counted"),
        ({"captured": 0}, "another line"),
        ({"boot": "other"}, "another line"),
    ],
)
def test_disorder_is_noticed(other: dict[str, Any], words: str) -> None:
    (found,) = disorder("left", [row(1), row(2, **other)], killed=False)
    assert words in found


def test_a_wrong_verdict_and_a_switch_are_noticed() -> None:
    assert len(untruths("left", [row(8), row(9, evaluation="OK"), row(10, evaluation="NotDecidable")])) == 1
    assert [(one.frame, two.frame) for one, two in switches([row(1), row(2, digest="b"), row(3)])] == [(1, 2), (2, 3)]


def test_two_deployments_at_once_are_noticed() -> None:
    def step(name: str, state: str) -> Step:
        return Step(0.0, "parts", name, 1, state, None)

    good = [step("a", "vetting"), step("a", "committed"), step("b", "vetting"), step("b", "superseded")]
    assert overlaps(good) == []
    assert len(overlaps([*good, step("c", "vetting"), step("d", "vetting")])) == 1
