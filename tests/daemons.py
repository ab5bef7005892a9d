"""A real daemon in a process of its own, and somebody who checks what it publishes."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from edge_runtime.app.audience import Audience
from edge_runtime.app.daemon import CACHE_DIR
from edge_runtime.publish.mqtt.client import MqttSettings
from edge_runtime.system.service import ServiceGroup
from tests.judge import Witness

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = Path(__file__).resolve().parents[1] / "models" / "surface-defects"
START_S = 30.0


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0, what: str = "it") -> float:
    """Wait until ``condition()`` is true; return how many seconds that took; fail with ``what`` otherwise."""
    started = time.monotonic()
    pause = threading.Event()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"not within {timeout_s} s: {what}"
        pause.wait(0.005)
    return time.monotonic() - started


def line_config(
    port: int, state_dir: Path, source: str = "sim:conveyor?fps=30&size=448x256", **more: Any
) -> dict[str, Any]:
    """A configuration with one camera, the shipped model and one inspection named ``top``."""
    return {
        "version": 1,
        "site": "plant",
        "line": "line",
        "edge": "box",
        "mqtt": {"host": "127.0.0.1", "port": port},
        "cameras": {"top": {"source": source, "stall_s": 1.0}},
        "models": {"defects": {"path": str(MODEL)}},
        "inspections": {"top": {"camera": "top", "model": "defects", "deadline_ms": 2000}},
        "state_dir": str(state_dir),
    } | more


class Compiled:
    """What engines of this run have compiled: a test that is about something else does not wait for it again."""

    @staticmethod
    @functools.cache
    def _kept() -> Path:
        path = Path(tempfile.mkdtemp(prefix="compiled-"))
        atexit.register(shutil.rmtree, path)
        return path

    @classmethod
    def give(cls, state_dir: Path) -> Path:
        """Return the cache of a state directory; in one that is not there yet it has all that was kept."""
        cache = state_dir / CACHE_DIR
        if state_dir.parent.is_dir() and not state_dir.exists():
            state_dir.mkdir(mode=0o700)
            shutil.copytree(cls._kept(), cache)
            cache.chmod(0o700)
        return cache

    @classmethod
    def keep(cls, cache: Path) -> None:
        """Keep what an engine that came to its end has compiled."""
        for path in cache.glob("*.blob"):
            if not (cls._kept() / path.name).exists():
                shutil.copy(path, cls._kept())


class DaemonProcess:
    """``edge-runtime run`` with a configuration file; a block that ends it.

    In a block, a witness at its broker fails the test for what the published contract does not describe.
    """

    def __init__(
        self, directory: Path, config: dict[str, Any], *, prefix: tuple[str, ...] = (), strangers: tuple[str, ...] = ()
    ) -> None:
        self.config = directory / "edge.yaml"
        self.state_dir = Path(config["state_dir"])
        self.log = directory / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._prefix = prefix
        self._witness = _witness(config, strangers)
        self.write(config)

    def write(self, config: dict[str, Any]) -> None:
        """Replace the configuration file."""
        self.config.write_text(yaml.safe_dump(config))

    def start(self) -> Self:
        """Start it; does not wait."""
        self._cache = Compiled.give(self.state_dir)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "edge_runtime", "run", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        return self

    def __enter__(self) -> Self:
        if self._witness is not None:
            self._witness.__enter__()
        return self.start()

    def __exit__(self, *exc: object) -> None:
        try:
            self._end(*exc)
        finally:
            if self._witness is not None:
                self._witness.__exit__(*exc)

    def _end(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        if exc[0] is not None:
            print(self.log.read_text()[-6000:])
        elif self.process is not None and self.process.returncode == 0 and self.counters().get("inferred", 0):
            Compiled.keep(self._cache)

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def terminate(self, timeout_s: float = 10.0) -> tuple[int, float]:
        """SIGTERM; return exit code and seconds, less those for which its threads were ready and had no core to run on.

        On a machine with a free core that is nothing; on one that is shared, a stop is not judged by its neighbours.
        """
        assert self.process is not None
        begin_s, before = time.monotonic(), _without_core_s(self.pid)
        after = dict(before)
        self.process.send_signal(signal.SIGTERM)
        while True:
            after |= _without_core_s(self.pid)
            try:
                code = self.process.wait(0.01)
            except subprocess.TimeoutExpired:
                if time.monotonic() - begin_s > timeout_s:
                    raise
                continue
            lost_s = sum(found - before.get(task, 0.0) for task, found in after.items())
            return code, time.monotonic() - begin_s - lost_s

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; return the exit code."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def family(self) -> dict[int, str]:
        """Living descendants of the daemon: pid to the name that the kernel shows."""
        found: dict[int, str] = {}
        todo = [self.pid]
        while todo:
            parent = todo.pop()
            for pid in _children(parent):
                with contextlib.suppress(OSError):
                    found[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
                todo.append(pid)
        return found

    def child(self, name: str) -> int | None:
        """Pid of the child whose process name is ``edge:{name}`` (15 bytes are kept by the kernel)."""
        wanted = f"edge:{name}"[:15]
        return next((pid for pid, comm in self.family().items() if comm == wanted), None)

    def descriptors(self) -> int:
        """Open descriptors of the main process."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def resident_mb(self) -> float:
        """Resident memory of the main process and, as part of it, of the rings that it maps."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * 4096 / (1 << 20)

    def status(self) -> dict[str, Any]:
        """The daemon's status file, empty before there is one."""
        try:
            found: dict[str, Any] = json.loads((self.state_dir / "status.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def counters(self, inspection: str = "top") -> dict[str, Any]:
        """Counters of an inspection from the status file."""
        found: dict[str, Any] = self.status().get("inspections", {}).get(inspection, {})
        return found


def _witness(config: dict[str, Any], strangers: tuple[str, ...]) -> Witness | None:
    """Return who judges what the daemon says; nobody can at a broker that wants a password or that has no address."""
    mqtt = config.get("mqtt", {})
    if mqtt.get("host") != "127.0.0.1" or not {"tls", "username"}.isdisjoint(mqtt):
        return None
    return Witness(mqtt["port"], strangers=strangers)


class Listener:
    """An audience in threads of this process that also keeps every document; a block."""

    def __init__(self, port: int, root: str = "vision/plant/line/box") -> None:
        self.documents: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.arrived_s: list[float] = []
        settings = MqttSettings(host="127.0.0.1", port=port, client_id=f"listener-{port}")
        filters = [f"{root}/result/+", f"{root}/event/+"]
        self.audience = Audience(settings, filters, on_result=self._keep, on_event=self.events.append)
        self._group = ServiceGroup()

    def _keep(self, document: dict[str, Any]) -> None:
        self.arrived_s.append(time.monotonic())
        self.documents.append(document)

    def __enter__(self) -> Self:
        self._group.__enter__()
        self._group.start(self.audience)
        assert self.audience.wait_subscribed(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._group.__exit__(None, None, None)

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """Results in which a model judged."""
        return [d for d in self.documents if d["evaluation"] in ("OK", "NotOK", "Undefined")]

    def wait_for_verdicts(self, count: int, timeout_s: float = START_S) -> float:
        """Wait for ``count`` more verdicts than there are now; return the seconds that took."""
        wanted = len(self.verdicts) + count
        return wait_until(lambda: len(self.verdicts) >= wanted, timeout_s, f"{count} more verdicts")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _without_core_s(pid: int) -> dict[str, float]:
    """Return for each thread of a process how long it was ready to run and did not."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, IndexError):
                found[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return found
