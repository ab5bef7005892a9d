"""What a draft does at its edges: before there is a registry, without keys, with two keys for one role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tuf.api.metadata import Metadata, Root, Targets

from edge_runtime.core.errors import DataError
from edge_runtime.registry.publisher import rollouts, roots
from edge_runtime.registry.publisher.draft import Draft, _signed
from edge_runtime.registry.publisher.home import PROFILES, Seen
from edge_runtime.registry.publisher.keys import Keyring
from edge_runtime.registry.publisher.repository import keyids_of
from edge_runtime.registry.publisher.roots import TOP, add_site, found, grant
from tests.publishers import MODEL, NOW, SITE, Publisher, add, founded

if TYPE_CHECKING:
    from pathlib import Path


def _founding(publisher: Publisher) -> Draft:
    draft = Draft(None, NOW, PROFILES["dev"])
    found(draft, {role: [publisher.key(role)] for role in (*TOP, f"rollout-{SITE}")}, [SITE])
    return draft


def test_before_a_registry_is_founded_there_is_nothing_to_look_up() -> None:
    with pytest.raises(DataError, match="there is no registry yet"):
        Draft(None, NOW, PROFILES["dev"]).document("floors.json")


def test_a_founding_that_was_interrupted_goes_on_with_the_root_that_boxes_may_have(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    root = publisher.home.root()
    assert root is not None
    publisher.clock.forward(hours=1)
    draft = _founding(publisher)
    draft.take_root(root)
    desk = Publisher(publisher.home, tmp_path / "elsewhere", publisher.clock).desk()
    desk.found(draft)
    assert publisher.home.root() == root
    assert desk.read()[0].files["1.root.json"] == root


def test_without_the_online_keys_nothing_is_finished(tmp_path: Path) -> None:
    draft = _founding(founded(tmp_path))
    with pytest.raises(DataError, match=r"snapshot has to be signed by [0-9a-f]{12}, which is not here"):
        draft.finish(Keyring(tmp_path / "none", lambda what: what), Seen())


def test_two_keys_may_have_to_sign_each_snapshot(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    key = publisher.new_key("snapshot-2")
    publisher.do(lambda draft: grant(draft, "snapshot", key, 2))
    publisher.release(1)
    assert len(publisher.state().signers("snapshot")) == 2
    (publisher.home.keys / "snapshot-2.pem").unlink()
    assert publisher.release(2).lacking == {"snapshot": 1}


def test_every_role_tells_who_signed_it(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    state = publisher.state()
    assert {role: publisher.desk().name_of(state.signers(role)[0]).partition(" ")[0] for role in state.roles()} == {
        role: role for role in (*TOP, f"rollout-{SITE}")
    }
    files = {name: raw for name, raw in state.files.items() if name != "timestamp.json"}
    registry = publisher.desk().registry
    listing = registry.listing()
    assert listing is not None
    registry.publish(files, listing.token)
    lost = publisher.state(recover=True)
    assert (lost.signers("snapshot"), lost.signers("timestamp"), lost.seen().issued) == ((), (), "")


def test_nobody_signs_a_role_that_is_not_there(tmp_path: Path) -> None:
    state = founded(tmp_path).state()
    assert keyids_of(state.root.signed, state.targets.signed, "rollout-elsewhere") == ()


def test_a_founding_draft_may_be_given_more_keys(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    draft = _founding(publisher)
    grant(draft, "root", publisher.new_key("root-2"), 2)
    assert draft.root.roles["root"].threshold == 2


def test_delegations_of_another_kind_are_not_touched(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    draft = _founding(publisher)
    delegations = draft.edit_targets().delegations
    assert delegations is not None
    delegations.roles = None
    with pytest.raises(DataError, match="delegates in a way that is not known"):
        add_site(draft, "plant-b", [publisher.key("root")])


def test_one_type_is_not_taken_for_another() -> None:
    with pytest.raises(TypeError, match="expected Root, found Targets"):
        _signed(Metadata(Targets()), Root)


def test_killing_twice_is_killing_once(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.do(lambda draft: rollouts.kill(draft, SITE, "sha256:" + "1" * 64))
    assert publisher.do(lambda draft: rollouts.kill(draft, SITE, "sha256:" + "1" * 64)).versions == {}


def test_a_snapshot_that_the_registry_lost_is_said(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    files = {name: raw for name, raw in publisher.state().files.items() if "snapshot" not in name}
    registry = publisher.desk().registry
    listing = registry.listing()
    assert listing is not None
    registry.publish(files, listing.token)
    with pytest.raises(DataError, match="what the registry has as snapshot is not signed"):
        publisher.state()
    assert publisher.state(recover=True).snapshot is None


def test_a_role_that_the_registry_lost_is_said(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    files = {name: raw for name, raw in publisher.state().files.items() if "targets.json" not in name}
    registry = publisher.desk().registry
    listing = registry.listing()
    assert listing is not None
    registry.publish(files, listing.token)
    with pytest.raises(DataError, match="there is no targets"):
        publisher.state(recover=True)


def test_a_snapshot_names_the_bytes_of_each_role(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.do(lambda draft: add(draft, 1))
    snapshot = publisher.state().snapshot
    assert snapshot is not None
    assert all(meta.hashes and meta.length for meta in snapshot.signed.meta.values())
    with pytest.raises(DataError, match="is not signed by key"):
        publisher.do(lambda draft: roots.rotate(draft, "root", "0" * 64, publisher.new_key("fresh")))
    assert set(publisher.state().releases()) == {(MODEL, 1)}
