"""What the camera child says, and that it says it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.camera.announcer import BATCH_FRAMES, BATCH_NS, Announcer
from edge_runtime.camera.source import Shape, SourceState
from edge_runtime.core.errors import InvariantError
from edge_runtime.core.frame import SlotRef
from edge_runtime.core.result import Drop

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sent:
    def __init__(self) -> None:
        self.messages: list[dict[str, object]] = []

    def send(self, message: Mapping[str, object]) -> None:
        self.messages.append(dict(message))


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def announcer(sent: Sent) -> Announcer:
    announcer = Announcer(sent)
    announcer.connecting()
    return announcer


def states(sent: Sent) -> list[tuple[object, object]]:
    return [(message["state"], message["reason"]) for message in sent.messages if message["op"] == "state"]


def test_a_state_is_told_once(announcer: Announcer, sent: Sent) -> None:
    for _ in range(3):
        announcer.change(SourceState.STREAMING, "ok", "640 x 480")
    announcer.change(SourceState.STALLED, "stalled", "")
    announcer.change(SourceState.STALLED, "late", "")
    assert states(sent) == [("connecting", "starting"), ("streaming", "ok"), ("stalled", "stalled")]


def test_each_reason_of_an_outage_is_told_once(announcer: Announcer, sent: Sent) -> None:
    for reason in ("closed", "refused", "refused", "timeout", "refused", "closed"):
        announcer.change(SourceState.LOST, reason, "")
    announcer.change(SourceState.STREAMING, "ok", "")
    announcer.change(SourceState.LOST, "refused", "")
    assert states(sent) == [
        ("connecting", "starting"),
        ("lost", "closed"),
        ("lost", "refused"),
        ("lost", "timeout"),
        ("streaming", "ok"),
        ("lost", "refused"),
    ]


def test_an_illegal_order_is_our_own_fault(announcer: Announcer) -> None:
    with pytest.raises(InvariantError, match="cannot become stalled after being connecting"):
        announcer.change(SourceState.STALLED, "stalled", "")


def test_passwords_never_leave_the_process(announcer: Announcer, sent: Sent) -> None:
    announcer.change(SourceState.LOST, "refused", "rtsp://line:s3cret@10.0.0.5/cam?token=abc refuses")
    assert sent.messages[-1]["detail"] == "rtsp://***@10.0.0.5/cam?token=*** refuses"


def test_a_frame_is_told_with_every_field_of_the_protocol(announcer: Announcer, sent: Sent) -> None:
    announcer.frame(7, SlotRef(2, 6), Shape(4, 3, 1), utc_ns=10, mono_ns=20, read_ms=1.23456, origin="a.png")
    assert sent.messages[-1] == {
        "op": "frame",
        "frame": 7,
        "slot": 2,
        "generation": 6,
        "utc_ns": 10,
        "mono_ns": 20,
        "width": 4,
        "height": 3,
        "channels": 1,
        "read_ms": 1.235,
        "origin": "a.png",
    }


def test_a_bad_frame_is_told_with_its_reason(announcer: Announcer, sent: Sent) -> None:
    announcer.bad_frame(7, "cut off", utc_ns=10, mono_ns=20, origin=None)
    assert sent.messages[-1] == {
        "op": "bad_frame",
        "frame": 7,
        "utc_ns": 10,
        "mono_ns": 20,
        "reason": "cut off",
        "origin": None,
    }


def test_dropped_frames_come_in_one_message_before_the_next_frame(announcer: Announcer, sent: Sent) -> None:
    for frame in (1, 2, 3):
        announcer.dropped(frame, Drop.RATE, 0)
    announcer.frame(4, SlotRef(0, 2), Shape(1, 1, 1), utc_ns=0, mono_ns=0, read_ms=0, origin=None)
    assert sent.messages[1] == {"op": "dropped", "drop": "rate", "frames": [1, 2, 3]}
    assert sent.messages[2]["frame"] == 4


def test_dropped_frames_do_not_wait_long_nor_pile_up_nor_mix(announcer: Announcer, sent: Sent) -> None:
    announcer.dropped(1, Drop.STALE, 100)
    announcer.tick(100 + BATCH_NS - 1)
    assert len(sent.messages) == 1
    announcer.tick(100 + BATCH_NS)
    assert sent.messages[-1] == {"op": "dropped", "drop": "stale", "frames": [1]}
    announcer.dropped(2, Drop.STALE, 0)
    announcer.dropped(3, Drop.NO_SLOT, 0)
    assert sent.messages[-1] == {"op": "dropped", "drop": "stale", "frames": [2]}
    for frame in range(4, 4 + BATCH_FRAMES):
        announcer.dropped(frame, Drop.NO_SLOT, 0)
    assert sent.messages[-1] == {"op": "dropped", "drop": "no_slot", "frames": list(range(3, 3 + BATCH_FRAMES))}
    announcer.flush()
    assert sent.messages[-1]["frames"] == [3 + BATCH_FRAMES]


def test_a_note_repeats_the_present_state(announcer: Announcer, sent: Sent) -> None:
    announcer.change(SourceState.STREAMING, "ok", "")
    announcer.note("size", "800 x 600 pixels now")
    assert states(sent)[-1] == ("streaming", "size")
