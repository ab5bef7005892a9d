"""SIGTERM ends the daemon within 5 s and with exit code 0, whatever is frozen or silent at that moment."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

CHILDREN = ("engine", "camera/top")
LIMIT_S = 5.0
# one dead name server in resolv.conf: the C library asks it twice, for 5 s each
SILENT_NAME_SERVER = """
import socket, time
real = socket.getaddrinfo
def silent(host, *args, **more):
    if host == "broker.invalid":
        time.sleep(10)
        raise socket.gaierror(-3, "Temporary failure in name resolution")
    return real(host, *args, **more)
socket.getaddrinfo = silent
"""


@contextlib.contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def config_for(port: int, tmp_path: Path) -> dict[str, Any]:
    return line_config(port, tmp_path / "state", "sim:conveyor?fps=20&size=448x256")


def started(daemon: DaemonProcess, *, freeze: tuple[str, ...]) -> list[int]:
    """Wait for verdicts; return the processes to be frozen."""
    wait_until(lambda: daemon.counters().get("inferred", 0) > 5, 30, "verdicts")
    return [pid for name in freeze if (pid := daemon.child(name)) is not None]


@pytest.mark.parametrize(
    ("freeze", "broker_freezes"),
    [
        pytest.param(CHILDREN, False, id="children"),
        pytest.param(CHILDREN, True, id="children and the broker", marks=pytest.mark.soak),
        pytest.param((*CHILDREN, "zygote"), False, id="children and zygote", marks=pytest.mark.soak),
        pytest.param((*CHILDREN, "zygote"), True, id="children, zygote and the broker"),
    ],
)
def test_frozen_processes_do_not_hold_the_stop(
    tmp_path: Path, freeze: tuple[str, ...], *, broker_freezes: bool
) -> None:
    with Broker() as broker, DaemonProcess(tmp_path, config_for(broker.port, tmp_path)) as daemon:
        pids = started(daemon, freeze=freeze)
        assert broker.process is not None
        with frozen(pids + [broker.process.pid] * broker_freezes):
            code, seconds = daemon.terminate(30)
    assert code == 0, daemon.log.read_text()
    assert seconds < LIMIT_S


@pytest.mark.parametrize(
    ("freeze", "reloads"),
    [
        pytest.param((), False, id="SIGTERM", marks=pytest.mark.soak),
        pytest.param((), True, id="SIGTERM during a SIGHUP"),
        pytest.param(CHILDREN, False, id="SIGTERM and frozen children"),
        pytest.param(CHILDREN, True, id="SIGTERM during a SIGHUP and frozen children", marks=pytest.mark.soak),
    ],
)
def test_a_silent_name_server_does_not_hold_the_stop(tmp_path: Path, freeze: tuple[str, ...], *, reloads: bool) -> None:
    (tmp_path / "sitecustomize.py").write_text(SILENT_NAME_SERVER)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    config = config_for(1, tmp_path)
    config["mqtt"]["host"] = "broker.invalid"
    with (
        DaemonProcess(tmp_path, config, prefix=("env", f"PYTHONPATH={path}")) as daemon,
        frozen(started(daemon, freeze=freeze)),
    ):
        if reloads:
            config["mqtt"]["port"] = 2
            daemon.write(config)
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(lambda: "configuration is taken" in daemon.log.read_text(), 10, "the reload")
            threading.Event().wait(0.2)
        code, seconds = daemon.terminate(30)
    assert code == 0, daemon.log.read_text()
    assert seconds < LIMIT_S


def test_a_reload_that_mends_the_broker_does_not_wait_for_the_silent_name_server(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SILENT_NAME_SERVER)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with Broker() as broker:
        config = config_for(broker.port, tmp_path)
        wrong = config | {"mqtt": {"host": "broker.invalid"}}
        with DaemonProcess(tmp_path, wrong, prefix=("env", f"PYTHONPATH={path}")) as daemon:
            started(daemon, freeze=())
            daemon.write(config)
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(lambda: daemon.status().get("broker", {}).get("state") == "online", 10, "the right broker")
            assert daemon.terminate()[0] == 0
