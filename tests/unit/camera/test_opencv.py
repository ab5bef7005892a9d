"""Video files and devices through OpenCV."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.camera import opencv, rtsp
from edge_runtime.camera.opencv import DeviceSource, FileSource, RtspSource, prepare
from edge_runtime.camera.source import Arrival, Nothing, Shape
from edge_runtime.core.errors import DataError, UnavailableError

LIMIT = 40_000_000
FRAMES = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real H.264 file of 12 frames, 320 x 240, 10 a second."""
    path = tmp_path_factory.mktemp("video") / "clip one.mp4"
    source = ["-f", "lavfi", "-i", f"testsrc2=s=320x240:r=10:d={FRAMES / 10}"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", "libx264", "-bf", "0", str(path)], check=True, timeout=60)
    return path


def opened(path: Path, **options: bool) -> FileSource:
    source = FileSource(path, LIMIT, **options)
    source.open()
    return source


def test_a_file_gives_all_its_frames_and_then_ends(clip: Path) -> None:
    source, slot, positions = opened(clip), np.zeros(320 * 240 * 3, np.uint8), []
    while isinstance(arrival := source.grab(), Arrival):
        positions.append(arrival.position_s)
        assert arrival.origin == "clip one.mp4"
        assert source.retrieve(slot) == Shape(320, 240, 3)
    assert arrival is Nothing.LEFT
    assert positions == pytest.approx([number / 10 for number in range(FRAMES)])
    assert slot.std() > 10
    source.close()


def test_pictures_are_decoded_straight_into_the_slot(clip: Path) -> None:
    source, slot = opened(clip), np.zeros(500_000, np.uint8)
    source.grab()
    source.retrieve(slot)
    source.close()
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    expected = capture.read()[1]
    capture.release()
    assert np.array_equal(slot[: 320 * 240 * 3].reshape(240, 320, 3), expected)
    assert not slot[320 * 240 * 3 :].any()


def test_a_looping_file_starts_again(clip: Path) -> None:
    source = opened(clip, loop=True)
    positions = []
    for _ in range(2 * FRAMES + 1):
        arrival = source.grab()
        assert isinstance(arrival, Arrival)
        positions.append(arrival.position_s)
    assert positions.count(0.0) == 3
    source.close()


def test_a_frame_larger_than_the_slot_is_a_bad_picture_and_the_file_goes_on(clip: Path) -> None:
    source = opened(clip)
    source.grab()
    with pytest.raises(DataError, match="320 x 240 pixels do not fit the 1000 bytes"):
        source.retrieve(np.zeros(1000, np.uint8))
    source.grab()
    assert source.retrieve(np.zeros(320 * 240 * 3, np.uint8)) == Shape(320, 240, 3)
    source.close()


def test_a_video_beyond_the_limit_of_pixels_is_refused(clip: Path) -> None:
    with pytest.raises(UnavailableError, match="more than the 1000 allowed") as caught:
        FileSource(clip, 1000).open()
    assert caught.value.code == "camera.too_large"


def test_the_nature_follows_the_option(clip: Path) -> None:
    assert FileSource(clip, LIMIT).nature.paced
    assert not FileSource(clip, LIMIT, realtime=False).nature.live


def test_a_cut_file_ends_early_and_says_nothing_wrong(clip: Path, tmp_path: Path) -> None:
    stream = tmp_path / "cut.ts"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(clip), "-c", "copy", str(stream)], check=True, timeout=60)
    stream.write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])
    source = opened(stream)
    count = 0
    while isinstance(source.grab(), Arrival):
        count += 1
    assert 0 < count < FRAMES
    source.close()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing.mp4", None, "camera.missing"),
        ("empty.mp4", b"", "camera.no_video"),
        ("text.mp4", b"no video at all", "camera.no_video"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "camera.no_video"),
        ("list.avi", b"ffconcat version 1.0\nfile /etc/passwd\n", "camera.no_video"),
    ],
)
def test_what_is_no_video_is_refused_with_a_reason(tmp_path: Path, name: str, content: bytes | None, code: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnavailableError) as caught:
        FileSource(tmp_path / name, LIMIT).open()
    assert caught.value.code == code


def test_a_playlist_is_not_followed_even_to_a_good_file(clip: Path, tmp_path: Path) -> None:
    stream = tmp_path / "segment.ts"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(clip), "-c", "copy", str(stream)], check=True, timeout=60)
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n{stream}\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnavailableError, match="not a video"):
        FileSource(playlist, LIMIT).open()


def test_a_name_that_looks_like_a_protocol_is_only_a_name(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "concat:a|b.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    source = opened(Path("concat:a|b.mp4"))
    assert isinstance(source.grab(), Arrival)
    source.close()


def test_an_absent_device_is_named() -> None:
    with pytest.raises(UnavailableError, match="there is no device /dev/video-none") as caught:
        DeviceSource(Path("/dev/video-none"), LIMIT).open()
    assert caught.value.code == "camera.missing"


def test_what_is_no_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "video0").write_bytes(b"")
    with pytest.raises(UnavailableError, match="is not a device"):
        DeviceSource(tmp_path / "video0", LIMIT).open()


def test_a_device_that_is_no_camera_is_refused() -> None:
    with pytest.raises(UnavailableError, match="cannot be opened for video") as caught:
        DeviceSource(Path("/dev/null"), LIMIT).open()
    assert caught.value.code == "camera.busy"


def test_reading_before_opening_is_an_error_not_a_crash(clip: Path) -> None:
    with pytest.raises(UnavailableError, match="not open"):
        FileSource(clip, LIMIT).grab()
    source = RtspSource("rtsp://127.0.0.1/cam", LIMIT, 2.0)
    source.close()
    with pytest.raises(UnavailableError, match="not open"):
        source.retrieve(np.zeros(10, np.uint8))


def test_opencv_is_held_to_one_thread() -> None:
    before = cv2.getNumThreads()
    try:
        prepare()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


def test_a_frame_of_a_file_costs_no_more_than_its_decoding(clip: Path) -> None:
    source, slot = opened(clip, loop=True), np.zeros(320 * 240 * 3, np.uint8)
    started = time.perf_counter()
    for _ in range(100):
        source.grab()
        source.retrieve(slot)
    assert (time.perf_counter() - started) / 100 < 0.02
    source.close()


class Capture:
    """Stands for a ``cv2.VideoCapture`` whose device does what ours here cannot be made to do."""

    def __init__(self, *results: object, block_s: float = 0.0) -> None:
        self.results = list(results)
        self.block_s = block_s

    def grab(self) -> object:
        threading.Event().wait(self.block_s)
        return self.results.pop(0)

    def retrieve(self, _view: object) -> object:
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def release(self) -> None:
        self.results.clear()


def device(tmp_path: Path, *results: object, block_s: float = 0.0) -> DeviceSource:
    (tmp_path / "video0").write_bytes(b"")
    source = DeviceSource(tmp_path / "video0", LIMIT)
    source._capture = Capture(*results, block_s=block_s)  # type: ignore[assignment]
    source._shape = Shape(4, 3, 3)
    return source


def test_a_device_that_changes_its_size_is_copied_and_then_written_in_place(tmp_path: Path) -> None:
    larger = np.full((6, 8, 3), 9, np.uint8)
    source, slot = device(tmp_path, (True, larger)), np.zeros(1000, np.uint8)
    assert source.retrieve(slot) == Shape(8, 6, 3)
    assert (slot[: 8 * 6 * 3] == 9).all()
    in_place = slot[: 8 * 6 * 3].reshape(6, 8, 3)
    source._capture = Capture((True, in_place))  # type: ignore[assignment]
    assert source.retrieve(slot) == Shape(8, 6, 3)


def test_a_grey_device_gives_one_channel(tmp_path: Path) -> None:
    assert device(tmp_path, (True, np.zeros((3, 4), np.uint8))).retrieve(np.zeros(100, np.uint8)) == Shape(4, 3, 1)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ((False, np.zeros((0,), np.uint8)), "no picture"),
        ((True, np.zeros((3, 4, 3), np.uint16)), "uint16"),
        ((True, np.zeros((60, 40, 3), np.uint8)), "do not fit"),
        (cv2.error("broken"), "the decoder failed"),
    ],
)
def test_what_a_decoder_gives_is_checked(tmp_path: Path, result: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        device(tmp_path, result).retrieve(np.zeros(100, np.uint8))


def test_a_silent_device_is_asked_again_and_an_unplugged_one_is_gone(tmp_path: Path) -> None:
    assert device(tmp_path, 1).grab() == Arrival()
    assert device(tmp_path, 0, block_s=1.0).grab() is Nothing.YET
    with pytest.raises(UnavailableError, match="was it unplugged") as caught:
        device(tmp_path, 0).grab()
    assert caught.value.code == "camera.closed"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of "localhost", signed by itself, in one PEM file."""
    path = tmp_path_factory.mktemp("tls") / "camera.pem"
    key = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(path), "-out", f"{path}.crt"]
    name = ["-subj", "/CN=camera", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", *key, *name], check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def open_secure(certificate: Path) -> tuple[UnavailableError, str]:
    """Open a camera that hangs up on each request; return our error and what the camera was sent inside TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    heard: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), peer, context.wrap_socket(peer, server_side=True) as secure:
                heard.append(secure.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnavailableError) as caught:
            RtspSource(f"rtsps://line:s3cret@localhost:{server.getsockname()[1]}/cam", LIMIT, 1.8).open()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    return caught.value, b"".join(heard).decode()


def test_a_camera_whose_certificate_nobody_vouches_for_is_told_nothing(certificate: Path) -> None:
    error, heard = open_secure(certificate)
    assert error.code == "camera.tls"
    assert "self-signed certificate" in str(error)
    assert heard == ""


def test_ffmpeg_checks_the_certificate_of_its_own_connection(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtsp, "check_reachable", lambda *_: None)
    monkeypatch.setattr(rtsp, "explain", lambda *_: UnavailableError("camera.no_stream", "no reason"))
    error, heard = open_secure(certificate)
    assert (error.code, heard) == ("camera.no_stream", "")


def test_a_camera_that_an_authority_of_this_box_vouches_for_is_asked(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    _, heard = open_secure(certificate)
    assert heard.startswith("OPTIONS rtsp")


def test_without_authorities_no_camera_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp, "check_reachable", lambda *_: None)
    monkeypatch.setattr(opencv, "authorities_file", lambda: None)
    with pytest.raises(UnavailableError, match="install the package ca-certificates") as caught:
        RtspSource("rtsps://localhost/cam", LIMIT, 1.8).open()
    assert caught.value.code == "camera.tls"
