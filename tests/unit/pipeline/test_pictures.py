"""pipeline.pictures: main's end of looks and references."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.picture import PictureReference
from edge_runtime.core.picture_reference import PNG, reference_fields
from edge_runtime.pipeline.picture_health import PictureHealth, PictureRules
from edge_runtime.pipeline.pictures import Pictures
from tests.fakes.child import FakeChild

if TYPE_CHECKING:
    from edge_runtime.system.process import Child

REFERENCE = PictureReference(1, 64, 48, 40, 90.0, 0.05, 0.6, 0.2, 0.9, PNG + b"a", PNG + b"b")
NUMBERS = {
    "op": "picture",
    "frame": 1,
    "width": 64,
    "height": 48,
    "brightness": 0,
    "contrast": 0,
    "black": 0,
    "white": 0,
    "sharpness": None,
    "detail": 0,
    "unchanged": 0,
    "unchanged_keys": 0,
    "unchanged_s": 0,
}


class Bench:
    def __init__(self) -> None:
        self.pictures = Pictures("top", PictureHealth(PictureRules()), max_pixels=64 * 48)
        self.child = FakeChild()
        self.got: list[PictureReference | DataError] = []

    def start(self) -> None:
        self.child = FakeChild()
        self.pictures.on_started(cast("Child", self.child))

    def ask(self) -> None:
        self.expire = self.pictures.make_reference(10, self.got.append)

    def answer(self, request: int = 1, **more: object) -> None:
        self.pictures.on_message({"op": "reference", "request": request} | more, 0)

    @property
    def codes(self) -> list[str]:
        return [one.code if isinstance(one, DataError) else "made" for one in self.got]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.start()
    return bench


def test_numbers_are_judged(bench: Bench) -> None:
    changes = [bench.pictures.on_message(NUMBERS, number * 250_000_000) for number in range(20)]
    assert [change.after for change in changes if change is not None] == ["dark"]


def test_numbers_that_do_not_fit_are_not_believed(bench: Bench) -> None:
    with pytest.raises(DataError):
        bench.pictures.on_message(NUMBERS | {"height": 49}, 0)


def test_every_process_is_told_the_reference_of_the_moment(bench: Bench) -> None:
    bench.pictures.refer(REFERENCE)
    bench.start()
    bench.pictures.refer(None)
    assert bench.child.sent == [
        {"op": "reference", "reference": reference_fields(REFERENCE)},
        {"op": "reference", "reference": None},
    ]
    assert bench.pictures.health.reference is None


def test_a_reference_before_the_process_is_told_when_it_starts() -> None:
    bench = Bench()
    bench.pictures.refer(REFERENCE)
    bench.start()
    assert bench.child.sent == [{"op": "reference", "reference": reference_fields(REFERENCE)}]


def test_a_reference_is_made_and_not_used_before_somebody_says_so(bench: Bench) -> None:
    bench.ask()
    assert bench.child.sent[-1] == {"op": "make_reference", "request": 1, "seconds": 10}
    bench.answer(**reference_fields(REFERENCE))
    assert bench.got == [REFERENCE]
    assert bench.pictures.health.reference is None
    bench.answer(**reference_fields(REFERENCE))  # nobody waits any more
    assert bench.got == [REFERENCE]


def test_a_refusal_is_handed_on_with_its_way_out(bench: Bench) -> None:
    bench.ask()
    bench.answer(error="too dark", help="switch the light on")
    [error] = bench.got
    assert isinstance(error, DataError)
    assert (error.message, error.help) == ("too dark", "switch the light on")


def test_a_reference_that_was_never_asked_for_is_a_fault_of_the_process(bench: Bench) -> None:
    with pytest.raises(DataError, match="never asked"):
        bench.answer(**reference_fields(REFERENCE))


def test_a_reference_that_is_none_is_a_fault_of_the_process(bench: Bench) -> None:
    bench.ask()
    with pytest.raises(DataError):
        bench.answer(schema="other")
    bench.pictures.on_exited()
    assert bench.codes == ["picture.no_camera"]


def test_the_answer_to_an_older_wish_is_nobodys(bench: Bench) -> None:
    bench.ask()
    bench.ask()
    bench.answer(1, **reference_fields(REFERENCE))
    assert bench.codes == ["picture.replaced"]
    bench.answer(2, **reference_fields(REFERENCE))
    assert bench.codes == ["picture.replaced", "made"]


def test_a_wish_that_takes_too_long_is_given_up_once(bench: Bench) -> None:
    bench.ask()
    first = bench.expire
    bench.ask()
    first()
    bench.expire()
    bench.expire()
    assert bench.codes == ["picture.replaced", "picture.late"]


def test_without_a_process_there_is_no_reference(bench: Bench) -> None:
    bench.child.gone = True
    bench.ask()
    bench.pictures.on_exited()
    bench.ask()
    assert bench.codes == ["picture.no_camera"] * 2
