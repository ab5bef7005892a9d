"""A full, a read-only and a forbidden state directory: the line goes on, or the start is refused in words."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.brokers import Broker
from tests.daemons import DaemonProcess, Listener, line_config, wait_until
from tests.fault.test_spool_disk import resize, small_disk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


def test_verdicts_wait_in_memory_while_the_disk_is_full_and_arrive_when_there_is_room(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with small_disk(state, 64 << 10), Broker() as broker, Listener(broker.port) as listener:
        with DaemonProcess(tmp_path, line_config(broker.port, state)) as daemon:
            wait_until(lambda: "spool" in daemon.log.read_text(), 30, "the trouble is logged")
            resize(state, 100 << 20)
            listener.wait_for_verdicts(20)
            assert daemon.terminate()[0] == 0
        assert listener.audience.proof().complete
        assert "Traceback" not in daemon.log.read_text()


def test_a_disk_that_fills_up_is_told_and_survived(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with small_disk(state, 8 << 20), Broker() as broker, Listener(broker.port) as listener:
        with DaemonProcess(tmp_path, line_config(broker.port, state)) as daemon:
            listener.wait_for_verdicts(10)
            filler = state / "filler"
            _fill(filler)
            wait_until(lambda: "spool" in daemon.log.read_text(), 60, "the trouble is logged")
            filler.unlink()
            listener.wait_for_verdicts(10, 60)
            assert daemon.terminate()[0] == 0
        assert listener.audience.proof().complete
        assert "Traceback" not in daemon.log.read_text()


def test_a_reload_that_renames_an_inspection_while_the_disk_is_full_loses_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with small_disk(state, 8 << 20), Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, state, "sim:conveyor?fps=20&size=448x256")
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(10)
            filler = state / "filler"
            _fill(filler)
            wait_until(lambda: "spool cannot write" in daemon.log.read_text(), 60, "the trouble is logged")
            daemon.write(config | {"inspections": {"renamed": config["inspections"]["top"]}})
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(lambda: "configuration is taken" in daemon.log.read_text(), 20, "the reload")
            filler.unlink()
            wait_until(lambda: any(d["inspection"] == "renamed" for d in listener.verdicts), 60, "verdicts again")
            assert daemon.terminate()[0] == 0
        assert listener.audience.proof().complete
        assert "Traceback" not in daemon.log.read_text()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_a_read_only_state_directory_is_refused_in_words(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with small_disk(state, 1 << 20), Broker() as broker:
        subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        daemon = DaemonProcess(tmp_path, line_config(broker.port, state)).start()
        assert daemon.wait(30) in (1, 77)
        text = daemon.log.read_text()
        assert str(state) in text
        assert "Traceback" not in text


def test_a_wrong_broker_password_is_said_once_and_results_wait(tmp_path: Path) -> None:
    with Broker(anonymous=False) as broker:
        config = line_config(broker.port, tmp_path / "state")
        config["mqtt"] |= {"username": "box", "password": "wrong-password"}
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.counters().get("inferred", 0) > 10, 30, "verdicts")
            wait_until(lambda: daemon.status()["broker"]["state"] == "refused", 10, "the refusal")
            assert daemon.status()["spool"]["depth"] > 0
            assert daemon.terminate()[0] == 0
        text = daemon.log.read_text()
    assert "wrong-password" not in text
    assert text.count("not connected to the broker") == 1
