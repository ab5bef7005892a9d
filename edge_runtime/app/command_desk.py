"""Builds the desk of a daemon, and serves what the box itself can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.control.commands.answers import Answers
from edge_runtime.control.commands.audit import Audit
from edge_runtime.control.commands.desk import Desk
from edge_runtime.control.commands.keyring import Keyring
from edge_runtime.control.commands.policy import Policy
from edge_runtime.core.command import Answer, Status
from edge_runtime.core.result import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.config.schema import Settings
    from edge_runtime.core.command import Command, Handler, Reply
    from edge_runtime.publish.mqtt.link import Outgoing
    from edge_runtime.publish.payload import Identity
    from edge_runtime.system.clock import Clock

COMMANDS_FILE = "commands.db"
BOX = "box"  # provider of what needs no line
LINE = "line"


def make_desk(
    settings: Settings,
    identity: Identity,
    boot_id: str,
    clock: Clock,
    *,
    post: Callable[[Outgoing], bool],
    tell: Callable[[Event], None],
) -> Desk:
    """Return a desk that is not open yet; ``post`` and ``tell`` as for ``Desk``."""
    wanted = settings.commands

    def report(message: str) -> None:
        tell(Event("system", "command.quarantined", message, clock.utc_ns()))

    desk = Desk(
        identity,
        boot_id,
        clock,
        policy=Policy(
            wanted.allow,
            wanted.signed,
            wanted.keys,
            rate_per_s=wanted.rate_per_s,
            rate_total_per_s=wanted.rate_total_per_s,
            now_ns=clock.mono_ns(),
        ),
        keyring=Keyring(wanted.keys, identity),
        answers=Answers(settings.state_dir / COMMANDS_FILE, clock, report),
        audit=Audit(settings.state_dir, boot_id, clock),
        post=post,
        tell=tell,
    )
    desk.serve(BOX, NO_REGISTRY)
    return desk


def _no_registry(command: Command, reply: Reply) -> None:
    reply(Answer(Status.UNAVAILABLE, f"this box has no registry configured for {command.verb}"))


MODEL_VERBS = ("model.check", "model.update", "model.rollback", "model.approve", "model.hold", "lot")
NO_REGISTRY: Mapping[str, Handler] = dict.fromkeys(MODEL_VERBS, _no_registry)
"""What is served while the box has no registry."""
