"""The desk: every command of the box comes in here, and leaves with one answer and a record.

    MQTT thread -> take() -> lane -> read, prove, admit -> begin (intent on record) -> handler
                                       handler, any thread, at once or later -> lane -> finish -> reply, record, event

Legal order of one command: taken -> (refused | repeated | begun) -> finished once: by its handler's answer, by its
deadline (504), or by a stop. Only what was begun is remembered by its id; what was refused is judged anew when it
comes again. There are two lanes, so that a trigger waits neither for another verb's handler nor for the disk flush
that a critical verb needs; all of one verb stays in order.

Threads: ``take`` from any, never blocks. ``serve``, ``note`` and ``figures`` from any.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.control.commands.answers import Answers, answered
from edge_runtime.control.commands.inner import InnerDoor
from edge_runtime.control.commands.journal import Record
from edge_runtime.control.commands.lane import RUNNING_MAX, Lane
from edge_runtime.control.commands.letter import ANONYMOUS, Letter
from edge_runtime.control.commands.records import FREQUENT, Clerk, Outcome
from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.control.commands.replies import Scribe, outgoing
from edge_runtime.control.commands.tally import Tally
from edge_runtime.control.commands.verbs import TRIGGER, VERBS
from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.core.errors import StorageError
from edge_runtime.core.ids import RANDOM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.control.commands.audit import Audit
    from edge_runtime.control.commands.keyring import Keyring
    from edge_runtime.control.commands.policy import Policy
    from edge_runtime.core.command import Handler
    from edge_runtime.core.result import Event
    from edge_runtime.publish.mqtt.link import Inbound, Outgoing
    from edge_runtime.publish.payload import Identity
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Service

logger = logging.getLogger(__name__)

WAITING_MAX = 16  # repeats of one command that wait for its answer
INTERRUPTED = "interrupted: the daemon ended; whether it was carried out is not known"
_TIDY_NS = 1_000_000_000


@dataclass(slots=True, eq=False)
class _Running:
    """A command that was given to its handler."""

    letter: Letter
    record: Record | None  # None without an id
    lane: Lane[_Item]
    waiting: list[Letter] = field(default_factory=list)
    is_answered: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class _Answered:
    running: _Running
    answer: Answer


_Item = Letter | _Answered


class Desk:
    """See the module docstring. Legal order: ``open`` -> its ``services`` run -> they end -> ``close``."""

    def __init__(  # noqa: PLR0913 - its parts, each with a name
        self,
        identity: Identity,
        boot_id: str,
        clock: Clock,
        *,
        policy: Policy,
        keyring: Keyring,
        answers: Answers,
        audit: Audit,
        post: Callable[[Outgoing], bool],
        tell: Callable[[Event], None],
    ) -> None:
        """Answer through ``post``, say through ``tell`` what somebody may have to act on; neither may block."""
        self._identity = identity
        self._clock = clock
        self._policy = policy
        self._policy_lock = threading.Lock()  # guards the state of _policy
        self._keyring = keyring
        self._answers = answers
        self._scribe = Scribe(identity, boot_id)
        self._post = post
        self._tally = Tally(clock.mono_ns())
        self._clerk = Clerk(audit, self._tally, clock, tell)
        self._providers: dict[str, Mapping[str, Handler]] = {}
        self._lock = threading.Lock()  # guards _running, the flags of what is in it, and _providers
        self._running: set[_Running] = set()
        self._tidied_ns = 0
        self._is_ending = False
        self.inner = InnerDoor(self.handler, policy, self._policy_lock, self._tally, self._clerk, clock)
        self._triggers: Lane[_Item] = Lane("commands/trigger", self._work, self._tick_triggers, self._end_triggers)
        self._others: Lane[_Item] = Lane("commands", self._work, self._tick_others, self._end_others)

    @property
    def services(self) -> tuple[Service, Service]:
        """The threads of the desk."""
        return self._triggers, self._others

    def open(self, version: str) -> None:
        """Read what earlier boots left and note the start. Never raises: a bad disk costs commands, not the line."""
        self._clerk.open(version)
        self._answers.open(self._interrupted)

    def close(self) -> None:
        """Note the end and close the files; idempotent."""
        self._answers.close()
        self._clerk.close()

    # --- any thread

    def serve(self, provider: str, handlers: Mapping[str, Handler]) -> None:
        """Have ``handlers`` carry out their verbs from now on, in the place of what ``provider`` served before.

        A verb that nobody serves is unavailable; the line, for example, serves its verbs while it runs.
        """
        with self._lock:
            self._providers[provider] = dict(handlers)

    def handler(self, verb: str) -> Handler | None:
        """Return who carries out ``verb`` at this moment."""
        with self._lock:
            found = next((handlers[verb] for handlers in self._providers.values() if verb in handlers), None)
        return None if self._is_ending else found

    def note(self, kind: str, fields: Mapping[str, object]) -> None:
        """Write something that is no command into the audit trail, for example that the configuration changed."""
        self._clerk.note(kind, fields)

    def figures(self) -> dict[str, object]:
        """Counters and troubles, JSON-able."""
        return {
            **self._tally.figures(),
            "running": len(self._running),
            "remembered": len(self._answers),
            "unwritten": self._answers.unwritten,
            "forgottenEarly": self._answers.early,
            "faults": self._triggers.faults + self._others.faults,
            "trouble": self._answers.trouble,
            "audit": self._clerk.figures(),
        }

    def take(self, message: Inbound) -> None:
        """Take a message on ``cmd/...``; it is refused when too many wait, and only counted when many more come.

        The broker acknowledges results through the same connection: they must not queue up behind nonsense.
        """
        with self._policy_lock:
            is_flood = self._policy.is_flood(self._clock.mono_ns())
        if is_flood:
            self._tally.shed()
            return
        self._tally.received()
        letter = Letter(message, self._identity, mono_ns=self._clock.mono_ns(), utc_ns=self._clock.utc_ns())
        lane = self._triggers if letter.verb == TRIGGER else self._others
        if not lane.offer(letter):
            error = RefusedError(Status.TOO_MANY, "overflow", "too many commands wait; ask again in a second")
            self._refuse(letter, self._unread(letter, error))

    def _unread(self, letter: Letter, error: RefusedError) -> RefusedError:
        """Find out where the refusal of a letter goes that nobody has time to read; it stays what it is."""
        with contextlib.suppress(RefusedError):
            letter.read_properties()
        return error

    # --- a lane

    def _work(self, item: _Item) -> None:
        if isinstance(item, _Answered):
            self._finish(item.running, item.answer)
            return
        try:
            self._serve(item)
        except RefusedError as error:
            self._refuse(item, error)

    def _serve(self, letter: Letter) -> None:
        try:
            with self._policy_lock:
                self._policy.count(self._clock.mono_ns())
        except RefusedError as error:
            raise self._unread(letter, error) from None
        letter.read()
        signed_ns = self._keyring.prove(letter, self._clock.utc_ns())
        verb = letter.verb or ""
        with self._policy_lock:
            self._policy.admit(verb, letter.principal, self._clock.mono_ns(), proven=letter.proven)
        if self._policy.needs_signature(verb) and not letter.proven:
            raise RefusedError(
                Status.UNAUTHORIZED, "unsigned", f"{verb} needs a signature of a key that this box knows"
            )
        record = None
        if letter.id is not None:
            who = f"{'key' if letter.proven else 'claim'}:{letter.principal}"
            record = Record(who, letter.id, letter.digest, verb, letter.target, signed_ns)
            known = self._answers.find(who, letter.id)
            if known is not None:
                self._repeat(letter, known)
                return
        handler = self.handler(verb)
        if handler is None:
            raise RefusedError(Status.UNAVAILABLE, "no_handler", "no line runs at this moment; ask again")
        self._begin(letter, record, handler)

    def _repeat(self, letter: Letter, known: Record) -> None:
        """Answer a command that was begun before, now or when its first one ends."""
        if known.digest != letter.digest:
            why = f"the id {known.id} was used for another command ({known.verb}); every command needs an id of its own"
            raise RefusedError(Status.CONFLICT, "id_reused", why)
        self._tally.repeated()
        if known.body is not None and known.status is not None:
            self._send(letter, known.status, known.body)
            return
        with self._lock:
            running = next((r for r in self._running if r.record is not None and _key(r.record) == _key(known)), None)
        if running is None or len(running.waiting) >= WAITING_MAX:
            raise RefusedError(Status.TOO_MANY, "repeats", "it is being carried out and enough repeats wait for it")
        running.waiting.append(letter)

    def _begin(self, letter: Letter, record: Record | None, handler: Handler) -> None:
        verb = VERBS[letter.verb or ""]
        lane = self._triggers if letter.verb == TRIGGER else self._others
        with self._lock:
            is_full = sum(running.lane is lane for running in self._running) >= RUNNING_MAX
        if is_full:
            raise RefusedError(Status.TOO_MANY, "running", "too many commands are being carried out; ask again")
        if record is not None:
            known = self._record(record, must_last=not verb.lenient, durable=verb.critical or letter.proven)
            if known is not None:
                self._repeat(letter, known)
                return
        if verb.critical:
            self._clerk.begun(letter)
        if self._clock.mono_ns() >= letter.deadline_mono_ns:
            if record is not None:
                self._answers.abandon(record)
            raise RefusedError(Status.EXPIRED, "expired", "its deadline passed before it could be carried out")
        running = _Running(letter, record, lane)
        with self._lock:
            self._running.add(running)
        self._tally.executed(letter.verb or "")
        self._call(running, handler)

    def _record(self, record: Record, *, must_last: bool, durable: bool) -> Record | None:
        """Put the intent on record before anything happens."""
        try:
            known = self._answers.begin(record, must_last=must_last)
            if known is None and durable:
                try:
                    self._answers.sync()
                except StorageError:
                    self._answers.abandon(record)
                    raise
        except StorageError as error:
            why = "this box cannot remember commands at this moment, so it carries out only triggers"
            raise RefusedError(Status.UNAVAILABLE, "storage", f"{why}: {error.message}") from error
        return known

    def _call(self, running: _Running, handler: Handler) -> None:
        letter = running.letter
        command = Command(
            letter.verb or "",
            letter.target,
            letter.arguments,
            letter.id or "",
            letter.principal,
            letter.deadline_mono_ns,
        )

        def reply(answer: Answer) -> None:
            with self._lock:
                if running.is_answered:
                    return
                running.is_answered = True
            running.lane.put(_Answered(running, answer))

        try:
            handler(command, reply)
        except Exception:  # the boundary to foreign code: its command has failed, the desk goes on
            logger.exception("the handler of %s failed", letter.verb)
            reply(Answer(Status.FAILED, f"{letter.verb} failed on this box; its log says why"))

    def _finish(self, running: _Running, answer: Answer) -> None:
        with self._lock:
            if running.is_over:
                return
            running.is_over = running.is_answered = True
            self._running.discard(running)
        letter = running.letter
        status, body = self._encoded(letter, answer)
        if running.record is not None:
            self._answers.finish(answered(running.record, status, body))
        for one in (letter, *running.waiting):
            self._send(one, status, body)
        self._clerk.finished(letter, Outcome(status, "answered", answer.message))

    def _encoded(self, letter: Letter, answer: Answer) -> tuple[int, bytes]:
        try:
            return int(answer.status), self._encode(letter.verb, letter.target, letter.id, answer)
        except (ValueError, TypeError) as error:
            logger.error("the answer to %s cannot be written: %s", letter.verb, error)  # noqa: TRY400 - the type says it all
            failed = Answer(
                Status.FAILED, "carried out, but its answer cannot be written; the log of this box says why"
            )
            return int(failed.status), self._encode(letter.verb, letter.target, letter.id, failed)

    def _encode(self, verb: str | None, target: str | None, command_id: str | None, answer: Answer) -> bytes:
        return self._scribe.encode(
            answer,
            verb=verb,
            target=target,
            command_id=command_id,
            utc_ns=self._clock.utc_ns(),
            random=os.urandom(RANDOM_BYTES),
        )

    def _refuse(self, letter: Letter, error: RefusedError) -> None:
        self._tally.refused(error.reason)
        with self._policy_lock:  # other answers have to get through
            is_told = error.reason not in FREQUENT or self._policy.has_time(self._clock.mono_ns())
        if letter.address is not None and is_told:
            self._send(letter, int(error.status), self._encoded(letter, Answer(error.status, error.message))[1])
        self._clerk.finished(letter, Outcome(int(error.status), error.reason, error.message))

    def _send(self, letter: Letter, status: int, body: bytes) -> None:
        address = letter.address
        if address is not None:
            left_ns = letter.deadline_mono_ns - self._clock.mono_ns()
            if not self._post(outgoing(address, status, body, left_ns)):
                logger.warning("an answer to %s is lost: too many wait for the broker", letter.verb)

    def _interrupted(self, record: Record) -> Record:
        """Answer what an earlier boot began and never finished."""
        answer = Answer(Status.FAILED, INTERRUPTED)
        body = self._encode(record.verb, record.target, record.id, answer)
        who = record.who.partition(":")[2] or ANONYMOUS
        self._clerk.note(
            "command.interrupted",
            {"who": {"name": who, "proven": record.who.startswith("key:")}, "verb": record.verb, "id": record.id},
        )
        return answered(record, int(answer.status), body)

    # --- time

    def _tick_triggers(self) -> None:
        self._expire(self._triggers)

    def _tick_others(self) -> None:
        self._expire(self._others)
        now_ns = self._clock.mono_ns()
        if now_ns - self._tidied_ns >= _TIDY_NS:
            self._tidied_ns = now_ns
            self._answers.tick()
            self._clerk.tick()

    def _expire(self, lane: Lane[_Item]) -> None:
        """Answer for handlers that have not answered by the deadline."""
        now_ns = self._clock.mono_ns()
        with self._lock:
            late = [r for r in self._running if r.lane is lane and now_ns >= r.letter.deadline_mono_ns]
        for running in late:
            self._tally.late()
            self._finish(running, Answer(Status.LATE, "not answered by its deadline; it may still be carried out"))

    def _end_triggers(self) -> None:
        self._end(self._triggers)

    def _end_others(self) -> None:
        self._end(self._others)

    def _end(self, lane: Lane[_Item]) -> None:
        with self._lock:
            self._is_ending = True
            left = [running for running in self._running if running.lane is lane]
        for running in left:
            self._finish(running, Answer(Status.FAILED, INTERRUPTED))


def _key(record: Record) -> tuple[str, str]:
    return record.who, record.id
