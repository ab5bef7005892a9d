"""A real daemon, a real registry in a directory, real metadata: releases arrive, start, wait, are taken."""

from __future__ import annotations

import json
import os
import signal
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.cli import dispatch
from edge_runtime.registry.documents import Assignment, ModelFloor
from tests.brokers import Broker
from tests.daemons import MODEL, DaemonProcess, Listener, line_config, wait_until
from tests.fakes.published import Published

if TYPE_CHECKING:
    from pathlib import Path


def package(release: int = 1) -> dict[str, bytes]:
    """The shipped model as release N."""
    files = {
        str(path.relative_to(MODEL)): path.read_bytes()
        for path in MODEL.rglob("*")
        if path.suffix != ".mp4" and path.is_file()
    }
    manifest = json.loads(files["edge-model.json"])
    manifest["release"], manifest["version"] = release, f"{release}.0.0"
    return files | {"edge-model.json": json.dumps(manifest).encode()}


@pytest.fixture
def registry(tmp_path: Path) -> Published:
    return Published(tmp_path / "publisher", site="plant", now=datetime.now(UTC).replace(microsecond=0))


def config(port: int, tmp_path: Path, registry: Published, **more: Any) -> dict[str, Any]:
    return line_config(
        port,
        tmp_path / "state",
        cameras={"top": {"source": "sim:conveyor?fps=10&size=448x256", "capture": "every"}},
        models={"defects": {"release": "surface-defects@line-3"}},
        registry={"url": registry.url, "root": str(registry.anchor), "poll_s": 1, **more},
    )


@pytest.mark.soak
def test_the_first_release_starts_by_itself_and_a_newer_one_waits(tmp_path: Path, registry: Published) -> None:
    registry.publish()
    with (
        Broker() as broker,
        Listener(broker.port) as listener,
        DaemonProcess(tmp_path, config(broker.port, tmp_path, registry)) as daemon,
    ):
        wait_until(lambda: any("no_model" in str(one["reason"]) for one in listener.documents), 30, "no model")
        assert daemon.status()["models"]["defects"]["state"] == "empty"
        registry.release("surface-defects", 1, package(1))
        registry.roll_out(Assignment("surface-defects", 1))
        listener.wait_for_verdicts(5, 60)
        assert listener.verdicts[-1]["model"]["version"] == "1.0.0"
        manifest = registry.release("surface-defects", 2, package(2))
        registry.roll_out(Assignment("surface-defects", 2, approve="operator"))
        wait_until(lambda: daemon.status()["registry"]["slots"]["defects"]["staged"] == 2, 30, "staged")
        wait_until(lambda: (slot(daemon)["deployment"] or {}).get("reason") == "wait.approval", 60, "a tried release")
        slot = daemon.status()["registry"]["slots"]["defects"]
        assert (slot["current"], slot["staged"], slot["wanted"]) == (1, 2, 2)
        assert (tmp_path / "state" / "models" / "releases" / manifest.hex).is_dir()
        listener.wait_for_verdicts(5)
        assert listener.verdicts[-1]["model"]["version"] == "1.0.0"
        code, seconds = daemon.terminate()
        assert code == 0
        assert seconds < 5
        kinds = [one["kind"] for one in listener.events]
        assert kinds.count("model.current") == 1
        assert kinds.count("model.staged") == 2
        assert kinds.count("deployment.vetting") == 2


@pytest.mark.soak
def test_a_release_that_was_activated_is_switched_to_and_a_revoked_one_is_told(
    tmp_path: Path, registry: Published
) -> None:
    manifest = registry.release("surface-defects", 1, package(1))
    registry.roll_out(Assignment("surface-defects", 1))
    with (
        Broker() as broker,
        Listener(broker.port) as listener,
        DaemonProcess(tmp_path, config(broker.port, tmp_path, registry)) as daemon,
    ):
        listener.wait_for_verdicts(1, 60)
        registry.release("surface-defects", 2, package(2))
        terms: dict[str, Any] = {"bake_s": 1.0, "gates": {"probation_frames": 10}}
        registry.roll_out(Assignment("surface-defects", 2, approve="operator", **terms))
        wait_until(lambda: (slot(daemon)["deployment"] or {}).get("reason") == "wait.approval", 60, "a tried release")
        assert dispatch(["models", "activate", "defects", "--config", str(daemon.config)]) == 0
        wait_until(lambda: listener.verdicts[-1]["model"]["version"] == "2.0.0", 30, "the newer release")
        wait_until(lambda: slot(daemon).get("state") == "current", 30, "current")
        registry.tuf.set_floors(**{"surface-defects": ModelFloor(3, frozenset({manifest.digest}))})
        registry.publish()
        wait_until(lambda: any(one["kind"] == "model.revoked" for one in listener.events), 30, "the alarm")
        wait_until(lambda: slot(daemon)["revoked"], 10, "revoked")
        wait_until(lambda: any(one["kind"] == "deployment.alarm" for one in listener.events), 30, "run-and-alarm")
        listener.wait_for_verdicts(3)


@pytest.mark.soak
def test_what_a_registry_does_not_do_stops_no_verdict_and_holds_up_no_end(tmp_path: Path, registry: Published) -> None:
    """It is there, then a black hole, and the daemon is told to end in the middle of a look."""
    registry.release("surface-defects", 1, package(1))
    registry.roll_out(Assignment("surface-defects", 1))
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1) as hole,
        Broker() as broker,
        Listener(broker.port) as listener,
    ):
        wanted = config(broker.port, tmp_path, registry)
        with DaemonProcess(tmp_path, wanted) as daemon:
            listener.wait_for_verdicts(1, 60)
            wanted["registry"] |= {"url": f"http://127.0.0.1:{hole.getsockname()[1]}/models", "poll_s": 1}
            daemon.write(wanted)
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(lambda: daemon.status()["registry"]["looks"] == 1, 30, "a look")
            assert slot(daemon) == {}
            listener.wait_for_verdicts(20)
            code, seconds = daemon.terminate()
            assert code == 0
            assert seconds < 5
        wanted["registry"] |= {"url": f"oci-layout:{tmp_path}/nowhere"}
        with DaemonProcess(tmp_path, wanted) as daemon:
            listener.wait_for_verdicts(5, 60)  # started with what is on the disk
            wait_until(lambda: daemon.status()["registry"]["state"] == "unreachable", 30, "unreachable")
            wait_until(lambda: any(one["kind"] == "registry.unreachable" for one in listener.events), 30, "the event")


@pytest.mark.soak
def test_a_nudge_is_a_hint_and_nothing_else(tmp_path: Path, registry: Published) -> None:
    registry.publish()
    wanted = config(0, tmp_path, registry, poll_s=3600)
    with Broker() as broker:
        wanted["mqtt"]["port"] = broker.port
        with DaemonProcess(tmp_path, wanted, strangers=("cmd/#",)) as daemon:
            wait_until(lambda: daemon.status().get("registry", {}).get("state") == "ok", 60, "the first look")
            place = ("--config", str(daemon.config), "--json")
            assert dispatch(["command", "model.check", "defects", *place]) == 0
            assert dispatch(["command", "model.check", "elsewhere", *place]) != 0
            assert dispatch(["command", "model.check", "--arg", "release=evil", *place]) != 0
            wait_until(lambda: daemon.status()["registry"]["looks"] == 2, 20, "the second look")


def slot(daemon: DaemonProcess) -> dict[str, Any]:
    """What the daemon says about its slot."""
    found: dict[str, Any] = daemon.status()["registry"]["slots"].get("defects", {})
    return found
