"""Real videos that nobody here made."""

from __future__ import annotations

from tests.cameras.harness import CameraBench
from tests.integration.real_assets import asset


def assert_all_accounted(bench: CameraBench) -> None:
    ids = bench.accounted()
    assert ids == list(range(1, len(ids) + 1))


def test_a_real_video_is_read_to_its_end_in_a_hurry() -> None:
    clip = asset("opencv-doc") / "vtest.avi"
    with CameraBench({"source": f"file:{clip}?realtime=0"}, keep_images=False) as bench:
        bench.wait_state("ended", 55)
    frames = bench.of("frame")
    assert len(frames) == 795
    assert {(f.message["width"], f.message["height"], f.message["origin"]) for f in frames} == {(768, 576, "vtest.avi")}
    assert_all_accounted(bench)


def test_a_video_that_lies_about_its_length_ends_where_it_ends() -> None:
    clip = asset("opencv-doc") / "tree.avi"  # its header promises 444 frames
    with CameraBench({"source": f"file:{clip}?realtime=0"}, keep_images=False) as bench:
        bench.wait_state("ended", 55)
    assert len(bench.of("frame")) == 68
    assert bench.of("bad_frame") == []
    assert bench.states == ["connecting", "streaming", "ended"]


def test_a_real_video_plays_at_the_speed_of_its_own_clock() -> None:
    clip = asset("opencv-doc") / "tree.avi"  # its header claims 15 a second; its frames are up to 0.7 s apart
    with CameraBench({"source": f"file:{clip}"}) as bench:
        frames = bench.wait_frames(4)
    took_s = (frames[3].message["mono_ns"] - frames[0].message["mono_ns"]) / 1e9
    assert took_s > 3 / 15 * 2
    assert_all_accounted(bench)
