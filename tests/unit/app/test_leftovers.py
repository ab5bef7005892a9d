from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.app.leftovers import EARLIER_MAX, INDEX_FILE, INSPECTIONS_MAX, LIMIT_BYTES, WORDS_FILES, FlightFiles
from edge_runtime.core.errors import StorageError
from edge_runtime.system.files import MappedWords

if TYPE_CHECKING:
    import pytest

    from edge_runtime.core.result import Event


NAMES = ("top", "side")


def begin(directory: Path, boot: str, names: tuple[str, ...] = NAMES, **last: tuple[int, int]) -> FlightFiles:
    flight = FlightFiles(directory, boot)
    flight.begin(names, last.get)
    return flight


def told(flight: FlightFiles) -> Event:
    event = flight.event(0, "0")
    assert event is not None
    return event


def frames(**ids: list[int]) -> dict[str, Any]:
    return {name: {"frameIds": found, "unnamed": 0} for name, found in ids.items()}


def test_the_next_boot_names_the_frames_that_a_dead_one_had_in_flight(tmp_path: Path) -> None:
    dead = begin(tmp_path, "boot-1")
    for frame_id in (1, 2, 3):
        dead.recorder.enter("top", frame_id)
    dead.recorder.leave("top", 1)
    dead.close()
    born = begin(tmp_path, "boot-2", top=(1, 2))
    event = told(born)
    born.close()
    assert event.kind == "runtime.started"
    assert event.fields == {"previousBootId": "boot-1", "framesInFlight": frames(top=[3])}
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
    assert told(second).message == "edge-runtime 0 started"
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
    flight = begin(tmp_path / "absent", "boot-1")
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
    for content in (
        b"{",
        b"[]",
        b'{"bootId": 1}',
        b'{"bootId": "x", "inspections": {"top": "many"}}',
        b'{"bootId": "x", "inspections": {}, "words": "/etc/passwd"}',
        b'{"bootId": "x", "inspections": {}, "earlier": [1]}',
        b" " * (LIMIT_BYTES + 1),
    ):
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


def test_a_result_of_an_inspection_that_a_reload_removed_may_still_be_committed(tmp_path: Path) -> None:
    flight = begin(tmp_path, "boot-1", ("left",))
    flight.recorder.enter("left", 7)
    flight.expect(("right",), {}.get)
    flight.recorder.leave("left", 7)
    flight.close()
    born = begin(tmp_path, "boot-2")
    assert born.previous.left == {}
    born.close()


def test_what_the_spool_could_not_commit_over_reloads_is_named_when_main_is_killed_then(tmp_path: Path) -> None:
    flight = begin(tmp_path, "boot-1", ("a", "b", "c"))
    flight.recorder.enter("c", 5)
    flight.expect(("b",), {}.get)
    flight.recorder.enter("b", 6)
    flight.expect(("d", "b"), {}.get)
    flight.recorder.enter("d", 7)
    flight.close()
    born = begin(tmp_path, "boot-2")
    assert told(born).fields["framesInFlight"] == frames(b=[6], c=[5], d=[7])
    born.close()


def test_reloads_leave_no_descriptor_open(tmp_path: Path) -> None:
    flight = begin(tmp_path, "boot-1")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        flight.expect((f"renamed-{number}",), {}.get)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    flight.close()


def test_inspections_without_end_are_not_recorded_without_end(tmp_path: Path) -> None:
    flight = begin(tmp_path, "boot-1")
    flight.expect([f"renamed-{number}" for number in range(INSPECTIONS_MAX)], {}.get)
    flight.recorder.enter("top", 1)
    flight.recorder.enter(f"renamed-{INSPECTIONS_MAX - 1}", 1)
    flight.close()
    assert (tmp_path / WORDS_FILES[0]).stat().st_size < LIMIT_BYTES
    born = begin(tmp_path, "boot-2")
    assert told(born).fields["framesInFlight"] == frames(top=[1])
    born.close()


def test_an_inspection_for_which_the_disk_has_no_room_does_not_cost_the_others_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flight = begin(tmp_path, "boot-1", ("top",))
    with monkeypatch.context() as full:
        full.setattr(MappedWords, "open", lambda *_: (_ for _ in ()).throw(StorageError("storage.full", "no room")))
        flight.expect(("top", "new"), {}.get)
    assert "no room" in caplog.text
    flight.recorder.enter("new", 1)
    flight.recorder.enter("top", 2)
    flight.close()
    born = begin(tmp_path, "boot-2")
    assert told(born).fields["framesInFlight"] == frames(top=[2])
    born.close()


def test_a_boot_that_is_killed_before_it_could_tell_hides_nothing_of_the_one_before(tmp_path: Path) -> None:
    dead = begin(tmp_path, "boot-1")
    dead.recorder.enter("top", 3)
    dead.close()
    young = begin(tmp_path, "boot-2")
    young.recorder.enter("side", 4)
    young.close()
    born = begin(tmp_path, "boot-3")
    born.close()
    assert told(born).fields == {
        "previousBootId": "boot-2",
        "framesInFlight": frames(side=[4]),
        "earlier": [{"bootId": "boot-1", "framesInFlight": frames(top=[3])}],
    }


def test_what_was_told_is_not_told_again_once_a_result_proves_that_it_is_durable(tmp_path: Path) -> None:
    dead = begin(tmp_path, "boot-1")
    dead.recorder.enter("top", 3)
    dead.close()
    begin(tmp_path, "boot-2", top=(7, 2)).close()
    born = begin(tmp_path, "boot-3", top=(8, 1))  # boot-2 committed its frame 1 with seq 8
    born.close()
    assert told(born).fields == {"previousBootId": "boot-2", "framesInFlight": {}}


def test_boots_that_never_get_far_do_not_let_the_index_grow_for_ever(tmp_path: Path) -> None:
    for number in range(1, 10):
        flight = begin(tmp_path, f"boot-{number}")
        flight.recorder.enter("top", number)
        flight.close()
    born = begin(tmp_path, "boot-10")
    born.close()
    earlier = told(born).fields["earlier"]
    assert isinstance(earlier, list)
    assert [boot["bootId"] for boot in earlier] == [f"boot-{number}" for number in range(9 - EARLIER_MAX, 9)]


def test_a_new_delivery_in_the_same_boot_names_what_the_one_before_could_not_commit(tmp_path: Path) -> None:
    first = begin(tmp_path, "boot-1")
    first.recorder.enter("top", 5)
    first.close()
    second = begin(tmp_path, "boot-1")
    second.close()
    assert told(second).kind == "frames.lost"
    assert told(second).fields["framesInFlight"] == frames(top=[5])
    third = begin(tmp_path, "boot-1")
    third.close()
    assert third.event(0, "0") is None, "a reload is no start"


def test_words_of_which_a_part_is_missing_are_no_frames(tmp_path: Path) -> None:
    dead = begin(tmp_path, "boot-1")
    dead.recorder.enter("top", 3)
    dead.recorder.enter("side", 4)
    dead.close()
    os.truncate(tmp_path / WORDS_FILES[0], 2060)
    born = begin(tmp_path, "boot-2")
    born.close()
    assert told(born).fields["framesInFlight"] == frames(top=[3])
    (tmp_path / WORDS_FILES[1]).unlink()
    again = begin(tmp_path, "boot-3", top=(1, 3))
    again.close()
    assert again.previous.boot_id == "boot-2"
    assert again.previous.left == {}
