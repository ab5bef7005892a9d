from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import BusyError, DataError, StorageError
from edge_runtime.registry.store import slots as slots_module
from edge_runtime.registry.store.slots import SlotLinks, Slots
from tests.unit.system.test_files import Faults

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    made = Slots(tmp_path)
    made.prepare()
    return made


def test_a_slot_that_nobody_knows_has_no_releases(slots: Slots) -> None:
    assert slots.links("top") == SlotLinks()
    assert slots.names() == []
    assert slots.named() == frozenset()


def test_activating_keeps_what_was_current_as_the_previous_one(slots: Slots, tmp_path: Path) -> None:
    assert slots.activate("top", A) == SlotLinks(A)
    assert slots.activate("top", B) == SlotLinks(B, A)
    assert slots.activate("top", C) == SlotLinks(C, B)
    assert slots.named() == {B, C}
    assert str((tmp_path / "slots" / "top" / "current").readlink()) == f"../../releases/{'c' * 64}"
    assert sorted(path.name for path in (tmp_path / "slots" / "top").iterdir()) == ["current", "previous"]


def test_activating_what_is_current_changes_nothing(slots: Slots) -> None:
    slots.activate("top", A)
    slots.activate("top", B)
    assert slots.activate("top", B) == SlotLinks(B, A)
    assert slots.activate("top", A, back=True) == SlotLinks(A), "what was left is nothing to go back to"
    assert slots.activate("top", A, back=True) == SlotLinks(A)


def test_a_trial_ends_with_the_activation(slots: Slots) -> None:
    slots.activate("top", A)
    assert slots.try_out("top", B) == SlotLinks(A, None, B)
    assert slots.named() == {A, B}
    assert slots.activate("top", A) == SlotLinks(A, None, B)
    assert slots.activate("top", B) == SlotLinks(B, A)
    slots.try_out("top", C)
    assert slots.try_out("top", None) == SlotLinks(B, A)
    slots.try_out("top", C)
    assert slots.activate("top", A) == SlotLinks(A, B), "the trial is one of another release than the current one"


def test_rolling_back_makes_the_previous_one_current_and_the_one_left_is_not_gone_back_to(slots: Slots) -> None:
    slots.activate("top", A)
    slots.activate("top", B)
    assert slots.roll_back("top") == SlotLinks(A)
    with pytest.raises(DataError, match="no release before") as caught:
        slots.roll_back("top")
    assert caught.value.code == "store.no_previous"


@pytest.mark.parametrize("what", ["file", "directory", "far link", "pipe"])
@pytest.mark.parametrize("role", ["current", "previous", "trial"])
def test_something_strange_in_the_place_of_a_link_counts_as_none_and_is_replaced(
    slots: Slots, tmp_path: Path, what: str, role: str
) -> None:
    slots.activate("top", A)
    slots.activate("top", B)
    path = tmp_path / "slots" / "top" / role
    path.unlink(missing_ok=True)
    match what:
        case "file":
            path.write_bytes(b"not a link")
        case "directory":
            path.mkdir()
            (path / "inside").write_bytes(b"")
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("../../../../etc")
    assert getattr(slots.links("top"), role) is None
    slots.try_out("top", C)
    links = slots.activate("top", C)
    assert links.current == C
    assert links.previous == (A if role == "current" else B)
    assert links.trial is None


def test_leftovers_of_a_killed_process_go_at_the_start_and_the_links_stay(slots: Slots, tmp_path: Path) -> None:
    slots.activate("top", A)
    (tmp_path / "slots" / "top" / ".current.1.00.tmp").symlink_to("../../releases/" + "b" * 64)
    slots.prepare()
    assert [path.name for path in (tmp_path / "slots" / "top").iterdir()] == ["current"]


@pytest.mark.parametrize("name", ["", ".", "..", "../top", "a/b", ".hidden", "a" * 65, "top\n", "ö"])
def test_a_name_that_is_no_slot_is_refused(slots: Slots, name: str) -> None:
    with pytest.raises(DataError, match="no name of a slot"):
        slots.activate(name, A)


def test_only_digests_can_be_activated(slots: Slots) -> None:
    with pytest.raises(DataError, match="hex digits"):
        slots.activate("top", "../../../etc")
    assert slots.links("top") == SlotLinks()


@pytest.mark.parametrize("name", ["readlink", "open"])
def test_a_link_that_cannot_be_read_now_is_not_a_slot_without_a_release(
    slots: Slots, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    slots.activate("top", A)
    faults = Faults(monkeypatch, [name], errno.EIO)
    faults.fail_at = 1
    with pytest.raises(StorageError):
        slots.links("top") if name == "readlink" else slots.prepare()
    monkeypatch.undo()
    assert slots.links("top") == SlotLinks(A)


def test_who_changes_links_waits_for_whoever_does_and_not_for_ever(slots: Slots, tmp_path: Path) -> None:
    other = Slots(tmp_path)
    with slots.changing(), slots.changing():
        slots.activate("top", A)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(slots_module, "ATTEMPTS", 1)
            with pytest.raises(BusyError):
                other.activate("top", B)
        assert other.links("top") == SlotLinks(A), "reading waits for nobody"
    assert other.activate("top", B) == SlotLinks(B, A)


def test_a_slot_that_is_vacated_has_nothing_to_run_and_nothing_to_go_back_to(slots: Slots) -> None:
    slots.activate("top", A)
    slots.activate("top", B)
    slots.try_out("top", C)
    assert slots.vacate("top") == SlotLinks(trial=C)
    assert slots.vacate("top") == SlotLinks(trial=C)


def test_links_that_cannot_be_made_durable_are_told(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    slots.activate("top", A)

    def refuse(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(slots_module, "sync_directory", refuse)
    with pytest.raises(StorageError):
        slots.prepare()
