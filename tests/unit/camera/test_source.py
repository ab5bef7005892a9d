"""States, stall detection, lateness and back-off: pure rules, time passed in."""

from __future__ import annotations

import pytest

from edge_runtime.camera.source import (
    BACKOFF_S,
    Arrival,
    Backoff,
    LatenessTracker,
    Shape,
    SourceState,
    StallDetector,
    may_follow,
)


def test_the_legal_orders_of_states_are_those_of_the_documentation() -> None:
    legal = {(a.value, b.value) for a in SourceState for b in SourceState if may_follow(a, b)}
    assert legal == {
        ("connecting", "streaming"),
        ("connecting", "lost"),
        ("connecting", "ended"),
        ("streaming", "stalled"),
        ("streaming", "lost"),
        ("streaming", "ended"),
        ("stalled", "streaming"),
        ("stalled", "lost"),
        ("stalled", "ended"),
        ("lost", "streaming"),
        ("lost", "stalled"),
        ("lost", "ended"),
    }


def test_a_picture_of_three_channels_has_three_bytes_a_pixel() -> None:
    assert Shape(4, 3, 3).nbytes == 36


def test_silence_as_long_as_allowed_is_a_stall() -> None:
    stall = StallDetector(2.0)
    stall.fresh(10.0)
    assert not stall.is_stalled(11.9)
    assert stall.is_stalled(12.0)
    stall.fresh(12.5)
    assert stall.silent_s(13.5) == 1.0
    assert not stall.is_stalled(13.5)


def test_a_stall_is_not_seen_before_the_first_sign_of_life() -> None:
    assert not StallDetector(2.0).is_stalled(1e9)


def test_back_off_grows_to_its_cap_and_starts_over_after_success() -> None:
    backoff = Backoff()
    assert [backoff.next_s() for _ in range(6)] == [*BACKOFF_S, 0.5, 0.5, 0.5]
    backoff.reset()
    assert backoff.next_s() == BACKOFF_S[0]


class Stream:
    """Feeds a tracker: each frame has an arrival and a position."""

    def __init__(self, *, clocked: bool, doubtful: bool = False) -> None:
        self.tracker = LatenessTracker(0.6)
        self.clocked = clocked
        self.tracker.reset(100.0, doubtful=doubtful)

    def stale(
        self, arrived_s: float, position_s: float | None = None, *, queued: bool = False, suspect: bool = False
    ) -> bool:
        arrival = Arrival(position_s=position_s, queued=queued, suspect=suspect)
        return self.tracker.is_stale(arrival, 100.0 + arrived_s, clocked=self.clocked)

    def live(self, count: int = 20, interval_s: float = 0.1) -> float:
        for number in range(1, count + 1):
            assert not self.stale(number * interval_s, number * interval_s)
        return count * interval_s


def test_frames_that_come_as_they_are_taken_are_live() -> None:
    Stream(clocked=True).live()
    Stream(clocked=False).live()


def test_a_backlog_is_stale_until_the_stream_has_caught_up() -> None:
    stream = Stream(clocked=True)
    now = stream.live()
    # 1.5 s of silence, then fifteen frames in 15 ms
    verdicts = [stream.stale(now + 1.5 + n * 0.001, now + n * 0.1) for n in range(1, 16)]
    assert verdicts == [True] * 9 + [False] * 6
    assert not stream.stale(now + 1.6, now + 1.6)


def test_a_steady_delay_below_the_limit_is_accepted() -> None:
    stream = Stream(clocked=True)
    now = stream.live()
    assert not stream.stale(now + 0.6, now + 0.1)


def test_a_first_frame_that_was_late_does_not_hide_later_lateness() -> None:
    stream = Stream(clocked=True)
    assert not stream.stale(0.5, 0.1)  # nobody can know
    assert not stream.stale(0.5, 0.5)  # now the zero is known
    assert stream.stale(1.4, 0.6)


def test_what_a_timed_out_read_returns_is_stale_whatever_its_position() -> None:
    stream = Stream(clocked=True)
    now = stream.live()
    assert stream.stale(now + 1.0, now + 1.0, suspect=True)
    assert stream.stale(now + 1.0, 0.0)  # no position after a suspect one: still no evidence
    assert not stream.stale(now + 1.1, now + 1.1)


def test_a_frame_without_position_is_accepted_while_all_is_well() -> None:
    stream = Stream(clocked=True)
    now = stream.live()
    assert not stream.stale(now + 0.1, 0.0)
    assert not stream.stale(now + 0.2, None)


def test_clocks_that_drift_apart_do_not_make_pictures_stale() -> None:
    stream = Stream(clocked=True)
    for second in range(1, 100_000, 10):
        assert not stream.stale(second * (1 + 1900e-6), float(second))


def test_lateness_that_lasts_is_never_forgotten() -> None:
    stream = Stream(clocked=True)
    now = stream.live()
    assert all(stream.stale(now + 2 + n * 0.1, now + n * 0.1) for n in range(1, 600))


def test_what_a_server_had_in_store_is_stale_until_frames_come_as_they_are_taken() -> None:
    stream = Stream(clocked=True, doubtful=True)
    assert [stream.stale(0.01 * n, 0.1 * n) for n in range(1, 8)] == [True] * 7
    assert [stream.stale(0.17 + 0.1 * n, 0.8 + 0.1 * n) for n in range(5)] == [True, True, False, False, False]


def test_what_a_server_had_in_store_is_stale_however_slowly_it_comes() -> None:
    stream = Stream(clocked=True, doubtful=True)
    assert all(stream.stale(0.065 * n, 0.1 * n) for n in range(1, 100))


@pytest.mark.parametrize(("interval_s", "lost"), [(1 / 25, 7), (0.1, 3), (1.0, 1)])
def test_a_server_that_has_nothing_in_store_loses_a_quarter_of_a_second(interval_s: float, lost: int) -> None:
    stream = Stream(clocked=True, doubtful=True)
    jitter = (0.0, 0.2, -0.2, 0.1, -0.1)  # of an interval
    verdicts = [stream.stale((n + jitter[n % 5]) * interval_s, (n + 100) * interval_s) for n in range(40)]
    assert verdicts == [True] * lost + [False] * (40 - lost)


@pytest.mark.parametrize("position_s", [None, 0.0, 7.5])
def test_a_stream_that_never_says_its_position_is_not_in_doubt_for_ever(position_s: float | None) -> None:
    stream = Stream(clocked=True, doubtful=True)
    verdicts = [stream.stale(0.001 * n, position_s) for n in range(10)]  # from the server's store
    verdicts += [stream.stale(0.1 * n, position_s) for n in range(1, 10)]
    assert verdicts[:10] == [True] * 10
    assert verdicts[11:] == [False] * 8


def test_without_a_clock_a_burst_after_a_pause_is_stale() -> None:
    stream = Stream(clocked=False)
    now = stream.live()
    assert stream.stale(now + 1.5, queued=True)
    assert all(stream.stale(now + 1.5 + n * 0.001, queued=True) for n in range(1, 14))
    assert stream.stale(now + 1.515)  # the last of the burst has nothing behind it, and is as old
    assert [stream.stale(now + 1.6 + n * 0.1) for n in range(4)] == [True, True, False, False]


def test_without_a_clock_a_backlog_that_comes_slowly_is_stale_too() -> None:
    stream = Stream(clocked=False)
    now = stream.live()
    assert all(stream.stale(now + 1.5 + n * 0.067) for n in range(30))
    assert not [stream.stale(now + 3.5 + n * 0.1) for n in range(10)][-1]


def test_without_a_clock_live_frames_that_come_in_pairs_are_not_in_doubt_for_ever() -> None:
    stream = Stream(clocked=False)
    now = stream.live()
    verdicts = [stream.stale(now + 1.5 + n // 2 * 0.2 + n % 2 * 0.01) for n in range(10)]
    assert verdicts[0]
    assert verdicts[-4:] == [False] * 4


def test_without_a_clock_a_slow_camera_is_not_taken_for_a_stalled_one() -> None:
    Stream(clocked=False).live(interval_s=0.5)


@pytest.mark.parametrize("interval_s", [1.0, 2.0])
def test_without_a_clock_a_very_slow_camera_loses_at_most_its_first_picture(interval_s: float) -> None:
    stream = Stream(clocked=False)
    verdicts = [stream.stale(n * interval_s) for n in range(1, 10)]
    assert verdicts == [True] + [False] * 8


def test_without_a_clock_a_burst_at_the_start_is_stale_after_a_pause() -> None:
    stream = Stream(clocked=False)
    assert stream.stale(1.5, queued=True)
    assert stream.stale(1.501, queued=True)
    assert stream.stale(1.502)
    assert not stream.stale(1.6)


def test_a_reset_forgets_the_old_connection() -> None:
    stream = Stream(clocked=True)
    now = stream.live()
    assert stream.stale(now + 3, now + 0.1)
    stream.tracker.reset(100.0 + now + 3)
    assert not stream.stale(now + 3.1, 0.1)
