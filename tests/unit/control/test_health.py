from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from edge_runtime.control.health import STATUS_FILE, Health, Snapshot
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.notify import Notifier
from edge_runtime.system.service import ServiceGroup, Stop
from tests.daemons import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Subject:
    def __init__(self) -> None:
        self.loop_age_s = 0.0
        self.reasons: tuple[str, ...] = ()
        self.published: list[Mapping[str, object]] = []

    def snapshot(self) -> Snapshot:
        return Snapshot(self.loop_age_s, self.reasons, {"cameras": {}})

    def publish_metrics(self, document: Mapping[str, object]) -> None:
        self.published.append(document)


def look(subject: Subject, directory: Path, *, watchdog_s: float | None = 5.0) -> tuple[dict[str, object], list[str]]:
    """Look once; return the status file and what systemd was told."""
    address = directory / "notify"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(0)
        Health(subject, directory, Notifier(str(address)), clock=SystemClock(), watchdog_s=watchdog_s).look()
        told = []
        while True:
            try:
                told.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
    return json.loads((directory / STATUS_FILE).read_text()), told


def test_a_line_that_lives_and_lacks_nothing_is_ready_and_feeds_the_watchdog(tmp_path: Path) -> None:
    subject = Subject()
    status, told = look(subject, tmp_path)
    assert (status["live"], status["ready"], status["reasons"]) == (True, True, [])
    assert told == ["WATCHDOG=1", "STATUS=ready"]
    assert subject.published[0]["ready"] is True


def test_a_reason_against_ready_is_told_and_the_watchdog_fed_all_the_same(tmp_path: Path) -> None:
    subject = Subject()
    subject.reasons = ("camera top is lost",)
    status, told = look(subject, tmp_path)
    assert (status["live"], status["ready"]) == (True, False)
    assert told == ["WATCHDOG=1", "STATUS=not ready: camera top is lost"]


def test_a_hung_line_starves_the_watchdog(tmp_path: Path) -> None:
    subject = Subject()
    subject.loop_age_s = 60.0
    status, told = look(subject, tmp_path)
    assert (status["live"], status["ready"]) == (False, False)
    assert told == ["STATUS=not ready: the line's loop does not turn"]


def test_without_a_watchdog_none_is_fed(tmp_path: Path) -> None:
    assert look(Subject(), tmp_path, watchdog_s=None)[1] == ["STATUS=ready"]


@pytest.mark.parametrize(("watchdog_s", "pause_s"), [(None, 1.0), (5.0, 1.0), (0.25, 0.25)])
def test_it_looks_once_a_second_or_as_often_as_the_watchdog_wants_to_be_fed(
    tmp_path: Path, watchdog_s: float | None, pause_s: float
) -> None:
    pauses: list[float] = []

    class Impatient(Stop):
        def wait(self, timeout_s: float) -> bool:
            pauses.append(timeout_s)
            return len(pauses) > 2

    Health(Subject(), tmp_path, Notifier(None), clock=SystemClock(), watchdog_s=watchdog_s).run(Impatient())
    assert pauses == [pause_s] * 3


def test_a_directory_that_cannot_be_written_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    health = Health(Subject(), tmp_path / "absent", Notifier(None), clock=SystemClock(), watchdog_s=None)
    health.look()
    health.look()
    assert len([r for r in caplog.records if "status file" in r.message]) == 1


def test_it_looks_until_it_is_stopped(tmp_path: Path) -> None:
    subject = Subject()
    with ServiceGroup() as group:
        group.start(Health(subject, tmp_path, Notifier(None), clock=SystemClock(), watchdog_s=None))
        wait_until(lambda: subject.published, 5, "the first look")
