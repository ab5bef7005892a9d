"""What the registry process of a daemon runs: one look, then it ends.

A process of its own, because what comes from a registry is bytes of strangers (TLS, JSON, signatures), because hashing
beside the line's loop takes time from verdicts, and because it can be killed at any moment: the store outlives that.

In: one JSON object on standard input, ``{"order", "log", "fresh"}``; secrets pass through this pipe and nowhere else.
Out, one JSON object a line: ``{"op": "progress", "done", "total"}`` ..., then ``{"op": "report", ...}`` or
``{"op": "error", "code", "message", "help", "exit_code"}``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from edge_runtime.core.errors import EdgeError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.box.order import order_of
from edge_runtime.registry.box.pull import Pull
from edge_runtime.system import logs
from edge_runtime.system.child import die_with_parent, reset_signals, set_process_name
from edge_runtime.system.redact import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDER_BYTES_MAX: Final = 1 << 20
NICE: Final = 19  # the kernel derives the priority of reads and writes from it, too
TELL_S: Final = 0.5  # between two lines about progress


def main() -> None:
    """Look once."""
    die_with_parent(int(sys.argv[1]))
    reset_signals()
    set_process_name("registry")
    os.nice(NICE)
    secrets: tuple[str, ...] = ()
    try:
        message = load_object(sys.stdin.buffer.read(ORDER_BYTES_MAX + 1), "order", limit_bytes=ORDER_BYTES_MAX)
        fields = message.get("order")
        order = order_of(fields if isinstance(fields, dict) else {})
        secrets = order.access.secrets()
        logs.configure_like(message.get("log"), secrets=secrets)
        report = Pull(order, on_progress=_Teller()).run(fresh=message.get("fresh") is True)
    except EdgeError as error:
        said = {"code": error.code, "message": error.message, "help": error.help, "exit_code": error.exit_code}
        _say({"op": "error", **_masked(said, secrets)})
    else:
        _say({"op": "report", **_masked(report.as_fields(), secrets)})


class _Teller:
    """Passes progress on, now and then."""

    def __init__(self) -> None:
        self._told_s = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told_s >= TELL_S:
            self._told_s = now
            _say({"op": "progress", "done": done, "total": total})


def _masked(fields: Mapping[str, Any], secrets: tuple[str, ...]) -> dict[str, Any]:
    """Return ``fields`` with what is meant for people free of ``secrets``: a registry may say the password back."""
    slots = {"slots": [_masked(one, secrets) for one in fields["slots"]]} if "slots" in fields else {}
    texts = {name: hide(text, secrets) for name in ("message", "help") if (text := fields.get(name)) is not None}
    return {**fields, **slots, **texts}


def _say(message: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
