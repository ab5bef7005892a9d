"""The service manager hears about the daemon, and a missing one is no trouble."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import pytest

from edge_runtime.system.notify import Notifier, watchdog_interval_s

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("abstract", [True, False])
def test_the_manager_gets_one_datagram_of_lines(abstract: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    name = f"@edge-notify-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(10)
        manager.bind("\0" + name[1:] if abstract else name)
        Notifier(name).send("READY=1", "STATUS=2 cameras")
        assert manager.recv(4096) == b"READY=1\nSTATUS=2 cameras"


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_manager_nothing_happens(address: str | None, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(address).send("READY=1")
    assert caplog.records == []


def test_a_manager_that_is_gone_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(str(tmp_path / "nobody")).send("WATCHDOG=1")
    assert [(r.levelno, "WATCHDOG=1" in r.getMessage()) for r in caplog.records] == [(logging.WARNING, True)]


@pytest.mark.parametrize(
    ("usec", "expected"),
    [
        ("30000000", 15.0),
        ("1", 0.0000005),
        ("0", None),
        (None, None),
        ("", None),
        ("-5", None),
        ("x", None),
        ("³", None),
    ],
)
def test_the_watchdog_is_fed_twice_per_interval(usec: str | None, expected: float | None) -> None:
    assert watchdog_interval_s(usec) == expected
