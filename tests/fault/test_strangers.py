"""The daemon talks to nobody but its broker and cameras, and writes nowhere but in its state directory."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.daemons import DaemonProcess, Listener, line_config, wait_until
from tests.required import needs

CONNECT = re.compile(r"connect\(\d+, \{sa_family=(AF_INET6?), .*?sin6?_port=htons\((\d+)\).*?\"([0-9a-f.:]+)\"")
WRITING = re.compile(r"O_CREAT|^\d+ +(?:creat|mkdir|mkdirat|rename|renameat|renameat2)\(")
QUOTED = re.compile(r"\"([^\"]+)\"")
SECONDS = 10
SOAK_SECONDS = 60


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seconds", [SECONDS, pytest.param(SOAK_SECONDS, marks=pytest.mark.soak)])
def test_with_an_empty_home_nobody_else_is_called_and_nothing_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    needs(shutil.which("strace"), "strace: apt-get install strace")
    home, trace = tmp_path / "home", tmp_path / "trace.txt"
    home.mkdir()
    for name in ("CI", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)  # CI=true would switch OpenVINO's telemetry off by itself
    monkeypatch.setenv("HOME", str(home))
    state_dir = tmp_path / "state"
    calls = "trace=connect,sendto,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2"
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, state_dir)
        prefix = ("strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", str(trace))
        with DaemonProcess(tmp_path, config, prefix=prefix) as daemon:
            listener.wait_for_verdicts(5, 120)
            end_s = time.monotonic() + seconds
            wait_until(lambda: time.monotonic() > end_s, seconds + 5, "the time is over")
            listener.wait_for_verdicts(5, 30)
            _stop_traced(daemon)
        text = trace.read_text()
    strangers = {(port, host) for _, port, host in CONNECT.findall(text)} - {(str(broker.port), "127.0.0.1")}
    assert strangers == set()
    assert list(home.iterdir()) == []
    written = {
        path
        for line in text.splitlines()
        if WRITING.search(line) and "= -1" not in line
        for path in QUOTED.findall(line)
        if not _expected(path, state_dir)
    }
    assert written == set()


def _stop_traced(daemon: DaemonProcess) -> None:
    """SIGTERM for the daemon itself, which is the only child of strace."""
    children = [int(p) for p in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()]
    os.kill(children[0], signal.SIGTERM)
    assert daemon.wait(20) == 0


def _expected(path: str, state_dir: Path) -> bool:
    return path.startswith((str(state_dir), "/dev/", "/proc/")) or "__pycache__" in path
