"""A spool whose files were damaged goes on: nothing is deleted, no number is used again, what is lost is named."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.spool.spool import Spool
from tests.fakes.clock import ManualClock
from tests.fakes.results import BOOT, IDENTITY, make_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.publish.spool.store import Row

PAGE = 4096
COUNT = 300  # results; the first 100 were acknowledged
ACKED = 100
STREAM = "result/top"


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 8, 64))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) // PAGE + 1) * PAGE]


def _cut_anywhere(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _zero_page(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(max(1, len(data) // PAGE)) * PAGE
    return data[:start] + bytes(min(PAGE, len(data) - start)) + data[start + PAGE :]


def _zero_header(data: bytes, _chance: random.Random) -> bytes:
    return bytes(100) + data[100:]


def _swap_pages(data: bytes, chance: random.Random) -> bytes:
    pages = [data[start : start + PAGE] for start in range(0, len(data), PAGE)]
    chance.shuffle(pages)
    return b"".join(pages)


def _random(data: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(len(data))


def _nothing(_data: bytes, _chance: random.Random) -> bytes:
    return b""


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _flip, _cut, _cut_anywhere, _zero_page, _zero_page, _zero_header, _swap_pages, _random, _nothing),
)
FILES = ("spool.db", "spool.db", "spool.db-wal", "spool.db.seq")


@dataclass(frozen=True)
class Template:
    """Two spools as they lie on a disk: one closed, one of a process that was killed (all in the log); ``bodies``."""

    directory: Path
    bodies: dict[int, dict[int, bytes]]


def _rows(spool: Spool) -> list[Row]:
    rows: list[Row] = []
    for _ in range(200):
        spool.step(0.0)
        found = spool.take(1000)
        rows += found
        if not found and not spool.waiting and not spool.stats().queued:
            return rows
    raise AssertionError(f"the spool does not settle: {spool.stats()}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    directory = tmp_path_factory.mktemp("template")
    bodies = {}
    for killed in (0, 1):
        place, clock = directory / str(killed), ManualClock()
        place.mkdir()
        spool = Spool(place / "spool.db", IDENTITY, BOOT, clock)
        spool.open()
        with closing(spool):
            for frame in range(1, COUNT + 1):
                spool.put(make_result(frame, clock))
            rows = _rows(spool)
            spool.acked(rows[:ACKED])
            spool.step(0.0)
            spool._writer.syncer._flush()
            bodies[killed] = {row.seq: row.body for row in rows}
            if killed:
                shutil.copytree(place, directory / "copy")
    shutil.rmtree(directory / "1")
    (directory / "copy").rename(directory / "1")
    return Template(directory, bodies)


@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(20, 100))])
def test_a_damaged_spool_goes_on(template: Template, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    killed, name, mutation = chance.randrange(2), chance.choice(FILES), chance.choice(MUTATIONS)
    place = tmp_path / "spool"
    shutil.copytree(template.directory / str(killed), place)
    if not (place / name).exists():
        name = "spool.db"  # a closed spool has no log
    damaged = mutation((place / name).read_bytes(), chance)
    (place / name).write_bytes(damaged)
    clock = ManualClock()
    spool = Spool(place / "spool.db", IDENTITY, "boot-2", clock)
    spool.open()
    with closing(spool):
        spool.put(make_result(COUNT + 1, clock))
        rows = _rows(spool)
        spool.put(make_result(COUNT + 2, clock))  # the first one may have gone with a file that was found damaged later
        rows += _rows(spool)
        assert spool.stats().state == "ok"
        spool._writer.syncer._flush()
        assert spool.stats().lost == 0
    changed = _judge(rows, template.bodies[killed])
    assert not changed or name == "spool.db", "the log has checksums: what is changed in it cannot be sent"
    documents = [json.loads(row.body) for row in rows if row.stream != STREAM]
    aside = [document["fields"] for document in documents if document["kind"] == "spool.quarantined"]
    assert {place / fields["kept_as"] for fields in aside} <= set(place.glob("*.corrupt-*"))
    if any(fields["file"] == name for fields in aside):
        (kept,) = place.glob(f"{name}.corrupt-*")
        assert (
            len(kept.read_bytes()) >= len(damaged) - PAGE
        )  # what was left of it is there; SQLite may have healed some


def _judge(rows: list[Row], before: dict[int, bytes]) -> list[int]:
    """What was owed comes or is named; the new result has a number above all that were in use.

    Returns the numbers of documents that were changed on the disk: SQLite's tables have no checksums, so a bit that
    flips inside a document is sent. It is the disk's own checks that guard against that.
    """
    results = {row.seq: row for row in rows if row.stream == STREAM}
    new = [row.seq for row in results.values() if b'"bootId":"boot-2"' in row.body]
    assert new
    assert min(new) > COUNT, "a number is used again"
    documents = [json.loads(row.body) for row in rows if row.stream != STREAM]
    gaps = [document["fields"] for document in documents if document["kind"] == "spool.gap"]
    named = {seq for gap in gaps for seq in range(gap["from_seq"], gap["to_seq"] + 1)}
    owed = set(range(ACKED + 1, max(new)))
    assert owed - set(results) <= named, "what is lost is not named"
    return [seq for seq, row in results.items() if seq in before and row.body != before[seq]]
