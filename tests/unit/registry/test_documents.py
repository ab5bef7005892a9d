"""What a registry signs: reading is strict and says everything at once; what is written is read back first."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.registry.descriptor import Descriptor
from edge_runtime.registry.documents import (
    APPROVALS,
    MODES,
    NUMBER_MAX,
    REGRESSIONS,
    Assignment,
    FloorsDocument,
    Match,
    ModelFloor,
    Release,
    Rollout,
    dump_floors,
    dump_rollout,
    is_name,
    parse_floors,
    parse_release,
    parse_rollout,
    parse_stamp,
    release_at,
    release_fields,
    release_path,
    rollout_path,
    rollout_paths,
    rollout_role,
    stamp,
)

THEN = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
RELEASE = Release("weld", 7, "1.4.0+cpu", DIGEST, "weld", THEN)
ROLLOUT = Rollout("plant-a", 4, THEN, LATER)

names = st.sampled_from(["a", "weld", "7-b.c_d", "x" * 64])
texts = st.sampled_from(["1", "line 2", "\u00e4\U0001f600", '"\\', "x" * 256])
numbers = st.integers(0, NUMBER_MAX)
digests = st.sampled_from([DIGEST, "sha256:" + "01" * 32])
several = st.lists(texts, min_size=1, max_size=3).map(tuple)
matches = st.builds(
    Match,
    line=st.just(()) | several,
    edge=st.just(()) | several,
    camera=st.just(()) | several,
    slot=st.just(()) | several,
    channel=st.just(()) | several,
    labels=st.dictionaries(texts, several, max_size=2),
)
assignments = st.builds(
    Assignment,
    model=names,
    release=numbers,
    match=matches,
    ring=st.none() | texts,
    percent=st.integers(0, 10_000).map(lambda steps: steps / 100),
    salt=st.just("") | texts,
    window=st.none() | texts,
    mode=st.sampled_from(MODES),
    bake_s=st.floats(0, 86400),
    gates=st.dictionaries(texts, st.integers() | texts, max_size=2),
    approve=st.sampled_from(APPROVALS),
    on_regression=st.sampled_from(REGRESSIONS),
)
rollouts = st.builds(
    Rollout,
    site=names,
    seq=st.integers(1, NUMBER_MAX),
    issued=st.just(THEN),
    expires=st.just(LATER),
    assignments=st.lists(assignments, max_size=3).map(tuple),
    pause=st.booleans(),
    kill=st.lists(digests, max_size=2).map(tuple),
)


@settings(max_examples=50, deadline=None)
@given(rollouts)
def test_a_rollout_comes_back_as_it_was(rollout: Rollout) -> None:
    raw = dump_rollout(rollout)

    assert parse_rollout(raw, "r") == rollout
    assert dump_rollout(parse_rollout(raw, "r")) == raw


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(names, st.builds(ModelFloor, numbers, st.frozensets(digests, max_size=3)), max_size=3))
def test_floors_come_back_as_they_were(models: dict[str, ModelFloor]) -> None:
    floors = FloorsDocument(models)

    assert parse_floors(dump_floors(floors), "f") == floors


def test_nothing_said_about_a_model_is_the_lowest_floor() -> None:
    assert FloorsDocument().of("weld") == ModelFloor(0, frozenset())


@pytest.mark.parametrize(
    "release",
    [
        RELEASE,
        replace(RELEASE, hardware=("intel-n100", "i7"), requires={"openvino": "2026.1", "edge-runtime": "1"}),
        replace(RELEASE, bundle=Descriptor(DIGEST, 900, "application/vnd.dev.sigstore.bundle.v0.3+json", {"a": "b"})),
        replace(RELEASE, bundle=Descriptor(DIGEST, 900, "application/json")),
    ],
)
def test_a_release_comes_back_as_it_was(release: Release) -> None:
    fields = json.loads(json.dumps(release_fields(release)))

    assert parse_release(fields, "r") == release


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff", b"null", b"[]", b"[[[[7]]]]", b'"\\ud800"', b"{}", b'{"schema":7}', b'{"a":1,"a":2}', b"[" * 5000],
)
def test_other_bytes_are_refused_with_our_error(raw: bytes) -> None:
    for parse in (parse_floors, parse_rollout):
        with pytest.raises(DataError):
            parse(raw, "x")


def _problems(kind: str, **changes: Any) -> list[str]:
    """Everything that is said about a good document with these changes; ``None`` removes a key."""
    good: dict[str, Any]
    good = {
        "release": release_fields(replace(RELEASE, bundle=Descriptor(DIGEST, 1, "x/y"))),
        "floors": {"schema": "edge-floors/1", "models": {"weld": {"min_release": 1}}},
        "rollout": json.loads(dump_rollout(replace(ROLLOUT, assignments=(Assignment("weld", 7),)))),
    }[kind]
    for key, value in changes.items():
        good[key] = value
        if value == "ABSENT":
            del good[key]
    parse = {"floors": parse_floors, "rollout": parse_rollout}.get(kind)
    with pytest.raises(DataError) as caught:
        parse(json.dumps(good).encode(), "doc") if parse else parse_release(good, "doc")
    assert caught.value.code == f"registry.{kind}"
    assert caught.value.help is not None
    head, *lines = caught.value.message.split("\n  ")
    assert head == f"doc: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    return lines


@pytest.mark.parametrize("kind", ["release", "floors", "rollout"])
def test_another_schema_is_refused(kind: str) -> None:
    assert _problems(kind, schema="edge-x/1") == [f"schema: expected 'edge-{kind}/1', found 'edge-x/1'"]
    assert _problems(kind, schema="ABSENT") == ["schema: expected a text, found null"]


@pytest.mark.parametrize("kind", ["release", "floors", "rollout"])
def test_a_key_that_nobody_knows_could_be_a_restriction(kind: str) -> None:
    assert _problems(kind, only_on_sundays=True) == ["only_on_sundays: unknown key"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": "Weld"}, "model: expected a text like [a-z0-9][a-z0-9._-]{0,63}, found 'Weld'"),
        ({"model": "../x"}, "model: expected a text like [a-z0-9][a-z0-9._-]{0,63}, found '../x'"),
        ({"release": -1}, "release: expected a whole number from 0 to 9007199254740992, found the number -1"),
        ({"release": "ABSENT"}, "release: expected a whole number from 0 to 9007199254740992, found null"),
        ({"release": True}, "release: expected a whole number from 0 to 9007199254740992, found true"),
        ({"digest": "md5:00"}, "digest: expected sha256: and 64 lower-case hex digits, found 'md5:00'"),
        ({"issued": "2026-02-31T00:00:00Z"}, "issued: expected a time like 2026-01-31T12:00:00Z, found '2026-02-31T00:00:00Z'"),  # noqa: E501
        ({"hardware": "n100"}, "hardware: expected a list of non-empty texts, found 'n100'"),
        ({"requires": {"openvino": "new"}}, r"requires.openvino: expected a text like [0-9]{1,9}(\.[0-9]{1,9}){0,5}, found 'new'"),  # noqa: E501
        ({"requires": {"Open Vino": "1"}}, "requires.Open Vino: expected the name of a library, like [a-z0-9][a-z0-9._-]{0,63}"),  # noqa: E501
        ({"bundle": {"digest": DIGEST, "size": 1, "mediaType": "x", "urls": ["y"]}}, "bundle.urls: unknown key"),
        ({"bundle": []}, "bundle: expected an object, found a list"),
    ],
)  # fmt: skip
def test_a_release_that_is_wrong(changes: dict[str, Any], problem: str) -> None:
    assert problem in _problems("release", **changes)


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        ({"Weld": {}}, "models.Weld: expected the name of a model, like [a-z0-9][a-z0-9._-]{0,63}"),
        ({"weld": {"min_release": 1.5}}, "models.weld.min_release: expected a whole number from 0 to 9007199254740992, found the number 1.5"),  # noqa: E501
        ({"weld": {"revoked": ["sha1:00"]}}, "models.weld.revoked[0]: expected sha256: and 64 lower-case hex digits, found 'sha1:00'"),  # noqa: E501
        ({"weld": {"min_relase": 1}}, "models.weld.min_relase: unknown key (did you mean 'min_release'?)"),
        ({"weld": 3}, "models.weld: expected an object, found the number 3"),
        ([], "models: expected an object, found a list"),
    ],
)  # fmt: skip
def test_floors_that_are_wrong(models: object, problem: str) -> None:
    assert _problems("floors", models=models) == [problem]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"site": "Plant A"}, "site: expected a text like [a-z0-9][a-z0-9._-]{0,63}, found 'Plant A'"),
        ({"seq": 0}, "seq: expected a whole number from 1 to 9007199254740992, found the number 0"),
        ({"expires": "2026-01-31T12:00:00Z"}, "expires: expected a time after issued 2026-01-31T12:00:00Z, found 2026-01-31T12:00:00Z"),  # noqa: E501
        ({"pause": "yes"}, "pause: expected true or false, found 'yes'"),
        ({"pause": None}, "pause: null"),
        ({"kill": [DIGEST, "x"]}, "kill[1]: expected sha256: and 64 lower-case hex digits, found 'x'"),
        ({"assignments": {"model": "weld", "release": 7}}, "assignments: expected a list of objects, found an object"),
        ({"assignments": [7]}, "assignments[0]: expected an object, found the number 7"),
    ],
)  # fmt: skip
def test_a_rollout_that_is_wrong(changes: dict[str, Any], problem: str) -> None:
    assert _problems("rollout", **changes) == [problem]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"percent": 101}, "percent: expected a number from 0 to 100, found the number 101"),
        ({"percent": None}, "percent: null"),
        ({"mode": "actve"}, "mode: expected one of shadow, canary, active (did you mean 'active'?), found 'actve'"),
        ({"approve": "me"}, "approve: expected one of auto, operator, found 'me'"),
        ({"on_regression": 1}, "on_regression: expected one of rollback, hold, found the number 1"),
        ({"bake_s": -1}, "bake_s: expected a number from 0 to 7.776e+06, found the number -1"),
        ({"ring": "a\nb"}, "ring: expected a text like [^\\x00-\\x1f\\x7f]{1,256}, found 'a\\nb'"),
        ({"match": {"lines": ["1"]}}, "match.lines: unknown key (did you mean 'line'?)"),
        ({"match": {"until": "noon"}}, "match.until: unknown key"),
        ({"match": {"line": []}}, "match.line: expected a text, or a list of at least one, found a list"),
        ({"match": {"line": None}}, "match.line: expected a text, or a list of at least one, found null"),
        ({"match": {"line": ["1", 2]}}, "match.line: expected a text, or a list of at least one, found a list"),
        ({"match": {"labels": {"hall": []}}}, "match.labels.hall: expected a text, or a list of at least one, found a list"),  # noqa: E501
        ({"match": None}, "match: null"),
    ],
)  # fmt: skip
def test_an_assignment_that_is_wrong(changes: dict[str, Any], problem: str) -> None:
    lines = _problems("rollout", assignments=[{"model": "weld", "release": 7, **changes}])

    assert lines == [f"assignments[0].{problem}"]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    lines = _problems("rollout", seq=0, site="A", assignments=[{"match": {"lin": "1"}}, {"model": "x", "release": -1}])

    assert len(lines) == 6


def test_one_text_stands_for_a_list_of_one() -> None:
    raw = json.loads(dump_rollout(ROLLOUT))
    raw["assignments"] = [{"model": "weld", "release": 7, "match": {"line": "1", "labels": {"hall": "north"}}}]

    (found,) = parse_rollout(json.dumps(raw).encode(), "r").assignments
    assert found.match == Match(line=("1",), labels={"hall": ("north",)})
    assert (found.percent, found.mode, found.approve, found.on_regression) == (100.0, "active", "auto", "rollback")


def test_too_large_a_document_is_not_read() -> None:
    raw = dump_rollout(ROLLOUT)
    with pytest.raises(DataError) as caught:
        parse_rollout(raw + b" " * (256 << 10), "r")
    assert caught.value.code == "manifest.unreadable"


def test_nothing_is_written_that_a_box_would_refuse() -> None:
    with pytest.raises(DataError):
        dump_rollout(replace(ROLLOUT, seq=0))
    with pytest.raises(DataError):
        dump_rollout(replace(ROLLOUT, assignments=(Assignment("weld", 7, ring="\ud800"),)))
    with pytest.raises(DataError):
        dump_rollout(replace(ROLLOUT, assignments=(Assignment("weld", 7, gates={"x": float("nan")}),)))
    with pytest.raises(DataError):
        dump_floors(FloorsDocument({"Weld": ModelFloor(1)}))
    with pytest.raises(DataError):
        release_fields(replace(RELEASE, version=""))


def test_times_are_whole_seconds_in_utc() -> None:
    assert stamp(THEN) == "2026-01-31T12:00:00Z"
    assert parse_stamp(stamp(THEN)) == THEN
    for other in ("2026-01-31T12:00:00+00:00", "2026-01-31 12:00:00Z", "2026-13-01T00:00:00Z", 7, None):
        assert parse_stamp(other) is None


def test_names_and_paths() -> None:
    assert release_path("weld", 7) == "releases/weld/7.json"
    assert release_at("releases/weld/7.json") == ("weld", 7)
    for other in ("releases/weld/07.json", "releases/../7.json", "releases/weld/9999999999999999.json", "floors.json"):
        assert release_at(other) is None
    assert (rollout_role("plant-a"), rollout_path("plant-a")) == ("rollout-plant-a", "rollout/plant-a/desired.json")
    assert rollout_paths("plant-a") == "rollout/plant-a/*"
    assert is_name("plant-a")
    assert not is_name("Plant")
