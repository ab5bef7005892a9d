"""The camera child as a whole, run in a thread against the main process's side."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from edge_runtime.core.frame import SlotRef
from tests.cameras.harness import CameraBench

IMAGES = Path(__file__).parents[2] / "assets" / "images"
FAST = "size=320x240&fps=0.0"


def sim(options: str = FAST) -> str:
    return f"sim:conveyor?{options}"


def assert_all_accounted(bench: CameraBench) -> None:
    ids = bench.accounted()
    assert ids == list(range(1, len(ids) + 1))


def drops(bench: CameraBench) -> set[str]:
    """Why frames were dropped, but for the one that the end of the block may have interrupted."""
    return {heard.message["drop"] for heard in bench.of("dropped")} - {"stopped"}


def test_frames_come_numbered_stamped_and_in_order() -> None:
    with CameraBench({"source": sim()}) as bench:
        frames = bench.wait_frames(20)
    assert bench.states[:2] == ["connecting", "streaming"]
    numbers = [frame.message["frame"] for frame in frames]
    assert numbers == list(range(1, len(frames) + 1))
    assert [frame.stamp and frame.stamp.number for frame in frames] == numbers
    times = [frame.message["mono_ns"] for frame in frames]
    assert times == sorted(times)
    assert abs(frames[0].message["utc_ns"] - time.time_ns()) < 60e9
    assert_all_accounted(bench)


def test_the_end_of_a_source_is_told_and_the_child_waits_to_be_stopped() -> None:
    with CameraBench({"source": sim(FAST + "&script=end@6")}) as bench:
        bench.wait_state("ended")
        assert len(bench.of("frame")) == 5
        beat_ns = bench.context.heartbeat.last_ns
        bench.wait(lambda b: b.context.heartbeat.last_ns > beat_ns)
    assert bench.states == ["connecting", "streaming", "ended"]


def test_the_main_process_going_away_ends_the_child() -> None:
    with CameraBench({"source": sim("fps=50&size=320x240")}) as bench:
        bench.wait_frames(2)
        bench.hang_up()
        assert bench.reader_ends(10)


def test_a_stop_is_obeyed_while_every_slot_is_held() -> None:
    with CameraBench({"source": sim()}, slots=2, release=False) as bench:
        bench.wait(lambda b: b.ring.frames_begun == 3)
    assert bench.of("dropped")[-1].message == {"op": "dropped", "drop": "stopped", "frames": [3]}
    assert_all_accounted(bench)


def test_a_frame_that_waits_for_its_time_when_the_stop_comes_is_told(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").symlink_to(IMAGES / "good-colour.png")
    with CameraBench({"source": f"images:{tmp_path}", "fps": 0.01}) as bench:
        bench.wait(lambda b: b.ring.frames_begun == 2)
    assert bench.of("dropped")[-1].message == {"op": "dropped", "drop": "stopped", "frames": [2]}
    assert_all_accounted(bench)


def test_a_source_that_can_wait_loses_nothing_when_slots_are_rare() -> None:
    with CameraBench({"source": sim(FAST + "&script=end@30")}, slots=2, release=False) as bench:
        bench.wait_frames(2)
        for frame in range(2, 29):
            bench.release_frame(frame - 2)
            bench.wait_frames(frame + 1)
        bench.release_frame(27)
        bench.wait_state("ended")
    assert [frame.message["frame"] for frame in bench.of("frame")] == list(range(1, 30))
    assert bench.of("dropped") == []


def test_a_live_source_drops_what_finds_no_slot_and_counts_it() -> None:
    with CameraBench({"source": sim("size=320x240&fps=100")}, slots=2, release=False) as bench:
        bench.wait(lambda b: len(b.accounted()) >= 12)
    assert drops(bench) == {"no_slot"}
    assert len(bench.of("frame")) == 2
    assert_all_accounted(bench)


def test_with_every_a_frame_without_slot_is_an_overrun_and_not_a_drop() -> None:
    with CameraBench({"source": sim("size=320x240&fps=100"), "capture": "every"}, slots=2, release=False) as bench:
        bench.wait(lambda b: len(b.of("bad_frame")) >= 5)
    assert {heard.message["reason"] for heard in bench.of("bad_frame")} == {"overrun"}
    assert drops(bench) == set()
    assert_all_accounted(bench)


def test_a_ceiling_on_the_rate_leaves_frames_out_of_a_live_source() -> None:
    with CameraBench({"source": sim("size=320x240&fps=100"), "fps": 10}) as bench:
        bench.wait_frames(6, 20)
    gaps = [b.message["mono_ns"] - a.message["mono_ns"] for a, b in itertools.pairwise(bench.of("frame"))]
    assert sum(gaps) / len(gaps) > 80e6
    assert drops(bench) == {"rate"}
    assert max(len(message.message["frames"]) for message in bench.of("dropped")) > 1
    assert_all_accounted(bench)


def test_a_ceiling_on_the_rate_slows_down_a_source_that_can_wait() -> None:
    with CameraBench({"source": sim(), "fps": 50}) as bench:
        frames = bench.wait_frames(10)
    assert frames[9].message["mono_ns"] - frames[0].message["mono_ns"] > 0.8 * 9 / 50 * 1e9
    assert_all_accounted(bench)


def test_a_stall_is_told_once_and_frames_return() -> None:
    with CameraBench({"source": sim("size=320x240&fps=50&script=stall@5:2s"), "stall_s": 0.7}) as bench:
        bench.wait_frames(8, 20)
    assert bench.states == ["connecting", "streaming", "stalled", "streaming"]
    last_before = bench.of("frame")[3].at_s
    assert bench.of("state")[2].at_s - last_before < 3


def test_a_lost_connection_is_told_and_made_again() -> None:
    with CameraBench({"source": sim("size=320x240&fps=50&script=drop@5:0.5s")}) as bench:
        bench.wait_frames(8, 20)
    told = [(heard.message["state"], heard.message["reason"]) for heard in bench.of("state")]
    assert told == [
        ("connecting", "starting"),
        ("streaming", "ok"),
        ("lost", "closed"),
        ("lost", "refused"),
        ("streaming", "ok"),
    ]
    assert_all_accounted(bench)


def test_a_change_of_size_is_told_once_and_the_frames_have_it() -> None:
    with CameraBench({"source": sim("size=320x240&fps=50&script=size@5:400x200")}) as bench:
        frames = bench.wait_frames(10)
    sizes = [(frame.message["width"], frame.message["height"]) for frame in frames]
    assert sizes[:4] == [(320, 240)] * 4
    assert set(sizes[4:]) == {(400, 200)}
    notes = [heard.message for heard in bench.of("state") if heard.message["reason"] == "size"]
    assert [note["detail"] for note in notes] == ["400 x 200 pixels now, 320 x 240 before"]


def test_a_frame_larger_than_the_slot_is_a_bad_frame_with_the_numbers() -> None:
    with CameraBench({"source": sim(FAST + "&script=size@3:800x600")}, slot_bytes=320 * 240 * 3) as bench:
        bench.wait(lambda b: len(b.of("bad_frame")) >= 2)
    assert len(bench.of("frame")) == 2
    reasons = {heard.message["reason"] for heard in bench.of("bad_frame")}
    assert reasons == {"800 x 600 pixels do not fit the 230400 bytes of a slot"}


def test_damage_is_a_bad_frame_and_its_slot_is_free_again() -> None:
    with CameraBench({"source": sim(FAST + "&script=corrupt@1:20,end@25")}, slots=2) as bench:
        bench.wait_state("ended")
        assert bench.ring.held <= 2
    assert [heard.message["frame"] for heard in bench.of("bad_frame")] == list(range(1, 21))
    assert [heard.message["frame"] for heard in bench.of("frame")] == [21, 22, 23, 24]


def test_frame_numbers_go_on_in_a_new_process_with_the_same_ring() -> None:
    with CameraBench({"source": sim(FAST + "&script=end@4")}) as bench:
        bench.wait_state("ended")
        assert bench.ring.frames_begun == 3


def test_a_source_that_cannot_be_tried_is_told_once_and_the_child_lives() -> None:
    with CameraBench({"source": "sim:nope"}) as bench:
        heard = bench.wait_state("lost")
        threading.Event().wait(0.3)
    assert "there is no simulated camera 'nope'" in heard.message["detail"]
    assert bench.states == ["connecting", "lost"]


def test_a_missing_directory_is_told_once_and_found_when_it_appears(tmp_path: Path) -> None:
    directory = tmp_path / "pictures"
    with CameraBench({"source": f"images:{directory}"}) as bench:
        assert bench.wait_state("lost").message["reason"] == "missing"
        directory.mkdir()
        bench.wait_state("lost", reason="empty")
        (directory / "a.png").write_bytes((IMAGES / "good-colour.png").read_bytes())
        bench.wait_state("ended")
    assert bench.states == ["connecting", "lost", "lost", "streaming", "ended"]
    assert [frame.message["origin"] for frame in bench.of("frame")] == ["a.png"]


def test_every_picture_of_a_directory_gets_a_frame_or_a_reason(tmp_path: Path) -> None:
    names = sorted(path.name for path in IMAGES.iterdir() if path.suffix != ".gif")
    for name in names:
        (tmp_path / name).symlink_to(IMAGES / name)
    with CameraBench({"source": f"images:{tmp_path}"}, slots=2) as bench:
        bench.wait_state("ended", 30)
    outcomes = {heard.message["origin"]: heard.message for heard in bench.heard if heard.message["op"] != "state"}
    assert sorted(outcomes) == names
    assert {name for name, message in outcomes.items() if message["op"] == "bad_frame"} == {
        name for name in names if name.startswith("bad-")
    }
    assert all(len(message["reason"]) > 10 for message in outcomes.values() if message["op"] == "bad_frame")
    assert "Traceback" not in str(outcomes)
    assert outcomes["good-grey.png"]["channels"] == 1
    assert_all_accounted(bench)


def test_a_folder_with_a_name_that_is_no_utf8_is_read_to_its_end(tmp_path: Path) -> None:
    for name in (b"a.png", b"Pr\xfcfung.png", b"z.png"):
        (tmp_path / os.fsdecode(name)).write_bytes((IMAGES / "good-colour.png").read_bytes())
    with CameraBench({"source": f"images:{tmp_path}"}) as bench:
        bench.wait_state("ended")
    assert [frame.message["origin"] for frame in bench.of("frame")] == ["Pr\\xfcfung.png", "a.png", "z.png"]
    assert_all_accounted(bench)


def test_a_folder_of_bad_pictures_in_a_loop_does_not_flood_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((IMAGES / "bad-cut.jpg").read_bytes())
    with CameraBench({"source": f"images:{tmp_path}?loop=1"}) as bench:
        told = bench.wait_state("lost", reason="no_picture")
        threading.Event().wait(0.5)
        assert len(bench.of("bad_frame")) < 10
        (tmp_path / "b.png").write_bytes((IMAGES / "good-colour.png").read_bytes())
        bench.wait_frames(2)
    assert "none of the 1 pictures" in told.message["detail"]
    assert_all_accounted(bench)


def test_bad_pictures_come_no_faster_than_good_ones_could(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes((IMAGES / "bad-cut.jpg").read_bytes())
    with CameraBench({"source": f"images:{tmp_path}"}) as bench:
        bench.wait_state("ended")
    first, *_, last = bench.of("bad_frame")
    assert last.message["mono_ns"] - first.message["mono_ns"] > 9 * 0.02e9 * 0.9


def test_a_stop_after_a_bad_picture_does_not_tell_it_twice(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:02}.jpg").write_bytes((IMAGES / "bad-cut.jpg").read_bytes())
    with CameraBench({"source": f"images:{tmp_path}"}) as bench:
        bench.wait(lambda b: len(b.of("bad_frame")) >= 3)
    assert_all_accounted(bench)


def test_a_picture_that_was_begun_by_a_process_that_died_is_not_begun_again(tmp_path: Path) -> None:
    directory, later = tmp_path / "pictures", tmp_path / "later"
    later.mkdir()
    for name in ("a.png", "b.png"):
        (later / name).write_bytes((IMAGES / "good-colour.png").read_bytes())
    with CameraBench({"source": f"images:{directory}"}) as bench:
        bench.wait_state("lost")
        bench.ring.next_frame_id()  # all that is left of a process that a picture killed
        later.rename(directory)
        bench.wait_state("ended")
    assert [frame.message["origin"] for frame in bench.of("frame")] == ["b.png"]


def test_a_list_of_files_is_read_in_its_order() -> None:
    files = [str(IMAGES / name) for name in ("good-grey.png", "bad-cut.jpg", "good-colour.png", "missing.png")]
    with CameraBench({"files": files}) as bench:
        bench.wait_state("ended")
    told = [(heard.message["op"], heard.message["origin"]) for heard in bench.heard if heard.message["op"] != "state"]
    assert told == [("frame", files[0]), ("bad_frame", files[1]), ("frame", files[2]), ("bad_frame", files[3])]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real H.264 file of 20 frames at 20 a second."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=20:d=1"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", "libx264", "-bf", "0", str(path)], check=True, timeout=60)
    return path


def test_a_file_plays_at_its_own_speed_and_ends(clip: Path) -> None:
    with CameraBench({"source": f"file:{clip}"}) as bench:
        bench.wait_state("ended")
    frames = bench.of("frame")
    assert len(frames) == 20
    assert 0.8 < (frames[-1].message["mono_ns"] - frames[0].message["mono_ns"]) / 1e9 < 5


def test_a_file_in_a_hurry_waits_for_slots_and_loses_nothing(clip: Path) -> None:
    with CameraBench({"source": f"file:{clip}?realtime=0"}, slots=1) as bench:
        bench.wait_state("ended")
    assert [frame.message["frame"] for frame in bench.of("frame")] == list(range(1, 21))


def test_a_looping_file_goes_on(clip: Path) -> None:
    with CameraBench({"source": f"file:{clip}?loop=1&realtime=0"}) as bench:
        bench.wait_frames(45)
    assert bench.states == ["connecting", "streaming"]
    assert_all_accounted(bench)


def test_the_slot_of_an_announced_frame_holds_its_picture() -> None:
    with CameraBench({"source": sim()}, release=False) as bench:
        bench.wait_frames(6)
        for heard in bench.of("frame"):
            ref = SlotRef(heard.message["slot"], heard.message["generation"])
            assert bench.ring.is_current(ref)
    assert len({heard.message["slot"] for heard in bench.of("frame")}) == 6


def test_a_camera_that_swallows_connections_is_asked_again_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[float] = []
    connect = socket.create_connection

    def noted(address: tuple[str, int], timeout_s: float) -> socket.socket:
        began.append(time.monotonic())
        return connect(address, timeout_s)

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # until the kernel drops what more comes
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(server.getsockname())
        monkeypatch.setattr(socket, "create_connection", noted)
        with CameraBench({"source": f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam"}) as bench:
            bench.wait(lambda _: len(began) >= 4, 15)
    assert bench.states == ["connecting", "lost"]
    assert min(second - first for first, second in itertools.pairwise(began)) <= 1.0  # a busy machine may delay some
