"""A fleet of simulated boxes at one registry, and how it follows rings, percentages, pauses, kills and floors.

    python -m tests.soak.fleet [--boxes 1000] [--polling 20] [--seconds 5]

Each box refreshes by itself: real metadata of a real publisher, verified with its own memory and floors; only the model
is not fetched. Those that are ``polling`` do it over HTTP from a docker-registry. Then as many as can look whether
anything is new do so for some seconds, which is how many boxes one registry carries.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.carriers.open import Access, open_carrier
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.descriptor import digest_of
from edge_runtime.registry.documents import Match
from edge_runtime.registry.trust.decide import BoxFacts, Decision, Keep, Refused, SlotFacts, Take, decide
from edge_runtime.registry.trust.refresh import refresh
from tests.release_desk import SITE, ReleaseDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.trust.floors import Floors
    from edge_runtime.registry.trust.trusted import Trusted

MODEL = "scratches"
SLOT = SlotFacts("top", MODEL)
LINES = 20
LAB = {"ring": "lab"}
SALT = "summer"  # fixed: another salt chooses other boxes, and one in thirty salts is further off than 2 points


@dataclass
class Box:
    """One box with one slot: what it remembers, and which release it runs."""

    facts: BoxFacts
    running: int | None = None
    decision: Decision | None = None
    kept: Mapping[str, bytes] = field(default_factory=dict)
    floors: Floors | None = None

    def poll(self, fetch: Callable[[str, int], bytes | None], pinned: bytes) -> None:
        """Refresh as a box does, and follow what was decided."""
        now = datetime.now(UTC)
        outcome = refresh(self.kept, fetch, pinned, self.floors, now=now, site=self.facts.site)
        self.kept, self.floors = outcome.kept, outcome.floors
        self.follow(outcome.believed(), now)

    def follow(self, trusted: Trusted, now: datetime) -> None:
        """Do what metadata that were verified say."""
        self.decision = decide(trusted, self.facts, SLOT, now)
        if isinstance(self.decision, Take):
            self.running = self.decision.release.release.release

    @property
    def refused(self) -> str | None:
        """Why it did not take what the rollout wants."""
        return self.decision.error.code if isinstance(self.decision, Refused) else None


def make_boxes(count: int) -> list[Box]:
    """Return boxes on 20 lines; one of a hundred is in the lab."""
    return [
        Box(BoxFacts(SITE, f"line-{n % LINES}", f"box-{n}", LAB if n % 100 == 0 else {"ring": "plant"}))
        for n in range(count)
    ]


def share(boxes: Iterable[Box], release: int) -> set[str]:
    """Return the names of the boxes that run a release."""
    return {box.facts.name for box in boxes if box.running == release}


class Story:
    """What operators do, and what each step must come to; ``poll`` lets boxes look at the registry."""

    def __init__(self, desk: ReleaseDesk, boxes: list[Box], poll: Callable[[Iterable[Box]], None]) -> None:
        self._desk, self._boxes, self._poll = desk, boxes, poll
        self.told: dict[str, int] = {}  # how many boxes run release 2 after each step

    def play(self) -> None:
        """Play it; an assertion fails where the fleet does something else."""
        desk, boxes = self._desk, self._boxes
        for number in (1, 2, 3):
            manifest = b'{"schemaVersion":2,"release":%d}' % number
            desk.list_manifest(MODEL, number, manifest, digest_of(manifest))
        desk.assign(MODEL, 1)
        self._step("release 1 for all")
        assert len(share(boxes, 1)) == len(boxes)

        desk.assign(MODEL, 2, match=Match(labels={"ring": ("lab",)}), ring="lab")
        self._step("release 2 in the lab")
        assert share(boxes, 2) == {box.facts.name for box in boxes if box.facts.labels == LAB}

        desk.assign(MODEL, 2, ring="plant", percent=10, salt=SALT)
        self._step("10 percent")
        tenth = self._within(10)
        desk.assign(MODEL, 2, ring="plant", percent=25, salt=SALT)
        self._step("25 percent")
        assert self._within(25) > tenth, "raising the percentage takes nobody back"

        desk.assign(MODEL, 2, ring="plant", percent=60, salt=SALT)
        early = random.Random(1).sample(boxes, len(boxes) // 2)
        self._poll(early)
        before = share(boxes, 2)
        desk.pause()
        self._step("60 percent, paused when half of the boxes had looked")
        assert share(boxes, 2) == before
        assert all(box.decision == Keep("rollout.paused") for box in boxes)
        desk.pause(paused=False)
        self._step("60 percent")
        self._within(60)

        desk.kill(MODEL, 2)
        desk.assign(MODEL, 2)
        self._step("killed, though assigned to all")
        assert {box.refused for box in boxes} == {"release.killed"}
        self._within(60)
        desk.raise_floor(MODEL, 3)
        desk.assign(MODEL, 3, percent=50, salt=SALT)
        desk.assign(MODEL, 3, match=Match(labels={"ring": ("lab",)}))
        self._step("release 3 for half, releases below it banned")
        chosen = share(boxes, 3)
        assert 0.4 < len(chosen) / len(boxes) < 0.6
        assert {box.refused for box in boxes if box.facts.name not in chosen} <= {"release.floored"}
        desk.assign(MODEL, 3)
        self._step("release 3 for all")
        assert len(share(boxes, 3)) == len(boxes)

    def _step(self, what: str) -> None:
        self._poll(self._boxes)
        self.told[what] = len(share(self._boxes, 2))

    def _within(self, percent: float) -> set[str]:
        """Return the boxes outside of the lab that run release 2: percent +- 2 points of them."""
        plant = [box for box in self._boxes if box.facts.labels != LAB]
        found = share(plant, 2)
        assert abs(100 * len(found) / len(plant) - percent) <= 2, f"{len(found)} of {len(plant)} for {percent} %"
        return found


class Polled:
    """What is at a registry now, fetched once and given to any number of boxes."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.files: dict[str, bytes] = {}

    def close(self) -> None:
        """Close the connection."""
        self._carrier.close()

    def look(self) -> None:
        """Fetch all."""
        listing = self._carrier.listing()
        assert listing is not None
        self.files = {name: read_blob(self._carrier, TUF, blob) for name, blob in listing.files.items()}

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a file, as `refresh` wants it."""
        raw = self.files.get(name)
        assert raw is None or len(raw) <= limit
        return raw


def polls_per_s(url: str, seconds: float, threads: int = 4) -> float:
    """Return how often per second boxes can ask whether anything is new; nothing is."""
    counts = [0] * threads
    end = time.monotonic() + seconds

    def ask(place: int) -> None:
        carrier = open_carrier(url, Access())
        try:
            first = carrier.listing()
            assert first is not None
            while time.monotonic() < end:
                assert carrier.listing(first.token) is None
                counts[place] += 1
        finally:
            carrier.close()

    asking = [threading.Thread(target=ask, args=(place,)) for place in range(threads)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    return sum(counts) / seconds


def run(directory: Path, count: int, polling: int, seconds: float) -> dict[str, object]:
    """Play the story at a docker-registry with ``count`` boxes; return the figures."""
    from tests.registries import Registry

    with ExitStack() as stack:
        registry = stack.enter_context(Registry())
        url = f"oci://{registry.address}/fleet"
        desk = stack.enter_context(ReleaseDesk(directory, url))
        boxes = make_boxes(count)
        pinned = desk.root.read_bytes()
        own = {box.facts.name: Polled(open_carrier(url, Access())) for box in boxes[:polling]}
        common = Polled(open_carrier(url, Access()))
        for one in (common, *own.values()):
            stack.callback(one.close)
        refreshes = 0

        def poll(asked: Iterable[Box]) -> None:
            nonlocal refreshes
            common.look()
            for box in asked:
                source = own.get(box.facts.name, common)
                if source is not common:
                    source.look()
                box.poll(source.fetch, pinned)
                refreshes += 1

        started = time.monotonic()
        story = Story(desk, boxes, poll)
        story.play()
        took = time.monotonic() - started
        return {
            "boxes": count,
            "polling over HTTP": polling,
            "boxes with release 2": story.told,
            "refreshes": refreshes,
            "seconds": round(took, 1),
            "polls per second of the registry": round(polls_per_s(url, seconds)),
        }


def main() -> int:
    """Play it and print the figures."""
    parser = argparse.ArgumentParser(description="A fleet of simulated boxes at one registry.")
    parser.add_argument("--boxes", type=int, default=1000)
    parser.add_argument("--polling", type=int, default=20, help="boxes that poll over HTTP")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to count polls")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
        print(json.dumps(run(Path(directory) / "desk", words.boxes, words.polling, words.seconds), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
