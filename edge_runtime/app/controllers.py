"""Joins the hand-shakes with controllers to the running box: line, desk, spool and broker.

Legal order: open the block -> ``attach`` a line -> ``detach`` -> ``attach`` the next one ... A hand-shake outlives its
line, so that a controller keeps its place in the cycle through a reload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.app.service_block import ServiceBlock
from edge_runtime.control.handshake.machine import Code, Timing, Trouble
from edge_runtime.control.handshake.service import Handshakes, HandshakeSpec
from edge_runtime.core.command import Command
from edge_runtime.pipeline.slot import SlotState

if TYPE_CHECKING:
    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.delivery import Delivery
    from edge_runtime.config.schema import Settings
    from edge_runtime.control.handshake.machine import Job
    from edge_runtime.core.command import Answer
    from edge_runtime.core.result import Event
    from edge_runtime.publish.mqtt.link import Inbound, Outgoing
    from edge_runtime.system.clock import Clock

RESULT_GRACE_MS = 500  # a verdict comes at the inspection's own deadline at the latest, and has then to be committed
ACCEPTED_BELOW = 300
PRINCIPAL = "controller"
STOP_S = 1.0
NS_PER_MS = 1_000_000
_GIVES_PICTURES = ("streaming", "ended")


def handshake_specs(settings: Settings) -> list[HandshakeSpec]:
    """Return the configured hand-shakes."""
    return [
        HandshakeSpec(
            name,
            handshake.heartbeat_ms,
            Timing(handshake.result_ms or inspection.deadline_ms + RESULT_GRACE_MS, handshake.ack_ms),
        )
        for name, inspection in settings.inspections.items()
        if (handshake := inspection.handshake) is not None
    ]


class Controllers(ServiceBlock):
    """See the module docstring. ``control.handshake.service.Surroundings``."""

    def __init__(self, delivery: Delivery, clock: Clock) -> None:
        """Serve nobody yet."""
        super().__init__(STOP_S)
        self._delivery = delivery
        self._clock = clock
        self._line: LineService | None = None  # replaced as a whole; the hand-shakes' thread reads it
        self._specs: list[HandshakeSpec] = []
        self._handshakes: Handshakes | None = None

    def attach(self, line: LineService, settings: Settings) -> None:
        """Serve the hand-shakes of ``settings`` with ``line``."""
        specs = handshake_specs(settings)
        if specs != self._specs:
            self._end()
            self._specs = specs
        self._line = line
        if specs and self._handshakes is None:
            self._begin(specs)

    def detach(self) -> None:
        """The line is about to end; until the next one nothing is ready."""
        self._line = None

    def _begin(self, specs: list[HandshakeSpec]) -> None:
        delivery = self._delivery
        handshakes = Handshakes(specs, self, delivery.identity, delivery.boot_id, self._clock)
        self._start(handshakes)
        self._handshakes = handshakes
        delivery.on_signal(self._signal)
        delivery.committed.listen(handshakes.inspections, handshakes.on_result)

    def _end(self) -> None:
        self._delivery.on_signal(None)
        self._delivery.committed.listen((), None)
        self._handshakes = None
        super()._end()

    def _signal(self, message: Inbound, levels: list[str]) -> None:
        """Take a message on ``cmd/plc/{inspection}/{signal}``; ``levels`` is what follows ``cmd/plc``."""
        handshakes = self._handshakes
        if handshakes is not None:
            inspection, name = [*levels, "", ""][:2] if len(levels) <= 2 else (levels[0], "/".join(levels[1:]))  # noqa: PLR2004
            handshakes.on_signal(inspection, name, message.payload, retained=message.retain)

    # --- what the hand-shakes ask for, in their thread

    def start_job(self, inspection: str, job: Job) -> None:
        """See ``Surroundings``."""
        handshakes = self._handshakes
        spec = next(one for one in self._specs if one.inspection == inspection)
        deadline_ns = self._clock.mono_ns() + spec.timing.result_ms * NS_PER_MS
        wanted = {"jobId": job.job_id, "partId": job.part.part_id, "productId": job.part.product_id}
        arguments: dict[str, object] = {name: value for name, value in wanted.items() if value is not None}

        def reply(answer: Answer) -> None:
            if answer.status >= ACCEPTED_BELOW and handshakes is not None:
                handshakes.on_refused(inspection, job.job_id, answer.message)

        command = Command("trigger", inspection, arguments, job.job_id.replace("-", ""), PRINCIPAL, deadline_ns)
        self._delivery.desk.inner.ask(command, reply)

    def unavailable(self, inspection: str) -> Trouble | None:
        """See ``Surroundings``."""
        line = self._line
        if line is None:
            return Trouble(Code.NO_LINE, "no line runs at this moment")
        spec = next((item.spec for item in line.plan.inspections if item.spec.id == inspection), None)
        figures = line.line.picture.inspections.get(inspection)
        if spec is None or figures is None:
            return Trouble(Code.NO_LINE, "the line does not have this inspection")
        slot = line.line.picture.slots.get(spec.slot)
        if slot is None or slot.state is not SlotState.READY:
            return Trouble(Code.MODEL, f"model {spec.slot} cannot judge" + (f": {slot.message}" if slot else ""))
        camera = line.cameras[spec.camera].state
        if camera.state not in _GIVES_PICTURES:
            return Trouble(Code.CAMERA, f"camera {spec.camera} is {camera.state}")
        if figures.setup.paused:
            return Trouble(Code.PAUSED, f"inspection {inspection} is paused")
        return None

    def line_turned_ns(self) -> int:
        """See ``Surroundings``."""
        line = self._line
        return 0 if line is None else line.loop.last_turn_mono_ns

    def show(self, document: Outgoing) -> None:
        """See ``Surroundings``."""
        self._delivery.show_newest(document)

    def tell(self, event: Event) -> None:
        """See ``Surroundings``."""
        self._delivery.put(event)
