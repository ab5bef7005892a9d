"""What status file, metrics and info show, as the health thread reads it."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from edge_runtime.app.assembly import LineService
from edge_runtime.app.overview import Overview
from edge_runtime.app.plan import plan_line
from edge_runtime.core.frame import Frame
from edge_runtime.core.picture import PictureNumbers
from edge_runtime.core.result import Drop
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.pipeline.inspection import Inspection
from edge_runtime.pipeline.slot import ModelSlot
from edge_runtime.publish.spool.limits import SpoolStats
from edge_runtime.system.clock import StepWatch
from edge_runtime.system.metrics import Window
from tests.fakes.clock import ManualClock
from tests.fakes.settings import make_settings

if TYPE_CHECKING:
    import pytest

    from edge_runtime.app.delivery import Delivery


class _Delivery:
    boot_id = "boot-1"
    spool = SimpleNamespace(stats=lambda: SpoolStats(*[0] * 11, "ok", None, None))
    desk = SimpleNamespace(figures=dict)

    def __init__(self) -> None:
        self.info: dict[str, object] = {}
        self.told: list[Any] = []

    def put(self, item: object) -> None:
        self.told.append(item)

    def tell_status(self) -> None: ...

    def set_info(self, fields: dict[str, object]) -> None:
        self.info = fields

    def latency(self, _: str) -> Window:
        return Window()

    def broker(self) -> dict[str, object]:
        return {}

    def sparkplug(self) -> None: ...

    def reasons(self) -> tuple[str, ...]:
        return ()


def test_the_health_thread_does_not_look_into_what_the_line_is_changing(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = _Delivery()
    plan = plan_line(make_settings(), cpus=1)
    with closing(LineService(plan, delivery, FlightRecorder(), cache_dir=None)) as line:
        for number in (1, 2, 3):
            frame = Frame.without_pixels("top", number, utc_ns=1, mono_ns=1, simulated=True)
            line.line.on_dropped(frame, Drop.STALE)
        line.line.drain()  # the line's thread has taken a picture
        live = property(lambda _: (_ for _ in ()).throw(AssertionError("this may be half a change")))
        monkeypatch.setattr(Inspection, "counters", live)
        for name in ("state", "facts", "message"):
            monkeypatch.setattr(ModelSlot, name, live, raising=False)
        snapshot = Overview(line, cast("Delivery", delivery)).snapshot()
        assert line.counters()["top"].dropped == 3
    shown = snapshot.document["inspections"]["top"]  # type: ignore[index]
    assert shown["captured"] == shown["inferred"] + shown["dropped"] + shown["failed"] + shown["inFlight"] == 3
    assert shown["droppedBy"] == {"stale": 3}
    assert snapshot.reasons == ("model defects is loading", "camera top is connecting")
    assert delivery.info["models"] == {"defects": {"state": "loading"}}


def test_a_clock_that_was_set_is_an_event() -> None:
    delivery, clock = _Delivery(), ManualClock()
    with closing(LineService(plan_line(make_settings(), cpus=1), delivery, FlightRecorder(), cache_dir=None)) as line:
        overview = Overview(line, cast("Delivery", delivery))
        overview._steps = StepWatch(clock)
        overview.snapshot()
        clock.set_ms(-1500)
        overview.snapshot()
        overview.snapshot()
    (event,) = (one for one in delivery.told if one.kind == "clock.stepped")
    assert (event.scope, event.fields) == ("system", {"step_ms": -1500.0})
    assert event.message == "the clock of this box was set by -1.500 s"


def test_how_the_pictures_are_is_shown_with_what_was_measured_and_makes_not_ready_where_frames_are_refused() -> None:
    delivery = _Delivery()
    picture = {"not_decidable": True, "off": ("frozen",)}
    settings = make_settings(
        cameras={"top": {"source": "sim:conveyor", "picture": picture}, "off": {"source": "sim:bars", "picture": False}}
    )
    numbers = PictureNumbers(1, 640, 480, 3.25, 20.0, 0.0, 0.01, None, 0.1, shift=(0.01, -0.2), likeness=0.7)
    with closing(LineService(plan_line(settings, cpus=1), delivery, FlightRecorder(), cache_dir=None)) as line:
        overview = Overview(line, cast("Delivery", delivery))
        before = overview.snapshot().document["cameras"]
        pictures = line.cameras["top"].pictures
        assert pictures is not None
        for number in range(20):
            pictures.health.add(numbers, number * 250_000_000)
        line.line.drain()
        snapshot = overview.snapshot()
    assert before["off"]["picture"] is None  # type: ignore[index]
    assert before["top"]["picture"]["brightness"] is None  # type: ignore[index]
    shown = snapshot.document["cameras"]["top"]["picture"]  # type: ignore[index]
    assert shown["seconds"] > 0
    assert shown | {"seconds": 0} == {
        "state": "dark",
        "seconds": 0,
        "why": "dark: brightness is 3.25, the limit is 16",
        "reference": "none",
        "brightness": 3.25,
        "contrast": 20.0,
        "white": 0.01,
        "sharpness": None,
        "detail": 0.1,
        "shift": 0.2,
        "likeness": 0.7,
    }
    assert "camera top is not judged, its picture is dark: brightness is 3.25, the limit is 16" in snapshot.reasons
