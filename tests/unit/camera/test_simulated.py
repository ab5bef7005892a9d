"""Simulated cameras: the same every time, and faults on time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from edge_runtime.camera.simulated import SCENES, Fault, SimulatedSource, parse_script
from edge_runtime.camera.source import Arrival, Nothing, Shape
from edge_runtime.camera.stamp import read_stamp
from edge_runtime.core.errors import ConfigError, DataError, UnavailableError
from edge_runtime.core.source import SIM_SCENES

SMALL = {"size": "320x240", "fps": "0.0"}


def camera(name: str = "conveyor", *, begun: int = 0, **options: str) -> SimulatedSource:
    source = SimulatedSource(name, SMALL | options, max_pixels=1_000_000, begun=lambda: begun)
    source.open()
    return source


def shot(source: SimulatedSource) -> np.ndarray:
    slot = np.zeros(1_000_000, np.uint8)
    assert isinstance(source.grab(), Arrival)
    shape = source.retrieve(slot)
    return slot[: shape.nbytes].reshape(shape.height, shape.width, shape.channels)


@pytest.mark.parametrize("name", ["conveyor", "bars"])
def test_the_same_seed_gives_the_same_pictures_but_for_the_stamp(name: str) -> None:
    one, other = camera(name, seed="3"), camera(name, seed="3")
    first = [shot(one)[8:].copy() for _ in range(3)]
    assert all(np.array_equal(image, shot(other)[8:]) for image in first)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], shot(camera(name, seed="4"))[8:])


def test_frames_are_numbered_and_stamped_with_the_time() -> None:
    source = camera()
    stamps = [read_stamp(shot(source)) for _ in range(3)]
    now = time.time_ns() // 1_000_000
    assert [stamp and stamp.number for stamp in stamps] == [1, 2, 3]
    assert all(stamp is not None and -100 < stamp.age_ms(now) < 5000 for stamp in stamps)


def test_a_picture_too_small_for_a_stamp_is_still_a_picture() -> None:
    assert shot(camera(size="64x48")).shape == (48, 64, 3)


def test_a_frame_is_cheap_enough_for_benchmarks() -> None:
    source = SimulatedSource("conveyor", {"fps": "0.0"}, max_pixels=1_000_000)
    source.open()
    slot = np.zeros(896 * 512 * 3, np.uint8)
    best_ms = float("inf")
    for _ in range(50):
        started = time.perf_counter()
        source.grab()
        source.retrieve(slot)
        best_ms = min(best_ms, (time.perf_counter() - started) * 1000)
    assert best_ms < 3  # 0.11 ms measured; the goal is 0.3


def test_a_script_is_understood_in_any_order() -> None:
    assert parse_script("stall@100:3s,corrupt@20:2;size@7:640x480,drop@50,end@900,crash@3,hang@4") == (
        Fault("crash", 3),
        Fault("hang", 4),
        Fault("size", 7, size=(640, 480)),
        Fault("corrupt", 20, count=2),
        Fault("drop", 50),
        Fault("stall", 100, seconds=3.0),
        Fault("end", 900),
    )


@pytest.mark.parametrize(
    "entry",
    ["burn@1", "stall", "stall@0:1s", "stall@1:soon", "size@1", "size@1:99999x1", "crash@1:2", "corrupt@1:x", "@1"],
)
def test_a_script_that_is_not_understood_says_where(entry: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_script(f"drop@1,{entry}")
    assert entry in caught.value.message
    assert "expected" in str(caught.value) or "takes no detail" in str(caught.value)


def test_an_unknown_scene_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="conveyor, bars"):
        SimulatedSource("nope", {}, max_pixels=100)


def test_a_picture_beyond_the_limit_is_refused() -> None:
    with pytest.raises(UnavailableError, match="more than 1000000 allowed"):
        camera(size="2000x2000")


def test_a_picture_larger_than_the_slot_is_a_bad_picture() -> None:
    source = camera()
    source.grab()
    with pytest.raises(DataError, match="do not fit the 10 bytes"):
        source.retrieve(np.zeros(10, np.uint8))


def test_a_stall_gives_nothing_and_then_goes_on_with_the_next_frame() -> None:
    source = camera(script="stall@3:0.3s")
    shot(source)
    shot(source)
    started = time.monotonic()
    assert source.grab() is Nothing.YET
    while source.grab() is Nothing.YET:
        pass
    assert time.monotonic() - started >= 0.29
    slot = np.zeros(1_000_000, np.uint8)
    source.retrieve(slot)
    stamp = read_stamp(slot[: 320 * 240 * 3].reshape(240, 320, 3))
    assert stamp is not None
    assert stamp.number == 3


def test_a_drop_ends_the_connection_and_refuses_new_ones_for_a_while() -> None:
    source = camera(script="drop@2:0.2s")
    shot(source)
    with pytest.raises(UnavailableError, match="ended the stream"):
        source.grab()
    with pytest.raises(UnavailableError, match="refuses"):
        source.open()
    deadline = time.monotonic() + 5
    while True:
        try:
            source.open()
            break
        except UnavailableError:
            assert time.monotonic() < deadline
    stamp = read_stamp(shot(source))
    assert stamp is not None
    assert stamp.number == 2


def test_damage_lasts_as_long_as_scripted() -> None:
    source = camera(script="corrupt@2:2")
    slot = np.zeros(1_000_000, np.uint8)
    outcomes = []
    for _ in range(4):
        source.grab()
        try:
            source.retrieve(slot)
            outcomes.append("good")
        except DataError:
            outcomes.append("bad")
    assert outcomes == ["good", "bad", "bad", "good"]


def test_the_size_changes_in_mid_stream() -> None:
    source = camera(script="size@2:160x120")
    assert shot(source).shape == (240, 320, 3)
    assert shot(source).shape == (120, 160, 3)


def test_the_end_stays_the_end() -> None:
    source = camera(script="end@2")
    shot(source)
    assert source.grab() is Nothing.LEFT
    assert source.grab() is Nothing.LEFT


def test_after_a_restart_of_the_process_numbers_go_on_and_past_faults_do_not_happen_again() -> None:
    source = camera(begun=300, script="crash@300,corrupt@302")
    stamp = read_stamp(shot(source))
    assert stamp is not None
    assert stamp.number == 301
    source.grab()
    with pytest.raises(DataError, match="on purpose"):
        source.retrieve(np.zeros(1_000_000, np.uint8))


def test_a_camera_with_a_rate_is_live_and_one_without_waits_for_slots() -> None:
    paced = SimulatedSource("bars", {"fps": "20"}, max_pixels=10**6)
    assert (paced.nature.live, paced.nature.paced, paced.nature.simulated) == (True, True, True)
    free = camera()
    assert (free.nature.live, free.nature.paced) == (False, False)
    assert free.grab() == Arrival()
    assert free.retrieve(np.zeros(10**6, np.uint8)) == Shape(320, 240, 3)


def test_every_scene_that_a_configuration_may_name_exists() -> None:
    assert tuple(SCENES) == SIM_SCENES
