"""Every frame id that a camera process ever took is accounted for, whatever the process says or how it dies."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.frame import Frame, SlotRef
from edge_runtime.core.result import Drop, Failure
from edge_runtime.pipeline.camera_link import TORN_MAX, CameraLink, CameraState
from edge_runtime.pipeline.picture_health import Change, PictureHealth, PictureRules
from edge_runtime.pipeline.pictures import Pictures
from edge_runtime.system.process import ExitCause, ExitKind
from edge_runtime.system.ring import Ring
from tests.fakes.child import FakeChild
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.system.process import Child

WIDTH, HEIGHT = 8, 4
DEATH = "camera/top (pid 7): died of SIGSEGV"


class _Listener:
    """Remembers everything; keeps the slots of the first ``keep`` frames."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.bad: list[tuple[int, Failure, str]] = []
        self.drops: list[tuple[int, Drop]] = []
        self.states: list[CameraState] = []
        self.changes: list[Change] = []
        self.keep = 0
        self.link: CameraLink | None = None

    def on_frame(self, frame: Frame) -> None:
        if len(self.frames) < self.keep and self.link:
            self.link.hold(frame.slot)
        self.frames.append(frame)

    def on_bad_frame(self, frame: Frame, failure: Failure, message: str) -> None:
        self.bad.append((frame.frame_id, failure, message))

    def on_dropped(self, frame: Frame, drop: Drop) -> None:
        self.drops.append((frame.frame_id, drop))

    def on_camera_state(self, camera: str, state: CameraState) -> None:
        assert camera == "top"
        self.states.append(state)

    def on_picture_changed(self, camera: str, change: Change) -> None:
        assert camera == "top"
        self.changes.append(change)

    @property
    def accounted(self) -> int:
        return len(self.frames) + len(self.bad) + len(self.drops)


class _Bench:
    """A link, its real ring and a camera process made of a fake child and the writer's side of the ring."""

    def __init__(self, ring: Ring) -> None:
        self.clock = ManualClock()
        self.ring = ring
        self.listener = _Listener()
        self.link = CameraLink("top", ring, self.listener, self.clock, simulated=False, max_pixels=WIDTH * HEIGHT)
        self.listener.link = self.link
        self.child = FakeChild()
        self.start()

    def start(self, *, restarts: int = 0) -> None:
        self.child = FakeChild(started_mono_ns=self.clock.mono_ns(), restarts=restarts)
        self.link.on_started(cast("Child", self.child))

    def say(self, **message: object) -> None:
        self.link.on_message(cast("Child", self.child), message)

    def die(self, kind: ExitKind = ExitKind.SIGNALED) -> None:
        self.link.on_exited(cast("Child", self.child), ExitCause(kind, DEATH))

    def times(self) -> dict[str, object]:
        return {"utc_ns": self.clock.utc_ns(), "mono_ns": self.clock.mono_ns()}

    def written(self, writer: Ring | None = None) -> dict[str, object]:
        """Write a frame into the ring and return the message that announces it."""
        writer = writer or self.ring
        frame_id = writer.next_frame_id()
        slot = writer.acquire(frame_id)
        assert slot is not None
        ref = slot.publish()
        return {
            "op": "frame",
            "frame": frame_id,
            "slot": ref.index,
            "generation": ref.generation,
            **self.times(),
            "width": WIDTH,
            "height": HEIGHT,
            "channels": 3,
            "read_ms": 1,
            "origin": None,
        }

    def bad(self, reason: str = "not a JPEG") -> dict[str, object]:
        return {"op": "bad_frame", "frame": self.ring.next_frame_id(), **self.times(), "reason": reason, "origin": None}


@pytest.fixture
def bench() -> Iterator[_Bench]:
    ring = Ring.create("top", slots=3, slot_bytes=WIDTH * HEIGHT * 3)
    yield _Bench(ring)
    ring.close()


def test_a_frame_reaches_the_listener_and_its_slot_is_free_when_nobody_kept_it(bench: _Bench) -> None:
    bench.say(**bench.written())
    assert [f.frame_id for f in bench.listener.frames] == [1]
    assert bench.ring.held == 0
    assert bench.child.killed == []


def test_a_slot_is_free_after_as_many_releases_as_holds(bench: _Bench) -> None:
    bench.listener.keep = 1
    bench.say(**bench.written())
    [frame] = bench.listener.frames
    bench.link.hold(frame.slot)
    bench.link.release(frame.slot)
    assert bench.ring.held == 1
    bench.link.release(frame.slot)
    assert bench.ring.held == 0
    bench.link.release(frame.slot)  # one too many does nothing
    assert bench.ring.held == 0


def test_a_bad_frame_is_invalid_with_the_reason_of_the_camera(bench: _Bench) -> None:
    bench.say(**bench.bad())
    assert bench.listener.bad == [(1, Failure.INVALID_FRAME, "not a JPEG")]


def test_a_frame_that_found_no_slot_is_an_overrun(bench: _Bench) -> None:
    bench.say(**bench.bad("overrun"))
    assert bench.listener.bad == [(1, Failure.OVERRUN, "")]


def test_frames_that_the_camera_discarded_are_counted_by_reason(bench: _Bench) -> None:
    ids = [bench.ring.next_frame_id() for _ in range(3)]
    bench.say(op="dropped", drop="stale", frames=ids)
    assert bench.listener.drops == [(number, Drop.STALE) for number in ids]


def test_a_change_of_state_is_told_once_with_the_time_main_heard_it(bench: _Bench) -> None:
    bench.clock.advance_ms(5)
    for _ in range(2):
        bench.say(op="state", state="lost", reason="refused", detail="connection refused")
    assert bench.listener.states == [CameraState("lost", "refused", "connection refused", bench.clock.mono_ns())]
    bench.say(op="state", state="streaming")
    assert [s.state for s in bench.listener.states] == ["lost", "streaming"]


def test_frames_that_were_begun_and_never_announced_are_torn(bench: _Bench) -> None:
    bench.say(**bench.written())
    bench.ring.next_frame_id()
    bench.ring.next_frame_id()
    bench.die()
    assert bench.listener.drops == [(2, Drop.TORN), (3, Drop.TORN)]


def test_frames_that_a_process_had_begun_when_it_was_told_to_end_are_stopped(bench: _Bench) -> None:
    bench.ring.next_frame_id()
    bench.die(ExitKind.RETIRED)
    assert bench.listener.drops == [(1, Drop.STOPPED)]


def test_frames_announced_out_of_order_are_not_torn(bench: _Bench) -> None:
    first, second = bench.written(), bench.written()
    bench.say(**second)
    bench.die()
    assert bench.listener.drops == [(1, Drop.TORN)]
    bench.say(**first)  # a message that was still under way changes nothing
    assert bench.child.killed == ["protocol fault"]
    assert bench.listener.accounted == 2


def test_a_dead_camera_leaves_no_slot_behind_but_those_that_are_being_judged(bench: _Bench) -> None:
    bench.listener.keep = 1
    bench.say(**bench.written())  # kept
    bench.written()  # published, never announced
    bench.ring.acquire(bench.ring.next_frame_id())  # half written
    assert bench.ring.held == 3
    bench.die()
    assert bench.ring.held == 1
    bench.link.release(bench.listener.frames[0].slot)
    assert bench.ring.held == 0


def test_a_camera_that_died_is_lost_and_the_next_process_connects(bench: _Bench) -> None:
    bench.say(op="state", state="streaming")
    bench.die()
    bench.start(restarts=1)
    assert [(s.state, s.reason, s.detail) for s in bench.listener.states[1:]] == [
        ("lost", "process", DEATH),
        ("connecting", "starting", ""),
    ]
    assert bench.link.restarts == 1


def test_a_camera_that_was_retired_is_not_lost(bench: _Bench) -> None:
    assert bench.link.alive
    bench.die(ExitKind.RETIRED)
    assert bench.listener.states == []
    assert not bench.link.alive


def test_ids_go_on_after_a_restart(bench: _Bench) -> None:
    bench.say(**bench.written())
    bench.die()
    bench.start(restarts=1)
    bench.say(**bench.written())
    assert [f.frame_id for f in bench.listener.frames] == [1, 2]
    assert bench.child.killed == []


@pytest.mark.parametrize(
    "message",
    [
        {"op": "frame"},
        {"op": "bad_frame", "frame": 1},
        {"op": "dropped", "drop": "stale", "frames": 3},
        {"op": "state", "state": "sleeping"},
        {"op": "state"},
        {"op": "reboot"},
        {"op": [[[]]]},
        {},
    ],
)
def test_a_message_that_does_not_fit_kills_the_child(
    bench: _Bench, message: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    bench.say(**message)
    assert bench.child.killed == ["protocol fault"]
    assert bench.listener.accounted == 0
    assert [(r.levelno, "camera top" in r.getMessage()) for r in caplog.records] == [(logging.ERROR, True)]


def test_an_id_that_was_never_begun_kills_the_child(bench: _Bench) -> None:
    bench.say(**{**bench.written(), "frame": 2})
    assert bench.child.killed == ["protocol fault"]
    assert bench.listener.accounted == 0


@pytest.mark.parametrize("op", ["frame", "bad_frame"])
def test_a_frame_from_the_future_would_never_be_late_and_kills_the_child(bench: _Bench, op: str) -> None:
    message = {**bench.written(), "op": op, "reason": "x", "mono_ns": bench.clock.mono_ns() + 1}
    bench.say(**message)
    assert bench.child.killed == ["protocol fault"]
    assert bench.listener.accounted == 0


@pytest.mark.parametrize(
    "message",
    [
        {"op": "bad_frame", "frame": 1, "utc_ns": 0, "mono_ns": 0},  # no reason
        {"op": "dropped", "drop": "boredom", "frames": [1]},
        {"op": "dropped", "frames": [1]},
        {"op": "dropped", "drop": "stale", "frames": [1, 1]},
        {"op": "dropped", "drop": "stale", "frames": [1, 2]},  # 2 was never begun
    ],
)
def test_a_frame_in_a_message_that_does_not_fit_is_torn_and_not_forgotten(
    bench: _Bench, message: dict[str, object]
) -> None:
    bench.ring.next_frame_id()
    bench.say(**message)
    assert bench.child.killed == ["protocol fault"]
    bench.die()
    assert bench.listener.drops == [(1, Drop.TORN)]


def test_a_camera_that_forgets_a_frame_is_ended_before_the_books_grow_without_bound(bench: _Bench) -> None:
    bench.ring.next_frame_id()  # never announced
    for _ in range(TORN_MAX + 1):
        bench.say(op="dropped", drop="rate", frames=[bench.ring.next_frame_id()])
    assert bench.child.killed == ["protocol fault"]
    bench.die()
    assert bench.listener.accounted == TORN_MAX + 2


@pytest.mark.parametrize("announced", [0, 1])
def test_an_absurd_frame_counter_is_not_believed(
    bench: _Bench, announced: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The counter lies in memory that the camera process can write."""
    for _ in range(announced):
        bench.say(**bench.written())
    bench.ring._words[8] = 1 << 62  # what Ring.next_frame_id counts in
    bench.die()
    assert bench.listener.drops == []
    assert "absurd frame counter" in caplog.text


@pytest.mark.parametrize(
    "words",
    [(0, 1, 2, 3), (8, 9), (16, 24, 32), (16, 17, 18)],
    ids=["geometry", "frame counter", "generations", "a slot"],
)
@pytest.mark.parametrize("value", [1 << 63, (1 << 64) - 1, (1 << 62) - 2])
def test_a_successor_delivers_whatever_the_dead_process_left_in_the_header(
    bench: _Bench, words: tuple[int, ...], value: int
) -> None:
    bench.listener.keep = 1
    bench.say(**bench.written())
    for word in words:
        bench.ring._words[word] = value
    bench.die()
    bench.start()
    begun = bench.ring.frames_begun_here
    writer = Ring.attach(os.dup(bench.ring.fd))
    for _ in range(8):
        bench.say(**bench.written(writer))
    assert bench.child.killed == []
    assert len(bench.listener.frames) == 9
    assert begun == 1
    writer.close()


def test_a_reference_to_a_slot_that_does_not_exist_does_no_harm(bench: _Bench) -> None:
    bench.say(**{**bench.written(), "slot": 1 << 40, "generation": (1 << 63) - 1})
    assert [f.slot for f in bench.listener.frames] == [SlotRef(1 << 40, (1 << 63) - 1)]
    bench.die()
    assert bench.ring.held == 0


@given(
    events=st.lists(st.sampled_from(["frame", "later", "bad", "drop", "forget", "die", "late", "twice"]), max_size=60)
)
def test_every_id_is_accounted_exactly_once(events: list[str]) -> None:
    ring = Ring.create("top", slots=3, slot_bytes=WIDTH * HEIGHT * 3)
    try:
        bench = _Bench(ring)
        held_back: list[dict[str, object]] = []
        last: dict[str, object] = {"op": "dropped", "drop": "rate", "frames": []}
        for event in [*events, "die"]:
            match event:
                case "frame":
                    last = bench.written()
                    bench.say(**last)
                case "bad":
                    last = bench.bad()
                    bench.say(**last)
                case "later":
                    held_back.append(bench.bad())
                case "late" if held_back:
                    last = held_back.pop()
                    bench.say(**last)
                case "drop":
                    last = {"op": "dropped", "drop": "rate", "frames": [ring.next_frame_id(), ring.next_frame_id()]}
                    bench.say(**last)
                case "forget":
                    ring.next_frame_id()
                case "twice" if last.get("frames") != []:
                    bench.say(**last)
                    assert bench.child.killed
                case "die":
                    bench.die()
                    assert bench.listener.accounted == ring.frames_begun
                    held_back.clear()
                    bench.start()
        assert ring.held == 0
    finally:
        ring.close()


DARK = {
    "op": "picture",
    "frame": 1,
    "width": WIDTH,
    "height": HEIGHT,
    "brightness": 1,
    "contrast": 9,
    "black": 0,
    "white": 0,
    "sharpness": None,
    "detail": 0,
    "unchanged": 0,
    "unchanged_keys": 0,
    "unchanged_s": 0,
}


@pytest.fixture
def looked_at(bench: _Bench) -> _Bench:
    """A camera whose frames are not judged while its picture is bad."""
    health = PictureHealth(PictureRules(not_decidable=True))
    bench.link.pictures = Pictures("top", health, max_pixels=WIDTH * HEIGHT)
    bench.start()
    return bench


def test_frames_of_a_bad_picture_are_not_offered_and_those_of_a_good_one_are(looked_at: _Bench) -> None:
    looked_at.say(**looked_at.written())
    looked_at.say(**DARK)
    looked_at.say(**looked_at.written())
    looked_at.say(**DARK | {"brightness": 100})
    looked_at.say(**looked_at.written())
    assert [f.frame_id for f in looked_at.listener.frames] == [1, 3]
    assert looked_at.listener.bad == [(2, Failure.BAD_PICTURE, "the picture is dark: brightness is 1, the limit is 16")]
    assert looked_at.ring.held == 0


def test_a_change_of_the_picture_is_told_once(looked_at: _Bench) -> None:
    for _ in range(40):
        looked_at.clock.advance_ms(250)
        looked_at.say(**DARK)
    assert [(change.before, change.after) for change in looked_at.listener.changes] == [("unknown", "dark")]


def test_what_was_seen_before_the_camera_was_lost_counts_no_more(looked_at: _Bench) -> None:
    assert looked_at.link.pictures is not None
    looked_at.say(**DARK)
    looked_at.die()
    assert looked_at.link.pictures.health.refusal is None
    looked_at.start()
    assert looked_at.child.sent == [{"op": "reference", "reference": None}]


def test_numbers_that_nobody_asked_for_are_a_protocol_fault(bench: _Bench) -> None:
    bench.say(**DARK)
    assert bench.child.killed == ["protocol fault"]


def test_numbers_out_of_range_are_a_protocol_fault(looked_at: _Bench) -> None:
    looked_at.say(**DARK | {"brightness": 1e9})
    assert looked_at.child.killed == ["protocol fault"]
