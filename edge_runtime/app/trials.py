"""Asks `engine.trial`, a process that may die of what it is asked, and says in words how it died.

Legal order: ``with Trials(...) as trials:`` and then ``ask`` as often as wanted; each has a deadline, and after a death
the next one starts another process. One thread owns it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Self

from edge_runtime.core.errors import UnavailableError
from edge_runtime.system.zygote import ENVIRONMENT
from edge_runtime.system.zygote_link import child_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMMAND = (sys.executable, "-m", "edge_runtime.engine.trial")
START_TIMEOUT_S = 120.0  # a cold import of every engine on a slow box
END_TIMEOUT_S = 2.0
ANSWER_BYTES = 1 << 20


class Trials:
    """The process and the pipes to it; a block."""

    def __init__(
        self, models: Sequence[Path] = (), *, cache_dir: Path | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        """Start nothing yet; only ``models`` may be read, and compiled ones are kept in ``cache_dir``."""
        confinement = {
            "models": [str(one) for one in models],
            "cache_dir": None if cache_dir is None else str(cache_dir),
        }
        self._command = [*command, json.dumps(confinement)]
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, order: Mapping[str, object], timeout_s: float) -> dict[str, object]:
        """Return the answer to ``order``; may block for ``timeout_s`` and the start of a process.

        Raises:
            UnavailableError: the process died of it or did not answer in time; code ``device.crashed`` or
                ``device.silent``. With the code that it gave when it answered why it could not.
        """
        process = self._started()
        try:
            answer = self._exchange(process, order, timeout_s)
        except BaseException:
            self._end()
            raise
        if "error" in answer:
            way_out = answer.get("help")
            raise UnavailableError(
                str(answer["error"]), str(answer.get("message")), help=None if way_out is None else str(way_out)
            )
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        self._unread = b""
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**child_environment(), **ENVIRONMENT},
        )
        try:
            self._exchange(self._process, {"op": "ready"}, START_TIMEOUT_S)
        except BaseException:
            self._end()
            raise
        return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], order: Mapping[str, object], timeout_s: float
    ) -> dict[str, object]:
        assert process.stdin is not None  # noqa: S101 - Popen was told to make them
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died(process) from error
        answer = json.loads(self._line(process, timeout_s))
        if not isinstance(answer, dict):
            raise UnavailableError("device.crashed", f"the process that tries it answered {answer!r}")
        return answer

    def _line(self, process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
        assert process.stdout is not None  # noqa: S101 - as above
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise UnavailableError("device.silent", f"it did not answer within {timeout_s:g} s")
            found = os.read(process.stdout.fileno(), ANSWER_BYTES)
            if not found:
                raise self._died(process)
            self._unread += found
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _died(self, process: subprocess.Popen[bytes]) -> UnavailableError:
        try:
            code = process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return UnavailableError("device.crashed", "the process that tries it closed its output")
        if code < 0:
            return UnavailableError(
                "device.crashed", f"it crashed the process that tries it ({signal.Signals(-code).name})"
            )
        assert self._errors is not None  # noqa: S101 - made with the process
        self._errors.seek(0)
        last = self._errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        return UnavailableError("device.crashed", f"the process that tries it ended with {code}: {last}")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._errors is not None:
            self._errors.close()
