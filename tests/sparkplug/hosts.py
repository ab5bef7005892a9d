"""Independent Sparkplug hosts as processes: npm (mqtt, sparkplug-payload) and PyPI pysparkplug.

What they are made of is fetched by ``tools/fetch_test_assets.py``, never by a test. A host is told what to do by JSON
lines on stdin and answers each with one; see ``npm_host/host.js`` for the orders and the report.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.required import needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

HERE = Path(__file__).parent
ANSWER_S = 20.0
_POLL_S = 0.05


def assets() -> Path:
    """Return the folder of ``tools/fetch_test_assets.py``."""
    return Path(os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests")


class Host:
    """One host process on ``port`` of loopback; 0 gives only its codec. Use it in a ``with``."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        try:
            self.report()  # answers once it is connected and has subscribed
        except BaseException:
            self._reap()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reap()

    def ask(self, order: str, **fields: Any) -> dict[str, Any]:
        """Give an order and return the answer; an error of the host fails the test."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": order, **fields}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._line())
        assert "error" not in answer, answer
        return answer

    def report(self) -> dict[str, Any]:
        """Return what it saw so far."""
        return self.ask("report")

    def wait(self, predicate: Callable[[dict[str, Any]], bool], timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Return the first report of which ``predicate`` is true."""
        deadline = time.monotonic() + timeout_s
        while not predicate(report := self.report()):
            assert time.monotonic() < deadline, f"the host has not seen it: {report}"
            select.select([], [], [], _POLL_S)
        return report

    def rebirth(self, group: str, node: str, *, timestamp: bool = True) -> None:
        """Ask a node for its births; without ``timestamp`` as some hosts do it."""
        self.ask("rebirth", group=group, node=node, timestamp=timestamp)

    def state(self, host: str, *, online: bool, timestamp_ms: int | None = None) -> None:
        """Say, retained, whether the primary host application ``host`` is there."""
        self.ask("state", host=host, online=online, **({} if timestamp_ms is None else {"timestamp": timestamp_ms}))

    def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + ANSWER_S
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._process.stdout], [], [], max(left, 0))
            data = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            assert data, f"the host does not answer: {self._complaint()}"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _complaint(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.kill()
        return self._process.stderr.read().decode(errors="replace")

    def _reap(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()  # the end of stdin is its order to stop
        try:
            self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def npm_host(port: int) -> Host:
    """Return a host made of npm mqtt 5 and sparkplug-payload."""
    modules = assets() / "sparkplug-npm-host" / "node_modules"
    node = shutil.which("node")
    needs(node, "node: apt-get install nodejs")
    needs(modules.exists(), "the npm Sparkplug host (run: python tools/fetch_test_assets.py)")
    return Host([str(node), str(HERE / "npm_host" / "host.js"), str(port)], {"NODE_PATH": str(modules)})


def pysparkplug_host(port: int) -> Host:
    """Return a host made of pysparkplug and its own paho 1.6."""
    packages = assets() / "pysparkplug"
    needs(packages.exists(), "the pysparkplug host (run: python tools/fetch_test_assets.py)")
    # -S: of installed packages it sees those and no others
    return Host([sys.executable, "-S", str(HERE / "pysp_host.py"), str(port)], {"PYTHONPATH": str(packages)})
