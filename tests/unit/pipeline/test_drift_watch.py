"""``pipeline.drift_watch``: a line tells when its model sees something else than it was made for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.reference import ModelReference
from edge_runtime.core.result import Evaluation
from edge_runtime.pipeline.drift import IN_A_ROW
from edge_runtime.pipeline.drift_watch import LOOK_S, DriftWatch
from tests.fakes.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = ModelReference(100, (0,) * 19 + (100,), {"scratch": 0.0, "ok": 1.0})


@pytest.fixture
def plant() -> Iterator[Plant]:
    made = Plant()
    made.engine_starts()
    made.engine_loads()
    yield made
    made.close()


def test_it_tells_once_that_it_began_and_once_that_it_is_over_and_not_without_a_reference(plant: Plant) -> None:
    station = plant.line.stations["top"]
    found = plant.line.engine_of(station)
    assert found is not None
    slot = found[1]
    DriftWatch(plant.line).start()

    def judge(label: str) -> None:
        for _ in range(2500):
            slot.tally("top").judged(Evaluation.OK, 1.0, {label: 0.99})

    judge("scratch")
    plant.pass_ms(round(LOOK_S * 1000 * (IN_A_ROW + 1)))
    assert not [kind for kind in plant.sink.events if kind.startswith("drift")], "no reference, no alarm"
    assert slot.facts is not None
    slot.facts = replace(slot.facts, reference=REFERENCE)
    plant.pass_ms(round(LOOK_S * 1000 * (IN_A_ROW + 2)))
    judge("ok")
    plant.pass_ms(round(LOOK_S * 1000 * (IN_A_ROW + 2)))
    assert [kind for kind in plant.sink.events if kind.startswith("drift")] == ["drift.labels", "drift.over"]
