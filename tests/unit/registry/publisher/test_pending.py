"""Two people have to sign: the change waits in a file, and nothing in that file is believed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import Assignment
from edge_runtime.registry.publisher import releases, rollouts
from edge_runtime.registry.publisher.draft import Draft
from edge_runtime.registry.publisher.explain import explain
from edge_runtime.registry.publisher.home import PROFILES, Home
from edge_runtime.registry.publisher.pending import read_pending, write_pending
from edge_runtime.registry.publisher.roots import TOP, found
from tests.publishers import MODEL, NOW, SITE, Clock, Publisher, add, foreign_box, founded, manifest
from tests.publishers import stranger as a_stranger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tuf.api.metadata import DelegatedRole

    from edge_runtime.registry.publisher.keys import PublisherKey


def _waiting(tmp_path: Path) -> tuple[Publisher, Publisher, Path]:
    """Return two people with one key of the releases each, and a release that the first has signed."""
    one = founded(tmp_path, "production")
    other = one.colleague(tmp_path / "other", "targets-2", "targets-3")
    outcome = one.release(1)
    assert outcome.versions == {}
    assert outcome.lacking == {"targets": 1}
    assert outcome.pending is not None
    return one, other, outcome.pending


def _signed(person: Publisher, file: Path) -> Draft:
    draft = read_pending(file, person.home.root(), NOW)
    draft.sign(person.keyring())
    write_pending(file, draft)
    return draft


def test_a_second_person_signs_and_the_first_publishes(tmp_path: Path) -> None:
    one, other, file = _waiting(tmp_path)
    assert one.asked[-1].lacking == {"targets": 1}
    box = foreign_box(one, tmp_path / "box")
    assert box.look().get_targetinfo(f"releases/{MODEL}/1.json") is None
    with pytest.raises(DataError, match="still needs signatures: 1 for targets"):
        one.desk().publish_pending(read_pending(file, one.home.root(), NOW))
    assert _signed(other, file).missing() == []
    outcome = one.desk().publish_pending(read_pending(file, one.home.root(), NOW))
    assert outcome.versions["targets"] == 2
    assert box.read(f"releases/{MODEL}/1.json") == manifest(1)


def test_the_second_person_reads_what_it_really_does(tmp_path: Path) -> None:
    one, other, _ = _waiting(tmp_path)
    file = one.do(lambda draft: (add(draft, 1), add(draft, 2), releases.raise_floor(draft, MODEL, 2))).pending
    assert file is not None
    lines = explain(read_pending(file, other.home.root(), NOW), lambda keyid: keyid[:4])
    assert [line.strip().partition(" (")[0] for line in lines[1:]] == [
        f"+ release {MODEL} 1",
        f"+ release {MODEL} 2",
        f"floor of {MODEL}: 0 becomes 2; what is below is banned for ever",
    ]


def test_a_change_of_somebody_else_meanwhile_is_not_taken_back(tmp_path: Path) -> None:
    one, other, file = _waiting(tmp_path)
    _signed(other, file)
    both = one.colleague(tmp_path / "both")
    for path in (*one.home.keys.glob("*.pem"), *other.home.keys.glob("*.pem")):
        (both.home.keys / path.name).write_bytes(path.read_bytes())
    both.release(2)
    with pytest.raises(DataError, match="made from version 1, but the registry has it at version 2") as caught:
        one.desk().publish_pending(read_pending(file, one.home.root(), NOW))
    assert caught.value.code == "pending.outdated"


def test_a_change_of_another_role_meanwhile_is_no_hindrance(tmp_path: Path) -> None:
    one, other, file = _waiting(tmp_path)
    _signed(other, file)
    one.do(lambda draft: rollouts.pause(draft, SITE, paused=True))
    one.desk().publish_pending(read_pending(file, one.home.root(), NOW))
    assert one.state().rollout(SITE).pause is True
    assert set(one.state().releases()) == {(MODEL, 1)}


def test_somebody_without_the_online_keys_leaves_publishing_to_those_who_have_them(tmp_path: Path) -> None:
    one = founded(tmp_path, "dev")
    operator = one.colleague(tmp_path / "operator", f"rollout-{SITE}")
    one.release(1)
    outcome = operator.do(lambda draft: rollouts.assign(draft, SITE, Assignment(MODEL, 1)))
    assert (outcome.versions, outcome.lacking) == ({}, {"snapshot": 1, "timestamp": 1})
    assert outcome.pending is not None
    one.desk().publish_pending(read_pending(outcome.pending, one.home.root(), NOW))
    assert [item.release for item in one.state().rollout(SITE).assignments] == [1]


def test_a_registry_can_be_founded_by_people_who_never_give_their_keys_away(tmp_path: Path) -> None:
    one = Publisher(Home(tmp_path / "one"), tmp_path / "layout", Clock(), "production")
    two = Publisher(Home(tmp_path / "two"), tmp_path / "layout", one.clock, "production")
    keys: dict[str, list[PublisherKey]] = {}
    for role in (*TOP, f"rollout-{SITE}"):
        people = (one, two, two) if role in ("root", "targets") else (one,)
        keys[role] = [person.new_key(f"{role}-{n}") for n, person in enumerate(people, 1)]
    draft = Draft(None, NOW, PROFILES["production"])
    found(draft, keys, [SITE])
    file = tmp_path / "founding.json"
    outcome = one.desk().found(draft, file)
    assert outcome.lacking == {"root": 1, "targets": 1}
    _signed(two, file)
    stranger = a_stranger(tmp_path / "stranger")
    with pytest.raises(DataError, match="is that of another one"):
        read_pending(file, stranger.home.root(), NOW)
    assert one.desk().publish_pending(read_pending(file, None, NOW)).versions["root"] == 1
    read_pending(file, one.home.root(), NOW)
    assert one.state().root.signed.version == 1
    assert len(one.state().root.signatures) == 2


def test_a_base_that_others_signed_is_refused(tmp_path: Path) -> None:
    _, _, file = _waiting(tmp_path / "a")
    stranger = a_stranger(tmp_path / "b", "production")
    with pytest.raises(DataError) as caught:
        read_pending(file, stranger.home.root(), NOW)
    assert caught.value.code == "registry.forged"
    with pytest.raises(DataError, match=r"no root\.json here"):
        read_pending(file, None, NOW)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "edge-pending/2"}, "no change that waits"),
        ({"profile": "other"}, "no change that waits"),
        ({"roles": []}, "roles: expected an object of texts"),
        ({"documents": {"floors.json": 1}}, "documents: expected an object of texts"),
        ({"manifests": {"weld": "{}"}}, "names no release"),
        ({"roles": {"targets": "{}"}}, "its targets cannot be read"),
    ],
)
def test_a_file_that_is_no_change_is_said(tmp_path: Path, change: dict[str, object], words: str) -> None:
    one, _, file = _waiting(tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=words):
        read_pending(file, one.home.root(), NOW)


def test_a_role_of_another_type_is_no_change(tmp_path: Path) -> None:
    one, _, file = _waiting(tmp_path)
    data = json.loads(file.read_text())
    data["roles"]["targets"] = data["base"]["timestamp.json"]
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match="of type timestamp"):
        read_pending(file, one.home.root(), NOW)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_pending(tmp_path / "none.json", None, NOW)


def test_a_second_signature_with_the_same_key_does_not_count(tmp_path: Path) -> None:
    one, _, file = _waiting(tmp_path)
    assert _signed(one, file).missing() != []


def test_a_key_without_the_right_does_not_count(tmp_path: Path) -> None:
    one, _, file = _waiting(tmp_path)
    draft = read_pending(file, one.home.root(), NOW)
    draft.roles["targets"].sign(one.keyring().signer(one.key("root-1").keyid), append=True)
    write_pending(file, draft)
    assert [need.role for need in read_pending(file, one.home.root(), NOW).missing()] == ["targets"]


def _tampered(one: Publisher, edit: Callable[[Draft], object]) -> Path:
    """Return the file of a change that a colleague with bad intentions has made, and signed."""
    repository, _ = one.desk().read()
    draft = Draft(repository, NOW, PROFILES["production"])
    edit(draft)
    draft.sign(one.keyring())
    file = one.home.pending / "tampered.json"
    write_pending(file, draft)
    return file


def _delegation(draft: Draft) -> DelegatedRole:
    delegations = draft.edit_targets().delegations
    assert delegations is not None
    assert delegations.roles is not None
    return delegations.roles[f"rollout-{SITE}"]


def _widen(draft: Draft) -> None:
    _delegation(draft).paths = ["*/*/*"]


def _do_not_end(draft: Draft) -> None:
    _delegation(draft).terminating = False


def _run_ahead(draft: Draft) -> None:
    draft.edit_targets().version = 99


def _foreign_document(draft: Draft) -> None:
    draft.edit_rollout(SITE).targets[f"rollout/{SITE}/other.json"] = draft.targets.targets["floors.json"]


def _inconsistent(draft: Draft) -> None:
    draft.edit_root().consistent_snapshot = False


def _swapped(draft: Draft) -> None:
    """Show that nothing is banned, and let the release board sign that everything is."""
    releases.raise_floor(draft, MODEL, 1)
    draft.documents["floors.json"] = b'{"schema":"edge-floors/1","models":{}}'


def _hidden(draft: Draft) -> None:
    """Let it sign another document than the one there is, and do not show that at all."""
    releases.raise_floor(draft, MODEL, 1)
    del draft.documents["floors.json"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_widen, "more than the rollouts of its site"),
        (_do_not_end, "more than the rollouts of its site"),
        (_run_ahead, "targets would be version 99, the next one is 3"),
        (_foreign_document, "which is no document that we know"),
        (_inconsistent, "gives up consistent snapshots"),
        (_swapped, "not what targets vouches for"),
        (_hidden, "not what targets vouches for"),
    ],
)
def test_nobody_can_be_made_to_sign_something_else_than_is_shown(
    tmp_path: Path, edit: Callable[[Draft], object], words: str
) -> None:
    one = founded(tmp_path, "production")
    one.release(1)
    with pytest.raises(DataError, match=words) as caught:
        read_pending(_tampered(one, edit), one.home.root(), NOW)
    assert caught.value.code == "pending.unreadable"


def test_a_role_that_nobody_may_sign_is_refused(tmp_path: Path) -> None:
    one, _, file = _waiting(tmp_path)
    data = json.loads(file.read_text())
    data["roles"]["rollout-elsewhere"] = data["roles"]["targets"]
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match="nobody may sign 'rollout-elsewhere'"):
        read_pending(file, one.home.root(), NOW)


def test_a_founding_without_a_root_is_none(tmp_path: Path) -> None:
    _, _, file = _waiting(tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base": {}}))
    with pytest.raises(DataError, match="founded with a root"):
        read_pending(file, None, NOW)
