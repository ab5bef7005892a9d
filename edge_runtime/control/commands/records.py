"""Keeps the record of every command: the audit trail, and the events that somebody may have to act on.

Every refusal is a record of its own, and so is every command that was carried out, but for two things that may come
often: triggers that were accepted, and refusals for coming too fast. These are summed up per minute, and so is whatever
comes so often that it would push what happened before out of the trail: nobody can wash away his traces. Critical
commands that were carried out are always on record.

A refused trigger that has nowhere to be answered is answered by the event ``command.refused``; other refusals and
critical verbs are told by ``command.audit``. Both events name their record and the head of the chain, so that a reader
outside the box keeps an anchor that nobody on the box can change.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.control.commands.policy import Bucket
from edge_runtime.control.commands.tally import FLOOD
from edge_runtime.control.commands.verbs import TRIGGER, VERBS
from edge_runtime.core.result import Event
from edge_runtime.publish.payload import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.control.commands.audit import Audit
    from edge_runtime.control.commands.chain import Head
    from edge_runtime.control.commands.letter import Letter
    from edge_runtime.control.commands.refusal import RefusedError
    from edge_runtime.control.commands.tally import Tally
    from edge_runtime.system.clock import Clock

FREQUENT = frozenset({"rate", "overflow", FLOOD})
RECORDS_PER_S = 5.0  # of what is not critical; the trail then holds some three hours of a flood at least
RECORDS_BURST_S = 100.0
TRIGGERS_PER_S = 20.0  # whose refusal is an event, because they have nowhere to be answered
TRIGGERS_BURST_S = 10.0
EVENTS_PER_S = 5.0  # of command.audit: who floods the desk must not flood the spool; the trail has them all
UNKNOWN = "unknown"
_OK = 300
_TEXT_MAX = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: status, a word for counters, and the same for people."""

    status: int
    reason: str
    message: str


class Clerk:
    """See the module docstring. Any thread."""

    def __init__(self, audit: Audit, tally: Tally, clock: Clock, tell: Callable[[Event], None]) -> None:
        """Write into ``audit``, which is this object's to open and close; tell events through ``tell``."""
        self._audit = audit
        self._tally = tally
        self._clock = clock
        self._tell = tell
        self._lock = threading.Lock()  # guards _events, _triggers, _records and _untold
        self._triggers = Bucket(TRIGGERS_PER_S, clock.mono_ns(), burst_s=TRIGGERS_BURST_S)
        self._records = Bucket(RECORDS_PER_S, clock.mono_ns(), burst_s=RECORDS_BURST_S)
        self._events = Bucket(EVENTS_PER_S, clock.mono_ns())
        self._untold = 0
        self._closed = False

    def open(self, version: str) -> None:
        """Open the trail and note the start."""
        self._audit.open()
        self.note("daemon.started", {"version": version})

    def close(self) -> None:
        """Write the sums, note the end and close the trail; idempotent."""
        if not self._closed:
            self._closed = True
            self._sum_up(all_of_it=True)
            self.note("daemon.stopped", {})
            self._audit.close()

    def note(self, kind: str, fields: Mapping[str, object]) -> None:
        """Write something that is no command, durably: blocks for a disk flush."""
        self._audit.add(kind, fields)
        self._audit.sync()

    def inner(self, who: str, verb: str, target: str | None, refused: RefusedError | None) -> None:
        """Something inside the box was asked on behalf of ``who``; does not wait for the disk."""
        reason = "accepted" if refused is None else refused.reason
        if reason in FREQUENT or (verb == TRIGGER and refused is None) or not self._has_room():
            self._tally.add(who, _known(verb), reason)
            return
        fields: dict[str, object] = {"who": {"name": who, "proven": False}, "verb": verb, "target": target}
        if refused is None:
            self._audit.add("command.asked", fields)
        else:
            ended = {"status": int(refused.status), "reason": reason, "message": refused.message[:_TEXT_MAX]}
            self._audit.add("command.refused", fields | {"outcome": ended})

    def begun(self, letter: Letter) -> None:
        """A critical command is about to be carried out; durable when it returns."""
        self._audit.add("command.begun", _what(letter))
        self._audit.sync()

    def finished(self, letter: Letter, outcome: Outcome) -> None:
        """A command was answered or refused."""
        verb = letter.verb or ""
        refused = outcome.reason != "answered"
        word = outcome.reason if refused else str(outcome.status)
        if outcome.reason in FREQUENT or (verb == TRIGGER and outcome.status < _OK):
            self._tally.add(letter.principal, _known(verb), word)
            return
        critical = verb in VERBS and VERBS[verb].critical
        head = None
        if (critical and not refused) or self._has_room():
            head = self._record(letter, outcome, refused=refused)
        else:
            self._tally.add(letter.principal, _known(verb), word)
        if verb == TRIGGER and letter.address is None:
            self._tell_trigger(letter, outcome, head)
        elif outcome.status >= _OK or critical:
            self._tell_audit(letter, outcome, head)

    def _record(self, letter: Letter, outcome: Outcome, *, refused: bool) -> Head | None:
        ended = {"status": outcome.status, "reason": outcome.reason, "message": outcome.message[:_TEXT_MAX]}
        return self._audit.add("command.refused" if refused else "command.done", _what(letter) | {"outcome": ended})

    def _has_room(self) -> bool:
        with self._lock:
            return self._records.take(self._clock.mono_ns())

    def tick(self) -> None:
        """Write the sums of a minute that is over."""
        self._sum_up(all_of_it=False)

    def figures(self) -> dict[str, object]:
        """Where the trail is, JSON-able."""
        audit = self._audit
        return {"seq": audit.head.seq, "lost": audit.lost, "trouble": audit.trouble, "untold": self._untold}

    def _tell_trigger(self, letter: Letter, outcome: Outcome, head: Head | None) -> None:
        with self._lock:
            if not self._triggers.take(self._clock.mono_ns()):
                self._untold += 1
                return
        self._tell(self._event("command.refused", f"trigger for {letter.target}: {outcome.message}", letter, head))

    def _tell_audit(self, letter: Letter, outcome: Outcome, head: Head | None) -> None:
        with self._lock:
            if not self._events.take(self._clock.mono_ns()):
                self._untold += 1
                return
        who = f"{letter.principal}{'' if letter.proven else ' (claimed)'}"
        what = f"{letter.verb or 'a command'}{f' of {letter.target}' if letter.target else ''}"
        message = f"{who} asked for {what[:_TEXT_MAX]}: {outcome.status} {outcome.message[:_TEXT_MAX]}"
        self._tell(self._event("command.audit", message, letter, head, status=outcome.status))

    def _event(self, kind: str, message: str, letter: Letter, head: Head | None, **more: object) -> Event:
        fields = {
            "verb": letter.verb and letter.verb[:_TEXT_MAX],
            "target": letter.target and letter.target[:_TEXT_MAX],
            "correlationId": letter.id,
            "principal": letter.principal,
            "proven": letter.proven,
            "auditSeq": None if head is None else head.seq,
            "auditHash": None if head is None else head.hash,
            **more,
        }
        return Event("system", kind, message, self._clock.utc_ns(), fields)

    def _sum_up(self, *, all_of_it: bool) -> None:
        sums = self._tally.sums(self._clock.mono_ns(), all_of_it=all_of_it)
        if not sums:
            return
        counts = [{"who": one.who, "verb": one.verb, "outcome": one.outcome, "count": one.count} for one in sums]
        head = self._audit.add("commands.summed", {"counts": counts})
        lost = sum(one.count for one in sums if one.outcome in FREQUENT)
        if lost and not all_of_it:
            fields: dict[str, object] = {"count": lost, "auditSeq": None if head is None else head.seq}
            message = f"{lost} commands of the last minute were refused because they came too fast"
            self._tell(Event("system", "command.refused", message, self._clock.utc_ns(), fields))


def _known(verb: str) -> str:
    """Return ``verb`` if it is one; anything else is only a text of somebody."""
    return verb if verb in VERBS else UNKNOWN


def _what(letter: Letter) -> dict[str, object]:
    """Return who asked for what: of the arguments their digest only, they may hold anything."""
    return {
        "who": {"name": letter.principal, "proven": letter.proven},
        "verb": letter.verb and letter.verb[:_TEXT_MAX],
        "target": letter.target and letter.target[:_TEXT_MAX],
        "id": letter.id,
        "arguments": {"bytes": letter.size_bytes, "sha256": hashlib.sha256(dumps(letter.arguments)).hexdigest()},
    }
