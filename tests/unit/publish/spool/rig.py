"""A spool without threads: ``step`` is called by hand and the test plays line, sender and follower."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from edge_runtime.publish.spool.spool import Spool
from tests.fakes.results import BOOT, IDENTITY, make_result

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.publish.spool.follower import Follower
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.system.clock import SystemClock
    from tests.fakes.clock import ManualClock


class Bench:
    """Use it as a block; it opens the spool and closes it."""

    def __init__(
        self, directory: Path, clock: ManualClock | SystemClock, *, followers: tuple[str, ...] = (), **options: Any
    ) -> None:
        self.path = directory / "spool.db"
        self.clock = clock
        self.spool = Spool(self.path, IDENTITY, BOOT, clock, **options)
        self.followers: dict[str, Follower] = {name: self.spool.follow(name) for name in followers}
        self.frame = 0

    def __enter__(self) -> Self:
        self.spool.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.spool.close()

    def put(self, count: int = 1, inspection: str = "top", **fields: Any) -> None:
        for _ in range(count):
            self.frame += 1
            self.spool.put(make_result(self.frame, self.clock, inspection=inspection, **fields))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.spool.step(0.0)

    def take(self, limit: int = 1000) -> list[Row]:
        rows: list[Row] = []
        while found := self.spool.take(limit):
            rows += found
            self.step()
        return rows

    def deliver(self) -> list[Row]:
        """Write, send and acknowledge everything there is."""
        self.step(2)
        rows = self.take()
        self.spool.acked(rows)
        self.step()
        return rows

    def backlog(self, name: str, limit: int = 64) -> list[Row]:
        """Return the whole backlog of a follower."""
        rows: list[Row] = []
        for _ in range(10_000):
            found = self.followers[name].take_backlog(limit)
            rows += found
            if not found and not self.followers[name].backlog:
                return rows
            self.step()
        raise AssertionError("the backlog has no end")


def documents(rows: list[Row], kind: str = "") -> list[dict[str, Any]]:
    """The documents of ``rows``, or the fields of events of one kind."""
    found = [json.loads(row.body) for row in rows]
    return [document["fields"] for document in found if document.get("kind") == kind] if kind else found


def seqs(rows: list[Row], stream: str = "result/top") -> list[int]:
    return [row.seq for row in rows if row.stream == stream]
