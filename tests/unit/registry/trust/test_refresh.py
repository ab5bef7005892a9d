"""The TUF workflow against the attacks of issue 5 (numbers in the names), on repositories that python-tuf made."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Metadata, Role, TargetFile
from tuf.ngclient import Updater

from edge_runtime.core.errors import ConfigError, DataError, EdgeError, StorageError, UnavailableError
from edge_runtime.registry.documents import (
    FLOORS_PATH,
    Assignment,
    FloorsDocument,
    ModelFloor,
    dump_floors,
    parse_stamp,
    release_path,
    rollout_path,
    stamp,
)
from edge_runtime.registry.trust.floors import Floors, parse_floors
from edge_runtime.registry.trust.refresh import TIMESTAMP_BYTES_MAX, _keys, refresh, unchanged
from edge_runtime.registry.trust.refusals import ExpiredError
from tests.fakes.tuf_repository import START, TreeFetcher, TufRepository, signer

if TYPE_CHECKING:
    from edge_runtime.registry.trust.trusted import Outcome, Trusted

SITE = "plant-a"
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAR = datetime(2099, 1, 1, tzinfo=UTC)


@dataclass
class Box:
    """A box that keeps what it is told to keep."""

    pinned: bytes
    kept: dict[str, bytes] = field(default_factory=dict)
    floors: Floors | None = None
    fetched: list[str] = field(default_factory=list)
    site: str = SITE

    def look(self, repository: TufRepository, now: datetime | None = None) -> Outcome:
        def fetch(name: str, limit: int) -> bytes | None:
            self.fetched.append(name)
            return repository.fetch(name, limit)

        self.fetched.clear()
        outcome = refresh(
            self.kept, fetch, self.pinned, self.floors, now=repository.now if now is None else now, site=self.site
        )
        assert self.floors is None or outcome.floors.covers(self.floors)
        self.kept, self.floors = dict(outcome.kept), outcome.floors
        return outcome

    def trusts(self, repository: TufRepository, now: datetime | None = None) -> Trusted:
        return self.look(repository, now).believed()

    def refuses(self, repository: TufRepository, now: datetime | None = None) -> EdgeError:
        outcome = self.look(repository, now)
        assert outcome.trusted is None
        assert outcome.refusal is not None
        return outcome.refusal


@pytest.fixture
def repository() -> TufRepository:
    made = TufRepository(sites=("plant-a", "plant-b"))
    made.add_release("weld", 7, b"seven")
    made.set_floors(weld=ModelFloor(3))
    made.set_rollout(SITE, 1, Assignment("weld", 7))
    made.set_rollout("plant-b", 1, Assignment("weld", 7))
    made.publish()
    return made


@pytest.fixture
def box(repository: TufRepository) -> Box:
    return Box(repository.pinned)


def test_a_first_refresh_trusts_what_was_signed(repository: TufRepository, box: Box) -> None:
    trusted = box.trusts(repository)

    signed = trusted.release("weld", 7)
    assert signed.release.version == "7.0"
    assert signed.manifest.size == 5
    assert list(trusted.numbers("weld")) == [7]
    assert trusted.rollout is not None
    assert trusted.rollout.seq == 1
    assert trusted.rollout_problem is None
    assert trusted.floors.models.of("weld").min_release == 3
    assert trusted.expires == START + 7 * DAY
    assert trusted.versions == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2, "rollout-plant-a": 2}
    assert set(box.kept) == {
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "rollout-plant-a.json",
        "targets/floors.json",
        "targets/rollout/plant-a/desired.json",
    }


def test_only_what_changed_is_fetched_again(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.publish("rollout-plant-a")

    assert box.trusts(repository).rollout is not None
    assert box.fetched == [
        "2.root.json",
        "timestamp.json",
        "3.snapshot.json",
        "3.rollout-plant-a.json",
        "targets/rollout/plant-a/desired.json",
    ]


def test_an_unchanged_listing_needs_no_fetch_and_shows_when_it_is_no_longer_fresh(
    repository: TufRepository, box: Box
) -> None:
    first = box.trusts(repository)

    def again(now: datetime) -> Outcome:
        return refresh(box.kept, unchanged(box.kept), box.pinned, box.floors, now=now, site=SITE)

    assert again(START + DAY).believed().rollout == first.rollout
    with pytest.raises(ExpiredError) as caught:
        again(START + 8 * DAY).believed()
    assert caught.value.code == "trust.frozen"


def test_pythons_own_client_agrees_on_good_repositories(repository: TufRepository, box: Box, tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    repository.now = now  # its Updater believes the machine's clock
    repository.publish()
    repository.rotate("timestamp", "root", "targets")
    repository.publish()
    trusted = box.trusts(repository)
    repository.write_tree(tmp_path / "served")

    updater = Updater(
        str(tmp_path / "client"),
        str(tmp_path / "served/metadata"),
        str(tmp_path / "got"),
        str(tmp_path / "served/targets"),
        fetcher=TreeFetcher(),
        bootstrap=repository.pinned,
    )
    updater.refresh()
    theirs = updater.get_targetinfo(release_path("weld", 7))
    assert theirs is not None
    ours = trusted.release("weld", 7)
    assert (f"sha256:{theirs.hashes['sha256']}", theirs.length) == (ours.manifest.digest, ours.manifest.size)
    document = updater.get_targetinfo(rollout_path(SITE))
    assert document is not None
    got = Path(updater.download_target(document))
    assert got.read_bytes() == box.kept[f"targets/{rollout_path(SITE)}"]
    assert updater.get_targetinfo(release_path("weld", 8)) is None


# attacks


def test_attack_08_tag_moved_to_an_older_signed_release(repository: TufRepository, box: Box) -> None:
    """Whoever moves the tag of a registry moves all of its metadata back, validly signed."""
    old = deepcopy(repository)
    repository.add_release("weld", 8, b"eight")
    repository.set_rollout(SITE, 2, Assignment("weld", 8))
    repository.publish()
    box.trusts(repository)

    assert box.refuses(old).code == "trust.rollback"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_attack_09_replayed_old_metadata(repository: TufRepository, box: Box, role: str) -> None:
    old = dict(repository.files)
    repository.publish()
    box.trusts(repository)
    repository.publish()
    if role == "timestamp":
        repository.files["timestamp.json"] = old["timestamp.json"]
    else:
        repository.files[f"4.{role}.json"] = old[f"2.{role}.json"]

    assert box.refuses(repository).code == ("trust.rollback" if role == "timestamp" else "trust.mixed")


@pytest.mark.parametrize("size", [0, 0.5])
@pytest.mark.parametrize(
    "names",
    [
        ("timestamp.json",),
        ("snapshot.json",),
        ("targets.json",),
        ("rollout-plant-a.json",),
        ("targets/floors.json",),
        ("targets/rollout/plant-a/desired.json",),
        ("timestamp.json", "snapshot.json", "targets.json", "rollout-plant-a.json"),
    ],
)
def test_attack_10_replay_after_local_metadata_was_truncated(
    repository: TufRepository, box: Box, names: tuple[str, ...], size: float
) -> None:
    """The updater of python-tuf takes an unreadable file for one that never was, and accepts this."""
    old = deepcopy(repository)
    repository.publish()
    good = box.trusts(repository)
    for name in names:
        box.kept[name] = box.kept[name][: int(len(box.kept[name]) * size)]
    damaged = dict(box.kept)

    assert box.refuses(old).code == "trust.rollback"
    box.kept = damaged
    healed = box.look(repository)
    assert healed.believed() == good
    assert set(healed.damaged) == {name for name in names if not name.startswith("targets/")}
    assert box.look(repository).damaged == ()


def test_attack_10_the_floor_of_a_role_counts_when_only_its_own_metadata_goes_back(
    repository: TufRepository, box: Box
) -> None:
    """A thief of the online keys signs a new snapshot with the old targets, once the kept snapshot is gone."""
    thief = deepcopy(repository)
    repository.publish()
    box.trusts(repository)
    box.kept["snapshot.json"] = b""
    thief.snapshot.version = thief.timestamp.version = 8
    thief.publish("snapshot")

    refusal = box.refuses(thief)
    assert refusal.code == "trust.rollback"
    assert "targets" in refusal.message


def test_attack_11_expired_timestamp(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)

    refusal = box.refuses(repository, START + 8 * DAY)
    assert isinstance(refusal, ExpiredError)
    assert refusal.retryable
    assert refusal.code == "trust.frozen"


def test_attack_11_expired_timestamp_at_the_first_contact(repository: TufRepository, box: Box) -> None:
    assert box.refuses(repository, START + 8 * DAY).code == "trust.frozen"


def test_attack_12_expired_and_the_clock_set_to_1970(repository: TufRepository, box: Box) -> None:
    old = deepcopy(repository)
    repository.now += 8 * DAY
    repository.publish("timestamp")
    box.trusts(repository, EPOCH)
    frozen = deepcopy(repository)
    repository.now += 8 * DAY
    repository.publish("timestamp")
    box.trusts(repository, EPOCH)

    assert box.refuses(old, EPOCH).code == "trust.rollback"
    box.kept.pop("timestamp.json")
    assert box.refuses(frozen, EPOCH).code == "trust.rollback"


def test_attack_12_the_time_floor_expires_what_the_clock_would_not(repository: TufRepository, box: Box) -> None:
    box.trusts(repository, START + 6 * DAY)
    box.trusts(repository, EPOCH)  # still fresh, by the time that has passed for certain
    box.refuses(repository, START + 9 * DAY)

    assert box.refuses(repository, EPOCH).code == "trust.frozen"


def test_attack_12_the_time_floor_expires_a_root_under_a_clock_of_1970(repository: TufRepository, box: Box) -> None:
    repository.now += 731 * DAY
    repository.publish()
    box.trusts(repository, EPOCH)  # nothing but its timestamp says what time it is, and that comes after the root

    assert box.refuses(repository, EPOCH).code == "trust.expired"


def test_attack_12_at_the_first_contact_the_timestamp_says_what_else_has_expired(
    repository: TufRepository, box: Box
) -> None:
    repository.now += 181 * DAY
    repository.publish("snapshot")  # but not targets

    assert box.refuses(repository, EPOCH).code == "trust.expired"


def test_a_clock_far_ahead_freezes_a_box_only_until_the_next_timestamp(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    assert box.refuses(repository, FAR).code == "trust.expired"  # the root, even
    repository.now += DAY
    repository.publish("timestamp")
    assert box.refuses(repository, START + 99 * DAY).code == "trust.frozen"
    assert box.floors is not None
    assert box.floors.time is not None
    assert box.floors.time.at == START + 8 * DAY + timedelta(seconds=1)

    repository.now += DAY
    repository.publish("timestamp")
    assert box.trusts(repository).checked == START + 8 * DAY + timedelta(seconds=1)


def test_attack_13_mix_and_match_snapshot(repository: TufRepository, box: Box) -> None:
    """Every file is validly signed, but they were never together."""
    box.trusts(repository)
    other = deepcopy(repository)
    repository.publish()
    other.add_release("weld", 9, b"nine")
    other.publish()
    repository.files["3.snapshot.json"] = other.files["3.snapshot.json"]

    assert box.refuses(repository).code == "trust.mixed"


def test_attack_13_targets_of_another_snapshot(repository: TufRepository, box: Box) -> None:
    other = deepcopy(repository)
    repository.add_release("weld", 8, b"good")
    repository.publish()
    other.add_release("weld", 9, b"evil")
    other.publish()
    repository.files["3.targets.json"] = other.files["3.targets.json"]

    assert box.refuses(repository).code == "trust.mixed"


def test_attack_13_floors_that_are_not_those_that_were_signed(repository: TufRepository, box: Box) -> None:
    repository.files[f"targets/{FLOORS_PATH}"] = dump_floors(FloorsDocument())

    assert box.refuses(repository).code == "trust.mixed"


def test_attack_13_a_snapshot_without_hashes_still_pins_versions(repository: TufRepository, box: Box) -> None:
    old = repository.files["2.targets.json"]
    repository.publish("targets")
    repository.files["3.targets.json"] = old
    meta = repository.snapshot.meta["targets.json"]
    meta.hashes = meta.length = None
    repository.publish("snapshot")

    assert box.refuses(repository).code == "trust.mixed"


def test_attack_13_an_older_rollout_in_a_new_snapshot(repository: TufRepository, box: Box) -> None:
    """A thief of the online keys; the kept snapshot, which would show it, is gone."""
    thief = deepcopy(repository)
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.publish("rollout-plant-a")
    box.trusts(repository)
    box.kept["snapshot.json"] = b""
    thief.snapshot.version = thief.timestamp.version = 8
    thief.publish("snapshot")

    problem = box.trusts(thief).rollout_problem
    assert problem is not None
    assert problem.code == "trust.rollback"


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("role", ["rollout-plant-a", "targets"])
def test_attack_14_role_dropped_from_snapshot(repository: TufRepository, box: Box, role: str, *, lost: bool) -> None:
    box.trusts(repository)
    if lost:
        box.kept["snapshot.json"] = b""
    del repository.snapshot.meta[f"{role}.json"]
    repository.publish("snapshot")

    assert box.refuses(repository).code == "trust.role_dropped"


def test_a_role_of_another_site_may_leave_when_the_snapshot_key_is_new(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    box.site = "plant-b"
    box.trusts(repository)
    del repository.snapshot.meta["rollout-plant-a.json"]
    repository.rotate("snapshot")
    repository.publish("snapshot")

    assert box.trusts(repository).rollout is not None


def test_attack_15_one_of_two_release_keys(repository: TufRepository, box: Box) -> None:
    repository.add_release("weld", 8, b"eight")
    repository.targets.version += 1
    repository.sign("targets", repository.targets, repository.keys["targets"][:1])
    repository.publish("snapshot")

    refusal = box.refuses(repository)
    assert refusal.code == "trust.signature"
    assert "1/2" in refusal.message


def test_attack_15_the_same_release_key_twice(repository: TufRepository, box: Box) -> None:
    repository.targets.version += 1
    raw = repository.sign("targets", repository.targets, repository.keys["targets"][:1])
    one = raw.partition(b'"signatures":[')[2].partition(b"]")[0]
    twice = raw.replace(one, one + b"," + one, 1)
    repository.files["3.targets.json"] = twice
    repository.snapshot.meta["targets.json"].length = len(twice)
    repository.snapshot.meta["targets.json"].hashes = None
    repository.publish("snapshot")

    assert box.refuses(repository).code == "trust.malformed"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "rollout-plant-a"])
def test_attack_16_unknown_key(repository: TufRepository, box: Box, role: str) -> None:
    before = box.trusts(repository)
    repository.keys[role] = [signer(f"thief-{number}") for number in range(3)]
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.publish()

    if role == "rollout-plant-a":  # costs the site its rollout, not the box its revocations
        trusted = box.trusts(repository)
        assert trusted.rollout is None
        assert trusted.rollout_problem is not None
        assert trusted.rollout_problem.code == "trust.signature"
    else:
        assert box.refuses(repository).code == "trust.signature"
    assert box.floors is not None
    assert box.floors.rollouts == before.floors.rollouts


def test_attack_17_next_root_without_the_threshold_of_the_last(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    repository.rotate("root")
    repository.sign_root()

    refusal = box.refuses(repository)
    assert refusal.code == "trust.signature"
    assert refusal.message.startswith("2.root.json")
    assert "2.root.json" not in box.kept


def test_attack_17_next_root_that_its_own_keys_have_not_signed(repository: TufRepository, box: Box) -> None:
    old = repository.keys["root"]
    repository.rotate("root")
    repository.keys["root"] = []
    repository.sign_root(*old)

    assert box.refuses(repository).code == "trust.signature"


def test_attack_17_a_root_of_another_version(repository: TufRepository, box: Box) -> None:
    repository.rotate("timestamp")
    repository.rotate("timestamp", tag="newer")
    repository.files["2.root.json"] = repository.files["3.root.json"]

    assert box.refuses(repository).code == "trust.mixed"


def test_attack_18_fast_forward_then_recovery(repository: TufRepository, box: Box) -> None:
    thief = deepcopy(repository)
    box.trusts(repository)
    thief.timestamp.version = thief.snapshot.version = 2**31 - 2
    thief.publish("snapshot")
    box.trusts(thief)
    repository.publish()
    assert box.refuses(repository).code == "trust.rollback"

    repository.rotate("timestamp", "snapshot")
    repository.publish()
    recovered = box.trusts(repository)
    assert recovered.versions["timestamp"] == 4
    assert recovered.floors.roles["timestamp"].version == 4
    assert recovered.floors.roles["targets"].version == 4  # nobody replaced their keys
    assert box.refuses(thief).code == "trust.signature"


def test_attack_18_fast_forward_of_time_then_recovery(repository: TufRepository, box: Box) -> None:
    thief = deepcopy(repository)
    thief.timestamp.version += 1
    thief.timestamp.expires = FAR + DAY
    thief.sign_timestamp(stamp(FAR))
    assert box.refuses(thief).code == "trust.expired"  # the snapshot is, at that time
    repository.publish()
    repository.publish()
    assert box.refuses(repository).code == "trust.expired"

    repository.rotate("timestamp")
    repository.publish()
    assert box.trusts(repository).checked == START


def test_attack_18_only_the_key_of_the_snapshot_is_replaced(repository: TufRepository, box: Box) -> None:
    """TUF 5.3.11 forgets the kept timestamp too: it says how far the snapshot had got."""
    thief = deepcopy(repository)
    thief.snapshot.version = 2**31 - 2
    thief.publish("snapshot")
    box.trusts(thief)
    repository.publish()
    repository.publish()
    assert box.refuses(repository).code == "trust.rollback"

    repository.rotate("snapshot")
    repository.publish()
    assert box.trusts(repository).versions["snapshot"] == 5


def test_attack_18_versions_beyond_what_can_be_counted_are_refused(repository: TufRepository, box: Box) -> None:
    repository.timestamp.version = 2**60
    repository.publish("timestamp")

    assert box.refuses(repository).code == "trust.rollback"
    assert box.floors is not None
    assert "timestamp" not in box.floors.roles


def test_attack_19_delegate_signs_another_sites_path_or_a_release(repository: TufRepository, box: Box) -> None:
    repository.set_rollout("plant-b", 2, Assignment("weld", 7), kill=())
    stolen = repository.files[f"targets/{rollout_path('plant-b')}"]
    repository.put_document("plant-b", rollout_path(SITE), stolen)
    repository.rollouts["plant-b"].targets[release_path("weld", 99)] = TargetFile.from_data("x", b"evil", ["sha256"])
    repository.files[f"targets/{rollout_path(SITE)}"] = stolen
    repository.publish("rollout-plant-b")

    trusted = box.trusts(repository)
    with pytest.raises(DataError) as caught:
        trusted.release("weld", 99)
    assert caught.value.code == "release.unsigned"
    assert trusted.rollout is None
    assert trusted.rollout_problem is not None
    assert trusted.rollout_problem.code == "trust.mixed"  # not what the delegate of this site signed


def test_attack_19_rollout_of_another_site_signed_by_the_right_delegate(repository: TufRepository, box: Box) -> None:
    stolen = repository.files[f"targets/{rollout_path('plant-b')}"]
    repository.put_document(SITE, rollout_path(SITE), stolen)
    repository.publish("rollout-plant-a")

    problem = box.trusts(repository).rollout_problem
    assert problem is not None
    assert problem.code == "rollout.foreign"


def test_attack_19_a_delegation_whose_paths_are_elsewhere(repository: TufRepository, box: Box) -> None:
    repository.delegate(SITE, paths=["rollout/plant-b/*"])
    repository.publish()

    problem = box.trusts(repository).rollout_problem
    assert problem is not None
    assert problem.code == "trust.delegation"


def test_attack_21_rollout_seq_replay(repository: TufRepository, box: Box) -> None:
    """The key of a site is stolen: new metadata, old wish."""
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.publish()
    box.trusts(repository)
    repository.set_rollout(SITE, 1, Assignment("weld", 7))
    repository.publish()

    trusted = box.trusts(repository)
    assert trusted.rollout is None
    assert trusted.rollout_problem is not None
    assert trusted.rollout_problem.code == "rollout.replayed"
    assert trusted.floors.rollouts[SITE].seq == 2


def test_attack_21_the_same_seq_for_another_wish(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    repository.set_rollout(SITE, 1, Assignment("weld", 6))
    repository.publish()

    problem = box.trusts(repository).rollout_problem
    assert problem is not None
    assert problem.code == "rollout.replayed"


def test_attack_21_after_the_key_of_the_site_was_replaced_its_seq_starts_anew(
    repository: TufRepository, box: Box
) -> None:
    repository.set_rollout(SITE, 2**53, Assignment("weld", 7))
    repository.publish()
    box.trusts(repository)
    repository.delegate(SITE, tag="new")
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.publish()

    rollout = box.trusts(repository).rollout
    assert rollout is not None
    assert rollout.seq == 2


# recovery


def test_a_lost_timestamp_key_is_replaced_by_the_root(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    repository.rotate("timestamp")
    repository.now += DAY
    repository.publish("timestamp")

    trusted = box.trusts(repository)
    assert trusted.versions["root"] == 2
    assert trusted.checked == START + DAY
    assert "2.root.json" in box.kept


def test_a_box_that_was_off_for_400_days_catches_up_through_3_roots(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    for roles in (("timestamp", "snapshot"), ("root",), ("targets", "timestamp")):
        repository.now += 133 * DAY
        repository.rotate(*roles, tag=stamp(repository.now))
        repository.add_release("weld", 8 + len(roles), b"later")
        repository.publish()
    repository.now += DAY
    repository.set_rollout(SITE, 5, Assignment("weld", 9))
    repository.publish()

    for clock in (repository.now, EPOCH):
        late = deepcopy(box)
        trusted = late.trusts(repository, clock)
        assert trusted.versions["root"] == 4
        assert trusted.rollout is not None
        assert trusted.rollout.seq == 5
        assert {"2.root.json", "3.root.json", "4.root.json"} < set(late.kept)


def test_endless_roots_are_followed_a_few_at_a_time(
    repository: TufRepository, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.registry.trust.refresh.ROOTS_MAX", 2)
    for number in range(3):
        repository.rotate("timestamp", tag=str(number))
    repository.publish()

    assert box.refuses(repository).code == "trust.signature"
    assert box.trusts(repository).versions["root"] == 4


def test_an_image_that_pins_a_newer_root_needs_no_older_ones(repository: TufRepository, box: Box) -> None:
    repository.rotate("root")
    repository.rotate("timestamp")
    repository.publish()
    box.trusts(repository)
    box.pinned = repository.files["2.root.json"]

    assert box.trusts(repository).versions["root"] == 3
    assert "2.root.json" not in box.kept
    assert "3.root.json" in box.kept


def test_a_kept_root_that_is_damaged_is_fetched_again(repository: TufRepository, box: Box) -> None:
    repository.rotate("timestamp")
    repository.publish()
    box.trusts(repository)
    good = box.kept["2.root.json"]
    box.kept["2.root.json"] = good[:100]

    outcome = box.look(repository)
    assert outcome.believed().versions["root"] == 2
    assert outcome.damaged == ("2.root.json",)
    assert box.kept["2.root.json"] == good


def test_attack_10_a_registry_that_withholds_the_root_which_is_damaged_here(
    repository: TufRepository, box: Box
) -> None:
    old = deepcopy(repository)
    repository.rotate("timestamp", "snapshot", "root")
    repository.publish()
    box.trusts(repository)
    box.kept["2.root.json"] = b""
    assert box.refuses(old).code == "trust.missing"
    del box.kept["2.root.json"]

    refusal = box.refuses(old)
    assert refusal.code == "trust.rollback"
    assert refusal.message.startswith("root")


def test_revocations_are_kept_though_a_later_document_forgets_them(repository: TufRepository, box: Box) -> None:
    bad = "sha256:" + "b" * 64
    repository.set_floors(weld=ModelFloor(5, frozenset({bad})))
    repository.publish()
    box.trusts(repository)
    repository.set_floors(weld=ModelFloor(2))
    repository.publish()
    assert box.trusts(repository).floors.models.of("weld") == ModelFloor(5, frozenset({bad}))
    del repository.targets.targets["floors.json"]
    repository.publish()
    assert box.trusts(repository).floors.models.of("weld") == ModelFloor(5, frozenset({bad}))


def test_floors_that_a_thief_of_release_keys_raised_start_anew_with_new_keys(
    repository: TufRepository, box: Box
) -> None:
    repository.set_floors(weld=ModelFloor(2**53))
    repository.publish()
    box.trusts(repository)
    repository.rotate("targets")
    repository.set_floors(weld=ModelFloor(4))
    repository.publish()

    assert box.trusts(repository).floors.models == FloorsDocument({"weld": ModelFloor(4)})


# memory without floors


def test_lost_floors_are_made_from_what_was_kept(repository: TufRepository, box: Box) -> None:
    old = deepcopy(repository)
    repository.set_floors(weld=ModelFloor(5))
    repository.set_rollout(SITE, 4, Assignment("weld", 7))
    repository.publish()
    box.trusts(repository)
    floors, box.floors = box.floors, None

    assert box.refuses(old).code == "trust.rollback"
    assert box.floors == floors
    box.floors = None
    assert box.trusts(repository).floors == floors


@pytest.mark.parametrize(
    "name", ["timestamp.json", "snapshot.json", "targets.json", "rollout-plant-a.json", "2.root.json"]
)
def test_lost_floors_and_damaged_metadata_are_never_taken_for_a_first_time(
    repository: TufRepository, box: Box, name: str
) -> None:
    repository.rotate("timestamp")
    repository.publish()
    box.trusts(repository)
    box.floors = None
    box.kept[name] = box.kept[name][: len(box.kept[name]) // 2]

    with pytest.raises(StorageError) as caught:
        box.look(repository)
    assert caught.value.code == "trust.state_damaged"


def test_lost_floors_and_a_damaged_document_are_never_taken_for_a_first_time(
    repository: TufRepository, box: Box
) -> None:
    box.trusts(repository)
    box.floors = None
    box.kept["targets/floors.json"] = b"{}"

    with pytest.raises(StorageError) as caught:
        box.look(repository)
    assert caught.value.code == "trust.state_damaged"


def test_a_first_refresh_that_was_cut_short_is_continued(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    box.floors, box.kept = None, {"timestamp.json": box.kept["timestamp.json"]}

    assert box.trusts(repository, START + DAY).versions["targets"] == 2


def test_lost_floors_are_made_from_metadata_that_has_expired_too(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    box.floors = None
    repository.now += 200 * DAY
    repository.publish()

    assert box.trusts(repository).versions["targets"] == 3


# what is wrong in other ways


def test_a_pinned_root_that_is_none_is_the_configurations_fault(repository: TufRepository) -> None:
    for pinned in (b"", b"{}", repository.files["timestamp.json"]):
        with pytest.raises(ConfigError) as caught:
            refresh({}, repository.fetch, pinned, Floors(), now=START, site=SITE)
        assert caught.value.code == "trust.pinned_root"


def test_endless_files_are_refused_at_their_cap(repository: TufRepository, box: Box) -> None:
    repository.files["timestamp.json"] += b" " * TIMESTAMP_BYTES_MAX
    assert box.refuses(repository).code == "trust.too_large"


def test_a_file_longer_than_signed_is_refused(repository: TufRepository, box: Box) -> None:
    repository.files["2.snapshot.json"] += b" "
    assert box.refuses(repository).code == "trust.too_large"


def test_a_document_too_large_to_read_is_not_fetched(repository: TufRepository, box: Box) -> None:
    repository.put_document(SITE, rollout_path(SITE), b" " * (1 << 20))
    repository.publish("rollout-plant-a")

    problem = box.trusts(repository).rollout_problem
    assert problem is not None
    assert problem.code == "trust.too_large"
    assert f"targets/{rollout_path(SITE)}" not in box.fetched


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{" * 9000, b'{"signed": 1}', b"\xff", b'{"signatures": [], "signed": {"_type": "x"}}']
)
def test_bytes_that_are_no_metadata_are_refused(repository: TufRepository, box: Box, raw: bytes) -> None:
    repository.files["timestamp.json"] = raw
    assert box.refuses(repository).code == "trust.malformed"


def test_metadata_of_another_role_is_refused(repository: TufRepository, box: Box) -> None:
    repository.files["timestamp.json"] = repository.files["2.snapshot.json"]
    assert box.refuses(repository).code == "trust.malformed"


@pytest.mark.parametrize("issued", ["yesterday", 7, stamp(FAR), ["x"]])
def test_a_timestamp_that_says_nonsense_about_its_issue_is_refused(
    repository: TufRepository, box: Box, issued: object
) -> None:
    repository.timestamp.version += 1
    repository.sign_timestamp(issued)

    assert box.refuses(repository).code == "trust.malformed"
    assert "timestamp.json" not in box.kept


@pytest.mark.parametrize("expires", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_the_ends_of_time_break_nothing(repository: TufRepository, box: Box, expires: str) -> None:
    when = parse_stamp(expires)
    assert when is not None
    repository.timestamp.version += 1
    repository.timestamp.expires = when
    raw = Metadata(deepcopy(repository.timestamp))
    del raw.signed.unrecognized_fields["issued"]
    for place in ("0001", "1"):  # python-tuf writes the year 1 in another way than it reads it
        signed = raw.signed.to_dict()
        signed["expires"] = expires.replace("0001", place)
        raw.signatures.clear()
        raw.signatures[repository.keys["timestamp"][0].public_key.keyid] = repository.keys["timestamp"][0].sign(
            encode_canonical(signed).encode()
        )
        repository.files["timestamp.json"] = json.dumps(
            {"signed": signed, "signatures": [one.to_dict() for one in raw.signatures.values()]}
        ).encode()
        outcome = box.look(repository)
        assert (outcome.trusted is not None) is (when > START)
        assert parse_floors(outcome.floors.dump(), "f") == outcome.floors


def test_a_publisher_that_writes_no_issue_is_believed_by_the_clock(repository: TufRepository, box: Box) -> None:
    raw = Metadata(deepcopy(repository.timestamp))
    del raw.signed.unrecognized_fields["issued"]
    raw.sign(repository.keys["timestamp"][0])
    repository.files["timestamp.json"] = raw.to_bytes()

    assert box.trusts(repository, START + DAY).checked == START + DAY


def test_an_expired_root_or_snapshot_is_told_from_a_freeze(repository: TufRepository, box: Box) -> None:
    repository.now += 31 * DAY
    repository.publish("timestamp")
    assert box.refuses(repository).code == "trust.expired"
    repository.now += 700 * DAY
    repository.publish()

    refusal = box.refuses(repository)
    assert refusal.code == "trust.expired"
    assert refusal.message.startswith("root.json")


def test_an_expired_rollout_role_costs_only_the_rollout(repository: TufRepository, box: Box) -> None:
    repository.now += 31 * DAY
    repository.publish("targets")

    trusted = box.trusts(repository)
    assert trusted.rollout is None
    assert isinstance(trusted.rollout_problem, ExpiredError)
    assert trusted.release("weld", 7).manifest.size == 5


def test_an_expired_targets_role_is_refused(repository: TufRepository, box: Box) -> None:
    repository.now += 181 * DAY
    repository.publish("snapshot")
    assert box.refuses(repository).code == "trust.expired"


def test_a_missing_file_is_named(repository: TufRepository, box: Box) -> None:
    del repository.files["2.targets.json"]
    refusal = box.refuses(repository)
    assert refusal.code == "trust.missing"
    assert "2.targets.json" in refusal.message


def test_what_the_network_says_is_passed_on_and_progress_is_kept(repository: TufRepository, box: Box) -> None:
    def fetch(name: str, limit: int) -> bytes | None:
        if name.startswith("targets/rollout"):
            raise UnavailableError("registry.unreachable", "cut")
        return repository.fetch(name, limit)

    outcome = refresh({}, fetch, box.pinned, None, now=START, site=SITE)
    assert outcome.refusal is not None
    assert outcome.refusal.code == "registry.unreachable"
    with pytest.raises(UnavailableError):
        outcome.believed()
    assert outcome.floors.roles["targets"].version == 2
    assert "targets.json" in outcome.kept


def test_a_floors_document_that_nobody_understands_stops_everything(repository: TufRepository, box: Box) -> None:
    raw = b'{"schema":"edge-floors/2"}'
    repository.targets.targets["floors.json"] = TargetFile.from_data("floors.json", raw, ["sha256"])
    repository.files["targets/floors.json"] = raw
    repository.publish()

    assert box.refuses(repository).code == "registry.floors"


def test_a_site_without_delegation_or_without_document_has_no_rollout(repository: TufRepository, box: Box) -> None:
    box.site = "plant-c"
    assert box.trusts(repository).rollout is None
    assert repository.targets.delegations is not None
    repository.delegate("plant-c")
    repository.publish()
    trusted = box.trusts(repository)
    assert (trusted.rollout, trusted.rollout_problem) == (None, None)
    repository.targets.delegations = None
    repository.publish("targets")
    assert box.trusts(repository).rollout is None


def test_a_release_whose_custom_part_is_wrong_costs_only_that_release(repository: TufRepository, box: Box) -> None:
    repository.add_release("weld", 8)
    repository.targets.targets[release_path("weld", 9)] = repository.targets.targets[release_path("weld", 8)]
    repository.targets.targets[release_path("weld", 10)] = TargetFile.from_data("x", b"ten", ["sha256"])
    strange = TargetFile.from_data("x", b"eleven", ["sha512"])
    strange.unrecognized_fields["custom"] = [1]
    repository.targets.targets[release_path("weld", 11)] = strange
    repository.publish()

    trusted = box.trusts(repository)
    for number in (9, 10, 11):
        with pytest.raises(DataError) as caught:
            trusted.release("weld", number)
        assert caught.value.code == "registry.release"
    assert trusted.release("weld", 8).release.release == 8
    assert sorted(trusted.numbers("weld")) == [7, 8, 9, 10, 11]


def test_every_flipped_byte_of_any_file_is_refused_or_harmless(repository: TufRepository) -> None:
    """Nothing but our errors comes out, and what is believed is what was signed."""
    whole = Box(repository.pinned).trusts(repository)
    for name, raw in sorted(repository.files.items()):
        if name in ("1.root.json", "1.targets.json", "1.snapshot.json") or "plant-b" in name:
            continue
        for place in range(0, len(raw), 97):
            changed = deepcopy(repository)
            changed.files[name] = raw[:place] + bytes([raw[place] ^ 0x11]) + raw[place + 1 :]
            outcome = Box(repository.pinned).look(changed)
            if outcome.trusted is not None:
                assert outcome.trusted.targets == whole.targets
                assert outcome.trusted.rollout in (whole.rollout, None)


def test_a_kept_snapshot_with_another_roles_metadata_is_damage(repository: TufRepository, box: Box) -> None:
    box.trusts(repository)
    box.kept["snapshot.json"] = box.kept["targets.json"]

    assert box.look(repository).damaged == ("snapshot.json",)


def test_a_snapshot_that_lists_an_older_version_than_the_kept_one_is_refused(
    repository: TufRepository, box: Box
) -> None:
    """A thief of the online keys takes back what the release board signed."""
    thief = deepcopy(repository)
    repository.publish("targets")
    box.trusts(repository)
    thief.timestamp.version = thief.snapshot.version = 8
    thief.publish("snapshot")

    assert box.refuses(thief).code == "trust.mixed"


def test_a_key_id_that_is_a_number_can_be_kept_like_any_other() -> None:
    keys = _keys(Role([5, "a"], 1))  # as python-tuf reads what strangers wrote
    assert keys.ids == {"5", "a"}
    assert Floors().with_role("root", keys, 1).dump()
