"""Measure what a box's look at its registry costs: a real docker-registry on loopback, the shipped model as release.

``first`` is the first look of an empty box, which fetches the release; ``unchanged`` one after which nothing changed;
``judged`` the same, when all that is kept is judged anew (every quarter of an hour); ``update`` one that finds a new
wish. Requests are those that the registry logged, bytes those on the wire in both directions, times medians.

python tools/bench/look.py [--runs 20]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.carriers.open import Access
from tests.fault.cables import Cable
from tests.registries import Registry
from tests.release_desk import SITE, ReleaseDesk

MODEL = Path(__file__).resolve().parents[2] / "models" / "surface-defects"


def cost(pull: Pull, registry: Registry, cable: Cable, *, fresh: bool = False) -> dict[str, float]:
    """Return what one look costs."""
    requests, moved, started = len(registry.requests()), cable.moved_bytes, time.perf_counter()
    report = pull.run(fresh=fresh)
    took_ms = 1000 * (time.perf_counter() - started)
    time.sleep(0.05)  # the registry writes its log behind its answer
    return {
        "requests": len(registry.requests()) - requests,
        "bytes": cable.moved_bytes - moved,
        "ms": round(took_ms, 1),
        "release_bytes": report.fetched_bytes,
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as place,
        Registry() as registry,
        Cable(int(registry.address.rpartition(":")[2])) as cable,
        ReleaseDesk(Path(place, "desk"), f"oci://{registry.address}/vision") as desk,
    ):
        desk.publish(MODEL)
        desk.assign(MODEL.name, 1)
        order = Order(
            root=Path(place, "models"),
            anchor=desk.root,
            urls=(f"oci://127.0.0.1:{cable.port}/vision",),
            access=Access(),
            site=SITE,
            line="line-1",
            edge="box-1",
            wants=(Want("defects", MODEL.name),),
            hardware=("cpu",),
        )
        pull = Pull(order)
        report: dict[str, object] = {"first": cost(pull, registry, cable)}
        for name, fresh in (("unchanged", False), ("judged", True)):
            looks = [cost(pull, registry, cable, fresh=fresh) for _ in range(chosen.runs)]
            report[name] = {key: statistics.median(look[key] for look in looks) for key in looks[0]}
        desk.assign(MODEL.name, 1, percent=50)
        report["update"] = cost(pull, registry, cable)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
