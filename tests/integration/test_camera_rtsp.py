"""The camera reader against a real RTSP server that is frozen, killed, cut off and restarted.

Every frame of the server carries its number and the time, so that a stale picture cannot hide.
"""

from __future__ import annotations

import pytest

from tests.cameras.fault_proxy import FaultProxy
from tests.cameras.harness import CameraBench, Heard
from tests.cameras.rtsp_camera import RtspCamera, need_rtsp_camera

pytestmark = pytest.mark.timeout(120)

STALL_S = 2.0
AGE_MAX_MS = 1000
"""What no offered picture may exceed."""
NOISY_MACHINE_S = 5.0
"""Times are promises of tenths of seconds; tests only tell them from failures by orders of magnitude."""


@pytest.fixture(autouse=True)
def _needs_the_camera() -> None:
    need_rtsp_camera()


def assert_fresh(frames: list[Heard]) -> None:
    ages = [frame.age_ms for frame in frames]
    assert None not in ages, f"unreadable stamps: {ages}"
    assert max(age for age in ages if age is not None) <= AGE_MAX_MS, f"stale pictures: {ages}"


def assert_all_accounted(bench: CameraBench) -> None:
    ids = bench.accounted()
    assert ids == list(range(1, len(ids) + 1))


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_the_first_picture_comes_quickly_and_is_fresh(free_port: int, codec: str) -> None:
    # a key frame only every 4 s: an open that throws the first one away would be seen
    with RtspCamera(free_port, "--codec", codec, "--gop", "40") as camera, CameraBench({"source": camera.url}) as bench:
        frames = bench.wait_frames(10)
        assert frames[0].at_s - bench.started_s < 3.0  # 0.4 s measured
        assert_fresh(frames)
        numbers = [frame.stamp.number for frame in frames if frame.stamp]
        assert numbers == sorted(set(numbers))
        # on a busy machine one that came late is dropped as stale, which is counted
        skipped = numbers[-1] - numbers[0] + 1 - len(numbers)
        assert skipped <= sum(len(heard.message["frames"]) for heard in bench.heard if heard.message["op"] == "dropped")
    assert bench.states == ["connecting", "streaming"]
    assert_all_accounted(bench)


def test_a_quiet_stream_of_few_bits_does_not_start_in_the_past(free_port: int) -> None:
    options = ("--bitrate", "150", "--gop", "40", "--size", "320x240")
    with RtspCamera(free_port, *options) as camera, CameraBench({"source": camera.url}) as bench:
        frames = bench.wait_frames(5)
        assert frames[0].at_s - bench.started_s < 3.0
        assert_fresh([frame for frame in frames if frame.age_ms is not None])


def test_a_frozen_camera_is_stalled_and_comes_back_with_fresh_pictures_only(free_port: int) -> None:
    with RtspCamera(free_port) as camera, CameraBench({"source": camera.url, "stall_s": STALL_S}) as bench:
        last = bench.wait_frames(10)[-1].at_s
        camera.freeze()
        stalled = bench.wait_state("stalled", STALL_S + NOISY_MACHINE_S)
        assert stalled.at_s - last < STALL_S + NOISY_MACHINE_S
        before = len(bench.of("frame"))
        camera.thaw()
        bench.wait_frames(10, STALL_S + 2 * NOISY_MACHINE_S, after=before)
        assert_fresh(bench.of("frame"))
    assert bench.states == ["connecting", "streaming", "stalled", "streaming"]
    assert_all_accounted(bench)


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_a_backlog_from_a_short_stall_of_the_network_is_dropped_as_stale(free_port: int, codec: str) -> None:
    with (
        RtspCamera(free_port, "--codec", codec) as camera,
        FaultProxy(camera.port) as proxy,
        CameraBench({"source": f"rtsp://127.0.0.1:{proxy.port}/cam", "stall_s": 6.0}) as bench,
    ):
        before = len(bench.wait_frames(10))
        proxy.command("stall")
        bench.wait(lambda b: b.silent_s() > 2.5)
        proxy.command("pass")
        bench.wait_frames(10, after=before)
        assert_fresh(bench.of("frame"))
    assert bench.states == ["connecting", "streaming"]  # the connection was never given up
    stale = [heard.message for heard in bench.of("dropped")]
    assert {message["drop"] for message in stale} == {"stale"}
    assert sum(len(message["frames"]) for message in stale) >= 5
    assert_all_accounted(bench)


def test_a_killed_camera_is_lost_and_found_again_after_its_restart(free_port: int) -> None:
    with RtspCamera(free_port) as camera, CameraBench({"source": camera.url}) as bench:
        bench.wait_frames(5)
        camera.kill()
        bench.wait_state("lost", NOISY_MACHINE_S)
        told = bench.wait_state("lost", NOISY_MACHINE_S, reason="refused")
        assert "refuses the connection" in told.message["detail"]
        before = len(bench.of("frame"))
        camera.start()
        bench.wait_frames(5, 3 * NOISY_MACHINE_S, after=before)
        assert_fresh(bench.of("frame"))
    reasons = [heard.message["reason"] for heard in bench.of("state")]
    assert reasons in (["starting", "ok", "closed", "refused", "ok"], ["starting", "ok", "refused", "ok"])
    assert_all_accounted(bench)


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_broken_connection_is_lost_and_made_again(free_port: int, how: str) -> None:
    with (
        RtspCamera(free_port) as camera,
        FaultProxy(camera.port) as proxy,
        CameraBench({"source": f"rtsp://127.0.0.1:{proxy.port}/cam"}) as bench,
    ):
        bench.wait_frames(5)
        proxy.command(how)
        bench.wait_state("lost", NOISY_MACHINE_S)
        before = len(bench.of("frame"))
        proxy.command("pass")
        bench.wait_frames(5, 3 * NOISY_MACHINE_S, after=before)
        assert_fresh(bench.of("frame"))
    assert_all_accounted(bench)


def test_a_camera_that_accepts_and_never_answers_is_a_timeout_and_the_child_stays_alive(free_port: int) -> None:
    with (
        RtspCamera(free_port) as camera,
        FaultProxy(camera.port) as proxy,
    ):
        proxy.command("blackhole")
        with CameraBench({"source": f"rtsp://127.0.0.1:{proxy.port}/cam"}) as bench:
            bench.wait_state("lost", 2 * NOISY_MACHINE_S, reason="timeout")
            beat_ns = bench.context.heartbeat.last_ns
            bench.wait(lambda b: b.context.heartbeat.last_ns > beat_ns)
    assert bench.of("frame") == []


def test_random_bytes_in_the_stream_end_the_connection_not_the_reader(free_port: int) -> None:
    with (
        RtspCamera(free_port) as camera,
        FaultProxy(camera.port) as proxy,
        CameraBench({"source": f"rtsp://127.0.0.1:{proxy.port}/cam"}) as bench,
    ):
        before = len(bench.wait_frames(5))
        proxy.command("garbage 10")
        bench.wait_frames(15, 3 * NOISY_MACHINE_S, after=before)
    assert_all_accounted(bench)


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_users_and_passwords_are_told_apart(free_port: int, method: str) -> None:
    options = ["--user", "line", "--password", "p@ss:w/"] + (["--digest"] if method == "digest" else [])
    expected = {
        "": ("lost", "unauthorized", "wants a user and a password"),
        "line:wrong@": ("lost", "unauthorized", "does not accept this user and password"),
        "line:p%40ss%3Aw%2F@": ("streaming", "ok", "640 x 480"),
    }
    with RtspCamera(free_port, *options):
        for user, (state, reason, words) in expected.items():
            with CameraBench({"source": f"rtsp://{user}127.0.0.1:{free_port}/cam"}) as bench:
                told = bench.wait_state(state)
            assert told.message["reason"] == reason
            assert words in told.message["detail"]
            assert "wrong" not in str([heard.message for heard in bench.heard])


def test_a_wrong_password_is_not_tried_again_and_again(free_port: int) -> None:
    with (
        RtspCamera(free_port, "--user", "line", "--password", "right") as camera,
        FaultProxy(camera.port) as proxy,
        CameraBench({"source": f"rtsp://line:wrong@127.0.0.1:{proxy.port}/cam"}) as bench,
    ):
        bench.wait_state("lost", reason="unauthorized")
        connections = proxy.accepted
        beat_ns = bench.context.heartbeat.last_ns
        bench.wait(lambda b: b.context.heartbeat.last_ns > beat_ns + 2_000_000_000)
        assert proxy.accepted == connections


def test_a_wrong_path_is_told(free_port: int) -> None:
    with RtspCamera(free_port), CameraBench({"source": f"rtsp://127.0.0.1:{free_port}/nope"}) as bench:
        told = bench.wait_state("lost")
    assert told.message["reason"] == "not_found"
    assert bench.states == ["connecting", "lost"]
