"""Has a process look at the registry, waits for what it says, and ends it when there is no more time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import (
    BusyError,
    ConfigError,
    DataError,
    PermissionDeniedError,
    StorageError,
    UnavailableError,
)
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.box.report import Report, report_of
from edge_runtime.system import logs
from edge_runtime.system.zygote_link import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_runtime.core.errors import EdgeError
    from edge_runtime.registry.box.order import Order
    from edge_runtime.system.service import Stop

COMMAND: Final = (sys.executable, "-m", "edge_runtime.registry.box.worker")
SILENCE_S: Final = 600.0  # longer than any pause between two tries, and than hashing what the quota allows
SLICE_S: Final = 0.1  # how late a stop is seen
END_S: Final = 1.0
LINE_BYTES_MAX: Final = 4 << 20
_HELP: Final = "what runs goes on, and it is tried again; edge-runtime models pull shows what happens"


def look(
    order: Order,
    stop: Stop,
    *,
    fresh: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    command: Sequence[str] = COMMAND,
    silence_s: float = SILENCE_S,
) -> Report:
    """Return what became of a look at the registry; blocks until it is over, or ``stop`` is set.

    The kernel ends the process with the thread that calls this.

    Args:
        order: what to look for.
        stop: ends it within a fraction of a second; what has arrived is kept.
        fresh: verify what is on the disk, whatever was said before.
        on_progress: gets bytes that are there and bytes there will be.
        command: what to run.
        silence_s: it is ended when it says nothing for so long.

    Raises:
        UnavailableError: code ``registry.stopped``, ``registry.silent`` or ``registry.crashed``.
        EdgeError: with the code that the process gave; or ``DataError``, it said something that makes no sense.
    """
    process = _start(order, command, fresh=fresh)
    try:
        for message in _messages(process, stop, silence_s):
            op = message.get("op")
            if op == "report":
                return report_of(message, "registry process")
            if op == "error":
                raise _refusal(message)
            done, total = message.get("done"), message.get("total")
            if op == "progress" and isinstance(done, int) and isinstance(total, int) and on_progress is not None:
                on_progress(done, total)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    finally:
        _end(process)
    raise UnavailableError(
        "registry.crashed", f"the registry process ended with {_cause(process.returncode)}", help=_HELP
    )


def _start(order: Order, command: Sequence[str], *, fresh: bool) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [*command, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child_environment(),
        start_new_session=True,  # Ctrl-C is for main
    )
    assert process.stdin is not None  # noqa: S101 - Popen was told to make it
    message = {"order": order.as_fields(), "log": logs.describe(), "fresh": fresh}
    with contextlib.suppress(BrokenPipeError):  # it is dead: its end says so
        process.stdin.write(json.dumps(message).encode())
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    return process


def _messages(process: subprocess.Popen[bytes], stop: Stop, silence_s: float) -> Iterator[dict[str, object]]:
    assert process.stdout is not None  # noqa: S101 - as above
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    unread, heard_s = b"", time.monotonic()
    while True:
        if stop.is_set():
            raise UnavailableError("registry.stopped", "the look at the registry was stopped; it goes on where it is")
        if time.monotonic() - heard_s > silence_s:
            raise UnavailableError(
                "registry.silent", f"the registry process said nothing for {silence_s:g} s", help=_HELP
            )
        if not poll.poll(SLICE_S * 1000):
            continue
        found = os.read(process.stdout.fileno(), 1 << 16)
        if not found:
            return
        heard_s = time.monotonic()
        *lines, unread = (unread + found).split(b"\n")
        if len(unread) > LINE_BYTES_MAX:
            raise DataError("registry.report", f"the registry process says more than {LINE_BYTES_MAX} bytes at once")
        for line in lines:
            yield load_object(line, "registry process", limit_bytes=LINE_BYTES_MAX)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever it is doing: the store is made for that."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, on a disk that does not answer
        process.wait(END_S)


def _refusal(message: Mapping[str, object]) -> EdgeError:
    kinds = (UnavailableError, BusyError, PermissionDeniedError, StorageError, ConfigError)
    kind = next((one for one in kinds if one.exit_code == message.get("exit_code")), DataError)
    way_out = message.get("help")
    return kind(str(message.get("code")), str(message.get("message")), help=None if way_out is None else str(way_out))


def _cause(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"
