"""What may be asked of a running box from outside, and how it answers: values only.

A command is asked over MQTT (``cmd/{verb}[/{target}]``) or Sparkplug (NCMD, DCMD); whoever carries it out sees the same
value. Status codes are those of HTTP, as in Azure IoT Operations' mRPC, because integrators know them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Status(IntEnum):
    """How a command ended; below 300 it was carried out or accepted."""

    DONE = 200
    ACCEPTED = 202  # what it asked for comes later, for example as a result with its ids
    MALFORMED = 400  # not JSON, unknown field, wrong type
    UNAUTHORIZED = 401  # a signature is needed and missing, or it is wrong
    FORBIDDEN = 403  # the principal may not do this; or the command was retained or replayed
    UNKNOWN = 404  # no such verb, inspection, camera or recipe
    CONFLICT = 409  # wrong state, or an id that was used for another command
    EXPIRED = 410  # its deadline is past
    TOO_LARGE = 413
    TOO_MANY = 429
    FAILED = 500
    UNAVAILABLE = 503  # no line runs, or what it needs is away
    LATE = 504  # not carried out by its deadline


@dataclass(frozen=True, slots=True)
class Command:
    """One command that is authorised and will be carried out once.

    Attributes:
        verb: for example ``trigger`` or ``recipe.select``.
        target: inspection or camera; ``None`` means the whole box.
        arguments: the fields of its JSON object that are not about the command itself, checked against its schema.
        correlation_id: hex text; the same for every repeat of it.
        principal: who asks, as far as that is known.
        deadline_mono_ns: CLOCK_MONOTONIC; not carried out after it.
    """

    verb: str
    target: str | None
    arguments: Mapping[str, object]
    correlation_id: str
    principal: str
    deadline_mono_ns: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The one answer to a command; ``fields`` are JSON-able."""

    status: Status
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)


Reply = Callable[[Answer], None]
"""Takes the one answer to a command; from any thread, at once or later; a second answer is ignored."""

Handler = Callable[[Command, Reply], None]
"""Carries a command out; must not block for longer than a few milliseconds and calls its ``Reply`` exactly once."""
