"""Waits until a line that was just started can judge."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.pipeline.slot import SlotState

if TYPE_CHECKING:
    from edge_runtime.app.assembly import LineService
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.system.service import ServiceGroup

NOT_HERE = frozenset({"device.missing", "backend.missing"})  # reasons that lie with the box and not with the model
LOAD_TIMEOUT_S = 600.0  # the first compilation for a GPU or NPU takes minutes


def await_model(line: LineService, slot_id: str, group: ServiceGroup) -> ModelFacts:
    """Return what was loaded into ``slot_id``; an engine process that dies meanwhile is the model's fault.

    Raises:
        DataError: the model was refused, or the engine died of it.
        UnavailableError: it does not come in time, the line ended, or the box has no such device or backend.
    """
    slot = line.engine.slots[slot_id]
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    while slot.state is not SlotState.READY or slot.facts is None:
        if slot.state is SlotState.FAILED:
            code = slot.message.partition(": ")[0]
            kind = UnavailableError if code in NOT_HERE else DataError
            raise kind("model.refused", slot.message)
        if line.engine.restarts > 0 or slot.state is SlotState.LOST:
            raise DataError("model.crashed", f"the engine process died of this model: {slot.message or 'restarted'}")
        if group.wait(0.01) or time.monotonic() > deadline:
            raise UnavailableError("engine.silent", "the engine did not load the model in time")
    return slot.facts
