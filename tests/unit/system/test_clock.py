"""The kernel's clocks, and the one of the tests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.system import clock as module
from edge_runtime.system import timex
from edge_runtime.system.clock import Clock, StepWatch, SystemClock, kernel_boot
from tests.fakes.clock import ManualClock


def test_monotonic_time_is_the_one_that_all_processes_of_this_box_share() -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    now = SystemClock().mono_ns()
    assert before <= now <= time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def test_utc_is_the_wall_clock() -> None:
    assert abs(SystemClock().utc_ns() - time.clock_gettime_ns(time.CLOCK_REALTIME)) < 60_000_000_000


def test_the_manual_clock_moves_both_times_by_what_the_test_says() -> None:
    clock: Clock = (manual := ManualClock())
    mono_ns, utc_ns = clock.mono_ns(), clock.utc_ns()
    assert (clock.mono_ns(), clock.utc_ns()) == (mono_ns, utc_ns)
    manual.advance_ms(1.5)
    assert (clock.mono_ns(), clock.utc_ns()) == (mono_ns + 1_500_000, utc_ns + 1_500_000)


def test_a_boot_of_the_kernel_has_a_name_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernel_boot() == kernel_boot()
    assert len(kernel_boot() or "") == 36
    monkeypatch.setattr(module, "_BOOT_ID", Path("/absent"))
    assert kernel_boot() is None


def test_what_the_clock_follows_is_asked_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    answers = iter([True, False, True])
    mono_ns = [0]
    monkeypatch.setattr(module, "synchronised", lambda: asked.append(True) or next(answers))
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: mono_ns[0])
    clock = SystemClock()
    assert [clock.followed(), clock.followed()] == ["ntp", "ntp"]
    mono_ns[0] = module.ASK_EVERY_NS - 1
    assert clock.followed() == "ntp"
    mono_ns[0] = module.ASK_EVERY_NS
    assert [clock.followed(), clock.followed()] == ["free", "free"]
    assert len(asked) == 2


def test_the_kernel_answers_whether_its_clock_is_kept_right() -> None:
    assert SystemClock().followed() == ("ntp" if timex.synchronised() else "free")


@pytest.mark.parametrize(("status", "code", "expected"), [(0x40, 5, False), (0x2001, 0, True), (0, -1, False)])
def test_only_a_kernel_that_says_so_is_synchronised(
    status: int, code: int, monkeypatch: pytest.MonkeyPatch, *, expected: bool
) -> None:
    class Library:
        def adjtimex(self, reference: Any) -> int:
            assert reference._obj.modes == 0, "it must only read"
            reference._obj.status = status
            return code

    monkeypatch.setattr(timex.ctypes, "CDLL", lambda _: Library())
    assert timex.synchronised() is expected


def test_a_clock_that_is_set_is_seen_once_and_a_slewed_one_is_not() -> None:
    clock = ManualClock()
    watch = StepWatch(clock)
    clock.set_ms(5000)
    assert watch.step_ms() is None, "nobody knows what was before"
    clock.advance_ms(1000)
    clock.set_ms(0.5)
    assert watch.step_ms() is None
    clock.advance_ms(1000)
    clock.set_ms(-3600_000)
    assert watch.step_ms() == -3600_000
    assert watch.step_ms() is None
    clock.set_ms(100)
    assert watch.step_ms() == 100


def test_a_look_that_was_interrupted_says_nothing_and_the_next_one_sees_the_step() -> None:
    class Slow(ManualClock):
        slow = False

        def utc_ns(self) -> int:
            found = super().utc_ns()
            if self.slow:
                self.advance_ms(500)
            return found

    clock = Slow()
    watch = StepWatch(clock)
    assert watch.step_ms() is None
    clock.slow = True
    clock.set_ms(200)
    assert watch.step_ms() is None
    clock.slow = False
    assert watch.step_ms() == 200
