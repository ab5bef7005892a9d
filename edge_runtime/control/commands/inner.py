"""The door for what asks from inside the box: Sparkplug and the hand-shake with a controller.

They know who asks and answer there themselves. Here a command needs leave, counts against the rate, and is on record.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.core.command import Answer, Status

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from edge_runtime.control.commands.policy import Policy
    from edge_runtime.control.commands.records import Clerk
    from edge_runtime.control.commands.tally import Tally
    from edge_runtime.core.command import Command, Handler, Reply
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)


class InnerDoor:
    """Any thread."""

    def __init__(
        self,
        find: Callable[[str], Handler | None],
        policy: Policy,
        policy_lock: threading.Lock,
        tally: Tally,
        clerk: Clerk,
        clock: Clock,
    ) -> None:
        """Share the desk's parts; ``find`` returns who carries out a verb at this moment."""
        self._find = find
        self._policy = policy
        self._policy_lock = policy_lock
        self._tally = tally
        self._clerk = clerk
        self._clock = clock

    def ask(self, command: Command, reply: Reply) -> None:
        """Carry out ``command``; ``reply`` takes the one answer, at once or later. Does not block."""
        try:
            handler = self._admitted(command)
        except RefusedError as error:
            self._tally.refused(error.reason)
            self._clerk.inner(command.principal, command.verb, command.target, error)
            reply(Answer(error.status, error.message))
            return
        self._tally.executed(command.verb)
        self._clerk.inner(command.principal, command.verb, command.target, None)
        reply = _first_only(reply)
        try:
            handler(command, reply)
        except Exception:  # the boundary to foreign code: its command has failed, its door goes on
            logger.exception("the handler of %s failed", command.verb)
            reply(Answer(Status.FAILED, f"{command.verb} failed on this box; its log says why"))

    def _admitted(self, command: Command) -> Handler:
        now_ns = self._clock.mono_ns()
        with self._policy_lock:
            self._policy.count(now_ns, inner=True)
            self._policy.admit(command.verb, command.principal, now_ns, proven=False, inner=True)
            signed = self._policy.needs_signature(command.verb)
        if signed:
            why = f"{command.verb} needs a signature, which cannot be given here"
            raise RefusedError(Status.UNAUTHORIZED, "unsigned", why)
        handler = self._find(command.verb)
        if handler is None:
            raise RefusedError(Status.UNAVAILABLE, "no_handler", "no line runs at this moment; ask again")
        return handler


def _first_only(reply: Reply) -> Reply:
    """Return what passes the first answer on and no other, from whichever thread it comes."""
    left = [reply]

    def once(answer: Answer) -> None:
        try:
            last = left.pop()
        except IndexError:
            return
        last(answer)

    return once
