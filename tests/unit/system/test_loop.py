from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import BusyError
from edge_runtime.system import loop as loop_module
from edge_runtime.system.loop import Loop
from edge_runtime.system.service import ServiceGroup, Stop

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 1_000_000_000


class ManualClock:
    def __init__(self) -> None:
        self.now = 10 * SECOND

    def mono_ns(self) -> int:
        return self.now

    def utc_ns(self) -> int:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def loop(clock: ManualClock) -> Iterator[Loop]:
    with Loop(clock=clock) as it:
        yield it


def test_timers_fire_in_the_order_of_their_times_and_then_of_their_making(loop: Loop, clock: ManualClock) -> None:
    fired: list[str] = []
    loop.call_later(2, lambda: fired.append("late"))
    loop.call_later(1, lambda: fired.append("first"))
    loop.call_later(1, lambda: fired.append("second"))
    loop.turn(0)
    assert fired == []
    clock.now += SECOND
    loop.turn(0)
    assert fired == ["first", "second"]
    clock.now += SECOND
    loop.turn(0)
    assert fired == ["first", "second", "late"]


def test_a_cancelled_timer_does_not_fire(loop: Loop, clock: ManualClock) -> None:
    fired: list[str] = []
    timer = loop.call_later(1, lambda: fired.append("cancelled"))
    assert timer.pending
    timer.cancel()
    timer.cancel()
    assert not timer.pending
    clock.now += 2 * SECOND
    loop.turn(0)
    assert fired == []


def test_a_timer_that_is_due_at_once_fires_in_the_next_turn_so_that_others_get_theirs(loop: Loop) -> None:
    fired: list[int] = []

    def again() -> None:
        fired.append(len(fired))
        loop.call_later(0, again)

    again()
    loop.turn(0)
    loop.turn(0)
    assert fired == [0, 1, 2]


def test_cancelled_timers_of_the_far_future_do_not_pile_up(loop: Loop) -> None:
    for _ in range(10_000):
        loop.call_later(3600, lambda: None).cancel()
    assert len(loop._timers) < 1000


def test_a_timer_ends_the_wait_when_it_is_due() -> None:
    fired: list[str] = []
    with Loop() as loop:
        loop.call_later(0.02, lambda: fired.append("timer"))
        while not fired:
            loop.turn(30)


def test_a_readable_descriptor_calls_its_watcher_until_unwatched(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    seen: list[bytes] = []
    loop.watch(ours, lambda: seen.append(ours.recv(1)))
    loop.turn(0)
    theirs.send(b"ab")
    loop.turn(1)
    loop.turn(1)
    assert seen == [b"a", b"b"]
    loop.unwatch(ours)
    loop.unwatch(ours)
    theirs.send(b"c")
    loop.turn(0)
    assert seen == [b"a", b"b"]
    ours.close()
    theirs.close()


def test_a_watch_that_ends_while_its_turn_comes_is_not_called_even_if_its_number_is_reused(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    calls: list[int] = []

    def first_come() -> None:
        calls.append(1)
        for ours, _ in pairs:
            loop.unwatch(ours)
            loop.watch(ours, lambda: calls.append(2))

    for ours, theirs in pairs:
        loop.watch(ours, first_come)
        theirs.send(b"x")
    loop.turn(1)
    assert calls == [1]
    loop.turn(1)
    assert calls == [1, 2, 2]
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def test_a_post_from_another_thread_wakes_a_waiting_loop() -> None:
    with Loop() as loop:
        ran_in: list[int] = []
        poster = threading.Thread(target=lambda: loop.post(lambda: ran_in.append(threading.get_ident())))
        loop.call_later(0, poster.start)
        while not ran_in:
            loop.turn(30)
        poster.join()
        assert ran_in == [threading.get_ident()]


def test_posts_run_in_order_and_those_made_by_posts_in_the_next_turn(loop: Loop) -> None:
    ran: list[int] = []
    loop.post(lambda: ran.append(1))
    loop.post(lambda: loop.post(lambda: ran.append(3)))
    loop.post(lambda: ran.append(2))
    loop.turn(0)
    assert ran == [1, 2]
    loop.turn(0)
    assert ran == [1, 2, 3]


def test_a_signal_handler_may_post_while_the_same_thread_posts(loop: Loop) -> None:
    ran: list[str] = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: loop.post(lambda: ran.append("handler")))
    try:
        with loop._wake_lock:  # as if the signal came in the middle of post
            os.kill(os.getpid(), signal.SIGUSR1)
            loop.post(lambda: ran.append("thread"))
    finally:
        signal.signal(signal.SIGUSR1, previous)
    loop.turn(0)
    assert sorted(ran) == ["handler", "thread"]


def test_a_loop_that_does_not_turn_refuses_more_posts_than_its_bound(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "POSTS_MAX", 3)
    for _ in range(3):
        assert loop.post(lambda: None)
    with pytest.raises(BusyError) as caught:
        loop.post(lambda: None)
    assert caught.value.code == "system.loop_full"


def test_a_closed_loop_takes_no_posts() -> None:
    loop = Loop()
    loop.close()
    loop.close()
    assert loop.post(lambda: None) is False


def test_closing_gives_back_the_calls_that_nobody_made() -> None:
    ran: list[int] = []
    loop = Loop()
    loop.post(lambda: ran.append(1))
    loop.post(lambda: ran.append(2))
    late = loop.close()
    assert ran == []
    for call in late:
        call()
    assert ran == [1, 2]
    assert loop.close() == []


def test_a_nested_turn_takes_over_what_the_outer_one_would_have_done(loop: Loop) -> None:
    ran: list[int] = []
    loop.post(lambda: loop.turn(0))
    loop.post(lambda: ran.append(1))
    loop.call_later(0, lambda: ran.append(2))
    loop.turn(0)
    assert ran == [1, 2]


def test_run_makes_the_last_calls_in_reverse_order_when_stopped() -> None:
    ran: list[str] = []
    with Loop() as loop, ServiceGroup() as group:
        loop.on_stop(lambda: ran.append("first registered"))
        loop.on_stop(lambda: ran.append("last registered"))
        loop.post(group.stop.set)
        group.start(loop)
        assert group.wait(10)
    assert ran == ["last registered", "first registered"]


def test_a_callback_that_raises_ends_the_service_with_its_exception_and_still_makes_the_last_calls() -> None:
    ran: list[str] = []

    def fail() -> None:
        msg = "broken callback"
        raise LookupError(msg)

    with Loop() as loop:
        loop.on_stop(lambda: ran.append("closed"))
        loop.post(fail)
        group = ServiceGroup()
        group.start(loop)
        assert group.wait(10)
        with pytest.raises(ExceptionGroup) as caught:
            group.__exit__(None, None, None)
    assert caught.group_contains(LookupError, match="broken callback")
    assert ran == ["closed"]


def test_a_failing_last_call_does_not_keep_the_others_from_running() -> None:
    ran: list[str] = []

    def fail() -> None:
        msg = "broken end"
        raise LookupError(msg)

    stop = Stop()
    stop.set()
    with Loop() as loop:
        loop.on_stop(lambda: ran.append("closed"))
        loop.on_stop(fail)
        with pytest.raises(LookupError, match="broken end"):
            loop.run(stop)
    assert ran == ["closed"]


def test_the_time_of_the_last_turn_shows_that_the_loop_lives(loop: Loop, clock: ManualClock) -> None:
    clock.now += 5 * SECOND
    loop.turn(0)
    assert loop.last_turn_mono_ns == clock.now
