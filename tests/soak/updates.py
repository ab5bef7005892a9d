"""Updates back and forth under two cameras of 30 pictures a second: what they cost the line.

    python -m tests.soak.updates --count 100 [--slots 2] [--source SOURCE]

Every tenth update is bad, passes its vet, and is rolled back in probation. Prints one JSON object; exit code 1 when a
frame was lost, judged twice or judged wrong, or an update did not end as it should.

``p99_ms`` is from capture to result, of frames that were captured while an update was under way (from its signature to
its end) and of all others; ``noise_ms`` is how late a process that does nothing else wakes up meanwhile. A switch is
two following results of two models; its ``gap`` is how many frame intervals lie between the moments at which the two
were ready, 1 when nothing is delayed, and ``skipped`` the frames between the two.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.system.metrics import percentile
from tests.bad_models import SOURCE, nan_later
from tests.soak.chaos import noise
from tests.updates import FPS, Plant, Row, switches

if TYPE_CHECKING:
    from collections.abc import Iterable

BAD_EVERY = 10
STEADY_S = 3.0  # after each update
GATES = {"shadow_frames": 30, "canary_frames": 30, "probation_frames": 60, "not_ok_shift_max": 1.0}
MODES = ("active", "canary", "shadow")


@dataclass
class Updates:
    """When updates were under way, Unix seconds, and how they ended."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def under_way(self, row: Row) -> bool:
        return any(begin <= row.captured_s <= end for begin, end in self.spans)


def play(plant: Plant, count: int, steady_s: float) -> Updates:
    """Roll out ``count`` releases, one after the other."""
    found = Updates()
    good = [plant.releases_of("good")[0], plant.release("good")]
    bad = plant.release("nan_later", network=nan_later(99, after=10))
    current = good[0]
    threading.Event().wait(2 * steady_s)
    for number in range(1, count + 1):
        is_bad = number % BAD_EVERY == 0
        wanted = bad if is_bad else good[current == good[0]]
        begin = time.time()
        seq = plant.roll_out(wanted, GATES, mode="active" if is_bad else MODES[number % len(MODES)])
        ends = [plant.wait_end(seq, slot=slot, timeout_s=120) for slot in plant.slots]
        found.spans.append((begin, time.time()))
        for end in ends:
            found.ends[end.state] += 1
            if end.state != ("rolled_back" if is_bad else "committed"):
                found.wrong.append(f"update {number} (release {wanted}): {end.state}, {end.reason}")
        current = current if is_bad else wanted
        threading.Event().wait(steady_s)
    return found


def figures(plant: Plant, updates: Updates) -> dict[str, Any]:
    """Return what the run came to."""
    steady, during = [], []
    gaps: dict[str, list[float]] = {"switch": [], "back": []}
    skipped = 0
    for inspection in ("left", "right"):
        rows = plant.record.of(inspection)
        for row in rows:
            (during if updates.under_way(row) else steady).append(row.total_ms)
        pairs = switches(rows)
        for one, other in pairs:
            kind = "back" if plant.kind_of(one.digest) != "good" else "switch"
            gaps[kind].append(gap(one, other))
            skipped += other.frame - one.frame - 1
    calm, busy = percentile(sorted(steady), 0.99) or 0.0, percentile(sorted(during), 0.99) or 0.0
    return {
        "frames": len(steady) + len(during),
        "frames_during": len(during),
        "p50_ms": {"steady": percentile(sorted(steady), 0.5), "updating": percentile(sorted(during), 0.5)},
        "p99_ms": {"steady": calm, "updating": busy, "ratio": round(busy / calm, 3) if calm else None},
        "switches": len(gaps["switch"]),
        "rollbacks": len(gaps["back"]),
        "switch_gap": spread(gaps["switch"]),
        "rollback_gap": spread(gaps["back"]),
        "skipped_at_switches": skipped,
        "update_s": spread(end - begin for begin, end in updates.spans),
    }


def gap(one: Row, other: Row) -> float:
    """Return the frame intervals between the moments at which two results were ready."""
    ready = [row.captured_s + row.total_ms / 1e3 for row in (one, other)]
    return (ready[1] - ready[0]) * FPS


def spread(values: Iterable[float]) -> dict[str, float | None]:
    """Return median and maximum."""
    found = sorted(values)
    return {
        "p50": round(percentile(found, 0.5) or 0.0, 3) if found else None,
        "max": round(found[-1], 3) if found else None,
    }


def run(count: int, *, slots: int, source: str, steady_s: float = STEADY_S) -> dict[str, Any]:
    """Play it; return the figures. ``broken`` names what must not be."""
    begin = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="updates-") as place,
        Plant(Path(place), slots=slots, source=source, judge=False) as plant,
        noise() as late_ms,
    ):
        plant.first()
        updates = play(plant, count, steady_s)
        plant.end_daemon()
        found = figures(plant, updates)
        lost, twice = plant.lost(), plant.record.prover.proof().conflicts + plant.twice()
        problems = plant.problems_found() + updates.wrong
    noisy = {"p99": percentile(sorted(late_ms), 0.99), "max": max(late_ms, default=0.0)}
    return {
        "updates": count,
        "slots": slots,
        "ends": dict(updates.ends),
        "lost": lost,
        "twice": twice,
        **found,
        "noise_ms": noisy,
        "seconds": round(time.monotonic() - begin, 1),
        "broken": problems[:20],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--slots", type=int, choices=(1, 2), default=1)
    parser.add_argument("--source", default=SOURCE)
    parser.add_argument("--steady", type=float, default=STEADY_S, help="seconds of peace after each update")
    chosen = parser.parse_args()
    result = run(chosen.count, slots=chosen.slots, source=chosen.source, steady_s=chosen.steady)
    print(json.dumps(result))
    sys.exit(bool(result["broken"] or result["lost"] or result["twice"]))
