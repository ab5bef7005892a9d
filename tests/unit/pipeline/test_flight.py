"""Frames that were in flight when main died can be named by the next boot."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.pipeline.flight import ENTRIES, FlightRecorder, Leftover, leftovers, words_needed

NAMES = ("left", "right")


def _words(inspections: int = len(NAMES)) -> memoryview[int]:
    return memoryview(array("Q", bytes(8 * words_needed(inspections))))


def _recorder(words: memoryview[int]) -> FlightRecorder:
    recorder = FlightRecorder()
    recorder.extend(words, NAMES)
    return recorder


def test_what_did_not_leave_is_left_over() -> None:
    words = _words()
    recorder = _recorder(words)
    for frame_id in (3, 1, 2):
        recorder.enter("left", frame_id)
    recorder.enter("right", 1)
    recorder.leave("left", 2)
    assert leftovers(words, NAMES, {}) == {"left": Leftover((1, 3), 0), "right": Leftover((1,), 0)}


def test_nothing_is_left_over_when_everything_left() -> None:
    words = _words()
    recorder = _recorder(words)
    recorder.enter("left", 1)
    recorder.leave("left", 1)
    assert leftovers(words, NAMES, {}) == {}
    assert not any(words)


def test_frames_whose_result_is_committed_are_not_left_over() -> None:
    words = _words()
    recorder = _recorder(words)
    for frame_id in (1, 2, 3):
        recorder.enter("left", frame_id)
    assert leftovers(words, NAMES, {"left": 2, "right": 9}) == {"left": Leftover((3,), 0)}


def test_what_does_not_fit_is_counted() -> None:
    words = _words()
    recorder = _recorder(words)
    for frame_id in range(1, ENTRIES + 3):
        recorder.enter("right", frame_id)
    assert leftovers(words, NAMES, {}) == {"right": Leftover(tuple(range(1, ENTRIES + 1)), 2)}
    recorder.leave("right", ENTRIES + 1)
    recorder.leave("right", ENTRIES + 2)
    recorder.leave("right", 77_777)  # was never entered
    assert leftovers(words, NAMES, {})["right"].unnamed == 0


def test_a_result_without_a_frame_changes_nothing() -> None:
    words = _words()
    recorder = _recorder(words)
    for frame_id in range(1, ENTRIES + 2):
        recorder.enter("left", frame_id)
    before = list(words)
    recorder.leave("left", 0)
    assert list(words) == before


def test_places_are_used_again() -> None:
    words = _words()
    recorder = _recorder(words)
    for frame_id in range(1, 3 * ENTRIES):
        recorder.enter("left", frame_id)
        recorder.leave("left", frame_id)
    recorder.enter("left", 9999)
    assert leftovers(words, NAMES, {}) == {"left": Leftover((9999,), 0)}


def test_room_for_more_inspections_leaves_what_is_in_flight_where_it_was() -> None:
    small, large = _words(), _words(3)
    recorder = _recorder(small)
    recorder.enter("left", 1)
    recorder.enter("right", 7)
    large[: len(small)] = small  # the same file, mapped again and longer
    recorder.extend(large, [*NAMES, "top"])
    recorder.leave("left", 1)
    recorder.enter("top", 7)
    assert leftovers(large, [*NAMES, "top"], {}) == {"right": Leftover((7,), 0), "top": Leftover((7,), 0)}


def test_frames_of_an_inspection_without_room_are_nobodys_trouble() -> None:
    recorder = FlightRecorder()
    recorder.enter("left", 1)
    recorder.leave("left", 1)


def test_the_same_number_from_another_camera_of_an_inspection_leaves_nothing_behind() -> None:
    words = _words()
    recorder = _recorder(words)
    for _ in range(2):
        recorder.enter("left", 1)
    for _ in range(2):
        recorder.leave("left", 1)
    assert not any(words)


@given(steps=st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES), st.integers(1, 400)), max_size=600))
def test_the_file_always_holds_exactly_the_open_frames(steps: list[tuple[bool, str, int]]) -> None:
    words = _words()
    recorder = _recorder(words)
    inside: dict[str, set[int]] = {name: set() for name in NAMES}
    for entering, name, frame_id in steps:
        if entering and frame_id not in inside[name] and len(inside[name]) < ENTRIES:
            recorder.enter(name, frame_id)
            inside[name].add(frame_id)
        elif not entering:
            recorder.leave(name, frame_id)
            inside[name].discard(frame_id)
    expected = {name: Leftover(tuple(sorted(ids)), 0) for name, ids in inside.items() if ids}
    assert leftovers(words, NAMES, {}) == expected
