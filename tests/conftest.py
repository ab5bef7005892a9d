"""What every test gets: a check that it leaves nothing running or open behind it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from edge_runtime.publish.mqtt.client import MqttLink
from tests import brokers
from tests.judge import Judge, Seen
from tests.required import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.publish.mqtt.link import MqttSettings, Outgoing

TOOLS = {  # programs of Debian packages that tests start; what is missing is named, see ``needs``
    "ffmpeg": "ffmpeg",
    "htpasswd": "apache2-utils",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "mosquitto_rr": "mosquitto-clients",
    "mosquitto_passwd": "mosquitto",
    "openssl": "openssl",
    "strace": "strace",
}
# hypothesis allows an example 0.2 s by the clock, which a shared machine may take for a pause
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")
GRACE_S = 3.0  # what was told to end may need a moment on a busy machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Name a missing program that a fixture wanted to start."""
    with _missing_tools_named():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Name a missing program that a test wanted to start."""
    with _missing_tools_named():
        yield


@contextlib.contextmanager
def _missing_tools_named() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError) as error:
        package = TOOLS.get(str(error.filename))
        if package is not None:
            needs(found=False, what=f"{error.filename}: apt-get install {package}")
        raise


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process, a socket or a file descriptor."""
    before = _Inventory.now()
    yield
    deadline = time.monotonic() + GRACE_S
    left = _Inventory.now().beyond(before)
    if left:
        gc.collect()  # slow beside the libraries of an engine, so not after each of thousands of tests
    while (left := left and _Inventory.now().beyond(before)) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert left == [], f"the test left behind: {left}"


@pytest.fixture(autouse=True)
def logging_stays_as_it_is() -> Iterator[None]:
    """Undo what a verb that a test runs in this process decides about log lines."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture(autouse=True)
def what_is_sent_is_what_is_published(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Judge]:
    """Fail a test in whose process a message or a Will leaves that the published contract does not describe."""
    judge = Judge()
    publish, init = MqttLink.publish, MqttLink.__init__

    def judged_publish(self: MqttLink, message: Outgoing) -> int:
        judge.look(Seen.leaving(message))
        return publish(self, message)

    def judged_init(self: MqttLink, settings: MqttSettings, will: Outgoing | None, *more: Any) -> None:
        if will is not None:
            judge.look(Seen.leaving(will))
        init(self, settings, will, *more)

    monkeypatch.setattr(MqttLink, "publish", judged_publish)
    monkeypatch.setattr(MqttLink, "__init__", judged_init)
    yield judge
    if request.node.get_closest_marker("other_messages") is None:
        assert judge.problems == []


class _Inventory:
    """Threads, children and descriptors of this process at one moment."""

    def __init__(self, threads: dict[int, str], children: set[int], descriptors: dict[int, str]) -> None:
        self.threads = threads
        self.children = children
        self.descriptors = descriptors

    @classmethod
    def now(cls) -> _Inventory:
        threads = {t.ident or 0: t.name for t in threading.enumerate()}
        return cls(threads, _children(), _descriptors())

    def beyond(self, before: _Inventory) -> list[str]:
        """Name what is here and was not before."""
        left = [f"thread {name}" for ident, name in self.threads.items() if ident not in before.threads]
        left += [f"child process {pid}" for pid in self.children - before.children]
        left += [
            f"descriptor {fd} -> {target}"
            for fd, target in self.descriptors.items()
            if before.descriptors.get(fd) != target
        ]
        return left


def _children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(int(pid) for pid in (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended while we looked
    return found


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target, mode = str(entry.readlink()), os.fstat(int(entry.name)).st_mode
        except OSError:
            continue  # the descriptor of the listing itself
        if target.startswith(("/dev/", "/proc/")) or stat.S_ISDIR(mode):
            continue  # terminals, random numbers and pytest's own directory handles
        found[int(entry.name)] = target
    return found


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    return brokers.free_port()
