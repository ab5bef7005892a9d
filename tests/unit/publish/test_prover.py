from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.publish import prover as module
from edge_runtime.publish.prover import Hole, Mark, Proof, Prover

if TYPE_CHECKING:
    import random

BOX = "plant/line/box"
TOP = f"{BOX}/result/top"
SEQ = st.integers(min_value=1, max_value=20)
TS = "2026-11-22T10:15:30.123456Z"


def result(seq: int, document_id: str | None = None, *, historical: bool = False, boot: str = "b") -> dict[str, Any]:
    return {
        "schema": "vision.result/1",
        "id": document_id or f"id-{seq}",
        "seq": seq,
        "bootId": boot,
        "ts": TS,
        "site": "plant",
        "line": "line",
        "edge": "box",
        "inspection": "top",
        "historical": historical,
    }


def gap(first: int, last: int, kind: str = "spool.gap", seq: int = 1, count: int | None = None) -> dict[str, Any]:
    return {
        "schema": "vision.event/1",
        "id": f"event-{seq}",
        "seq": seq,
        "bootId": "b",
        "ts": TS,
        "site": "plant",
        "line": "line",
        "edge": "box",
        "scope": "top",
        "kind": kind,
        "historical": False,
        "fields": {"topic": "result/top", "from_seq": first, "to_seq": last, "count": count},
    }


def proof(*documents: dict[str, Any]) -> Proof:
    prover = Prover()
    for document in documents:
        prover.add(document)
    return prover.proof()


def test_a_stream_in_order_is_complete() -> None:
    assert proof(*map(result, range(5, 9))) == Proof(received=4, distinct=4, boots=1)
    assert proof(*map(result, range(5, 9))).complete


def test_a_hole_is_missing_until_it_is_filled() -> None:
    assert proof(result(1), result(5)).missing == 3
    assert not proof(result(1), result(5)).complete
    late = proof(result(1), result(5), result(3), result(2), result(4))
    assert (late.missing, late.inversions) == (0, 3)


def test_historical_documents_may_come_late_without_being_inversions() -> None:
    found = proof(result(1), result(5), *(result(s, historical=True) for s in (2, 3, 4)))
    assert (found.missing, found.inversions) == (0, 0)


def test_documents_before_the_first_one_seen_extend_the_range() -> None:
    assert proof(result(5), result(2)).missing == 2
    assert proof(result(5), result(4), result(6)).missing == 0
    assert proof(result(5), result(2, historical=True)).inversions == 0


def test_a_repeated_id_is_a_duplicate_and_another_id_a_conflict() -> None:
    found = proof(result(1), result(1), result(1, "other"))
    assert (found.received, found.distinct, found.duplicates, found.conflicts) == (3, 1, 1, 1)
    assert not found.complete


def test_ids_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDS_MAX", 2)
    found = proof(result(1), result(2), result(3), result(1, "other"))
    assert (found.duplicates, found.conflicts) == (1, 0)


@pytest.mark.parametrize("kind", ["spool.gap", "spool.refused"])
def test_declared_numbers_are_not_missing(kind: str) -> None:
    found = proof(result(1), gap(2, 3, kind), result(6), gap(3, 4, kind, seq=2))
    assert (found.missing, found.declared) == (1, 3)


def test_several_holes_are_filled_and_declared_apart() -> None:
    found = proof(result(1), result(4), result(8), result(6), gap(2, 3), gap(7, 7, seq=2))
    assert (found.missing, found.declared) == (1, 3)


def test_an_event_declares_no_more_numbers_than_it_counts() -> None:
    """Seq 2 and 9 were refused and summed up in one event; 5 is really missing."""
    found = proof(*(result(seq) for seq in (1, 3, 4, 6, 7, 8, 10)), gap(2, 9, "spool.refused", count=2))
    assert (found.missing, found.declared) == (1, 2)


def test_an_event_that_comes_twice_declares_once() -> None:
    found = proof(result(1), result(4), gap(2, 3, count=1), gap(2, 3, count=1), gap(1, 9, seq=2, count=-1))
    assert (found.missing, found.declared) == (1, 1)


def test_boxes_of_the_same_name_on_two_lines_are_two_boxes() -> None:
    elsewhere = [{**result(seq), "line": "line-2"} for seq in (2, 3)]
    assert proof(result(1), result(4), *elsewhere).missing == 2
    assert proof(*map(result, (1, 2, 3)), *elsewhere) == Proof(received=5, distinct=5, boots=1)
    assert proof(result(1), result(4), {**gap(2, 3), "site": "plant-2"}).missing == 2


def test_a_declaration_before_the_first_result_counts() -> None:
    found = proof(gap(1, 9), result(5), result(7))
    assert (found.missing, found.declared) == (0, 1)


def test_other_events_and_documents_declare_nothing() -> None:
    found = proof(gap(2, 3, "camera.lost"), {"schema": "vision.status/1"}, result(1), result(4))
    assert (found.received, found.missing) == (2, 2)


def test_streams_are_proven_apart_and_boots_counted() -> None:
    prover = Prover()
    for document in (result(1), result(2, boot="c"), gap(9, 9)):
        prover.add(document)
    assert prover.streams() == [TOP, f"{BOX}/event/top"]
    assert prover.proof(TOP).received == 2
    assert prover.proof(f"{BOX}/event/top").received == 1
    assert prover.proof().boots == 2
    assert (prover.last(TOP), prover.last("unknown")) == (2, 0)


def test_a_document_against_its_schema_is_an_error() -> None:
    with pytest.raises(TypeError, match="fields must be an object"):
        Prover().add({**gap(1, 2), "fields": None})
    with pytest.raises(KeyError):
        Prover().add({"schema": "vision.result/1"})


@pytest.mark.parametrize(
    "wrong", [{"ts": "yesterday"}, {"ts": "2026-11-22T10:15:30"}, {"seq": float("inf")}, {"seq": None}, {"edge": ...}]
)
def test_a_document_against_its_schema_counts_for_nothing(wrong: dict[str, Any]) -> None:
    for document in (result(1), gap(2, 3)):
        broken = {key: value for key, value in {**document, **wrong}.items() if value is not ...}
        prover = Prover()
        with pytest.raises((KeyError, ValueError)):
            prover.add(broken)
        assert prover.proof() == Proof()
        assert prover.proof(f"{BOX}/event/top") == Proof()
        prover.add(result(1))
        prover.add(result(4))
        assert prover.proof().declared == 0


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=60), st.randoms(use_true_random=False))
def test_the_count_of_missing_numbers_is_that_of_a_set(seqs: list[int], shuffle: random.Random) -> None:
    shuffle.shuffle(seqs)
    found = proof(*map(result, seqs))
    distinct = set(seqs)
    assert found.distinct == len(distinct)
    assert found.missing == (max(distinct) - min(distinct) + 1 - len(distinct) if distinct else 0)


def most_declared(missing: list[int], events: list[tuple[int, int, int]]) -> int:
    """The largest number of pairs of a missing number and an event that declares it, tried out (Kuhn's algorithm)."""
    places = [(low, high) for low, high, count in events for _ in range(count)]
    owner: dict[int, int] = {}

    def place(number: int, seen: set[int]) -> bool:
        for at, (low, high) in enumerate(places):
            if low <= number <= high and at not in seen:
                seen.add(at)
                if at not in owner or place(owner[at], seen):
                    owner[at] = number
                    return True
        return False

    return sum(place(number, set()) for number in missing)


@given(
    st.sets(st.integers(min_value=2, max_value=19)),
    st.lists(st.tuples(SEQ, SEQ, st.integers(min_value=0, max_value=6)), max_size=5),
)
def test_declarations_cover_as_many_missing_numbers_as_any_assignment_could(
    came: set[int], events: list[tuple[int, int, int]]
) -> None:
    seqs = sorted({1, 20, *came})
    found = proof(
        *map(result, seqs), *(gap(low, high, seq=n, count=count) for n, (low, high, count) in enumerate(events, 1))
    )
    missing = [seq for seq in range(1, 21) if seq not in seqs]
    assert found.declared == most_declared(missing, events)
    assert found.missing == len(missing) - found.declared


def fed(*documents: dict[str, Any], marks: dict[str, Mark] | None = None) -> Prover:
    prover = Prover(marks)
    for document in documents:
        prover.add(document)
    return prover


def test_the_ranges_that_are_missing_are_named() -> None:
    prover = fed(result(3), result(7), result(8), result(12))
    assert prover.holes(TOP) == prover.holes() == [Hole(TOP, 4, 6), Hole(TOP, 9, 11)]
    prover.add(result(5, historical=True))
    assert prover.holes() == [Hole(TOP, 4, 4), Hole(TOP, 6, 6), Hole(TOP, 9, 11)]


def test_what_is_declared_need_not_be_asked_for() -> None:
    numbers = (result(1), result(5), result(9))
    assert fed(*numbers, gap(2, 4, count=3)).holes() == [Hole(TOP, 6, 8)]
    assert fed(*numbers, gap(3, 7)).holes() == [Hole(TOP, 2, 2), Hole(TOP, 8, 8)]
    assert fed(*numbers, gap(2, 8, count=6)).holes() == [], "summed up, with a delivered one in between"
    assert fed(*numbers, gap(2, 8, count=5)).holes() == [Hole(TOP, 2, 4), Hole(TOP, 6, 8)], "which one, nobody says"


def test_a_prover_goes_on_where_another_stopped() -> None:
    before = fed(result(3), result(5), result(7), gap(6, 6))
    assert before.marks()[TOP] == Mark(7, ((4, 4),))
    after = fed(result(10), marks=before.marks())
    assert after.holes() == [Hole(TOP, 4, 4), Hole(TOP, 8, 9)]
    assert after.proof().missing == 3
    for seq in (4, 8, 9):
        after.add(result(seq, historical=True))
    assert after.proof() == Proof(received=4, distinct=4, boots=1)
    assert after.marks()[TOP] == Mark(10)


def test_a_loss_at_the_very_beginning_is_seen_by_who_knows_where_it_stopped() -> None:
    assert fed(result(10)).proof().missing == 0
    assert fed(result(10), marks={TOP: Mark(7)}).proof().missing == 2


def test_what_came_to_the_one_before_is_a_duplicate() -> None:
    prover = fed(result(8), result(2), result(7), marks={TOP: Mark(7)})
    assert prover.proof() == Proof(received=3, distinct=1, duplicates=2, boots=1)


@given(st.lists(SEQ, min_size=1), st.integers(min_value=0, max_value=30))
def test_two_provers_one_after_the_other_see_what_one_sees(seqs: list[int], at: int) -> None:
    documents = [result(seq) for seq in sorted(seqs)]
    whole = fed(*documents)
    halves = fed(*documents[at:], marks=fed(*documents[:at]).marks())
    assert halves.holes(TOP) == whole.holes(TOP)
    assert halves.proof(TOP).missing == whole.proof(TOP).missing
    assert halves.marks() == whole.marks()
