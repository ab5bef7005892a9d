"""The audit trail: nothing can be changed, taken out or added unseen; power cuts and full disks are said."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.control.commands.audit import FILES_MAX, Audit, contents, lacks_beginning, trail
from edge_runtime.control.commands.chain import START, Head, Proof, encode, parse, verify
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def proof(directory: Path) -> Proof:
    return verify(contents(trail(directory)))


def records(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for data in contents(trail(directory)) for line in data.splitlines() if parse(line)]


def opened(directory: Path, **options: Any) -> Audit:
    audit = Audit(directory, "boot", ManualClock(), **options)
    audit.open()
    return audit


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    audit = opened(tmp_path)
    yield audit
    audit.close()


def test_records_are_chained_over_restarts(tmp_path: Path) -> None:
    for number in range(3):
        audit = opened(tmp_path)
        audit.add("test", {"number": number})
        audit.sync()
        audit.close()
    found = proof(tmp_path)
    assert (found.first, found.records, found.head.seq, found.broken) == (1, 3, 3, None)
    assert [one["number"] for one in records(tmp_path)] == [0, 1, 2]
    assert records(tmp_path)[0]["prev"] == START


def test_a_record_that_tells_of_another_number_does_not_break_the_chain(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    for _ in range(2):
        audit.add("deployment.vetting", {"seq": 7, "prev": "none"})
    audit.close()
    assert (proof(tmp_path).records, proof(tmp_path).broken) == (2, None)


def test_any_byte_that_is_changed_is_found(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    for number in range(3):
        audit.add("test", {"number": number})
    audit.close()
    path = tmp_path / "audit.jsonl"
    good = path.read_bytes()
    last = good.rindex(b"\n", 0, -1)
    head = proof(tmp_path).head
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        found = proof(tmp_path)
        # a change of the last record needs the head that an event or an export has told somebody
        assert found.broken is not None or found.tail or (place > last and found.head != head), place


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_attack_42_a_line_that_is_taken_out_of_the_trail_is_missed(tmp_path: Path, gone: int) -> None:
    audit = opened(tmp_path)
    for number in range(4):
        audit.add("test", {"number": number})
    audit.close()
    path = tmp_path / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    found = proof(tmp_path)
    if gone:
        assert found.broken is not None
    else:
        assert found.first == 2
        assert "records 1 to 1 are missing" in (lacks_beginning(trail(tmp_path), found) or "")


def test_a_line_that_lacks_nothing_but_its_end_is_a_record(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    audit.add("test", {})
    audit.close()
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    audit = opened(tmp_path)
    audit.add("test", {})
    audit.close()
    assert (proof(tmp_path).records, proof(tmp_path).torn, proof(tmp_path).broken) == (2, 0, None)


@pytest.mark.parametrize("left", [1, 40, -2])
def test_a_line_that_a_power_cut_tore_is_said_and_the_chain_goes_on(tmp_path: Path, left: int) -> None:
    audit = opened(tmp_path)
    audit.add("test", {})
    audit.add("test", {"torn": True})
    audit.close()
    path = tmp_path / "audit.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:left])
    assert proof(tmp_path).tail == second[:left]
    opened(tmp_path).close()
    found = proof(tmp_path)
    assert (found.records, found.torn, found.tail, found.broken) == (2, 1, b"", None)
    assert records(tmp_path)[-1]["kind"] == "audit.torn"
    path.write_bytes(path.read_bytes().replace(second[:left] + b"\n", b""))
    assert proof(tmp_path).broken is not None, "that it was torn cannot be taken back"


def test_zeros_that_a_power_cut_left_are_torn_too(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    audit.add("test", {})
    audit.close()
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(bytes(4096))
    opened(tmp_path).close()
    assert (proof(tmp_path).torn, proof(tmp_path).broken) == (1, None)


def test_what_somebody_changed_is_kept_aside_and_said(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    for number in range(3):
        audit.add("test", {"number": number})
    audit.close()
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":7'))
    audit = opened(tmp_path)
    audit.add("test", {"number": 3})
    audit.close()
    (aside,) = tmp_path.glob("audit.jsonl.broken-*")
    assert b'"number":7' in aside.read_bytes()
    assert [one["kind"] for one in records(tmp_path)] == ["audit.broken", "test"]
    assert records(tmp_path)[0]["movedTo"] == aside.name
    assert lacks_beginning(trail(tmp_path), proof(tmp_path)) is None, "the first record says so"


def test_files_are_rotated_and_the_oldest_deleted(tmp_path: Path) -> None:
    audit = opened(tmp_path, file_bytes=1000)
    for number in range(100):
        audit.add("test", {"number": number})
    audit.close()
    paths = trail(tmp_path)
    assert len(paths) == FILES_MAX + 1
    found = proof(tmp_path)
    assert (found.broken, found.head.seq) == (None, found.first + found.records - 1)
    assert found.first > 1
    assert lacks_beginning(paths, found) is None, "these were rotated away"
    assert any(one.get("deleted") for one in records(tmp_path))
    audit = opened(tmp_path, file_bytes=1000)
    assert audit.head == found.head
    audit.close()


def test_a_kill_between_rename_and_the_new_file_costs_nothing(tmp_path: Path) -> None:
    audit = opened(tmp_path)
    audit.add("test", {})
    head = audit.head
    audit.close()
    (tmp_path / "audit.jsonl").rename(tmp_path / "audit.000000000001.jsonl")
    audit = opened(tmp_path)
    assert audit.head == head
    audit.add("test", {})
    audit.close()
    assert (proof(tmp_path).records, proof(tmp_path).broken) == (2, None)


@pytest.mark.parametrize("short", [0, 10])
def test_a_full_disk_stops_nothing_and_what_is_missing_is_said(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    real, room = os.write, [short]

    def full(descriptor: int, data: bytes) -> int:
        if not room or not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: room.pop()])

    audit.add("test", {"before": True})
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        assert audit.add("test", {"lost": 1}) is None
        broken.setattr(os, "ftruncate", _refuse)  # then not even that can be taken back
        room[:] = [short]
        assert audit.add("test", {"lost": 2}) is None
    assert audit.trouble is not None
    assert audit.add("test", {"after": True}) is not None
    assert (audit.lost, audit.trouble) == (2, None)
    assert [one["kind"] for one in records(tmp_path) if one["kind"] != "audit.torn"] == ["test", "audit.lost", "test"]
    assert (proof(tmp_path).broken, proof(tmp_path).torn) == (None, bool(short))


def _refuse(_descriptor: int, _data: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_directory_that_refuses_stops_nothing(tmp_path: Path) -> None:
    audit = opened(tmp_path / "absent")
    assert audit.add("test", {}) is None
    audit.sync()
    (tmp_path / "absent").mkdir()
    assert audit.add("test", {}) is not None
    assert [one["kind"] for one in records(tmp_path / "absent")] == ["audit.lost", "test"]
    audit.close()
    audit.close()


def test_a_flush_that_fails_is_a_trouble(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def eio(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    audit.add("test", {})
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", eio)
        audit.sync()
    assert audit.trouble is not None


def lines(*fields: dict[str, object]) -> list[bytes]:
    head, found = Head(), []
    for one in fields:
        line, head = encode(head, one)
        found.append(line)
    return found


def test_odd_trails_are_broken() -> None:
    one, two = lines({"kind": "a"}, {"kind": "b"})
    assert verify([one + b"\n" + two + b"\n"]).broken is None
    assert "two lines" in (verify([one + b"\nx\ny\n"]).broken or "")
    assert "nothing after" in (verify([one + b"\nx\n"]).broken or "")
    assert "does not declare" in (verify([one + b"\nx\n" + two + b"\n"]).broken or "")
    assert "does not declare" in (verify([one + b"\n\n" + two + b"\n"]).broken or "")
    (torn,) = lines({"kind": "audit.torn", "bytes": 1, "sha256": "x"})
    assert "not there" in (verify([torn + b"\n"]).broken or "")
    assert "missing" in (verify([two + b"\n"], start=Head(7, START)).broken or "")
    assert "hash" in (verify([one.replace(b"0" * 64, b"1" * 64) + b"\n"]).broken or "")
    assert verify([]) == Proof(0, Head(), 0, 0, b"", None)
    assert parse(b"[1]") is None
    assert parse(b"[" * 100_000) is None
