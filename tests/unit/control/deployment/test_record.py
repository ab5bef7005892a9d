"""What is kept of deployments: read back as it was, and never guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.control.deployment.deployment import Deployment, Policy, State
from edge_runtime.control.deployment.record import LIMIT_BYTES, Hold, SlotRecord, dump, parse
from edge_runtime.core.errors import DataError
from edge_runtime.registry.conditions import Gates
from tests.deployments import NEW, NEWER, OLD, START, at

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD = Hold("gate.latency", "p99 of 80 ms, 2.0 times 20 ms are allowed", "box", START)

deployments = st.builds(
    Deployment,
    id=st.text(min_size=1),
    slot=st.just("weld"),
    model=st.just("weld-seam"),
    candidate=st.just(NEW),
    previous=st.none() | st.just(OLD),
    policy=st.builds(
        Policy,
        mode=st.sampled_from(["shadow", "canary", "active"]),
        gates=st.builds(Gates, crashes_max=st.integers(0, 100)),
        window=st.none() | st.text(),
        between_lots=st.booleans(),
        approve=st.sampled_from(["auto", "operator"]),
        bake_s=st.floats(0, 90 * 86400),
        on_regression=st.sampled_from(["rollback", "hold"]),
        seq=st.integers(0, 2**53),
        origin=st.sampled_from(["rollout", "command", "box"]),
    ),
    state=st.sampled_from(State),
    since=st.just(START),
    elapsed_s=st.floats(0, 1e9).map(lambda one: round(one, 3)),
    reason=st.none() | st.text(),
    message=st.none() | st.text(),
    tries_left=st.integers(0, 101),
    approved=st.booleans(),
    vetted=st.booleans(),
    shadowed=st.booleans(),
    canaried=st.booleans(),
    judged=st.booleans(),
    inspections=st.lists(st.sampled_from(["left", "right"]), max_size=2).map(tuple),
    numbers=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    progress=st.floats(0, 1),
    quarantined=st.booleans(),
    holds=st.booleans(),
    revision=st.integers(0, 2**53),
)


@settings(max_examples=50, deadline=None)
@given(st.builds(SlotRecord, st.none() | deployments, st.none() | deployments, st.none() | st.just(HOLD)))
def test_what_is_written_is_read(record: SlotRecord) -> None:
    raw = dump(record)
    assert parse(raw, "record") == record
    assert dump(parse(raw, "record")) == raw


def test_a_zero_keeps_its_sign() -> None:
    raw = dump(SlotRecord(at(State.PROBATION, numbers={"shift": -0.0})))
    assert dump(parse(raw, "record")) == raw


def test_what_is_not_finite_is_no_evidence() -> None:
    numbers = {"p99": float("nan"), "psi": float("inf"), "frames": 9.0}
    found = parse(dump(SlotRecord(at(State.PROBATION, numbers=numbers))), "record").deployment
    assert found is not None
    assert found.numbers == {"frames": 9.0}


def _spoil(change: Callable[[dict[str, Any]], object]) -> str:
    record = SlotRecord(at(State.PROBATION, policy=Policy(seq=7)), at(State.REJECTED), HOLD)
    data = json.loads(dump(record))
    change(data)
    with pytest.raises(DataError) as caught:
        parse(json.dumps(data).encode(), "deployment.json")
    assert caught.value.code == "deployment.record"
    return caught.value.message


@pytest.mark.parametrize("part", ["deployment", "hold"])
def test_a_record_that_lacks_anything_it_needs_is_none(part: str) -> None:
    optional = {"reason", "message", "previous"} if part == "deployment" else set()
    fields = json.loads(dump(SlotRecord(at(State.PROBATION), None, HOLD)))[part]
    for key in sorted(set(fields) - optional - {"inspections", "numbers"}):
        assert f"{part}.{key}" in _spoil(lambda data, key=key: data[part].pop(key))
        assert f"{part}.{key}" in _spoil(lambda data, key=key: data[part].update({key: []}))
    for key in fields.get("policy", {}).keys() - {"window", "gates", "back"}:  # back: older records lack it
        assert f"policy.{key}" in _spoil(lambda data, key=key: data[part]["policy"].pop(key))


def test_other_keys_schemas_and_values_are_errors() -> None:
    assert "schema" in _spoil(lambda data: data.update(schema="edge-deployment/2"))
    assert "schema" in _spoil(lambda data: data.pop("schema"))
    assert "colour: unknown key" in _spoil(lambda data: data.update(colour="red"))
    assert "policy.colour" in _spoil(lambda data: data["deployment"]["policy"].update(colour="red"))
    assert "did you mean" in _spoil(lambda data: data["deployment"].update(revisions=1))
    assert "gates" in _spoil(lambda data: data["deployment"]["policy"]["gates"].update(p99=1))
    assert "candidate.digest" in _spoil(lambda data: data["deployment"]["candidate"].update(digest="sha256:0"))
    assert "numbers" in _spoil(lambda data: data["deployment"].update(numbers={"p99": "80"}))
    assert "tries_left" in _spoil(lambda data: data["deployment"].update(tries_left=-1))
    assert "last" in _spoil(lambda data: data.update(last=[]))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"schema": 1, "schema": 1}', b" " * (LIMIT_BYTES + 1)])
def test_what_is_no_object_is_none_either(raw: bytes) -> None:
    with pytest.raises(DataError):
        parse(raw, "deployment.json")


def test_the_deployment_before_this_one_is_remembered() -> None:
    first = at(State.REJECTED)
    second = at(State.VETTING, id="deploy-3", candidate=NEWER)
    record = SlotRecord().with_deployment(first).with_deployment(second).with_deployment(replace(second, revision=9))
    assert record.deployment == replace(second, revision=9)
    assert record.last == first


def test_what_the_slot_runs_is_remembered_whatever_was_tried_since() -> None:
    chosen = at(State.COMMITTED)
    record = SlotRecord().with_deployment(chosen)
    for number in range(3):
        record = record.with_deployment(at(State.REJECTED, id=f"try-{number}", candidate=NEWER))
    assert record.last == chosen
    newer = at(State.COMMITTED, id="deploy-9", candidate=NEWER)
    record = record.with_deployment(newer).with_deployment(at(State.VETTING, id="deploy-10"))
    assert record.last == newer


def test_a_regression_holds_the_slot_until_somebody_lifts_it() -> None:
    ended = at(State.ROLLED_BACK, holds=True, reason="gate.latency", message="too slow")
    record = SlotRecord(at(State.PROBATION)).with_deployment(ended)
    assert record.hold == Hold("gate.latency", "too slow", "box", ended.since)
    lifted = replace(record, hold=None).with_deployment(replace(ended, revision=9))
    assert lifted.hold is None
    by_hand = SlotRecord(None, None, HOLD).with_deployment(replace(ended, reason=None, message=None))
    assert by_hand.hold == HOLD
    assert SlotRecord().with_deployment(replace(ended, reason=None, message=None)).hold is not None
