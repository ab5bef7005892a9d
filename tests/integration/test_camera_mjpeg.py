"""The camera reader against a real MJPEG server over HTTP, with a fault proxy between them."""

from __future__ import annotations

import pytest

from tests.cameras.fault_proxy import FaultProxy
from tests.cameras.harness import CameraBench
from tests.cameras.mjpeg_server import MjpegServer

pytestmark = pytest.mark.timeout(120)

AGE_MAX_MS = 1000


def bench(port: int, path: str, user: str = "", **args: object) -> CameraBench:
    return CameraBench({"source": f"http://{user}127.0.0.1:{port}{path}"} | args)


def assert_all_accounted(reader: CameraBench) -> None:
    ids = reader.accounted()
    assert ids == list(range(1, len(ids) + 1))


@pytest.mark.parametrize("path", ["/cam", "/nolength", "/chunked"])
def test_every_picture_comes_once_and_fresh(free_port: int, path: str) -> None:
    with MjpegServer(free_port), bench(free_port, path) as reader:
        frames = reader.wait_frames(15)
    numbers = [frame.stamp.number for frame in frames if frame.stamp]
    assert numbers == list(range(len(frames)))
    assert all(frame.age_ms is not None and frame.age_ms <= AGE_MAX_MS for frame in frames)
    assert reader.states == ["connecting", "streaming"]


def test_silence_is_a_stall_and_the_camera_is_asked_again(free_port: int) -> None:
    with MjpegServer(free_port), bench(free_port, "/stall", stall_s=1.0) as reader:
        reader.wait_frames(16, 20)
    assert reader.states[:4] == ["connecting", "streaming", "stalled", "streaming"]
    assert_all_accounted(reader)


def test_an_end_of_the_stream_is_a_loss_and_the_camera_is_asked_again(free_port: int) -> None:
    with MjpegServer(free_port), bench(free_port, "/close") as reader:
        reader.wait_frames(16, 20)
    told = [(heard.message["state"], heard.message["reason"]) for heard in reader.of("state")]
    assert told[:4] == [("connecting", "starting"), ("streaming", "ok"), ("lost", "closed"), ("streaming", "ok")]


def test_a_jpeg_that_was_cut_short_is_a_bad_frame_and_never_a_picture(free_port: int) -> None:
    with MjpegServer(free_port), bench(free_port, "/trunc") as reader:
        reader.wait(lambda b: len(b.of("bad_frame")) >= 3, 20)
    numbers = [frame.stamp.number for frame in reader.of("frame") if frame.stamp]
    assert all(number % 5 != 4 for number in numbers)
    assert {heard.message["reason"] for heard in reader.of("bad_frame")} == {
        "the jpeg file is cut off: the end-of-image marker is missing"
    }
    assert reader.states == ["connecting", "streaming"]
    assert_all_accounted(reader)


def test_a_new_size_arrives_as_it_is(free_port: int) -> None:
    with MjpegServer(free_port), bench(free_port, "/resize") as reader:
        reader.wait(lambda b: any(frame.message["width"] == 800 for frame in b.of("frame")), 20)
    sizes = {(frame.message["width"], frame.message["height"]) for frame in reader.of("frame")}
    assert sizes == {(640, 480), (800, 600)}
    assert all(frame.stamp is not None for frame in reader.of("frame"))
    assert [heard.message["reason"] for heard in reader.of("state")] == ["starting", "ok", "size"]


@pytest.mark.parametrize("capture", ["latest", "every"])
def test_a_backlog_from_a_stall_of_the_network_is_dropped_as_stale(free_port: int, capture: str) -> None:
    with (
        MjpegServer(free_port),
        FaultProxy(free_port) as proxy,
        bench(proxy.port, "/cam", capture=capture, stall_s=6.0) as reader,
    ):
        before = len(reader.wait_frames(10))
        proxy.command("stall")
        reader.wait(lambda b: b.silent_s() > 2.5)
        proxy.command("pass")
        reader.wait_frames(10, after=before)
        assert max(frame.age_ms or 0 for frame in reader.of("frame")) <= AGE_MAX_MS
    assert reader.states == ["connecting", "streaming"]
    assert sum(len(heard.message["frames"]) for heard in reader.of("dropped")) >= 10
    assert_all_accounted(reader)


def test_a_backlog_that_the_network_lets_through_slowly_is_stale_too(free_port: int) -> None:
    with MjpegServer(free_port), FaultProxy(free_port) as proxy, bench(proxy.port, "/cam", stall_s=6.0) as reader:
        before = len(reader.wait_frames(10))
        proxy.command("stall")
        reader.wait(lambda b: b.silent_s() > 2.5)
        proxy.command("throttle 100000")  # 15 pictures a second of a camera that takes 10
        reader.wait_frames(5, 20, after=before)
        assert max(frame.age_ms or 0 for frame in reader.of("frame")) <= AGE_MAX_MS


def test_a_reset_connection_is_a_loss(free_port: int) -> None:
    with MjpegServer(free_port), FaultProxy(free_port) as proxy, bench(proxy.port, "/cam") as reader:
        reader.wait_frames(3)
        proxy.command("reset")
        assert reader.wait_state("lost").message["reason"] == "closed"
        before = len(reader.of("frame"))
        proxy.command("pass")
        reader.wait_frames(3, after=before)


def test_a_camera_that_never_answers_is_a_timeout(free_port: int) -> None:
    with FaultProxy(free_port) as proxy:
        proxy.command("blackhole")
        with bench(proxy.port, "/cam") as reader:
            assert reader.wait_state("lost").message["reason"] == "timeout"


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("/nope", "not_found", "no stream at this path"),
        ("/basic", "unauthorized", "wants a user and a password"),
        ("/jpeg", "protocol", "image/jpeg, expected multipart"),
        ("/moved", "redirect", "http://127.0.0.1:1/cam"),
    ],
)
def test_what_is_no_stream_is_told_in_plain_words(free_port: int, path: str, reason: str, words: str) -> None:
    with MjpegServer(free_port), bench(free_port, path) as reader:
        told = reader.wait_state("lost")
    assert told.message["reason"] == reason
    assert words in told.message["detail"]


@pytest.mark.parametrize("path", ["/basic", "/digest"])
def test_a_right_password_opens_and_a_wrong_one_is_told(free_port: int, path: str) -> None:
    with MjpegServer(free_port):
        with bench(free_port, path, "line:s3cret%3A%40%2F@") as reader:
            reader.wait_frames(2)
        with bench(free_port, path, "line:guessed@") as reader:
            told = reader.wait_state("lost")
    assert told.message["reason"] == "unauthorized"
    assert "guessed" not in str([heard.message for heard in reader.heard])


def test_a_port_that_speaks_something_else_is_told(free_port: int) -> None:
    with MjpegServer(free_port), CameraBench({"source": f"rtsp://127.0.0.1:{free_port}/cam"}) as reader:
        assert reader.wait_state("lost").message["reason"] == "protocol"
