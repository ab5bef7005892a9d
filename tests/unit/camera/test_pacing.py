"""When frames of a file are due, and which frames a ceiling lets through."""

from __future__ import annotations

import pytest

from edge_runtime.camera.pacing import Pacer, RateLimit


def test_frames_are_due_at_their_positions_whatever_rate_the_header_claims() -> None:
    pacer = Pacer(1000)
    assert [pacer.due_s(position, 50.0) for position in (0.0, 0.5, 2.0)] == [50.0, 50.5, 52.0]


def test_positions_that_do_not_grow_are_replaced_by_the_rate() -> None:
    pacer = Pacer(10)
    assert [pacer.due_s(0.0, 50.0) for _ in range(3)] == pytest.approx([50.0, 50.1, 50.2])
    assert pacer.due_s(None, 50.0) == pytest.approx(50.3)


@pytest.mark.parametrize("jump_s", [3600.0, -7200.0])
def test_a_jump_in_the_clock_of_a_file_does_not_stop_the_line(jump_s: float) -> None:
    pacer = Pacer(10)
    positions = (0.0, 0.1, 0.1 + jump_s, 0.2 + jump_s)
    assert [pacer.due_s(position, 50.0) for position in positions] == pytest.approx([50.0, 50.1, 50.2, 50.3])


def test_a_file_that_starts_again_keeps_its_own_clock() -> None:
    pacer = Pacer(25)
    due = [pacer.due_s(position, 50.0) for position in (0.0, 0.5, 1.0, 0.0, 0.5)]
    assert due == pytest.approx([50.0, 50.5, 51.0, 51.04, 51.54])


def test_a_reader_that_fell_far_behind_does_not_run_after_its_schedule() -> None:
    pacer = Pacer(10)
    pacer.due_s(0.0, 50.0)
    assert pacer.due_s(0.1, 55.0) == 55.0
    assert pacer.due_s(0.2, 55.0) == pytest.approx(55.1)


def test_a_little_delay_is_caught_up() -> None:
    pacer = Pacer(10)
    pacer.due_s(0.0, 50.0)
    assert pacer.due_s(0.1, 50.5) == pytest.approx(50.1)


def test_a_source_without_rate_is_not_held_back() -> None:
    pacer = Pacer(0.0)
    assert [pacer.due_s(None, now) for now in (1.0, 1.0, 1.0)] == [1.0, 1.0, 1.0]


def test_after_a_reset_the_next_frame_is_due_at_once() -> None:
    pacer = Pacer(10)
    pacer.due_s(0.0, 1.0)
    pacer.reset()
    assert pacer.due_s(7.0, 20.0) == 20.0
    assert pacer.due_s(7.5, 20.0) == 20.5


@pytest.mark.parametrize(("camera_fps", "ceiling", "expected"), [(30, 10, 10), (25, 10, 10), (10, 10, 10), (5, 10, 5)])
def test_the_ceiling_is_met_on_average(camera_fps: int, ceiling: int, expected: int) -> None:
    limit = RateLimit(ceiling)
    seconds = 20
    admitted = sum(limit.admits(number / camera_fps) for number in range(camera_fps * seconds))
    assert admitted == pytest.approx(expected * seconds, rel=0.05)


def test_jitter_does_not_cost_frames_of_a_camera_at_the_ceiling() -> None:
    limit = RateLimit(10)
    jitter = (0.0, 0.02, -0.02, 0.01, -0.01)
    assert all(limit.admits(number * 0.1 + jitter[number % 5]) for number in range(100))


def test_there_is_no_burst_at_the_start() -> None:
    limit = RateLimit(10)
    assert [limit.admits(now) for now in (0.0, 0.01, 0.02)] == [True, False, False]
