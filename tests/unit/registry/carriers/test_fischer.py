"""The lock of publishers on a tag: one at a time, also when one of them is slow, or dead."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import BusyError, UnavailableError
from edge_runtime.registry.carriers import fischer
from edge_runtime.registry.carriers.fischer import TagLock
from edge_runtime.system.service import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLE_S, LEASE_S = 10.0, 60.0


class Time:
    """A clock that stands still but for what is waited for, and for what a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.then: list[Callable[[], None]] = []  # what others do during the next waits

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> bool:
        self.now_s += seconds
        if self.then:
            self.then.pop(0)()
        return False


class Tag:
    """A tag of a registry that answers at once unless ``slow_s`` says otherwise."""

    def __init__(self, time: Time) -> None:
        self.value: bytes | None = None
        self.time = time
        self.slow_s: list[float] = []
        self.writes = 0
        self.broken = False

    def read(self) -> bytes | None:
        if self.broken:
            raise UnavailableError("registry.unavailable", "gone")
        return self.value

    def write(self, value: bytes) -> None:
        self.time.now_s += self.slow_s.pop(0) if self.slow_s else 0.1
        self.value, self.writes = value, self.writes + 1

    def lock(self) -> TagLock:
        lock = TagLock("oci://reg/ns", self.read, self.write, None, settle_s=SETTLE_S, lease_s=LEASE_S)
        lock._wait = self.time.wait  # type: ignore[method-assign, assignment]
        return lock


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(fischer, "time", time)
    return time


@pytest.fixture
def tag(time: Time) -> Tag:
    return Tag(time)


def test_a_free_tag_is_taken_and_given_back(tag: Tag) -> None:
    lock = tag.lock()
    lock.acquire()
    lock.confirm()
    lock.keep()
    assert (lock.is_held, tag.writes) == (True, 1)
    lock.release()
    lock.release()
    assert (lock.is_held, tag.writes) == (False, 2)
    tag.lock().acquire()
    assert tag.writes == 3


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", b'{"annotations":[]}'])
def test_what_names_no_holder_is_free(tag: Tag, content: bytes) -> None:
    tag.value = content
    tag.lock().acquire()


def test_who_was_overwritten_while_it_waits_does_not_have_it(tag: Tag, time: Time) -> None:
    """Both found it free; the number that stands there in the end wins."""
    lock = tag.lock()
    time.then = [lambda: tag.write(fischer._document("of another"))]
    with pytest.raises(BusyError, match="another publisher is at it"):
        _with_renewals(lock, tag, time)
    assert lock.is_held is False


def _with_renewals(lock: TagLock, tag: Tag, time: Time) -> None:
    """Acquire while another holder lives: it writes a new number during every wait."""
    count = iter(range(10_000))

    def renew() -> None:
        tag.value = fischer._document(f"alive {next(count)}")
        time.then.append(renew)

    time.then.append(renew)
    lock.acquire()


def test_a_holder_that_lives_is_waited_for_and_then_named(tag: Tag, time: Time) -> None:
    tag.value = fischer._document("alive")
    before = tag.writes
    with pytest.raises(BusyError, match=r"process \d+', since '20\d\d-") as caught:
        _with_renewals(tag.lock(), tag, time)
    assert (caught.value.code, tag.writes) == ("registry.locked", before)


def test_a_holder_that_gives_it_back_meanwhile_is_followed(tag: Tag, time: Time) -> None:
    holder, waiter = tag.lock(), tag.lock()
    holder.acquire()
    time.then = [holder.release]
    waiter.acquire()
    assert (holder.is_held, waiter.is_held) == (False, True)


def test_a_holder_that_is_silent_for_its_lease_is_dead(tag: Tag, time: Time) -> None:
    tag.value = fischer._document("of the dead")
    began_s = time.now_s
    lock = tag.lock()
    lock.acquire()
    assert time.now_s - began_s >= LEASE_S


def test_a_write_that_took_too_long_does_not_count(tag: Tag) -> None:
    tag.slow_s = [SETTLE_S + 1]
    lock = tag.lock()
    lock.acquire()
    assert (lock.is_held, tag.writes) == (True, 2)


def test_a_holder_shows_that_it_lives(tag: Tag, time: Time) -> None:
    lock = tag.lock()
    lock.acquire()
    first = tag.value
    time.now_s += LEASE_S / 3
    lock.keep()
    assert (tag.value != first, tag.writes) == (True, 2)
    lock.keep()
    assert tag.writes == 2
    lock.confirm()


def test_a_holder_that_was_away_for_too_long_has_lost_it(tag: Tag, time: Time) -> None:
    lock = tag.lock()
    lock.acquire()
    time.now_s += LEASE_S
    for step in (lock.keep, lock.confirm):
        with pytest.raises(BusyError) as caught:
            step()
        assert caught.value.code == "registry.lock_lost"


def test_a_lock_that_somebody_else_took_is_neither_used_nor_given_back(tag: Tag) -> None:
    lock = tag.lock()
    lock.acquire()
    tag.value = fischer._document("of another")
    with pytest.raises(BusyError):
        lock.confirm()
    lock.release()
    assert tag.value == fischer._document("of another")


def test_who_holds_nothing_confirms_nothing(tag: Tag) -> None:
    lock = tag.lock()
    lock.keep()
    with pytest.raises(BusyError):
        lock.confirm()


def test_a_registry_that_is_gone_does_not_spoil_the_end(tag: Tag) -> None:
    lock = tag.lock()
    lock.acquire()
    tag.broken = True
    lock.release()
    assert lock.is_held is False


def test_a_stop_ends_the_wait() -> None:
    stop = Stop()
    stop.set()
    value = fischer._document("held")
    lock = TagLock("x", lambda: value, lambda _: None, stop)
    with pytest.raises(UnavailableError) as caught:
        lock.acquire()
    assert caught.value.code == "registry.stopped"


def test_many_publishers_at_once_are_never_two() -> None:
    """With real time: each adds to a number that it read before, so two at once would lose one."""
    guard = threading.Lock()  # the registry applies one write after the other
    value: list[bytes | None] = [None]
    counter = 0

    def read() -> bytes | None:
        with guard:
            return value[0]

    def write(raw: bytes) -> None:
        with guard:
            value[0] = raw

    def publish() -> None:
        nonlocal counter
        lock = TagLock("x", read, write, None, settle_s=0.05, lease_s=5)
        lock.acquire()
        before = counter
        threading.Event().wait(0.01)
        counter = before + 1
        lock.release()

    threads = [threading.Thread(target=publish) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter == 5
