"""Main or an engine is killed at a random instant of an update, again and again; the same seed, the same instants.

    python -m tests.soak.update_kills --kills 500 --seed 1

Each time a release is rolled out, and within the time that such an update takes a process of the box is killed -9: main
(which is started again), or an engine: the one that judges, or the candidate's. Then the update has to end, on the old
release or on the new one: the links of the slot, the retained document and the results must name the same release,
which must be whole; there is never a second deployment before the first one ended, and no floor ever falls. Prints one
JSON object; exit code 1 when any of that is not so.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bad_models import SOURCE
from tests.updates import ENDS, Plant

if TYPE_CHECKING:
    from tests.updates import Step

GATES = {"shadow_frames": 15, "canary_frames": 15, "probation_frames": 30, "not_ok_shift_max": 1.0}
MODES = ("active", "canary", "shadow")
VICTIMS = ("main", "engine")
CAMERA = SOURCE.replace("fps=30", "fps=10")  # when it is killed does not depend on it, how long this takes does
UPDATE_S = 6.0  # about as long as an update takes
END_S = 90.0


def strike(plant: Plant, victim: str, chance: random.Random) -> str:
    """Kill, main when there is no such process; return what was killed."""
    engines = sorted(plant.engines())
    if victim == "main" or not engines:
        plant.kill()
        return "main"
    plant.kill(chance.choice(engines))
    return victim


def settled(plant: Plant, seq: int) -> Step:
    """Wait until the update of a rollout ended; return its last step."""
    plant.wait_end(seq, timeout_s=END_S)
    plant.wait_verdicts(3)
    mine = [step for step in plant.record.steps if step.seq == seq and step.state in ENDS]
    return mine[-1]


def verdict(plant: Plant, old: int, new: int) -> tuple[int | None, list[str]]:
    """Return which release the box is on, and what does not fit together."""
    problems = plant.problems_found(killed=True)
    current = plant.links().current
    on = next((number for number, manifest in plant.releases.manifests.items() if manifest == current), None)
    if on not in (old, new):
        problems.append(f"on {current}, which is neither {old} nor {new}")
    for inspection in ("left", "right"):
        judged = [row for row in plant.record.of(inspection) if row.evaluation in ("OK", "NotOK")]
        if not judged or judged[-1].digest != plant.releases.digests.get(on or 0):
            problems.append(f"{inspection} is judged by {judged[-1].digest if judged else None}, the link says {on}")
    return on, problems


def run(kills: int, seed: int) -> dict[str, Any]:
    """Kill so many times; return the figures."""
    chance, killed, ends = random.Random(seed), Counter[str](), Counter[str]()
    at: Counter[str] = Counter()  # state of the deployment when the process was killed
    broken: list[str] = []
    begin = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="update-kills-") as place,
        Plant(Path(place), source=CAMERA, judge=False) as plant,
    ):
        plant.first()
        releases, old = (1, plant.release("good")), 1
        while killed.total() < kills and not broken:
            new = releases[old == releases[0]]
            victim, wait_s = chance.choice(VICTIMS), chance.uniform(0.0, UPDATE_S)
            plant.forget(killed=True)
            seq = plant.roll_out(new, GATES, mode=chance.choice(MODES))
            threading.Event().wait(wait_s)
            now = plant.deployment()
            hit = strike(plant, victim, chance)
            plant.watch_floors()
            if hit == "main":
                plant.start()
            killed[hit] += 1
            at[now["state"] if now and now["seq"] == seq else "before"] += 1
            try:
                end = settled(plant, seq)
            except AssertionError as error:
                broken += [f"kill {killed.total()} ({hit} after {wait_s:.2f} s): {error}", *error.__notes__]
                break
            ends[end.state if end.state == "committed" else f"{end.state}: {end.reason}"] += 1
            on, problems = verdict(plant, old, new)
            broken += [f"kill {killed.total()} ({hit} after {wait_s:.2f} s): {one}" for one in problems]
            old = on if on in releases else old
            if killed.total() % 10 == 0:
                print(killed.total(), dict(ends), file=sys.stderr, flush=True)
    return {
        "seed": seed,
        "kills": dict(killed),
        "at": dict(at),
        "ends": dict(ends),
        "seconds": round(time.monotonic() - begin, 1),
        "broken": broken[:20],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    result = run(chosen.kills, chosen.seed)
    print(json.dumps(result))
    sys.exit(bool(result["broken"]))
