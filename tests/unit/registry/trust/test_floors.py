"""Floors never fall, whatever comes in whatever order, until the keys that vouched for them were replaced."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import FloorsDocument, ModelFloor
from edge_runtime.registry.trust.floors import Floors, Keys, RoleFloor, SeqFloor, TimeFloor, parse_floors

if TYPE_CHECKING:
    from collections.abc import Callable

THEN = datetime(2026, 1, 1, tzinfo=UTC)
ONE = Keys(frozenset({"a"}))
OTHER = Keys(frozenset({"b"}))
BOARD = Keys(frozenset("abc"), 2)
DIGESTS = ["sha256:" + digit * 64 for digit in "01"]

Step = "Callable[[Floors], Floors]"

keys = st.sampled_from([ONE, BOARD, Keys(frozenset("abd"), 2)])  # none of them replaces another
numbers = st.integers(0, 20)
models = st.builds(
    FloorsDocument,
    st.dictionaries(
        st.sampled_from(["weld", "paint"]),
        st.builds(ModelFloor, numbers, st.frozensets(st.sampled_from(DIGESTS))),
        max_size=2,
    ),
)
steps = st.one_of(
    st.builds(
        lambda role, version: lambda floors: floors.with_role(role, BOARD, version),
        st.sampled_from(["root", "timestamp", "rollout-plant-a"]),
        numbers,
    ),
    st.builds(
        lambda seq, digest: lambda floors: floors.with_rollout("plant-a", BOARD, seq, digest),
        numbers,
        st.sampled_from(DIGESTS),
    ),
    st.builds(lambda said: lambda floors: floors.with_models(BOARD, said), models),
    st.builds(lambda hours: lambda floors: floors.with_time(BOARD, THEN + timedelta(hours=hours)), numbers),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=12))
def test_no_step_lowers_anything_and_what_is_written_comes_back(path: list[Callable[[Floors], Floors]]) -> None:
    floors = Floors()
    for step in path:
        higher = step(floors)
        assert higher.covers(floors)
        assert higher.covers(Floors())
        floors = higher
    assert parse_floors(floors.dump(), "f") == floors


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_steps_does_not_matter_for_what_is_least(
    path: list[Callable[[Floors], Floors]], random: object
) -> None:
    shuffled = list(path)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (reduce(lambda floors, step: step(floors), way, Floors()) for way in (path, shuffled))

    assert one.covers(other)
    assert other.covers(one)


def test_keys_are_replaced_when_the_old_ones_cannot_sign_alone() -> None:
    assert ONE.replaced_by(OTHER)
    assert not ONE.replaced_by(ONE)
    assert not BOARD.replaced_by(Keys(frozenset("abd"), 2))
    assert BOARD.replaced_by(Keys(frozenset("ade"), 2))
    assert Keys().replaced_by(ONE)


def test_a_floor_starts_anew_with_other_keys_but_never_the_roots() -> None:
    floors = Floors().with_role("timestamp", ONE, 9).with_role("root", ONE, 4)

    assert floors.version("timestamp", ONE) == 9
    assert floors.version("timestamp", OTHER) == 0
    assert floors.version("root", OTHER) == 4
    anew = floors.with_role("timestamp", OTHER, 2).with_role("root", OTHER, 3)
    assert anew.roles == {"timestamp": RoleFloor(OTHER, 2), "root": RoleFloor(OTHER, 4)}
    assert anew.covers(floors)


def test_a_floor_goes_over_to_keys_that_replaced_some() -> None:
    floors = Floors().with_role("targets", BOARD, 9).with_role("targets", Keys(frozenset("abd"), 2), 3)

    assert floors.roles["targets"] == RoleFloor(Keys(frozenset("abd"), 2), 9)


def test_seq_time_and_models_start_anew_with_other_keys() -> None:
    floors = (
        Floors()
        .with_rollout("plant-a", ONE, 9, DIGESTS[0])
        .with_time(ONE, THEN + timedelta(days=9))
        .with_models(ONE, FloorsDocument({"weld": ModelFloor(9, frozenset(DIGESTS))}))
    )
    anew = (
        floors.with_rollout("plant-a", OTHER, 2, DIGESTS[1])
        .with_time(OTHER, THEN)
        .with_models(OTHER, FloorsDocument({"weld": ModelFloor(4)}))
    )

    assert anew.rollouts == {"plant-a": SeqFloor(OTHER, 2, DIGESTS[1])}
    assert anew.time == TimeFloor(OTHER, THEN)
    assert anew.models == FloorsDocument({"weld": ModelFloor(4)})
    assert anew.covers(floors)


def test_an_older_rollout_changes_nothing() -> None:
    floors = Floors().with_rollout("plant-a", ONE, 9, DIGESTS[0])

    assert floors.with_rollout("plant-a", ONE, 8, DIGESTS[1]) == floors
    assert floors.rollout("plant-a", OTHER) is None
    assert floors.rollout("plant-b", ONE) is None


def test_any_text_may_be_the_id_of_a_key() -> None:
    floors = Floors().with_role("targets", Keys(frozenset({"", " ", "\u00e4"}), 3), 1)

    assert parse_floors(floors.dump(), "f") == floors


HIGH = (
    Floors()
    .with_role("timestamp", ONE, 9)
    .with_rollout("plant-a", ONE, 9, DIGESTS[0])
    .with_time(ONE, THEN)
    .with_models(ONE, FloorsDocument({"weld": ModelFloor(9, frozenset(DIGESTS))}))
)


@pytest.mark.parametrize(
    "lower",
    [
        Floors(),
        replace(HIGH, roles={}),
        replace(HIGH, roles={"timestamp": RoleFloor(ONE, 8)}),
        replace(HIGH, rollouts={}),
        replace(HIGH, rollouts={"plant-a": SeqFloor(ONE, 8, DIGESTS[0])}),
        replace(HIGH, models=FloorsDocument()),
        replace(HIGH, models=FloorsDocument({"weld": ModelFloor(8, frozenset(DIGESTS))})),
        replace(HIGH, models=FloorsDocument({"weld": ModelFloor(9, frozenset(DIGESTS[:1]))})),
        replace(HIGH, time=None),
        replace(HIGH, time=TimeFloor(ONE, THEN - timedelta(seconds=1))),
    ],
)
def test_what_is_lower_anywhere_does_not_cover(lower: Floors) -> None:
    assert not lower.covers(HIGH)
    assert HIGH.covers(HIGH)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"edge-trust-floors/1", b"edge-trust-floors/9"),
        (b'"version":9', b'"version":-1'),
        (b'"version":9', b'"versio":9'),
        (b'"seq":9', b'"seq":"9"'),
        (b'"at":"2026', b'"at":"x026'),
        (b'"keys":["a"]', b'"keys":7'),
        (b'"keys":["a"]', b'"keys":[7]'),
        (b'"schema"', b'"more":1,"schema"'),
        (b"{", b"["),
    ],
)
def test_other_bytes_are_not_floors(old: bytes, new: bytes) -> None:
    raw = HIGH.dump()
    assert parse_floors(raw, "f") == HIGH
    with pytest.raises(DataError):
        parse_floors(raw.replace(old, new, 1), "f")
