"""Settings of commands from outside: who may ask what, which need a signature, how many a second."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints

from edge_runtime.config.section import Section
from edge_runtime.config.types import Expect, Id, PathSetting

CommandVerb = Literal[
    "trigger",
    "pause",
    "resume",
    "recipe.select",
    "snapshot",
    "reset",
    "config.get",
    "replay",
    "spool.requeue",
    "model.check",
    "model.update",
    "model.rollback",
    "model.approve",
    "model.hold",
    "lot",
]
Principal = Annotated[
    str,
    StringConstraints(pattern=r"^(\*|[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63})$"),
    Expect("the name of a caller (user name at the broker, or a name of keys), or * for everybody else"),
]
EVERYTHING: tuple[CommandVerb, ...] = get_args(CommandVerb)
Verbs = Annotated[tuple[CommandVerb, ...], Field(max_length=64)]


def _everybody() -> dict[str, tuple[CommandVerb, ...]]:
    return {"*": EVERYTHING}


class Commands(Section):
    """Commands over MQTT; the broker's access list is the first lock, this is the second."""

    allow: Annotated[Mapping[Principal, Verbs], Field(max_length=256)] = Field(
        default_factory=_everybody,
        description="what each caller may ask for; * is for callers without an entry of their own",
    )
    keys: Annotated[Mapping[Id, PathSetting], Field(max_length=64)] = Field(
        default_factory=dict, description="Ed25519 public keys (PEM files) by the name of who signs with them"
    )
    signed: Verbs = Field(
        default=(), description="commands that need a signature, beside model.update, .rollback, .approve and .hold"
    )
    rate_per_s: float = Field(
        default=200.0, ge=0.1, le=10_000, description="commands a second of one caller; twice as many may come at once"
    )
    rate_total_per_s: float = Field(
        default=500.0, ge=0.1, le=100_000, description="commands a second of all callers; twice as many at once"
    )
