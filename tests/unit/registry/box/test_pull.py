"""One look at a registry: real metadata, a real store, a registry in a directory; only the clock stands still."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import BusyError, StorageError
from edge_runtime.registry.box.bans import banned
from edge_runtime.registry.box.order import Want
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Contact, Report, SlotReport, Standing
from edge_runtime.registry.documents import Assignment, ModelFloor
from edge_runtime.registry.store.store import ModelStore
from tests.fakes.published import Published, make_files
from tests.fakes.tuf_repository import START

if TYPE_CHECKING:
    from pathlib import Path


class StillClock:
    """Stands at a moment."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def mono_ns(self) -> int:
        return 0

    def utc_ns(self) -> int:
        return int(self.now.timestamp() * 1e9)

    def followed(self) -> Any:
        return "ntp"


class Box:
    """A box that looks at a registry."""

    def __init__(self, root: Path, registry: Published) -> None:
        self.root = root
        self.registry = registry
        self.clock = StillClock()
        self.store = ModelStore(root)
        self.changed: dict[str, Any] = {}
        self.wants: tuple[Want, ...] = ()

    def look(self, **options: Any) -> Report:
        order = self.registry.order(self.root, *self.wants, **self.changed)
        return Pull(order, clock=self.clock).run(**options)

    def slot(self, **options: Any) -> SlotReport:
        report = self.look(**options)
        assert report.contact is Contact.OK, report
        return report.slots[0]


@pytest.fixture
def registry(tmp_path: Path) -> Published:
    return Published(tmp_path / "publisher")


@pytest.fixture
def box(tmp_path: Path, registry: Published) -> Box:
    return Box(tmp_path / "models", registry)


def test_the_first_release_of_a_slot_is_fetched_verified_and_made_current(box: Box, registry: Published) -> None:
    manifest = registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    slot = box.slot()
    assert slot.standing is Standing.CURRENT
    assert slot.current is not None
    assert (slot.current.release, slot.current.manifest, slot.wanted, slot.seq) == (1, manifest.digest, 1, 1)
    here = box.root / "slots" / "defects" / "current"
    assert (here / "model.onnx").read_bytes() == b"weights of weld 1"


def test_a_newer_release_is_staged_and_waits(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    registry.release("weld", 2)
    registry.roll_out(Assignment("weld", 2))
    slot = box.slot()
    assert (slot.standing, slot.wanted, slot.reason) == (Standing.STAGED, 2, None)
    assert slot.current is not None
    assert slot.staged is not None
    assert (slot.current.release, slot.staged.release) == (1, 2)
    assert box.slot() == slot


def test_nothing_changed_is_one_question_and_the_same_report(
    box: Box, registry: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    first = box.look()
    judged: list[object] = []
    monkeypatch.setattr(Pull, "_begin", judged.append)
    assert box.look() == first.repeated()
    assert judged == []


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "targets", "rollout-plant-a"])
def test_metadata_that_is_damaged_on_the_disk_is_fetched_again_though_the_listing_is_the_same(
    box: Box, registry: Published, name: str
) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    first = box.slot()
    path = box.root / "tuf" / f"{name}.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    assert box.slot(fresh=True) == first
    assert path.read_bytes() == whole


def test_a_box_that_has_forgotten_everything_but_that_it_knew_believes_nobody(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    for path in [*(box.root / "tuf").rglob("*.json"), *box.root.glob("floors.?")]:
        os.truncate(path, 0)
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            box.look(fresh=True)
        assert caught.value.code == "trust.state_damaged"
    assert (box.root / "slots/defects/current/model.onnx").read_bytes() == b"weights of weld 1"


def test_without_a_rollout_or_an_assignment_a_slot_keeps_what_it_has(box: Box, registry: Published) -> None:
    registry.publish()
    assert (box.slot().standing, box.slot().reason) == (Standing.EMPTY, "rollout.none")
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    registry.roll_out()
    slot = box.slot()
    assert (slot.standing, slot.reason, slot.wanted) == (Standing.KEPT, "rollout.no_match", None)
    assert slot.current is not None


def test_what_needs_an_operator_is_staged_even_if_the_slot_is_empty(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1, approve="operator"))
    slot = box.slot()
    assert (slot.standing, slot.reason, slot.current) == (Standing.STAGED, "rollout.approval", None)


def test_a_paused_rollout_begins_nothing(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1), pause=True)
    assert (box.slot().standing, box.slot().reason) == (Standing.EMPTY, "rollout.paused")
    registry.roll_out(Assignment("weld", 1))
    assert box.slot().standing is Standing.CURRENT


def test_a_release_for_other_hardware_is_refused_before_a_byte_of_it(box: Box, registry: Published) -> None:
    manifest = registry.release("weld", 1, hardware=("npu",))
    registry.roll_out(Assignment("weld", 1))
    slot = box.slot()
    assert (slot.standing, slot.reason) == (Standing.REFUSED, "release.hardware")
    assert not box.store.blobs.path(manifest.digest).exists()


def test_a_package_that_is_not_what_was_signed_for_is_refused_and_not_tried_again(
    box: Box, registry: Published
) -> None:
    registry.release("weld", 1, make_files("weld", 7))
    registry.roll_out(Assignment("weld", 1))
    assert (box.slot().standing, box.slot().reason) == (Standing.REFUSED, "package.contents")
    again = box.slot(fresh=True)
    assert again.reason == "release.quarantined"
    assert "expected the package of weld 1, found weld 7" in (again.message or "")
    registry.roll_out(Assignment("weld", 1))  # the operators want it still: once more
    assert box.slot().reason == "package.contents"


def test_what_the_registry_does_not_have_is_asked_for_again(box: Box, registry: Published) -> None:
    manifest = registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    hidden = registry.blob_path(manifest).with_suffix(".hidden")
    registry.blob_path(manifest).rename(hidden)
    slot = box.slot()
    assert (slot.standing, slot.reason) == (Standing.RETRY, "registry.missing")
    hidden.rename(registry.blob_path(manifest))
    assert box.slot().standing is Standing.CURRENT


def test_a_mirror_has_what_the_registry_has_not(box: Box, registry: Published, tmp_path: Path) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.changed["urls"] = (f"oci-layout:{tmp_path}/nowhere", registry.url)
    assert box.slot().standing is Standing.CURRENT


def test_a_registry_that_is_away_changes_nothing(box: Box, registry: Published, tmp_path: Path) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    current = box.slot().current
    box.changed["urls"] = (f"oci-layout:{tmp_path}/nowhere",)
    report = box.look()
    assert report.contact in (Contact.UNREACHABLE, Contact.REFUSED)
    assert report.slots[0].current == current
    assert report.slots[0].standing is Standing.CURRENT


def test_a_registry_that_is_held_back_is_frozen_after_its_time(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    current = box.slot().current
    box.clock.now += timedelta(days=8)
    report = box.look()
    assert (report.contact, report.reason) == (Contact.FROZEN, "trust.frozen")
    assert report.slots[0].current == current
    registry.tuf.now += timedelta(days=8)
    registry.publish()
    assert box.look().contact is Contact.OK


def test_metadata_of_yesterday_is_refused_and_what_runs_goes_on(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    old = dict(registry.tuf.files)
    box.slot()
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    registry.put(old)
    report = box.look()
    assert (report.contact, report.reason) == (Contact.REFUSED, "trust.rollback")
    assert report.slots[0].standing is Standing.CURRENT


def test_a_revoked_release_that_runs_is_told(box: Box, registry: Published) -> None:
    manifest = registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    assert not box.slot().revoked
    registry.tuf.set_floors(weld=ModelFloor(0, frozenset({manifest.digest})))
    registry.publish()
    slot = box.slot()
    assert (slot.standing, slot.reason, slot.revoked) == (Standing.REFUSED, "release.revoked", True)
    assert slot.current is not None


@pytest.mark.parametrize("all_of_it", [True, False])
def test_a_kill_is_not_taken_back_by_a_rollout_that_is_not_believed(
    box: Box, registry: Published, *, all_of_it: bool
) -> None:
    manifest = registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    registry.roll_out(kill=(manifest.digest,))
    assert box.slot().revoked
    box.clock.now += timedelta(days=31)
    if not all_of_it:  # the publisher goes on, the operators of the site do not sign any more
        registry.tuf.now += timedelta(days=31)
        registry.tuf.publish("targets")
        registry.put(registry.tuf.files)
    report = box.look()
    assert report.contact is (Contact.FROZEN if all_of_it else Contact.OK)
    assert report.slots[0].reason == (None if all_of_it else "trust.expired")
    assert report.slots[0].revoked
    held = report.slots[0].current
    assert held is not None
    for site, code in (
        (registry.site, "release.killed"),
        ("elsewhere", None),
    ):  # what somebody at the box asks for, likewise
        refusal = banned(box.root, site, "weld", held)
        assert (None if refusal is None else refusal.code) == code


def test_what_changed_on_the_disk_is_fetched_anew(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    weights = (box.root / "slots" / "defects" / "current").resolve() / "model.onnx"
    weights.chmod(0o640)
    weights.write_bytes(b"weights of weld X")
    slot = box.slot(fresh=True)
    assert (slot.standing, slot.mended) == (Standing.CURRENT, True)
    assert (box.root / "slots" / "defects" / "current" / "model.onnx").read_bytes() == b"weights of weld 1"


def test_a_model_that_is_larger_than_the_quota_is_refused_before_the_first_byte(box: Box, registry: Published) -> None:
    registry.release("weld", 1, make_files("weld", 1, b"x" * 100_000))
    registry.roll_out(Assignment("weld", 1))
    box.changed["quota_bytes"] = 50_000
    slot = box.slot()
    assert (slot.standing, slot.reason) == (Standing.REFUSED, "package.quota")
    box.changed.clear()
    assert box.slot().standing is Standing.CURRENT  # it was not its fault


def test_several_slots_do_not_keep_each_other(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.release("caps", 3, make_files("caps", 9))
    registry.roll_out(Assignment("caps", 3), Assignment("weld", 1))
    box.wants = (Want("caps", "caps"), Want("defects", "weld"))
    report = box.look()
    assert [one.standing for one in report.slots] == [Standing.REFUSED, Standing.CURRENT]


def test_attack_39_a_second_updater_is_kept_out(box: Box, registry: Published) -> None:
    registry.publish()
    with box.store.updating(), pytest.raises(BusyError):
        box.look()


def test_a_damaged_release_is_mended_though_another_one_is_rolled_out_by_now(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    registry.release("weld", 2)
    registry.roll_out(Assignment("weld", 2))
    (box.root / "slots" / "defects" / "current").resolve().chmod(0o750)
    ((box.root / "slots" / "defects" / "current").resolve() / "model.onnx").unlink()
    slot = box.slot()
    assert slot.current is not None
    assert (slot.standing, slot.mended, slot.current.release) == (Standing.STAGED, True, 1)
    assert (box.root / "slots" / "defects" / "current" / "model.onnx").read_bytes() == b"weights of weld 1"


def test_a_damaged_release_that_cannot_be_had_is_not_replaced_by_another_one(box: Box, registry: Published) -> None:
    first = registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    box.slot()
    registry.release("weld", 2)
    del registry.tuf.targets.targets["releases/weld/1.json"]
    registry.roll_out(Assignment("weld", 2))
    box.store.blobs.path(first.digest).unlink()
    slot = box.slot()
    assert (slot.standing, slot.reason, slot.current) == (Standing.STAGED, "store.damaged", None)
    assert box.store.slots.links("defects").current == first.digest


def test_a_staged_release_that_went_away_is_fetched_again(box: Box, registry: Published) -> None:
    for number in (1, 2):
        registry.release("weld", number)
        registry.roll_out(Assignment("weld", number))
        box.slot()
    box.store.releases.drop(registry.manifests["weld", 2].digest)
    assert box.slot().standing is Standing.STAGED
    assert box.store.releases.find(registry.manifests["weld", 2].digest) is not None


def test_a_slot_that_wants_another_model_by_now_does_not_run_the_old_one(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    caps = registry.release("caps", 3)
    registry.roll_out(Assignment("weld", 1), Assignment("caps", 3))
    assert box.slot().standing is Standing.CURRENT
    box.wants = (Want("defects", "caps"),)
    registry.roll_out(Assignment("weld", 1))
    assert (box.slot().standing, box.slot().current) == (Standing.EMPTY, None)
    registry.roll_out(Assignment("caps", 3))
    slot = box.slot()
    assert slot.current is not None
    assert (slot.standing, slot.current.manifest, slot.previous) == (Standing.CURRENT, caps.digest, None)


def test_what_is_noted_beside_a_release_may_be_lost(box: Box, registry: Published) -> None:
    registry.release("weld", 1)
    registry.roll_out(Assignment("weld", 1))
    before = box.slot()
    here = (box.root / "slots" / "defects" / "current").resolve()
    here.chmod(0o750)
    (here / "verified.json").unlink()
    assert box.slot() == before
    assert box.slot(fresh=True).current == before.current
