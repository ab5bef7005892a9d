"""A real line in this process with its camera and engine processes, and somebody who gives it commands."""

from __future__ import annotations

import itertools
import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from edge_runtime.app.assembly import LineService
from edge_runtime.app.line_commands import LineCommands
from edge_runtime.app.plan import plan_line
from edge_runtime.config.schema import Settings
from edge_runtime.core.command import Answer, Command
from edge_runtime.core.result import Event, Result
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.redact import Redactor
from edge_runtime.system.service import ServiceGroup
from tests.daemons import MODEL, Compiled, wait_until

if TYPE_CHECKING:
    from pathlib import Path

RULE = {"label": "scratch", "score_min": 0.5}
RECIPES = {"part-a": {"version": "3", "not_ok": (RULE,)}, "part-b": {"version": "1", "not_ok": ()}}
IMPOSSIBLE = {"wrong": {"not_ok": ({"label": "no-such-label"},)}}
ANSWER_S = 20.0


def line_settings(state_dir: Path, *, trigger: object = "continuous", capture: str = "latest", **more: Any) -> Settings:
    """One camera with 30 pictures a second, the shipped model, one inspection ``top`` and recipes for two parts."""
    return Settings.model_validate(
        {
            "version": 1,
            "cameras": {"top": {"source": "sim:conveyor?fps=30&size=448x256", "stall_s": 1.0, "capture": capture}},
            "models": {"defects": {"path": str(MODEL)}},
            "recipes": RECIPES | IMPOSSIBLE,
            "inspections": {
                "top": {
                    "camera": "top",
                    "model": "defects",
                    "trigger": trigger,
                    "recipe": "part-a",
                    "deadline_ms": 5000,
                }
            },
            "state_dir": str(state_dir),
        }
        | more
    )


class Asked:
    """One command and its one answer."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._answered = threading.Event()

    def reply(self, answer: Answer) -> None:
        self.answers.append(answer)
        self._answered.set()

    def answer(self, timeout_s: float = ANSWER_S) -> Answer:
        assert self._answered.wait(timeout_s), "no answer"
        return self.answers[0]


class RunningLine:
    """What the daemon does for its line, without delivery; a block."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.results: list[Result] = []
        self.events: list[Event] = []
        self.accepted: list[tuple[str, str | None]] = []
        self.shown: list[tuple[str, bytes]] = []
        self.restarts = threading.Event()
        self._numbers = itertools.count(1)
        self._frames_begun: dict[str, int] = {}
        self.commands = LineCommands(
            settings.state_dir,
            SystemClock(),
            tell=self.put,
            show=self._show,
            accepted=lambda inspection, ids: self.accepted.append((inspection, ids.job_id)),
            restart=self.restarts.set,
            mask=Redactor(["hush-hush"]).redact,
        )
        self._office = ExitStack()
        self._running = ExitStack()
        self._cache_dir: Path
        self.line: LineService

    def __enter__(self) -> Self:
        self.settings.state_dir.mkdir(parents=True, exist_ok=True)
        self._cache_dir = Compiled.give(self.settings.state_dir / "compiled")
        self._office.enter_context(self.commands)
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._office.close()

    def start(self) -> None:
        """Begin a line, with what commands have set before."""
        plan = plan_line(self.settings, cpus=len(os.sched_getaffinity(0)))
        self.line = LineService(
            plan,
            self,
            FlightRecorder(),
            cache_dir=self._cache_dir,
            frames_begun=self._frames_begun,
            setups=self.commands.setups(plan),
        )
        self._running.callback(self.line.close)
        self._running.callback(lambda: self._frames_begun.update(self.line.frames_begun()))
        self.commands.attach(self.line, self.settings)
        self._running.callback(self.commands.detach)
        group = self._running.enter_context(ServiceGroup())
        group.start(self.line)

    def stop(self) -> None:
        """End the line."""
        self._running.close()
        if self.results:
            Compiled.keep(self._cache_dir)

    def put(self, item: Result | Event) -> None:
        """Take what the line says."""
        (self.results if isinstance(item, Result) else self.events).append(item)  # type: ignore[arg-type]

    def _show(self, camera: str, jpeg: bytes) -> bool:
        self.shown.append((camera, jpeg))
        return True

    def ask(self, verb: str, target: str | None = None, *, timeout_s: float = ANSWER_S, **arguments: object) -> Asked:
        """Give a command."""
        asked = Asked()
        deadline_ns = time.monotonic_ns() + round(timeout_s * 1e9)
        command = Command(verb, target, arguments, f"{next(self._numbers):032x}", "test", deadline_ns)
        self.commands.handlers[verb](command, asked.reply)
        return asked

    def do(self, verb: str, target: str | None = None, **arguments: object) -> Answer:
        """Give a command and wait for its answer."""
        return self.ask(verb, target, **arguments).answer()

    def wait_ready(self) -> None:
        """Wait until the line judges."""
        wait_until(lambda: self.line.reasons() == (), 30, "the line is ready")

    def wait_camera(self) -> None:
        """Wait until the camera streams; the model may still be loading."""
        wait_until(lambda: self.line.cameras["top"].state.state == "streaming", 30, "the camera streams")

    def wait_results(self, count: int) -> None:
        """Wait for ``count`` more results."""
        wanted = len(self.results) + count
        wait_until(lambda: len(self.results) >= wanted, 30, f"{count} more results")

    @property
    def kinds(self) -> list[str]:
        """The events so far, by kind."""
        return [event.kind for event in self.events]
