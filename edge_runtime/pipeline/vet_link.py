"""Main's end of a `vet` process: starts it once, ends it at its deadline, puts into words what became of it."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import ConfigError, DataError, EdgeError, PermissionDeniedError, UnavailableError
from edge_runtime.pipeline import wire
from edge_runtime.system.process import ChildSpec, ExitKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_runtime.system.loop import Loop
    from edge_runtime.system.process import Child, ExitCause, Supervisor

START_S: Final = 150.0
"""Until there is a process: the first one waits for the zygote to import every engine, perhaps from a cold disk."""
SLACK_S: Final = 60.0
"""The deadline is what ends a vet; its heartbeat, which native code does not give, comes after it."""
FRAMES_LIMIT: Final = 1000
_ERRORS: Final = {one.exit_code: one for one in (DataError, UnavailableError, PermissionDeniedError, ConfigError)}
_FACTS: Final = ("model", "engine", "golden", "latency_ms", "memory_mb", "gates", "pace")


@dataclass(frozen=True, slots=True, kw_only=True)
class VetSpec:
    """What to try.

    Attributes:
        path: absolute path of a package directory or a bare model file.
        device: as in the configuration.
        backend: as in the configuration.
        threads: cores that inference may use.
        deadline_s: seconds from the start of the process to its end.
        memory_bytes: what it may allocate.
        record: pictures in the package's folder `golden` whose answers are wanted instead of a comparison.
        load_only: end after the model answered for a grey picture.
        against: absolute path of the package that works now, which it is timed against; ``None`` = of none.
        slower_max: how many times slower than that one it may be, 1 or more.
        low: at low priority, beside something that matters more.
    """

    path: Path
    device: str = "auto"
    backend: str = "auto"
    threads: int = 1
    deadline_s: float = 60.0
    memory_bytes: int = 4 << 30
    record: tuple[str, ...] | None = None
    load_only: bool = False
    against: Path | None = None
    slower_max: float = 3.0
    low: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a trial takes place: who drives it, who starts processes, and a name that none of them has."""

    loop: Loop
    supervisor: Supervisor
    name: str = "vet"


@dataclass(slots=True)
class Step:
    """One step of the trial: ``what`` it does, for people; ``seconds`` it took, ``None`` when it did not end."""

    name: str
    what: str
    seconds: float | None = None


@dataclass(slots=True)
class VetReport:
    """What became of a model.

    Attributes:
        error: why it must not be used; ``None`` when it passed.
        steps: in their order; the last one is where it ended.
        facts: what the process said, as JSON: `model`, `engine`, `golden`, `latency_ms`, `memory_mb`, `gates`, `pace`.
        frames: recorded answers by picture.
        seconds: from the start of the process to its end; 0 when there was none.
    """

    error: EdgeError | None = None
    steps: list[Step] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    frames: dict[str, list[object]] = field(default_factory=dict)
    seconds: float = 0.0


class VetLink:
    """One trial of one model; a `system.process.ChildOwner`. One thread owns it."""

    def __init__(self, spec: VetSpec, entry: str, stage: Stage, on_end: Callable[[VetReport], None]) -> None:
        """Do nothing yet; ``entry`` names the child's code and ``on_end`` is called once, in the loop's thread."""
        self._spec = spec
        self._entry = entry
        self._stage = stage
        self._on_end: Callable[[VetReport], None] | None = on_end
        self._report = VetReport()
        self._verdict: Mapping[str, object] | None = None
        self._late = False

    def start(self) -> None:
        """Ask for the process."""
        spec = self._spec
        args: dict[str, object] = {
            "path": str(spec.path),
            "device": spec.device,
            "backend": spec.backend,
            "threads": spec.threads,
            "memory_bytes": spec.memory_bytes,
            "cpu_s": round(spec.deadline_s * (spec.threads + 1) + SLACK_S),
            "record": None if spec.record is None else list(spec.record),
            "load_only": spec.load_only,
            "against": None if spec.against is None else str(spec.against),
            "slower_max": spec.slower_max,
            "low": spec.low,
        }
        limit_s = spec.deadline_s + SLACK_S
        child = ChildSpec(
            name=self._stage.name,
            entry=self._entry,
            args=args,
            heartbeat_timeout_s=limit_s,
            start_timeout_s=limit_s,
        )
        self._stage.supervisor.spawn(child, self)
        self._stage.loop.call_later(START_S + spec.deadline_s, self._never_began)

    def stop(self) -> None:
        """End it, if it has not ended: it says so of itself at once."""
        if self._on_end is not None:
            self._report.error = UnavailableError("vet.stopped", f"{self._where()} was stopped: nobody waits for it")
            self._finish()

    def forget(self) -> None:
        """Tell nobody what becomes of it: it says nothing about the model when all processes end with their owner."""
        self._on_end = None

    # the child's news (ChildOwner)

    def on_started(self, child: Child) -> None:
        """Count its time from here."""
        self._stage.loop.call_later(self._spec.deadline_s, lambda: self._too_late(child))

    def on_message(self, child: Child, message: dict[str, object]) -> None:
        """Take note of a step, a recorded frame or the verdict."""
        try:
            self._handle(message)
        except DataError as error:
            child.kill(str(error))

    def on_exited(self, child: Child, cause: ExitCause) -> None:
        """Conclude; nothing is started again."""
        self._report.seconds = (self._stage.loop.clock.mono_ns() - child.started_mono_ns) / 1e9
        if self._verdict is None and self._on_end is not None:
            self._report.error = self._end_without_verdict(cause)
        self._finish()

    def _handle(self, message: dict[str, object]) -> None:
        steps = self._report.steps
        match message.get("op"):
            case "begin" if len(steps) < FRAMES_LIMIT:
                steps.append(Step(wire.text(message, "step"), wire.text(message, "what")))
            case "done" if steps and steps[-1].name == message.get("step"):
                steps[-1].seconds = wire.number(message, "seconds")
            case "frame" if len(self._report.frames) < FRAMES_LIMIT:
                rows = message.get("predictions")
                if not isinstance(rows, list):
                    raise DataError("child.message", "predictions: expected a list")
                self._report.frames[wire.text(message, "file")] = rows
            case "verdict" if self._verdict is None:
                self._report.facts = {key: message[key] for key in _FACTS if key in message}
                self._report.error = _error(message)
                self._verdict = message
            case operation:
                raise DataError("child.message", f"op {operation!r} is not known or came too often")

    def _too_late(self, child: Child) -> None:
        if self._on_end is not None:
            self._late = True
            child.kill("its time is up")

    def _never_began(self) -> None:
        if self._on_end is not None and not self._report.steps:
            message = "no process could be started to try the model in"
            self._report.error = UnavailableError("vet.not_started", message, help="the log says why")
            self._finish()

    def _finish(self) -> None:
        self._stage.supervisor.retire(self._stage.name)
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self._report)

    def _end_without_verdict(self, cause: ExitCause) -> EdgeError:
        where = self._where()
        if self._late:
            message = f"{where} did not end within {self._spec.deadline_s:g} s and was stopped"
            return DataError("model.hangs", message, help="simplify the model, or allow more time with --deadline")
        if cause.kind is ExitKind.ZYGOTE_LOST:
            return UnavailableError("vet.lost", f"{where} was lost: {cause.text}", help="try again")
        if cause.kind is ExitKind.SIGNALED and cause.signal == signal.SIGKILL:
            message = f"{where} was killed, as the system does when memory runs out"
            return DataError("model.memory", message, help="use a smaller model, or a box with more memory")
        if cause.kind is ExitKind.SIGNALED:
            message = f"{where} crashed the process that tried it: {cause.text}"
            help_ = "do not use it: it is damaged or made to do that; export it again, or try the other backend"
            return DataError("model.crashed", message, help=help_)
        return DataError("model.crashed", f"{where} ended without a verdict: {cause.text}", help="the log says why")

    def _where(self) -> str:
        steps = self._report.steps
        step = f"step {steps[-1].name} ({steps[-1].what})" if steps else "the start"
        return f"{self._spec.path.name}: {step}"


def _error(message: Mapping[str, object]) -> EdgeError | None:
    """Return why the process refused the model; ``None`` when it passed.

    Raises:
        DataError: the message does not fit.
    """
    said = message.get("error")
    if message.get("ok") is True and said is None:
        return None
    if not isinstance(said, dict):
        raise DataError("child.message", "error: expected an object")
    kind = _ERRORS.get(wire.integer(said, "exit_code"), DataError)
    return kind(wire.text(said, "code"), wire.text(said, "message"), help=wire.text(said, "help") or None)
