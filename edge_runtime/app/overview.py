"""The state of everything in one document: for the status file, the metrics topic and whoever waits for ready."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.control.health import Snapshot
from edge_runtime.core.result import Event
from edge_runtime.system.clock import StepWatch, SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.delivery import Delivery
    from edge_runtime.app.picture_references import PictureReferences
    from edge_runtime.app.releases import Releases
    from edge_runtime.pipeline.inspection import Figures
    from edge_runtime.pipeline.moment import Picture
    from edge_runtime.pipeline.picture_health import PictureView
    from edge_runtime.pipeline.slot import Standing

NS_PER_S = 1e9


class Overview:
    """``control.health.Subject`` of the daemon. Reads what other threads show, without stopping them."""

    def __init__(
        self,
        line: LineService,
        delivery: Delivery,
        releases: Releases | None = None,
        references: PictureReferences | None = None,
    ) -> None:
        """Look at ``line``, ``delivery`` and, where there may be a registry, ``releases``.

        ``references`` looks for wishes as often as this looks at the rest.
        """
        self._line = line
        self._delivery = delivery
        self._releases = releases
        self._references = references
        self._clock = SystemClock()
        self._started_ns = self._clock.mono_ns()
        self._steps = StepWatch(self._clock)
        self._info: dict[str, object] = {}

    def snapshot(self) -> Snapshot:
        """See ``control.health.Subject``."""
        now = self._clock.mono_ns()
        reasons = self._line.reasons() + self._delivery.reasons()
        picture = self._line.line.picture
        self._tell_info(picture)
        self._delivery.tell_status()
        self._tell_step()
        if self._references is not None:
            self._references.look()
        return Snapshot((now - self._line.loop.last_turn_mono_ns) / NS_PER_S, reasons, self._document(picture))

    def publish_metrics(self, document: Mapping[str, object]) -> None:
        """See ``control.health.Subject``."""
        self._delivery.publish_metrics(document)

    def _tell_step(self) -> None:
        """Say that the clock was set: times of results before and after do not compare."""
        step_ms = self._steps.step_ms()
        if step_ms is not None:
            message = f"the clock of this box was set by {step_ms / 1e3:+.3f} s"
            fields: dict[str, object] = {"step_ms": round(step_ms, 3)}
            self._delivery.put(Event("system", "clock.stepped", message, self._clock.utc_ns(), fields))

    def _tell_info(self, picture: Picture) -> None:
        """Keep the retained ``info`` true: what this box is made of, sent again only when it changed."""
        plan = self._line.plan
        info: dict[str, object] = {
            "version": __version__,
            "cameras": {c.id: {"source": c.source.redacted, "capture": c.capture.value} for c in plan.cameras},
            "models": {name: _slot(slot) for name, slot in picture.slots.items()},
            "inspections": {
                item.spec.id: {
                    "camera": item.spec.camera,
                    "model": item.spec.slot,
                    "deadline_ms": item.spec.deadline_ms,
                    "recipe": asdict(self._line.recipe(item.spec.id)),
                }
                for item in plan.inspections
            },
        }
        if info != self._info:
            self._info = info
            self._delivery.set_info(info)

    def _document(self, picture: Picture) -> dict[str, object]:
        line = self._line
        return {
            "version": __version__,
            "bootId": self._delivery.boot_id,
            "uptime_s": round((self._clock.mono_ns() - self._started_ns) / NS_PER_S, 1),
            "cameras": {
                name: {
                    "state": state.state,
                    "reason": state.reason,
                    "detail": state.detail,
                    "restarts": restarts,
                    "picture": self._pictures(picture.cameras.get(name)),
                }
                for name, state, restarts in ((name, link.state, link.restarts) for name, link in line.cameras.items())
            },
            "engine": line.engines(),
            "models": {name: _slot(slot) for name, slot in picture.slots.items()},
            "inspections": {name: self._inspection(name, figures) for name, figures in picture.inspections.items()},
            "spool": asdict(self._delivery.spool.stats()),
            "broker": self._delivery.broker(),
            "sparkplug": self._delivery.sparkplug(),
            "commands": self._delivery.desk.figures(),
            "registry": None if self._releases is None else self._releases.figures(),
        }

    def _pictures(self, view: PictureView | None) -> dict[str, object] | None:
        if view is None:
            return None
        numbers, shift = view.numbers, view.numbers.shift if view.numbers else None
        return {
            "state": view.state,
            "seconds": round(max(0, self._clock.mono_ns() - view.since_mono_ns) / NS_PER_S, 1),
            "why": view.finding.text if view.finding else None,
            "reference": view.reference,
            "brightness": _rounded(numbers.brightness if numbers else None),
            "contrast": _rounded(numbers.contrast if numbers else None),
            "white": _rounded(numbers.white if numbers else None),
            "sharpness": _rounded(numbers.sharpness if numbers else None),
            "detail": _rounded(numbers.detail if numbers else None),
            "shift": _rounded(max(map(abs, shift)) if shift else None),
            "likeness": _rounded(numbers.likeness if numbers else None),
        }

    def _inspection(self, name: str, figures: Figures) -> dict[str, object]:
        counters = figures.counters
        p50, p99 = self._delivery.latency(name).percentiles(0.5, 0.99)
        return {
            "captured": counters.captured,
            "inferred": counters.inferred,
            "dropped": counters.dropped,
            "failed": counters.failed,
            "inFlight": counters.in_flight,
            "droppedBy": figures.dropped_by,
            "failedBy": figures.failed_by,
            "paused": figures.setup.paused,
            "recipe": self._line.recipe(name).id,
            "productId": figures.setup.product_id,
            "latency_ms": {"p50": _rounded(p50), "p99": _rounded(p99)},
        }


def _slot(slot: Standing) -> dict[str, object]:
    facts = slot.facts
    document: dict[str, object] = {"state": slot.state.value}
    if slot.message:
        document["message"] = slot.message
    if facts is not None:
        document |= {
            "name": facts.model.name,
            "version": facts.model.version,
            "digest": facts.model.digest,
            "backend": facts.backend,
            "device": facts.device,
            "precision": facts.precision,
        }
    return document


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
