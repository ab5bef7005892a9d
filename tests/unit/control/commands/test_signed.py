"""Signed commands: what is proven, and what a thief of a signed message can do with it (nothing)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.asker import Wish
from edge_runtime.control.commands.ed25519 import generate, is_signed_by, read_public, sign
from edge_runtime.control.commands.signature import TAG, Signature, canonical
from edge_runtime.core.errors import DataError
from edge_runtime.publish.payload import Identity, timestamp
from tests.fakes.desk import ROOT, DeskBench
from tests.fakes.results import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b'{"release": "m@line-3"}'


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    for name in ("ops", "eve"):
        private, public = generate()
        (directory / name).write_bytes(private)
        (directory / f"{name}.pub").write_bytes(public)
    return directory


def a_bench(directory: Path, keys: Path, **policy: Any) -> DeskBench:
    bench = DeskBench(directory, keys={"ops": keys / "ops.pub"}, **policy)
    bench.clock.advance_ms(300_000)  # what was signed before the box remembers is refused
    return bench


@pytest.fixture
def bench(tmp_path: Path, keys: Path) -> Iterator[DeskBench]:
    bench = a_bench(tmp_path, keys)
    yield bench
    bench.close()


def signed(
    bench: DeskBench, keys: Path, *, key: str = "ops", off_s: float = 0.0, identity: Identity = IDENTITY, **more: Any
) -> dict[str, Any]:
    """MQTT 5 properties of a signed model.update."""
    ts = timestamp(bench.clock.utc_ns() + int(off_s * 1e9))
    unsigned = Signature.of("ops", ts, b"", more.get("body", BODY))
    data = canonical(identity, more.get("verb", "model.update"), more.get("target", "defects"), "0a", unsigned)
    sig = base64.b64encode(sign(keys / key, data)).decode()
    return {"correlation": b"\x0a", "headers": (("key", "ops"), ("ts", ts), ("sig", sig), ("more", "is fine"))}


def status(answers: list[dict[str, Any]]) -> int:
    (answer,) = answers
    return int(answer["status"])


def test_the_bytes_that_are_signed_are_those_of_the_manual() -> None:
    unsigned = Signature.of("ops", "2027-01-15T08:00:00Z", b"", b"{}")
    empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    expected = f"{TAG}\nplant-a/line-3/box-17\nmodel.update\ndefects\n0a\n2027-01-15T08:00:00Z\n{empty}"
    assert canonical(IDENTITY, "model.update", "defects", "0a", unsigned).decode() == expected
    assert canonical(IDENTITY, "reset", None, "0a", unsigned).split(b"\n")[3] == b""


def test_a_signed_command_is_proven_and_carried_out(bench: DeskBench, keys: Path) -> None:
    assert status(bench.say("model.update/defects", BODY, **signed(bench, keys))) == 202
    assert bench.line.done[0].principal == "ops"
    assert bench.records("command.begun")[0]["who"] == {"name": "ops", "proven": True}
    assert bench.events[-1].message.startswith("ops asked for model.update of defects")


def test_a_client_without_properties_signs_too(bench: DeskBench, keys: Path) -> None:
    wish = Wish(IDENTITY, "model.update", "defects", "id-1", "gateway", {"release": "m"}, (keys / "ops", "ops"))
    message = wish.message(bench.clock.utc_ns(), 10.0)
    assert status(bench.say("model.update/defects", message.body)) == 202
    assert bench.posted[0].topic == f"{ROOT}/reply/gateway/id-1"
    assert bench.line.done[0].arguments == {"release": "m"}
    document = json.loads(message.body)
    inner = document["command"].replace('"m"', '"x"')
    assert status(bench.say("model.update/defects", document | {"command": inner})) == 401
    assert bench.say("model.update/defects", document | {"correlationId": "2"}) == []
    assert [one["outcome"]["reason"] for one in bench.records("command.refused")] == ["signature", "field"]
    assert len(bench.line.done) == 1


CASES: dict[str, dict[str, Any]] = {
    "a key that the box does not know": {"key": "eve"},
    "another box": {"identity": Identity("plant-a", "line-3", "box-18")},
    "another verb": {"verb": "model.rollback"},
    "another slot": {"target": "other"},
    "other arguments": {"body": BODY + b" "},
    "too old": {"off_s": -301.0},
    "from the future": {"off_s": 301.0},
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_signed_for_something_else_is_refused(bench: DeskBench, keys: Path, case: str) -> None:
    assert status(bench.say("model.update/defects", BODY, **signed(bench, keys, **CASES[case]))) == 401
    assert bench.line.done == []


@pytest.mark.parametrize("off_s", [-299.0, 299.0])
def test_clocks_may_be_minutes_apart(bench: DeskBench, keys: Path, off_s: float) -> None:
    assert status(bench.say("model.update/defects", BODY, **signed(bench, keys, off_s=off_s))) == 202


def test_another_id_is_not_what_was_signed(bench: DeskBench, keys: Path) -> None:
    assert status(bench.say("model.update/defects", BODY, **signed(bench, keys) | {"correlation": b"\x0b"})) == 401


@pytest.mark.parametrize(
    "headers",
    [
        (("sig", "x"),),
        (("key", "ops"), ("ts", "2027-01-15T08:00:00Z"), ("sig", "no base64!")),
        (("key", "ops"), ("ts", "2027-01-15T08:00:00Z"), ("sig", "AAAA")),
        (("key", "nobody"), ("ts", "2027-01-15T08:00:00Z"), ("sig", base64.b64encode(bytes(64)).decode())),
    ],
)
def test_half_a_signature_is_none(bench: DeskBench, headers: tuple[tuple[str, str], ...]) -> None:
    assert status(bench.say("model.update/defects", BODY, correlation=b"\x0a", headers=headers)) == 401


def test_a_signature_with_an_odd_time_is_refused(bench: DeskBench, keys: Path) -> None:
    data = canonical(IDENTITY, "reset", None, "0a", Signature.of("ops", "yesterday", b"", b"{}"))
    sig = base64.b64encode(sign(keys / "ops", data)).decode()
    headers = (("key", "ops"), ("ts", "yesterday"), ("sig", sig))
    assert status(bench.say("reset", b"{}", correlation=b"\x0a", headers=headers)) == 400


def test_a_stolen_message_is_never_carried_out_again(tmp_path: Path, keys: Path) -> None:
    """Not at once, not after a restart, not when its nonce is forgotten, and not when the clock jumps back."""
    bench = a_bench(tmp_path, keys)
    stolen = signed(bench, keys)
    first = bench.say("model.update/defects", BODY, **stolen)
    assert bench.say("model.update/defects", BODY, **stolen) == first
    bench.close()
    clock = bench.clock
    bench = DeskBench(tmp_path, clock, keys={"ops": keys / "ops.pub"})
    assert bench.say("model.update/defects", BODY, **stolen) == first
    bench.tick(901_000)
    assert len(bench.answers) == 0, "its time is over and it is forgotten"
    clock._elapsed_ns -= 901_000_000_000  # the wall clock is set back to when it was signed
    assert status(bench.say("model.update/defects", BODY, **stolen)) == 401
    bench.close()
    bench = DeskBench(tmp_path, clock, keys={"ops": keys / "ops.pub"})
    assert status(bench.say("model.update/defects", BODY, **stolen)) == 401
    assert bench.line.done == []
    bench.close()


def test_what_was_signed_before_the_memory_was_lost_is_refused(tmp_path: Path, keys: Path) -> None:
    bench = a_bench(tmp_path, keys)
    stolen = signed(bench, keys)
    bench.clock.advance_ms(1)
    bench.say("model.update/defects", BODY, **stolen)
    bench.close()
    for name in ("commands.db", "commands.db-wal"):
        (tmp_path / name).unlink(missing_ok=True)
    bench = DeskBench(tmp_path, bench.clock, keys={"ops": keys / "ops.pub"})
    assert status(bench.say("model.update/defects", BODY, **stolen)) == 401
    bench.clock.advance_ms(1)
    assert status(bench.say("model.update/defects", BODY, **signed(bench, keys))) == 202
    bench.close()


def test_the_name_of_a_key_is_worth_nothing_without_its_signature(tmp_path: Path, keys: Path) -> None:
    bench = a_bench(tmp_path, keys, allow={"ops": ("reset",), "*": ("trigger",)})
    claimed = {"correlation": b"\x0a", "response_topic": f"{ROOT}/reply/ops"}
    assert status(bench.say("reset", b"{}", **claimed)) == 403
    bench.clock.advance_ms(1)
    assert status(bench.say("reset", b"{}", **signed(bench, keys, verb="reset", target=None, body=b"{}"))) == 202
    bench.close()


def test_a_signed_command_needs_an_id_and_a_signed_trigger_too(bench: DeskBench, keys: Path) -> None:
    headers = signed(bench, keys)["headers"]
    bench.say("trigger/top", b"{}", headers=headers)
    assert bench.records("command.refused")[0]["outcome"]["reason"] == "no_id"


def test_a_key_file_that_is_gone_is_our_trouble(tmp_path: Path, keys: Path) -> None:
    bench = DeskBench(tmp_path, keys={"ops": tmp_path / "gone.pub"})
    assert status(bench.say("model.update/defects", BODY, **signed(bench, keys))) == 503
    bench.close()


def test_verbs_can_be_made_to_need_a_signature(tmp_path: Path) -> None:
    bench = DeskBench(tmp_path, signed=("reset",))
    assert status(bench.say("reset", b"{}", correlation=b"1")) == 401
    bench.close()


def test_keys_that_are_none_are_refused(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "empty").write_text("")
    for path in (tmp_path / "absent", tmp_path / "empty"):
        with pytest.raises(DataError):
            sign(path, b"x")
        with pytest.raises(DataError):
            read_public(path)
    assert not is_signed_by(read_public(keys / "ops.pub"), bytes(64), b"x")
    assert not is_signed_by(b"no key", bytes(64), b"x")
    assert is_signed_by(read_public(keys / "ops.pub"), sign(keys / "ops", b"x"), b"x")
