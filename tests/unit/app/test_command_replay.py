from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.command_replay import spool_handlers
from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.publish.spool import revival
from tests.fakes.clock import ManualClock
from tests.unit.publish.spool.rig import Bench, documents, seqs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, ManualClock()) as found:
        found.put(6)
        rows = found.deliver()
        assert seqs(rows) == [1, 2, 3, 4, 5, 6]
        yield found


def ask(bench: Bench, verb: str, target: str | None = None, **arguments: object) -> Answer:
    answers: list[Answer] = []
    command = Command(verb, target, arguments, "aa", "scada", 0)
    spool_handlers(bench.spool)[verb](command, answers.append)
    bench.step(2)
    (answer,) = answers
    return answer


@pytest.mark.parametrize("target", ["top", None])
def test_a_replay_says_what_will_come(bench: Bench, target: str | None) -> None:
    arguments = {} if target else {"inspection": "top"}
    answer = ask(bench, "replay", target, fromSeq=2, toSeq=9, **arguments)
    assert answer.status is Status.ACCEPTED
    assert answer.fields == {
        "inspection": "top",
        "fromSeq": 2,
        "toSeq": 9,
        "willCome": 5,
        "refused": 0,
        "missing": [],
        "missingCount": 0,
    }
    rows = bench.take()
    assert seqs(rows) == [2, 3, 4, 5, 6]
    assert all(bench.spool.is_historical(row, 10.0) for row in rows if row.stream == "result/top")
    (told,) = documents(rows, "spool.replayed")
    assert (told["topic"], told["count"]) == ("result/top", 5)


@pytest.mark.parametrize(
    ("target", "arguments", "status"),
    [
        ("top", {"fromSeq": 3}, Status.MALFORMED),
        ("top", {"fromSeq": True, "toSeq": 4}, Status.MALFORMED),
        (None, {"fromSeq": 1, "toSeq": 4}, Status.MALFORMED),
        ("top", {"fromSeq": 4, "toSeq": 3}, Status.MALFORMED),
        ("top", {"fromSeq": 0, "toSeq": 3}, Status.MALFORMED),
        ("top", {"fromSeq": 7, "toSeq": 8}, Status.MALFORMED),
        ("top", {"fromSeq": 1, "toSeq": revival.NUMBERS_MAX + 1}, Status.MALFORMED),
        ("side", {"fromSeq": 1, "toSeq": 3}, Status.UNKNOWN),
    ],
)
def test_nonsense_is_refused(bench: Bench, target: str | None, arguments: dict[str, object], status: Status) -> None:
    assert ask(bench, "replay", target, **arguments).status is status
    assert bench.take() == []


def test_too_many_at_once_are_refused_and_those_that_wait_are_told_when_the_spool_ends(bench: Bench) -> None:
    answers: list[Answer] = []
    handler = spool_handlers(bench.spool)["replay"]
    for _ in range(revival.JOBS_MAX + 1):
        handler(Command("replay", "top", {"fromSeq": 1, "toSeq": 6}, "aa", "scada", 0), answers.append)
    assert [answer.status for answer in answers] == [Status.TOO_MANY]
    bench.step(2)
    bench.spool.close()
    assert {answer.status for answer in answers[1:]} == {Status.ACCEPTED, Status.UNAVAILABLE}
    assert len(answers) == revival.JOBS_MAX + 1


def test_dead_letters_get_another_chance(bench: Bench) -> None:
    bench.put(2)
    bench.put(1, "side")
    bench.step()
    for row in bench.take():
        bench.spool.refused(row, "not authorized (135)")
    bench.step(2)
    bench.spool.acked(bench.take())
    bench.step()
    assert bench.spool.stats().dead == 3
    assert ask(bench, "replay", "top", fromSeq=7, toSeq=8).fields["refused"] == 2
    assert ask(bench, "spool.requeue", stream=7).status is Status.MALFORMED
    assert ask(bench, "spool.requeue", "top", refusedFor="too large").fields["willCome"] == 0
    answer = ask(bench, "spool.requeue", "side", refusedFor="not authorized (135)")
    assert (answer.status, answer.fields["willCome"]) == (Status.ACCEPTED, 1)
    assert seqs(bench.take(), "result/side") == [1]
    assert ask(bench, "spool.requeue").fields["willCome"] == 2
    assert ask(bench, "spool.status").fields["dead"] == 0
