"""A first place that does harm must not keep a box from the other ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Report, Standing
from edge_runtime.registry.carriers import whole
from edge_runtime.registry.documents import Assignment
from tests.fakes.clock import START_UTC_NS, ManualClock
from tests.fakes.published import Published
from tests.hostile_registry import Call, HostileRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Published:
    made = Published(tmp_path / "publisher", now=datetime.fromtimestamp(START_UTC_NS / 1e9, UTC))
    made.release("weld", 1)
    made.roll_out(Assignment("weld", 1))
    return made


def look(registry: Published, box: Path, attack: Callable[[Call], None]) -> Report:
    """Look at a hostile copy of the registry, and at the honest one after it."""
    with HostileRegistry(registry.directory / "registry", attack=attack) as hostile:
        order = registry.order(box, urls=(hostile.url, registry.url))
        return Pull(order, clock=ManualClock()).run()


def test_attack_30_who_drips_metadata_does_not_hold_back_the_others(
    registry: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast("dict[str, float]", whole.read_blob.__kwdefaults__), "within_s", 0.3)

    dripped = []

    def drip(call: Call) -> None:
        if b'"timestamp"' not in call.body:
            call.send()
            return
        dripped.append(call.body)
        call.begin(len(call.body))
        for at in range(len(call.body)):
            call.handler.wfile.write(call.body[at : at + 1])
            call.handler.owner.ending.wait(0.05)

    report = look(registry, tmp_path / "box", drip)
    assert (report.slots[0].standing, len(dripped)) == (Standing.CURRENT, 1)
