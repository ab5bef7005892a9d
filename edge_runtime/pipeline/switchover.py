"""What a deployment does to a running line: a model beside, compared, switched to, switched back from, kept or gone.

Each method takes effect between two frames and does not block; what is done already changes nothing. A frame that an
engine has is judged by that engine, whatever is switched meanwhile.

Threads: all of it belongs to the line's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.result import Failure
from edge_runtime.pipeline.judged import together
from edge_runtime.pipeline.slot import SlotState
from edge_runtime.pipeline.standby import Standby

if TYPE_CHECKING:
    from edge_runtime.pipeline.engine_link import EngineLink
    from edge_runtime.pipeline.line import Line
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.pipeline.standby import StandbyListener

logger = logging.getLogger(__name__)


class EngineProcesses(Protocol):
    """Who starts and ends engine processes."""

    def start(self, link: EngineLink) -> None:
        """Keep a process of the name of ``link`` running for the models of ``link``, which owns it."""
        ...

    def end(self, link: EngineLink) -> None:
        """Let it end."""
        ...


class Switchover:
    """See the module docstring."""

    def __init__(self, line: Line, processes: EngineProcesses) -> None:
        """Act on ``line``."""
        self._line = line
        self._processes = processes

    def stand_by(self, slot: str, spec: SlotSpec, listener: StandbyListener) -> None:
        """Load ``spec`` beside the model of ``slot``, in place of what stands by there."""
        self.dismiss(slot)
        taken = self._line.engines[slot].name
        name = f"{taken.partition('/')[0]}/{slot}"
        standby = Standby(spec, self._line, listener, name=name + "/2" if name == taken else name)
        self._line.standbys[slot] = standby
        self._processes.start(standby.link)

    def shadow(self, slot: str, *, on: bool) -> None:
        """Compare what stands by on frames that were judged, while nothing else is to be done."""
        standby = self._line.standbys.get(slot)
        if standby is not None:
            standby.shadow(on=on)
            self._line.look_again()

    def switch(self, slot: str, inspections: tuple[str, ...] | None = None) -> None:
        """Let what stands by judge ``inspections``, or all of the slot, from the next frame on.

        Nothing happens while it is not ready: its listener was or will be told so.
        """
        standby = self._line.standbys.get(slot)
        if standby is None or standby.slot.state is not SlotState.READY:
            return
        first = self._line.first_frames(slot)
        chosen = tuple(name for name in first if inspections is None or name in inspections)
        usual = together([one.recent() for one in self._line.engines[slot].slots[slot].tallies().values()])
        standby.judge(frozenset(chosen), usual.percentile_ms(0.5))
        self._line.look_again()  # nobody may take what was counted before for what came after
        logger.info("model %s: the new one judges %s", slot, ", ".join(chosen) or "nothing")
        standby.listener.on_switched(
            to_standby=True, inspections=chosen, first_frame={name: first[name] for name in chosen}
        )
        self._line.feed(slot)

    def switch_back(self, slot: str) -> None:
        """Let the engine of the slot judge all of it from the next frame on; what stood by stays loaded."""
        standby = self._line.standbys.get(slot)
        if standby is None:
            return
        first = self._line.first_frames(slot)
        back = tuple(name for name in first if name in standby.inspections)
        standby.judge(frozenset())
        if back:
            logger.info("model %s: the old one judges %s", slot, ", ".join(back))
        standby.listener.on_switched(
            to_standby=False, inspections=back, first_frame={name: first[name] for name in back}
        )
        self._line.feed(slot)

    def settle(self, slot: str) -> None:
        """Make what stands by the engine of the slot, and unload what was.

        One whose process has just died becomes that when it is loaded again: until then the old model judges.
        """
        line, standby = self._line, self._line.standbys.get(slot)
        if standby is None:
            return
        if standby.slot.state is not SlotState.READY:
            standby.when_ready = lambda: self.settle(slot)
            return
        del line.standbys[slot]
        standby.judge_no_more()
        old, line.engines[slot] = line.engines[slot], standby.link
        standby.link.listener = line
        standby.link.set_low(False)
        self._unload(old, slot, "another model has taken its place")
        line.feed(slot)

    def dismiss(self, slot: str) -> None:
        """End what stands by; the engine of the slot judges what it had."""
        standby = self._line.standbys.get(slot)
        if standby is None:
            return
        self.switch_back(slot)
        standby.give_up_all(Failure.ENGINE_LOST, "the new model was dismissed")
        del self._line.standbys[slot]
        self._processes.end(standby.link)

    def empty(self, slot: str, message: str) -> None:
        """Let nothing judge for the slot any more: every frame of it is not decidable, for the reason ``message``."""
        self.dismiss(slot)
        self._unload(self._line.engines[slot], slot, message)
        self._line.on_slot_changed(self._line.engines[slot].slots[slot])

    def _unload(self, link: EngineLink, slot: str, message: str) -> None:
        link.unload(slot, message)
        self._line.when_done(link, lambda: self._processes.end(link))
