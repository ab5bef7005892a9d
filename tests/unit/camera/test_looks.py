"""camera.looks: when pictures are measured, and what main may ask for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.camera import looks
from edge_runtime.camera.announcer import Announcer
from edge_runtime.camera.looks import LOOK_S, Looks
from edge_runtime.camera.source import Shape
from edge_runtime.core.picture_reference import parse_reference, reference_fields
from edge_runtime.pipeline import wire
from edge_runtime.system.ring import Ring
from tests import scenes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_runtime.camera.arguments import When

SCENE = scenes.bench_scene()
SHAPE = Shape(480, 360, 3)


class Clock:
    """Stands in for the module ``time``: no look costs anything unless the test says so."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.look_s = 0.0
        self._thread_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        self._thread_s += self.look_s
        return self._thread_s

    def time_ns(self) -> int:
        return 77


class Bench:
    def __init__(self, ring: Ring, clock: Clock, when: When) -> None:
        self.ring, self.clock = ring, clock
        self.sent: list[dict[str, Any]] = []
        self.looks = Looks(Announcer(self), ring, when)

    def send(self, message: Mapping[str, object]) -> None:
        self.sent.append(dict(message))

    def frame(self, *, number: int = 1, is_key: bool = True) -> None:
        """Write a frame and offer it as the reader does; the time of a look passes."""
        slot = self.ring.acquire(self.ring.next_frame_id())
        assert slot is not None
        image = scenes.noisy(SCENE, 2, number)
        np.frombuffer(slot.buffer, np.uint8)[: SHAPE.nbytes] = image.reshape(-1)
        ref = slot.publish()
        self.looks.arrived(is_key=is_key)
        self.looks.offer(1, ref, SHAPE, "before")
        self.sent.append({"op": "frame"})
        self.looks.offer(1, ref, SHAPE, "after")
        self.ring.release(ref)
        self.looks.tick(self.clock.now_s)
        self.clock.now_s += LOOK_S

    def ops(self) -> list[str]:
        return [message["op"] for message in self.sent]

    def of(self, op: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["op"] == op]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(looks, "time", clock)
    return clock


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring.create("top", slots=3, slot_bytes=SHAPE.nbytes)
    yield ring
    ring.close()


@pytest.mark.parametrize(
    ("when", "ops"),
    [("never", ["frame"]), ("after", ["frame", "picture"]), ("before", ["picture", "frame"])],
)
def test_a_picture_is_measured_when_it_should_be(ring: Ring, clock: Clock, when: When, ops: list[str]) -> None:
    bench = Bench(ring, clock, when)
    bench.frame()
    assert bench.ops() == ops


def test_what_is_sent_is_what_main_reads(ring: Ring, clock: Clock) -> None:
    bench = Bench(ring, clock, "after")
    bench.frame()
    numbers = wire.picture(bench.of("picture")[0], max_pixels=1 << 20)
    assert (numbers.width, numbers.height) == (480, 360)
    assert numbers.brightness == pytest.approx(SCENE[:, :, 1].mean(), abs=2)


def test_there_are_no_more_looks_than_four_a_second(ring: Ring, clock: Clock) -> None:
    bench = Bench(ring, clock, "after")
    for _ in range(20):
        bench.frame()
        clock.now_s -= LOOK_S * 0.75
    assert len(bench.of("picture")) == 5


def test_a_box_on_which_looks_are_slow_has_fewer_of_them(ring: Ring, clock: Clock) -> None:
    bench = Bench(ring, clock, "after")
    clock.look_s = 0.01
    for _ in range(9):
        bench.frame()
    assert len(bench.of("picture")) == 3  # one a second


def test_key_frames_between_looks_are_counted(ring: Ring, clock: Clock) -> None:
    bench = Bench(ring, clock, "after")
    for is_key in (True, False, True, True, False):
        bench.frame(is_key=is_key)
        clock.now_s -= LOOK_S * 0.5
    bench.frame()
    assert [message["unchanged_keys"] for message in bench.of("picture")] == [0, 1, 2]
    bench.looks.forget()
    clock.now_s += 1
    bench.frame()
    assert bench.of("picture")[-1]["unchanged"] == 0


def test_a_reference_is_made_and_compared_with(ring: Ring, clock: Clock) -> None:
    bench = Bench(ring, clock, "after")
    bench.looks.tell({"op": "make_reference", "request": 3, "seconds": 3.0})
    for number in range(13):
        bench.frame(number=number)
    [answer] = bench.of("reference")
    assert answer["request"] == 3
    reference = parse_reference(answer)
    assert (reference.looks, reference.made_utc_ns) == (13, 77)
    assert bench.of("picture")[-1]["likeness"] is None
    bench.looks.tell({"op": "reference", "reference": reference_fields(reference)})
    bench.frame()
    assert bench.of("picture")[-1]["shift"] == [0.0, 0.0]
    bench.looks.tell({"op": "reference", "reference": None})
    bench.frame()
    assert bench.of("picture")[-1]["likeness"] is None


def test_a_reference_that_cannot_be_made_is_refused_with_a_way_out(ring: Ring, clock: Clock) -> None:
    bench = Bench(ring, clock, "after")
    bench.looks.tell({"op": "make_reference", "request": 1, "seconds": 0.5})
    bench.looks.tick(clock.now_s + 1)
    assert bench.of("reference") == []  # there may be more of them yet
    bench.looks.tick(clock.now_s + 5)
    [answer] = bench.of("reference")
    assert "0 pictures are too few" in answer["error"]
    assert answer["help"]


@pytest.mark.parametrize(
    "message",
    [
        {"op": "make_reference", "request": "1", "seconds": 1},
        {"op": "reference", "reference": {"schema": "other"}},
    ],
)
def test_messages_that_are_not_understood_are_logged(
    ring: Ring, clock: Clock, message: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(ring, clock, "after")
    with caplog.at_level(logging.WARNING):
        bench.looks.tell(message)
    bench.frame()
    assert bench.ops() == ["frame", "picture"]
    assert len(caplog.records) == 1
