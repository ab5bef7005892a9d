"""Tries a model in a process that may die of it, and waits for what becomes of it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from edge_runtime.app.assembly import PRELOAD, VET_ENTRY
from edge_runtime.pipeline.vet_link import Stage, VetLink, VetReport, VetSpec
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.pipeline.slot import SlotSpec

DEADLINE_S: Final = 120.0
SLOWER_MAX: Final = 3.0  # times the median of the model that works now
MEMORY_SHARE: Final = 0.5
"""Of the box's memory: a model may be tried while another one works."""


def spec_for(slot: SlotSpec, path: Path, *, against: Path | None = None, slower_max: float = SLOWER_MAX) -> VetSpec:
    """Return how a model is tried that is to work in ``slot``, in place of the one ``against`` which it is timed."""
    return VetSpec(
        path=path,
        device=slot.device,
        backend=slot.backend,
        threads=slot.threads,
        deadline_s=DEADLINE_S,
        memory_bytes=_memory_bytes(),
        against=against,
        slower_max=max(SLOWER_MAX, slower_max),
    )


def numbers_of(report: VetReport) -> dict[str, float]:
    """Return the figures of a trial that are worth keeping, by name."""
    found = {"memory_mb": report.facts.get("memory_mb")}
    for part in ("latency_ms", "pace"):
        fields = report.facts.get(part)
        found |= {f"{part}.{name}": value for name, value in fields.items()} if isinstance(fields, dict) else {}
    return {f"vet.{name}": float(value) for name, value in found.items() if isinstance(value, int | float)}


def _memory_bytes() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE)


def vet(
    path: Path,
    *,
    device: str = "auto",
    backend: str = "auto",
    deadline_s: float = DEADLINE_S,
    record: tuple[str, ...] | None = None,
) -> VetReport:
    """Return what becomes of the model at ``path``; see `pipeline.vet_link.VetSpec`.

    Blocks for ``deadline_s`` at most, and up to some seconds more while the engines are imported.
    """
    spec = VetSpec(
        path=path.absolute(),
        device=device,
        backend=backend,
        threads=len(os.sched_getaffinity(0)),
        deadline_s=deadline_s,
        memory_bytes=_memory_bytes(),
        record=record,
    )
    reports: list[VetReport] = []
    with ExitStack() as stack:
        loop = Loop(name="vet")
        stack.callback(loop.close)
        supervisor = Supervisor(loop, preload=PRELOAD)
        stack.callback(supervisor.stop)
        supervisor.start()
        VetLink(spec, VET_ENTRY, Stage(loop, supervisor), reports.append).start()
        while not reports:
            loop.turn(0.1)
    return reports[0]
