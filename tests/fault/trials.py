"""Tries many models one after the other as the product does: gate, then a `vet` process of a zygote that stays."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from edge_runtime.app.vetting import PRELOAD, VET_ENTRY
from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.engine.package import open_package
from edge_runtime.pipeline.vet_link import Stage, VetLink, VetReport, VetSpec
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

CONTAINED = {"model.crashed": "crashed", "model.hangs": "hung", "model.memory": "out of memory"}


@dataclass
class Outcome:
    """What became of one model.

    Attributes:
        fate: `gate`, `described` (cannot be what its manifest says), `reference`, `engine`, `crashed`, `hung`,
            `out of memory` or `accepted`.
        seconds: from the start of its process to its end; 0 for what the gate refused.
    """

    label: str
    fate: str
    error: EdgeError | None
    seconds: float = 0.0


@dataclass
class Tally:
    """All outcomes in numbers, and those that would be a defect of ours."""

    fates: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    wordless: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.fates[outcome.fate] += 1
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        error = outcome.error
        if error is not None and not (error.code.count(".") == 1 and len(error.message) > 10 and error.help):
            self.wordless.append(f"{outcome.label}: {error!r}")
        if outcome.fate in CONTAINED.values():
            self.crashes.append(f"{outcome.label}: {error}")


class Trials:
    """A zygote and a loop; a block."""

    def __init__(
        self,
        *,
        deadline_s: float,
        memory_bytes: int,
        parallel: int = 2,
        backend: str = "auto",
        load_only: bool = True,
    ) -> None:
        self.deadline_s = deadline_s
        self._load_only = load_only
        self._memory_bytes = memory_bytes
        self._parallel = parallel
        self._backend = backend
        self._busy = 0
        self._number = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._loop = Loop(name="trials")
        self._stack.callback(self._loop.close)
        self._supervisor = Supervisor(self._loop, preload=PRELOAD)
        self._stack.callback(self._supervisor.stop)
        self._supervisor.start()
        self.zygote_pid = self._supervisor.zygote_pid
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def zygote_lives(self) -> bool:
        return self._supervisor.zygote_pid == self.zygote_pid

    def run(self, models: Iterable[tuple[str, Path]], on_end: Callable[[Outcome], None]) -> None:
        """Try each; a model's files are not needed any more once ``on_end`` was called for it."""
        for label, path in models:
            refused = gate(label, path)
            if refused is not None:
                on_end(refused)
                self._loop.turn(0)  # a gate may take its time, too, and deadlines go on meanwhile
                continue
            while self._busy >= self._parallel:
                self._loop.turn(0.1)
            self._start(label, path, on_end)
        while self._busy:
            self._loop.turn(0.1)

    def _start(self, label: str, path: Path, on_end: Callable[[Outcome], None]) -> None:
        self._busy += 1
        self._number += 1

        def ended(report: VetReport) -> None:
            self._busy -= 1
            on_end(Outcome(label, fate(report), report.error, report.seconds))

        spec = VetSpec(
            path=path,
            backend=self._backend,
            deadline_s=self.deadline_s,
            memory_bytes=self._memory_bytes,
            load_only=self._load_only,
        )
        stage = Stage(self._loop, self._supervisor, f"vet/{self._number}")
        VetLink(spec, VET_ENTRY, stage, ended).start()


def gate(label: str, path: Path) -> Outcome | None:
    """Return the outcome if the model does not come as far as a process."""
    try:
        open_package(path)
    except DataError as error:
        known = ("model.unsafe", "model.unreadable", "model.unknown_operator", "model.external_data")
        return Outcome(label, "gate" if error.code in known else "described", error)
    return None


def fate(report: VetReport) -> str:
    """Sort a report."""
    if report.error is None:
        return "accepted"
    return CONTAINED.get(report.error.code) or report.steps[-1].name
