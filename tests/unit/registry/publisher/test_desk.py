"""A change is shown, signed and published whole, or not at all."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import BusyError, DataError, EdgeError, InvariantError
from edge_runtime.registry.documents import Assignment
from edge_runtime.registry.publisher import rollouts
from edge_runtime.registry.publisher.home import PROFILES
from tests.publishers import MODEL, NOW, SITE, Publisher, add, foreign_box, founded, manifest, stops_at_write

if TYPE_CHECKING:
    from pathlib import Path


def test_a_founded_registry_is_accepted_by_a_client_that_is_not_ours(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    box = foreign_box(publisher, tmp_path / "box")
    assert json.loads(box.read("floors.json")) == {"schema": "edge-floors/1", "models": {}}
    assert json.loads(box.read(f"rollout/{SITE}/desired.json"))["seq"] == 1


def test_a_release_reaches_a_client_that_is_not_ours(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    outcome = publisher.release(1)
    assert outcome.versions == {"root": 1, "targets": 2, f"rollout-{SITE}": 1, "snapshot": 2, "timestamp": 2}
    assert box.read(f"releases/{MODEL}/1.json") == manifest(1)
    custom = box.look().get_targetinfo(f"releases/{MODEL}/1.json").custom  # type: ignore[union-attr]
    assert (custom["schema"], custom["model"], custom["release"]) == ("edge-release/1", MODEL, 1)


def test_what_will_be_signed_is_told_before_it_is(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    publisher.release(1)
    preview = publisher.asked[-1]
    assert preview.changes[1].startswith(f"  + release {MODEL} 1 (version 1.1.0), manifest sha256:")
    assert [name.partition(" ")[0] for name in preview.signers["targets"]] == ["targets-1", "targets-2"]
    assert set(preview.signers) == {"targets", "snapshot", "timestamp"}
    assert preview.lacking == {}


def test_who_says_no_changes_nothing(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    before = _everything(publisher)

    def refuse(_: object) -> None:
        raise EdgeError("publisher.declined", "no")

    desk = publisher.desk()
    desk.confirm = refuse
    with pytest.raises(EdgeError, match="no"):
        desk.carry_out(lambda draft: add(draft, 1), PROFILES["dev"], push=lambda: pytest.fail("pushed"))
    assert _everything(publisher) == before


def test_the_same_again_does_nothing(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    before = _everything(publisher)
    assert publisher.release(1).versions == {}
    assert _everything(publisher) == before


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_a_stop_between_any_two_writes_leaves_the_old_state_or_the_new_one(tmp_path: Path, stride: int) -> None:
    """Each write of a change is the last one in turn, as a kill would have it, until the change gets through."""
    origin = founded(tmp_path / "origin")
    box = foreign_box(origin, tmp_path / "box")
    for step in itertools.count(0, stride):
        publisher = _copy(origin, tmp_path / f"try-{step}")
        box = replace(box, state=tmp_path / f"box-{step}", tree=publisher.directory)
        done = stops_at_write(step, lambda one=publisher: one.do(lambda draft: (add(draft, 1), _set(draft))))  # type: ignore[misc]
        path = f"releases/{MODEL}/1.json"
        assert box.look().get_targetinfo(path) is None or box.read(path) == manifest(1)
        listed = set(publisher.state().releases())
        assert listed in ({(MODEL, 1)}, set())
        if done:
            break
        again = publisher.do(lambda draft: (add(draft, 1), _set(draft)), renew=True)
        assert (again.versions["targets"], again.versions[f"rollout-{SITE}"]) == (2, 2)
        assert box.read(path) == manifest(1)
    assert step >= 10, "a change has more writes than that"


def test_another_publisher_in_between_is_noticed_and_both_changes_stay(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    calls = []

    def edit(draft: Any) -> None:
        calls.append(draft)
        if len(calls) == 1:
            founded_again = Publisher(publisher.home, publisher.directory, publisher.clock)
            founded_again.release(1)
        add(draft, 2)

    publisher.do(edit)
    assert set(publisher.state().releases()) == {(MODEL, 1), (MODEL, 2)}
    assert len(publisher.asked) == 1, "the words are the same, so nobody is asked twice"


def test_who_agreed_to_something_else_is_asked_again(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    calls = []

    def edit(draft: Any) -> None:
        calls.append(draft)
        if len(calls) == 1:
            Publisher(publisher.home, publisher.directory, publisher.clock).do(
                lambda other: rollouts.pause(other, SITE, paused=True)
            )
        rollouts.kill(draft, SITE, "sha256:" + "0" * 64)
        add(draft, 1 if len(calls) == 1 else 2)

    publisher.do(edit)
    assert len(publisher.asked) == 2, "this change, and what became of it"
    assert publisher.state().rollout(SITE).pause is True


def test_two_publishers_give_one_number_to_two_things_and_one_of_them_wins(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1, "one")
    with pytest.raises(DataError, match="exists with another content") as caught:
        publisher.release(1, "two")
    assert caught.value.code == "release.taken"


def test_a_registry_that_is_locked_is_waited_for_and_then_said(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    with publisher.desk().registry.lock(), pytest.raises(BusyError, match="another publisher"):
        publisher.release(1)


def test_what_would_be_refused_is_never_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = founded(tmp_path)
    before = _everything(publisher)
    monkeypatch.setattr("edge_runtime.registry.publisher.draft.Draft._document_paths", lambda _: [])
    with pytest.raises(InvariantError, match="would be refused"):
        publisher.release(1)
    assert _everything(publisher)["listing"] == before["listing"]


def test_what_a_crash_left_out_after_publishing_is_made_up_for_when_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = founded(tmp_path)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("edge_runtime.registry.publisher.desk.write_tree", crash)
        with pytest.raises(KeyboardInterrupt):
            publisher.release(1)
    assert publisher.release(1).changes == ()  # it was published
    assert foreign_box(publisher, tmp_path / "box").read(f"releases/{MODEL}/1.json") == manifest(1)


@pytest.mark.parametrize(
    ("step", "words"), [(timedelta(hours=-1), "signed at"), (timedelta(days=500), "more than a year after")]
)
def test_a_clock_that_would_shut_boxes_out_signs_nothing(tmp_path: Path, step: timedelta, words: str) -> None:
    publisher = founded(tmp_path)
    publisher.clock.now += step
    with pytest.raises(DataError, match=words) as caught:
        publisher.release(1)
    assert caught.value.code == "publisher.clock"


def test_a_clock_that_is_a_moment_behind_a_colleague_never_lets_issued_fall(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.clock.now -= timedelta(minutes=1)
    publisher.release(1)
    timestamp = publisher.state().timestamp
    assert timestamp is not None
    assert timestamp.signed.unrecognized_fields["issued"] == f"{NOW:%Y-%m-%dT%H:%M:%SZ}"


def test_without_a_root_nothing_is_believed(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    (publisher.home.path / "root.json").unlink()
    with pytest.raises(DataError, match=r"has no root\.json"):
        publisher.state()


def _set(draft: Any) -> None:
    rollouts.assign(draft, SITE, Assignment(MODEL, 1))


def _everything(publisher: Publisher) -> dict[str, object]:
    listing = publisher.desk().registry.listing()
    files = {str(path): path.read_bytes() for path in sorted(publisher.home.path.rglob("*")) if path.is_file()}
    return {"listing": listing, "home": files}


def _copy(origin: Publisher, path: Path) -> Publisher:
    shutil.copytree(origin.home.path, path / "home")
    shutil.copytree(origin.directory, path / "layout")
    return Publisher(type(origin.home)(path / "home"), path / "layout", origin.clock)
