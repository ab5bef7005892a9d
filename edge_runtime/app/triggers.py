"""The command ``trigger`` and the line: what it asks of an inspection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.pipeline.inspection import TriggerIds

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.core.command import Command
    from edge_runtime.system.clock import Clock

NO_LINE = "no line runs at this moment; ask again"
_NS_PER_MS = 1_000_000


def trigger_ids(command: Command, clock: Clock, random: Callable[[int], bytes]) -> TriggerIds:
    """Return the ids that the result will carry; a command with an id of its own has a job, whoever names it."""
    job, part, meas, product = (
        _text(command.arguments.get(name)) for name in ("jobId", "partId", "measId", "productId")
    )
    wanted = command.correlation_id or None
    if job is None and wanted is not None:
        job = uuid7(max(0, clock.utc_ns()) // _NS_PER_MS, random(RANDOM_BYTES))
    return TriggerIds(job, part, meas, product, wanted)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
