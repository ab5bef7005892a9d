"""Once a second: how is everything? Told to the service manager, to a status file and to the broker.

live = the line's loop turned lately; only then is the watchdog fed, so a hung main is replaced by systemd.
ready = live, every model can judge and every camera streams. A broker that is away makes neither false: results wait.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.errors import PermissionDeniedError, StorageError
from edge_runtime.system.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_runtime.system.clock import Clock
    from edge_runtime.system.notify import Notifier
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
LIVE_S = 5.0  # a loop that has not turned for this long is hung
STATUS_FILE = "status.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How the parts are, as plain JSON-able values; ``reasons`` says why not ready, empty when ready."""

    loop_age_s: float
    reasons: tuple[str, ...]
    document: Mapping[str, object]


class Subject(Protocol):
    """What can be looked at; called from the health thread."""

    def snapshot(self) -> Snapshot:
        """Return the present state; must not block for longer than a second."""
        ...

    def publish_metrics(self, document: Mapping[str, object]) -> None:
        """Send the document to whoever subscribed to metrics; must not block."""
        ...


class Health:
    """See the module docstring. A ``Service``."""

    name = "health"

    def __init__(
        self, subject: Subject, state_dir: Path, notifier: Notifier, *, clock: Clock, watchdog_s: float | None
    ) -> None:
        """Watch ``subject``; feed the service manager's watchdog, if it has one, at least each ``watchdog_s``."""
        self._subject = subject
        self._path = state_dir / STATUS_FILE
        self._notifier = notifier
        self._clock = clock
        self._watchdog_s = watchdog_s
        self._ready: bool | None = None
        self._file_failed = False

    def run(self, stop: Stop) -> None:
        """Look once a second until stopped, or as often as the watchdog wants to be fed."""
        period_s = PERIOD_S if self._watchdog_s is None else min(PERIOD_S, self._watchdog_s)
        while not stop.wait(period_s):
            self.look()

    def look(self) -> None:
        """Look once and tell everybody."""
        snapshot = self._subject.snapshot()
        live = snapshot.loop_age_s < LIVE_S
        ready = live and not snapshot.reasons
        document = {
            "schema": "vision.daemon/1",
            "live": live,
            "ready": ready,
            "reasons": list(snapshot.reasons),
            "utc_ns": self._clock.utc_ns(),
            "mono_ns": self._clock.mono_ns(),
            **snapshot.document,
        }
        if live and self._watchdog_s is not None:
            self._notifier.send("WATCHDOG=1")
        if ready is not self._ready:
            self._ready = ready
            text = "ready" if ready else "not ready: " + "; ".join(_reasons(snapshot.reasons, live=live))
            logger.log(logging.INFO if ready else logging.WARNING, "%s", text)
            self._notifier.send(f"STATUS={text}")
        self._write(document)
        self._subject.publish_metrics(document)

    def _write(self, document: Mapping[str, object]) -> None:
        """Keep the status file; a full disk costs the file, not the daemon."""
        try:
            write_atomic(self._path, json.dumps(document, allow_nan=False).encode(), durable=False)
        except (StorageError, PermissionDeniedError) as error:
            if not self._file_failed:
                logger.warning("the status file cannot be written: %s", error)
            self._file_failed = True
        else:
            self._file_failed = False


def _reasons(reasons: Sequence[str], *, live: bool) -> list[str]:
    return [*reasons] if live else ["the line's loop does not turn", *reasons]
