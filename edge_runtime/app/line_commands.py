"""Carries out the commands that are about the line; the desk has read, authorised and remembered them before.

    desk -> handler -> line's thread (``pipeline.actions``) -> office thread: state file, pictures -> reply

A change is in force first, then on the disk, then answered: whoever has the answer has both, and a box that dies in
between was asked something that nobody heard the answer of.

Threads: ``handlers`` may be called by any and do not block; everything that touches a disk is done by the thread of
this service, which outlives the lines of a delivery. Legal order: ``setups`` -> ``attach`` -> ``detach`` -> ``setups``
of the next line ...
"""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from edge_runtime.app import arguments
from edge_runtime.app.assembly import NO_LINE
from edge_runtime.app.setups_file import SetupsFile
from edge_runtime.app.snapshot_files import SnapshotFiles
from edge_runtime.config.shown import digest, shown
from edge_runtime.core.command import Answer, Status
from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.core.result import Event
from edge_runtime.pipeline.attempt import NS_PER_MS, TriggerIds
from edge_runtime.pipeline.setup import AS_CONFIGURED, Setup
from edge_runtime.pipeline.slot import SlotState
from edge_runtime.system.channel import Channel, Closed, Policy
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.plan import LinePlan
    from edge_runtime.config.schema import Settings
    from edge_runtime.core.command import Command, Handler, Reply
    from edge_runtime.pipeline.actions import Actions
    from edge_runtime.pipeline.snapshots import Shot
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

WORK_MAX: Final = 64
STOP_S: Final = 1.0
LOOK_S: Final = 0.1  # how often a line that was started anew is looked at
REPLY_BYTES_MAX: Final = 240 << 10  # a reply has 256 KiB, the rest is its envelope
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class _Restart:
    """Somebody waits for a line that is begun after the one with number ``after``."""

    reply: Reply
    after: int
    deadline_mono_ns: int


class LineCommands:
    """See the module docstring. A ``system.service.Service``."""

    name = "line-commands"

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        *,
        tell: Callable[[Event], None],
        show: Callable[[str, bytes], bool],
        accepted: Callable[[str, TriggerIds], None],
        restart: Callable[[], None],
        mask: Callable[[str], str],
    ) -> None:
        """Keep state below ``state_dir``.

        Args:
            state_dir: of the daemon.
            clock: for deadlines, ids and times.
            tell: takes events; must not block.
            show: sends a JPEG of a camera to whoever subscribed; ``False`` when it could not be queued.
            accepted: notes that a trigger for an inspection was accepted; must not block.
            restart: has the line started anew; must not block.
            mask: gives a text of the configuration back without secrets.
        """
        self._clock = clock
        self._tell = tell
        self._show = show
        self._accepted = accepted
        self._restart = restart
        self._mask = mask
        self._file = SetupsFile(state_dir)
        self._pictures = SnapshotFiles(state_dir)
        self._work: Channel[Callable[[], None]] = Channel(WORK_MAX, Policy.REJECT)
        self._lock = threading.Lock()  # guards what follows
        self._line: LineService | None = None
        self._settings: Settings | None = None
        self._begun = 0  # lines
        self._restarts: list[_Restart] = []
        self._setups: dict[str, Setup] | None = None
        self._group = ServiceGroup(join_timeout_s=STOP_S)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._group.__enter__()
        self._group.start(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do what waits, answer who waits, end the thread.

        Raises:
            ExceptionGroup: the thread had failed.
        """
        self._group.__exit__(kind, error, trace)

    @property
    def failed(self) -> bool:
        """Whether the thread failed; leaving the block raises why."""
        return self._group.stop.is_set()

    # --- the daemon

    def setups(self, plan: LinePlan) -> dict[str, Setup]:
        """Return what the inspections of the next line begin with, as far as the configuration still has it."""
        if self._setups is None:
            self._setups, trouble = self._file.load()
            if trouble is not None:
                logger.error("what commands had set is lost, every inspection runs as configured: %s", trouble)
                self._event("system", "setups.damaged", f"pauses and chosen recipes are lost: {trouble}", {})
        found = {}
        for item in plan.inspections:
            setup = self._setups.get(item.spec.id, AS_CONFIGURED)
            known = {item.ref.id, *(ref.id for _, ref in item.others)}
            if setup.recipe is not None and setup.recipe not in known:
                message = f"recipe {setup.recipe} of {item.spec.id} is not configured any more; {item.ref.id} judges"
                logger.error("%s", message)
                self._event(item.spec.id, "recipe.fallback", message, {"wanted": setup.recipe, "recipe": item.ref.id})
                setup = Setup(paused=setup.paused)
            found[item.spec.id] = setup
        return found

    def attach(self, line: LineService, settings: Settings) -> None:
        """Act on ``line``, which runs ``settings``, from now on."""
        with self._lock:
            self._line, self._settings = line, settings
            self._begun += 1

    def detach(self) -> None:
        """The line is about to end; until the next one every command is refused."""
        with self._lock:
            self._line = None

    def run(self, stop: Stop) -> None:
        """Do what touches a disk, and look after lines that were started anew; what waits at the end is done."""
        while not stop.is_set():
            self._do(self._work.get(LOOK_S))
            self._answer_restarts()
        self._work.close()
        while True:
            try:
                self._do(self._work.get(0.0))
            except Closed:
                break
        for one in self._restarts:
            one.reply(Answer(Status.UNAVAILABLE, "the daemon is ending"))

    # --- the desk

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What can be asked, by verb."""
        return {
            "trigger": self._trigger,
            "pause": self._pause,
            "resume": self._resume,
            "recipe.select": self._select,
            "snapshot": self._snapshot,
            "reset": self._reset,
            "config.get": self._config,
        }

    def _trigger(self, command: Command, reply: Reply) -> None:
        def job() -> str:
            return uuid7(self._clock.utc_ns() // NS_PER_MS, os.urandom(RANDOM_BYTES))

        def run(actions: Actions) -> None:
            ids = TriggerIds(
                arguments.text(command, "jobId") or job(),
                arguments.text(command, "partId"),
                arguments.text(command, "measId"),
                arguments.text(command, "productId"),
                command.correlation_id or None,
            )
            recipe = arguments.text(command, "recipe")
            timeout_ms = arguments.whole(command, "timeoutMs", *arguments.TIMEOUT_MS)
            answer = actions.trigger(command.target, ids, recipe=recipe, timeout_ms=timeout_ms)
            if answer.status is Status.ACCEPTED:
                self._accepted(str(answer.fields["inspection"]), ids)
            reply(answer)

        self._act(command, reply, run)

    def _pause(self, command: Command, reply: Reply) -> None:
        def run(actions: Actions) -> None:
            self._changed(actions, actions.pause(command.target, arguments.text(command, "reason")), reply)

        self._act(command, reply, run)

    def _resume(self, command: Command, reply: Reply) -> None:
        def run(actions: Actions) -> None:
            self._changed(actions, actions.resume(command.target, arguments.text(command, "reason")), reply)

        self._act(command, reply, run)

    def _select(self, command: Command, reply: Reply) -> None:
        def run(actions: Actions) -> None:
            recipe = arguments.text(command, "recipe", required=True) or ""
            version, product_id = arguments.text(command, "version"), arguments.text(command, "productId")
            reason = arguments.text(command, "reason")
            answer = actions.select(command.target, recipe, product_id, version=version, reason=reason)
            self._changed(actions, answer, reply)

        self._act(command, reply, run)

    def _snapshot(self, command: Command, reply: Reply) -> None:
        def run(actions: Actions) -> None:
            publish = arguments.flag(command, "publish")
            max_width = arguments.whole(command, "maxWidth", *arguments.WIDTHS)

            def done(outcome: Shot | Answer) -> None:
                if isinstance(outcome, Answer):
                    reply(outcome)
                else:
                    self._later(lambda: reply(self._keep(outcome, publish=publish)), reply)

            actions.snapshot(command.target, max_width, done)

        self._act(command, reply, run)

    def _reset(self, command: Command, reply: Reply) -> None:
        target = command.target
        if target is not None:
            self._act(command, reply, lambda actions: reply(actions.reset(target, arguments.text(command, "reason"))))
            return
        with self._lock:
            if self._line is None:
                reply(Answer(Status.UNAVAILABLE, NO_LINE))
                return
            self._restarts.append(_Restart(reply, self._begun, command.deadline_mono_ns))
        self._event("system", "line.reset", "the line is started anew because a command asked for it", {})
        self._restart()

    def _config(self, command: Command, reply: Reply) -> None:
        def work() -> None:
            try:
                reply(self._shown(arguments.text(command, "section") or command.target))
            except DataError as error:
                reply(Answer(Status.MALFORMED, error.message))

        self._later(work, reply)

    # --- the line's thread

    def _act(self, command: Command, reply: Reply, run: Callable[[Actions], None]) -> None:
        def turn(actions: Actions) -> None:
            if self._clock.mono_ns() >= command.deadline_mono_ns:
                reply(Answer(Status.LATE, "its deadline passed before the line came to it; nothing was done"))
                return
            try:
                run(actions)
            except DataError as error:
                reply(Answer(Status.MALFORMED, error.message))

        line = self._line
        if line is None:
            reply(Answer(Status.UNAVAILABLE, NO_LINE))
        else:
            line.act(turn, reply)

    def _changed(self, actions: Actions, answer: Answer, reply: Reply) -> None:
        if answer.status is not Status.DONE:
            reply(answer)
            return
        setups = self._setups = actions.setups()
        self._later(lambda: reply(self._saved(setups, answer)), reply)

    # --- our own thread

    def _later(self, work: Callable[[], None], reply: Reply) -> None:
        try:
            taken = self._work.put(work)
        except Closed:
            reply(Answer(Status.UNAVAILABLE, "the daemon is ending"))
            return
        if not taken:
            reply(Answer(Status.TOO_MANY, "too much waits for the disk; ask again in a second"))

    def _do(self, work: Callable[[], None] | None) -> None:
        if work is not None:
            work()

    def _saved(self, setups: Mapping[str, Setup], answer: Answer) -> Answer:
        try:
            self._file.save(setups)
        except (StorageError, PermissionDeniedError) as error:
            logger.warning("what a command has set will not survive a restart: %s", error)
            message = f"{answer.message}; a restart forgets it: {error.message}"
            return Answer(answer.status, message, {**answer.fields, "durable": False})
        return Answer(answer.status, answer.message, {**answer.fields, "durable": True})

    def _keep(self, shot: Shot, *, publish: bool) -> Answer:
        moment = datetime.fromtimestamp(shot.captured_utc_ns / _NS_PER_S, UTC)
        fields: dict[str, object] = {
            "camera": shot.camera,
            "frameId": shot.frame_id,
            "capturedAt": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "ageMs": max(0, (self._clock.mono_ns() - shot.captured_mono_ns) // NS_PER_MS),
            "width": shot.width,
            "height": shot.height,
            "bytes": len(shot.jpeg),
        }
        if publish:
            fields["published"] = self._show(shot.camera, shot.jpeg)
        try:
            kept = self._pictures.keep(shot)
        except (StorageError, PermissionDeniedError) as error:
            return Answer(Status.FAILED, f"there is a picture, and it cannot be kept: {error.message}", fields)
        fields |= {"sha256": kept.digest, "file": str(kept.path)}
        return Answer(Status.DONE, f"frame {shot.frame_id} of camera {shot.camera}", fields)

    def _shown(self, section: str | None) -> Answer:
        with self._lock:
            settings = self._settings
        if settings is None:
            return Answer(Status.UNAVAILABLE, NO_LINE)
        document = shown(settings, self._mask)
        whole = digest(document)
        if section is not None and section not in document:
            return Answer(Status.UNKNOWN, f"there is no section {section[:64]}, there are: {', '.join(document)}")
        part = document if section is None else {section: document[section]}
        size = len(json.dumps(part, ensure_ascii=False).encode())
        if size > REPLY_BYTES_MAX:
            message = f"{size} bytes do not fit a reply of {REPLY_BYTES_MAX}; ask for one section"
            return Answer(Status.TOO_LARGE, message, {"digest": whole, "sections": list(document)})
        return Answer(Status.DONE, "the configuration in force", {"digest": whole, "settings": part})

    def _answer_restarts(self) -> None:
        with self._lock:
            line, begun, waiting = self._line, self._begun, self._restarts
        for one in waiting:
            answer = self._outcome(one, line if begun > one.after else None)
            if answer is not None:
                one.reply(answer)
                with self._lock:
                    self._restarts = [other for other in self._restarts if other is not one]

    def _outcome(self, restart: _Restart, line: LineService | None) -> Answer | None:
        """Return the answer to a reset of the line, ``None`` while it is open."""
        reasons = ("the line is being started",) if line is None else line.reasons()
        if not reasons:
            return Answer(Status.DONE, "the line was started anew and is ready")
        told: dict[str, object] = {"reasons": list(reasons)}
        text = "; ".join(reasons)
        if line is not None and any(slot.state is SlotState.FAILED for slot in line.line.picture.slots.values()):
            return Answer(Status.FAILED, f"the line was started anew and cannot judge: {text}", told)
        if self._clock.mono_ns() >= restart.deadline_mono_ns:
            return Answer(Status.LATE, f"the line was started anew and is not ready yet: {text}", told)
        return None

    def _event(self, scope: str, kind: str, message: str, fields: dict[str, object]) -> None:
        self._tell(Event(scope, kind, message, self._clock.utc_ns(), fields))
