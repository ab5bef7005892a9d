"""Bounds and figures of the spool, and how durable a commit is; plain values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal


class Durability(Enum):
    """When a commit is synced to the disk."""

    GROUP = "group"  # written before the send (survives kill -9), synced in groups beside it (power cut: some ms)
    STRICT = "strict"  # synced before the send (survives a power cut without a window)


class Policy(Enum):
    """Which results are given up when there are too many."""

    OLDEST = "oldest"
    NEWEST = "newest"  # what was there first stays
    OK_FIRST = "ok_first"  # the oldest that are OK, then the oldest others


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """Bounds of the spool.

    Attributes:
        max_bytes: results and events on disk; beyond it those owed to the broker are evicted by ``policy``.
        max_age_s: the same by age, the oldest first.
        keep_s: how long acknowledged rows are kept for replay.
        keep_bytes: how much of them is kept at most; they also make room for what is owed.
        dead_rows: refused rows kept for inspection.
        queue: items between ``put`` and the commit, also while the disk is full.
        drain_per_s: how many rows of a large backlog, or of a replay, are sent in a second; ``None``: all there are.
    """

    max_bytes: int = 1 << 30
    max_age_s: float = 30 * 86_400.0
    keep_s: float = 600.0
    keep_bytes: int = 512 << 20
    dead_rows: int = 10_000
    queue: int = 10_000
    policy: Policy = Policy.OLDEST
    drain_per_s: float | None = None

    @property
    def why(self) -> str:
        """What the gap event of an eviction beyond ``max_bytes`` says."""
        return "max_bytes" if self.policy is Policy.OLDEST else f"max_bytes_{self.policy.value}"


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """What an operator would alarm on.

    Attributes:
        depth: documents owed to the broker; ``bytes`` of them; ``oldest_age_s`` of the oldest.
        queued: put and not committed yet.
        committed, acked, refused, evicted, lost: totals of this run; ``lost`` never reached the disk.
        dead: refused documents kept for inspection.
        kept_bytes: acknowledged documents kept for replay.
        state: ``ok`` or ``degraded``; ``reason`` is the error code, ``detail`` a sentence for people.
    """

    depth: int
    bytes: int
    oldest_age_s: float
    queued: int
    committed: int
    acked: int
    refused: int
    evicted: int
    lost: int
    dead: int
    kept_bytes: int
    state: Literal["ok", "degraded"]
    reason: str | None
    detail: str | None
