"""Beating for a thread that is inside a long call."""

from __future__ import annotations

import threading
import time

from edge_runtime.camera.pulse import INTERVAL_S, Pulse


class Heart:
    def __init__(self) -> None:
        self.beats: list[float] = []
        self.changed = threading.Condition()

    def beat(self) -> None:
        with self.changed:
            self.beats.append(time.monotonic())
            self.changed.notify_all()

    def wait_for(self, count: int, timeout_s: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.beats) >= count, timeout_s)


def test_a_long_call_is_seen_alive() -> None:
    heart = Heart()
    pulse = Pulse(heart.beat)
    pulse.start()
    with pulse.during(30):
        assert heart.wait_for(2, 20)
    pulse.stop()


def test_a_call_that_takes_longer_than_announced_is_not_covered() -> None:
    heart = Heart()
    pulse = Pulse(heart.beat)
    pulse.start()
    started = time.monotonic()
    with pulse.during(1.2 * INTERVAL_S):
        assert not heart.wait_for(4, 4 * INTERVAL_S)
    assert all(beat - started <= 2 * INTERVAL_S for beat in heart.beats)
    pulse.stop()


def test_outside_of_a_call_nobody_beats_for_us() -> None:
    heart = Heart()
    pulse = Pulse(heart.beat)
    pulse.start()
    with pulse.during(30):
        pass
    assert not heart.wait_for(1, 3 * INTERVAL_S)
    pulse.stop()
    pulse.stop()


def test_before_the_start_there_is_no_thread() -> None:
    before = threading.active_count()
    pulse = Pulse(lambda: None)
    with pulse.during(1):
        assert threading.active_count() == before
    pulse.stop()
