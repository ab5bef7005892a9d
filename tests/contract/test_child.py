"""What pipeline code relies on in a child: the same for the real one and for the fake of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from edge_runtime.system.heartbeat import Heartbeat
from edge_runtime.system.messages import pair
from edge_runtime.system.process import Child, ChildSpec
from tests.fakes.child import FakeChild

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED_NS = 7_000


class _Subject(Protocol):
    """A child and what happens at its other end."""

    child: Child | FakeChild

    def heard(self) -> dict[str, object] | None:
        """Return what the process received next."""
        ...

    def end(self) -> None:
        """End the process by itself."""
        ...

    def was_killed(self) -> bool:
        """Whether main ended the process."""
        ...


class _Fake:
    def __init__(self) -> None:
        self.child = FakeChild(name="engine", started_mono_ns=STARTED_NS, restarts=3)

    def heard(self) -> dict[str, object] | None:
        return self.child.sent.pop(0) if self.child.sent else None

    def end(self) -> None:
        self.child.gone = True

    def was_killed(self) -> bool:
        return bool(self.child.killed)


class _Real:
    """A real ``Child`` whose process waits for the end of its stdin."""

    def __init__(self) -> None:
        program = "import sys; sys.stdin.read()"
        self.process = subprocess.Popen([sys.executable, "-ISc", program], stdin=subprocess.PIPE)
        ours, self._theirs = pair()
        self.child = Child(
            ChildSpec(name="engine", entry="a:b"),
            ours,
            Heartbeat.private(),
            pid=self.process.pid,
            pidfd=os.pidfd_open(self.process.pid),
            restarts=3,
            now_ns=STARTED_NS,
        )

    def heard(self) -> dict[str, object] | None:
        return self._theirs.receive_nowait()

    def end(self) -> None:
        self._theirs.close()
        self.process.communicate(timeout=30)

    def was_killed(self) -> bool:
        return self.process.wait(30) == -signal.SIGKILL

    def close(self) -> None:
        self._theirs.close()
        self.process.kill()
        self.process.communicate(timeout=30)
        self.child.close()


@pytest.fixture(params=["real", "fake"])
def subject(request: pytest.FixtureRequest) -> Iterator[_Subject]:
    if request.param == "fake":
        yield _Fake()
        return
    real = _Real()
    yield real
    real.close()


def test_a_child_knows_its_name_its_start_and_its_predecessors(subject: _Subject) -> None:
    child = subject.child
    assert (child.name, child.started_mono_ns, child.restarts) == ("engine", STARTED_NS, 3)


def test_what_is_sent_arrives_in_order(subject: _Subject) -> None:
    assert subject.child.send({"op": "load", "slot": "a"})
    assert subject.child.send({"op": "stop"})
    assert [subject.heard(), subject.heard(), subject.heard()] == [{"op": "load", "slot": "a"}, {"op": "stop"}, None]


def test_sending_to_a_child_that_is_gone_says_so_and_raises_nothing(subject: _Subject) -> None:
    subject.end()
    assert subject.child.send({"op": "stop"}) is False
    assert subject.child.send({"op": "stop"}) is False


def test_killing_may_be_repeated(subject: _Subject) -> None:
    subject.child.kill("it hangs")
    subject.child.kill("it still hangs")
    assert subject.was_killed()


def test_killing_a_child_that_is_gone_does_no_harm(subject: _Subject) -> None:
    subject.end()
    subject.child.kill("protocol fault")
