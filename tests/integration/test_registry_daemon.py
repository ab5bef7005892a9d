"""A real daemon, a real registry in a directory, real metadata: releases arrive, start, wait, are taken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.registry.documents import Assignment
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
        registry.roll_out(Assignment("surface-defects", 2))
        wait_until(lambda: daemon.status()["registry"]["slots"]["defects"]["state"] == "staged", 30, "staged")
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
        assert kinds.count("model.staged") == 1
