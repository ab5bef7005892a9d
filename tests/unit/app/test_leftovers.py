from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.app.leftovers import INDEX_FILE, FlightFiles

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def begin(directory: Path, boot: str, names: tuple[str, ...] = ("top", "side"), **last: tuple[int, int]) -> FlightFiles:
    return FlightFiles(directory, names, boot, last.get)


def test_the_next_boot_names_the_frames_that_a_dead_one_had_in_flight(tmp_path: Path) -> None:
    dead = begin(tmp_path, "boot-1")
    for frame_id in (1, 2, 3):
        dead.recorder.enter("top", frame_id)
    dead.recorder.leave("top", 1)
    dead.close()
    born = begin(tmp_path, "boot-2", top=(1, 2))
    event = born.event(0, "0")
    born.close()
    assert event.kind == "runtime.started"
    assert event.fields == {
        "previousBootId": "boot-1",
        "framesInFlight": {"top": {"frameIds": [3], "unnamed": 0}},
    }
    assert "1 frames were in flight" in event.message


def test_results_of_an_older_boot_do_not_hide_frames_of_the_dead_one(tmp_path: Path) -> None:
    begin(tmp_path, "boot-1", top=(7, 500)).close()
    dead = begin(tmp_path, "boot-2", top=(7, 500))
    dead.recorder.enter("top", 4)
    dead.close()
    born = begin(tmp_path, "boot-3", top=(7, 500))
    assert born.previous.left["top"].frame_ids == (4,)
    born.close()


def test_frames_whose_results_were_committed_before_the_end_are_not_named(tmp_path: Path) -> None:
    first = begin(tmp_path, "boot-1")
    first.recorder.enter("top", 1)
    first.recorder.leave("top", 1)
    first.close()
    second = begin(tmp_path, "boot-2")
    assert second.previous.left == {}
    assert second.event(0, "0").message == "edge-runtime 0 started"
    second.close()


def test_frames_that_a_refusing_disk_kept_from_being_committed_are_named_after_an_orderly_end_too(
    tmp_path: Path,
) -> None:
    first = begin(tmp_path, "boot-1")
    first.recorder.enter("top", 5)
    first.close()
    second = begin(tmp_path, "boot-2")
    assert second.previous.left["top"].frame_ids == (5,)
    second.close()


def test_a_disk_that_refuses_costs_the_recorder_and_not_the_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flight = FlightFiles(tmp_path / "absent", ("top",), "boot-1", {}.get)
    flight.recorder.enter("top", 1)
    flight.recorder.leave("top", 1)
    flight.close()
    assert "cannot be recorded" in caplog.text


def test_the_first_boot_has_nothing_to_tell(tmp_path: Path) -> None:
    first = begin(tmp_path, "boot-1")
    assert first.previous.boot_id is None
    first.close()


def test_a_damaged_index_is_not_believed(tmp_path: Path) -> None:
    begin(tmp_path, "boot-1").close()
    for content in (b"{", b"[]", b'{"bootId": 1}', b'{"bootId": "x", "inspections": {"top": "many"}}'):
        (tmp_path / INDEX_FILE).write_bytes(content)
        again = begin(tmp_path, "boot-2")
        assert again.previous.left == {}
        again.close()


def test_inspections_may_change_between_boots(tmp_path: Path) -> None:
    dead = begin(tmp_path, "boot-1", ("old",))
    dead.recorder.enter("old", 9)
    dead.close()
    born = begin(tmp_path, "boot-2", ("new", "newer"))
    assert born.previous.left["old"].frame_ids == (9,)
    born.recorder.enter("newer", 1)
    born.close()
