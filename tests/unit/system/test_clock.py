"""The kernel's clocks, and the one of the tests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.system import clock as module
from edge_runtime.system.clock import Clock, SystemClock, kernel_boot
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    import pytest


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
