from __future__ import annotations

import os
import time

import pytest

from edge_runtime.system.heartbeat import Alarm, Heartbeat, Watchdog

SECOND = 1_000_000_000
TICK = SECOND // 10


def watch(beats: list[int], *, ticks_ns: list[int] | None = None) -> Alarm | None:
    """Show ``beats`` to a watchdog (start 3 s, beat 1 s), one per tick; return the first alarm."""
    watchdog = Watchdog(start_timeout_s=3, heartbeat_timeout_s=1, now_ns=0)
    now = 0
    for tick, beat in zip(ticks_ns or [TICK] * len(beats), beats, strict=True):
        now += tick
        alarm = watchdog.check(beat, now)
        if alarm is not None:
            return alarm
    return None


def test_before_the_first_beat_the_start_timeout_counts() -> None:
    assert watch([0] * 30) is None
    assert watch([0] * 31) is Alarm.START_TIMEOUT


def test_after_a_beat_the_heartbeat_timeout_counts() -> None:
    assert watch([0] * 20 + [1] * 11) is None
    assert watch([0] * 20 + [1] * 12) is Alarm.HEARTBEAT


def test_a_process_that_beats_is_left_alone() -> None:
    assert watch(list(range(1, 500))) is None


def test_a_word_full_of_nonsense_does_not_keep_a_process_alive() -> None:
    assert watch([(1 << 64) - 1] * 20) is Alarm.HEARTBEAT


def test_a_box_that_was_frozen_does_not_look_like_dead_children() -> None:
    assert watch([1, 1, 2], ticks_ns=[TICK, 3600 * SECOND, TICK]) is None


def test_a_clock_that_goes_back_does_no_harm() -> None:
    assert watch([1, 1, 1], ticks_ns=[TICK, -SECOND, TICK]) is None


def test_the_first_beat_is_remembered() -> None:
    watchdog = Watchdog(start_timeout_s=3, heartbeat_timeout_s=1, now_ns=0)
    assert watchdog.first_beat_ns is None
    watchdog.check(5, TICK)
    watchdog.check(6, 2 * TICK)
    assert watchdog.first_beat_ns == TICK


def test_a_beat_is_seen_through_the_other_mapping() -> None:
    ours, fd = Heartbeat.create()
    theirs = Heartbeat.attach(fd)
    os.close(fd)
    assert ours.last_ns == 0
    before = time.monotonic_ns()
    theirs.beat()
    assert before <= ours.last_ns <= time.monotonic_ns()
    theirs.close()
    ours.close()


def test_nobody_can_shrink_the_memory_under_the_watcher() -> None:
    heartbeat, fd = Heartbeat.create()
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)
    heartbeat.close()


def test_a_private_heartbeat_beats_without_a_descriptor() -> None:
    heartbeat = Heartbeat.private()
    heartbeat.beat()
    assert heartbeat.last_ns > 0
    heartbeat.close()
