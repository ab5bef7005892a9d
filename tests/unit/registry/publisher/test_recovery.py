"""Keys that are lost, stolen or old; what a thief did with them; boxes that were away. A foreign client judges."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.writer import LayoutPublication
from edge_runtime.registry.publisher import roots
from edge_runtime.registry.publisher.home import Home
from tests.publishers import MODEL, SITE, Publisher, foreign_box, founded, manifest
from tests.publishers import stranger as a_stranger

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.publisher.draft import Draft

FAR = 2**31 - 1


def _rotate(publisher: Publisher, role: str, old: str, new: str, **options: bool) -> None:
    old_id, key = publisher.key(old).keyid, publisher.new_key(new)
    publisher.do(lambda draft: roots.rotate(draft, role, old_id, key), **options)


def _rotate_online(publisher: Publisher) -> None:
    old = {role: publisher.key(role).keyid for role in ("snapshot", "timestamp")}
    new = {role: publisher.new_key(f"{role}-2") for role in old}

    def edit(draft: Draft) -> None:
        for role, keyid in old.items():
            roots.rotate(draft, role, keyid, new[role])

    publisher.do(edit, recover=True)


def test_a_box_follows_three_roots_after_400_days_offline(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    for number in (1, 2, 3):
        publisher.clock.forward(days=133)
        old = "root-1" if number == 1 else f"root-{number + 2}"
        _rotate(publisher, "root", old, f"root-{number + 3}")
    publisher.release(1)
    box.at = publisher.clock()
    assert box.read(f"releases/{MODEL}/1.json") == manifest(1)
    assert publisher.state().root.signed.version == 4


def test_a_lost_timestamp_key_is_replaced_and_boxes_go_on(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    lost = publisher.key("timestamp").keyid
    for path in publisher.home.keys.glob("timestamp.*"):
        path.unlink()
    key = publisher.new_key("timestamp-2")
    publisher.do(lambda draft: roots.rotate(draft, "timestamp", lost, key), recover=True)
    publisher.release(2)
    assert box.read(f"releases/{MODEL}/2.json") == manifest(2)


def test_a_publisher_whose_clock_was_once_a_year_ahead_gets_out_with_a_new_timestamp_key(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    publisher.clock.forward(days=366)
    publisher.release(2)
    publisher.clock.forward(days=-366)
    with pytest.raises(DataError, match="key rotate timestamp"):
        publisher.release(3)
    _rotate(publisher, "timestamp", "timestamp", "timestamp-2", recover=True)
    publisher.release(3)
    assert box.read(f"releases/{MODEL}/3.json") == manifest(3)
    timestamp = publisher.state().timestamp
    assert timestamp is not None
    assert timestamp.signed.unrecognized_fields["issued"] == f"{publisher.clock():%Y-%m-%dT%H:%M:%SZ}"


def test_attack_18_fast_forward_is_undone_by_new_keys(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    _run_ahead(publisher, FAR)
    assert box.look()._trusted_set.timestamp.version == FAR
    with pytest.raises(DataError, match="run ahead") as caught:
        publisher.release(2)
    assert caught.value.code == "registry.fast_forward"
    assert "key rotate" in (caught.value.help or "")
    _rotate_online(publisher)
    publisher.release(2)
    assert box.read(f"releases/{MODEL}/2.json") == manifest(2)
    assert box.look()._trusted_set.timestamp.version < 10
    assert box.look()._trusted_set.snapshot.version < 10


def test_what_a_thief_of_online_keys_left_out_of_the_snapshot_comes_back(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    _run_ahead(publisher, 50, name_targets=FAR)
    with pytest.raises(DataError, match="not signed by those who may") as caught:
        publisher.release(2)
    assert caught.value.code == "registry.forged"
    _rotate_online(publisher)
    publisher.release(2)
    assert set(publisher.state().releases()) == {(MODEL, 1), (MODEL, 2)}


def test_the_targets_keys_can_all_be_replaced(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    publisher.release(1)
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    for number in (1, 2, 3):
        _rotate(publisher, "targets", f"targets-{number}", f"targets-{number}b")
        (publisher.home.keys / f"targets-{number}.pem").unlink()
    publisher.release(2)
    assert box.read(f"releases/{MODEL}/2.json") == manifest(2)
    assert {key.partition("-")[2] for key in _names(publisher, "targets")} == {"1b", "2b", "3b"}


def test_the_key_of_a_site_is_replaced_by_those_who_release(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    _rotate(publisher, f"rollout-{SITE}", f"rollout-{SITE}", "operator-2")
    (publisher.home.keys / f"rollout-{SITE}.pem").unlink()
    assert publisher.state().root.signed.version == 1
    assert json.loads(box.read(f"rollout/{SITE}/desired.json"))["seq"] == 1
    assert _names(publisher, f"rollout-{SITE}") == {"operator-2"}


def test_one_key_of_root_may_be_lost(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    (publisher.home.keys / "root-2.pem").unlink()
    _rotate(publisher, "root", "root-2", "root-4")
    box.look()
    assert _names(publisher, "root") == {"root-1", "root-3", "root-4"}


def test_a_key_never_comes_back(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    _rotate(publisher, "timestamp", "timestamp", "timestamp-2")
    old, new = publisher.key("timestamp-2").keyid, publisher.key("timestamp")
    with pytest.raises(DataError, match="has or had the right") as caught:
        publisher.do(lambda draft: roots.rotate(draft, "timestamp", old, new))
    assert caught.value.code == "key.used"


def test_another_key_may_sign_too_and_two_must_then(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    key = publisher.new_key("second")
    publisher.do(lambda draft: roots.grant(draft, "targets", key, 2))
    publisher.release(1)
    assert len(publisher.state().targets.signatures) == 2
    with pytest.raises(DataError, match="would need 9 signatures"):
        publisher.do(lambda draft: roots.grant(draft, "targets", publisher.new_key("third"), 9))
    with pytest.raises(DataError, match="signs rollout-plant-a already"):
        publisher.do(lambda draft: roots.grant(draft, f"rollout-{SITE}", publisher.key(f"rollout-{SITE}"), None))


def test_a_revoked_key_has_no_right_left_and_a_role_keeps_its_threshold(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    keyid = publisher.key("targets-3").keyid
    publisher.do(lambda draft: roots.revoke(draft, keyid, "targets-3"))
    assert _names(publisher, "targets") == {"targets-1", "targets-2"}
    with pytest.raises(DataError, match="would need 2 signatures and have 1 keys"):
        publisher.do(lambda draft: roots.revoke(draft, publisher.key("targets-2").keyid, "targets-2"))
    with pytest.raises(DataError, match="has no right in this registry"):
        publisher.do(lambda draft: roots.revoke(draft, keyid, "targets-3"))


@pytest.mark.parametrize(("role", "old"), [("nobody", "root"), ("timestamp", "snapshot")])
def test_a_role_or_key_that_is_not_there_is_said(tmp_path: Path, role: str, old: str) -> None:
    publisher = founded(tmp_path)
    with pytest.raises(DataError, match=r"there is no role|is not signed by key"):
        _rotate(publisher, role, old, "fresh")


def test_a_site_is_added_and_has_a_rollout_of_its_own(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    key = publisher.new_key("operator-b")
    publisher.do(lambda draft: roots.add_site(draft, "plant-b", [key]))
    assert json.loads(box.read("rollout/plant-b/desired.json"))["site"] == "plant-b"
    with pytest.raises(DataError, match="there is a site plant-b already"):
        publisher.do(lambda draft: roots.add_site(draft, "plant-b", [key]))
    with pytest.raises(DataError, match="cannot be called"):
        publisher.do(lambda draft: roots.add_site(draft, "Plant/B", [key]))


def test_a_publisher_refuses_what_others_signed(tmp_path: Path) -> None:
    ours, theirs = founded(tmp_path / "ours"), a_stranger(tmp_path / "theirs")
    stranger = Publisher(Home(ours.home.path), theirs.directory, ours.clock)
    with pytest.raises(DataError) as caught:
        stranger.release(1)
    assert caught.value.code == "registry.forged"


def test_a_publisher_does_not_sign_on_top_of_an_old_state(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    registry = LayoutPublication(publisher.directory)
    old = dict(publisher.state().files)
    publisher.release(2)
    listing = registry.listing()
    assert listing is not None
    registry.publish(old, listing.token)
    with pytest.raises(DataError, match="an old copy is back") as caught:
        publisher.release(3)
    assert caught.value.code == "registry.replayed"


def test_a_registry_that_forgot_its_newest_root_is_refused(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    old = dict(publisher.state().files)
    _rotate(publisher, "timestamp", "timestamp", "timestamp-2")
    registry = LayoutPublication(publisher.directory)
    listing = registry.listing()
    assert listing is not None
    registry.publish(old, listing.token)
    with pytest.raises(DataError, match="does not have root 2"):
        publisher.release(1)


def test_junk_that_would_stop_boxes_at_a_later_root_is_not_published_again(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    registry = LayoutPublication(publisher.directory)
    listing = registry.listing()
    assert listing is not None
    junk = {"3.root.json": b"{}", "9.targets.json": b"{}", "targets/other.json": b"{}"}
    registry.publish({**publisher.state().files, **junk}, listing.token)
    publisher.release(1)
    assert not set(junk) & set(publisher.state().files)


def test_a_root_without_the_old_threshold_is_refused(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    files = dict(publisher.state().files)
    root = Metadata.from_bytes(files["1.root.json"])
    root.signed.version = 2
    root.signatures.clear()
    files["2.root.json"] = root.to_bytes()
    registry = LayoutPublication(publisher.directory)
    listing = registry.listing()
    assert listing is not None
    registry.publish(files, listing.token)
    with pytest.raises(DataError, match="root 2 lacks 1"):
        publisher.release(1)


def test_junk_beside_what_was_signed_does_not_keep_a_publisher_from_recovering(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    files = dict(publisher.state().files)
    junk = Metadata.from_bytes(files["2.targets.json"])
    junk.signed.version = 9
    del files["timestamp.json"]
    registry = LayoutPublication(publisher.directory)
    listing = registry.listing()
    assert listing is not None
    more = {"9.targets.json": junk.to_bytes(), "8.targets.json": b"{}", "7.targets.json": files["2.targets.json"]}
    registry.publish(files | more, listing.token)
    _rotate_online(publisher)
    assert set(publisher.state().releases()) == {(MODEL, 1)}


def test_a_document_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    files = dict(publisher.state().files)
    files["targets/floors.json"] = b'{"schema":"edge-floors/1","models":{"weld":{"min_release":9,"revoked":[]}}}'
    registry = LayoutPublication(publisher.directory)
    listing = registry.listing()
    assert listing is not None
    registry.publish(files, listing.token)
    with pytest.raises(DataError, match=r"does not have the floors\.json that was signed"):
        publisher.release(1)


def test_a_thief_of_the_timestamp_key_alone_is_refused_by_boxes(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    _rotate(publisher, "timestamp", "timestamp", "timestamp-2")
    box.look()
    _run_ahead(publisher, FAR)
    with pytest.raises(RepositoryError):
        box.look()


def _names(publisher: Publisher, role: str) -> set[str]:
    return {publisher.desk().name_of(keyid).partition(" ")[0] for keyid in publisher.state().keyids(role)}


def _run_ahead(publisher: Publisher, version: int, name_targets: int | None = None) -> None:
    """Do what a thief of the two online keys can: name the same files under a version that nobody reaches."""
    files = dict(publisher.state(recover=True).files)
    before = publisher.state(recover=True).snapshot
    assert before is not None
    keyring = publisher.keyring()
    snapshot = Metadata(Snapshot(version, None, before.signed.expires, dict(before.signed.meta)))
    if name_targets is not None:
        snapshot.signed.meta["targets.json"] = MetaFile(name_targets)
    snapshot.sign(keyring.signer(publisher.key("snapshot").keyid))
    raw = snapshot.to_bytes()
    meta = MetaFile.from_data(version, raw, ["sha256"])
    timestamp = Metadata(Timestamp(version, None, before.signed.expires, meta, {"issued": "2026-11-26T12:00:00Z"}))
    timestamp.sign(keyring.signer(publisher.key("timestamp").keyid))
    files |= {f"{version}.snapshot.json": raw, "timestamp.json": timestamp.to_bytes()}
    registry = LayoutPublication(publisher.directory)
    listing = registry.listing()
    assert listing is not None
    registry.publish(files, listing.token)
    (publisher.directory / "metadata" / f"{version}.snapshot.json").write_bytes(raw)
    (publisher.directory / "metadata" / "timestamp.json").write_bytes(timestamp.to_bytes())
