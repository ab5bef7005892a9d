"""A box, a history of honest states, and a registry that shows any of them while files of the box rot away."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.ngclient import Updater

from edge_runtime.registry.documents import Assignment, ModelFloor, release_path, rollout_path
from edge_runtime.registry.trust.floors import Floors, parse_floors
from edge_runtime.registry.trust.refresh import refresh
from tests.fakes.tuf_repository import START, TreeFetcher, TufRepository

if TYPE_CHECKING:
    from pathlib import Path

SITE = "plant-a"
CLOCKS = (START, datetime(1970, 1, 1, tzinfo=UTC))
NAMES = (
    "timestamp.json",
    "snapshot.json",
    "targets.json",
    "rollout-plant-a.json",
    "2.root.json",
    "3.root.json",
    "targets/floors.json",
    "targets/rollout/plant-a/desired.json",
)
DAMAGE = {"gone": None, "empty": 0.0, "half": 0.5}


def _history() -> list[TufRepository]:
    made = TufRepository()
    states = []
    for seq, roles in enumerate(((), (), ("timestamp",), (), ("snapshot", "root"), ("targets",), ()), 1):
        if roles:
            made.rotate(*roles, tag=str(seq))
        if seq == 4:
            made.delegate(SITE, tag="new")
        made.add_release("weld", seq, b"manifest")
        made.set_floors(weld=ModelFloor(seq))
        made.set_rollout(SITE, seq, Assignment("weld", seq))
        made.publish()
        states.append(deepcopy(made))
    return states


HISTORY = _history()
shown = st.tuples(
    st.integers(0, len(HISTORY) - 1),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(sorted(DAMAGE)), max_size=len(NAMES)),
    st.sampled_from(CLOCKS),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(shown, min_size=1, max_size=8))
def test_a_box_believes_no_older_state_and_every_newer_one_whatever_became_of_its_files(
    way: list[tuple[int, dict[str, str], datetime]],
) -> None:
    kept: dict[str, bytes] = {}
    floors: Floors | None = None
    newest = -1
    for number, damage, clock in way:
        for name in damage.keys() & kept.keys():
            part = DAMAGE[damage[name]]
            if part is None:
                del kept[name]
            else:
                kept[name] = kept[name][: int(len(kept[name]) * part)]
        state = HISTORY[number]
        outcome = refresh(kept, state.fetch, HISTORY[0].pinned, floors, now=clock, site=SITE)
        if number >= newest:
            trusted = outcome.believed()
            assert trusted.rollout is not None
            assert trusted.rollout.seq == number + 1
            assert trusted.floors.models.of("weld").min_release == number + 1
            newest = number
        else:
            assert outcome.trusted is None
        assert floors is None or outcome.floors.covers(floors)
        kept, floors = dict(outcome.kept), parse_floors(outcome.floors.dump(), "as on the disk")


def test_pythons_own_client_goes_the_same_way(tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}
    floors: Floors | None = None
    for number, state in enumerate(HISTORY, 1):
        served = tmp_path / str(number)
        state.write_tree(served)
        client = Updater(
            str(tmp_path / "client"),
            str(served / "metadata"),
            str(tmp_path),
            str(served / "targets"),
            fetcher=TreeFetcher(),
            bootstrap=state.pinned,
        )
        client._trusted_set.reference_time = START
        client.refresh()
        outcome = refresh(kept, state.fetch, state.pinned, floors, now=START, site=SITE)
        trusted, kept, floors = outcome.believed(), dict(outcome.kept), outcome.floors
        assert {name: client._trusted_set[name].version for name in ("root", "timestamp", "snapshot", "targets")} == {
            name: version for name, version in trusted.versions.items() if not name.startswith("rollout-")
        }
        release = client.get_targetinfo(release_path("weld", number))
        document = client.get_targetinfo(rollout_path(SITE))
        assert release is not None
        assert document is not None
        assert trusted.release("weld", number).manifest.digest == f"sha256:{release.hashes['sha256']}"
        path = tmp_path / "rollout.json"
        client.download_target(document, str(path))
        assert path.read_bytes() == kept[f"targets/{rollout_path(SITE)}"]
