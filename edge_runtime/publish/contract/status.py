"""``vision.status/1``: whether the box is there; the Will is one of these."""

from typing import Annotated, Literal, NotRequired, TypedDict

from edge_runtime.publish.contract.terms import Box, OtherHeaders, Term, Timestamp


class SpoolState(TypedDict):
    """Whether what is put is durable."""

    state: Literal["ok", "degraded"]
    reason: str | None


class StatusFields(TypedDict):
    """What the daemon adds to the state of its connection."""

    version: NotRequired[Annotated[str, Term("of the runtime")]]
    spool: NotRequired[SpoolState]


class Status(Box, StatusFields):
    """Whether the box is there."""

    schema: Literal["vision.status/1"]
    ts: Annotated[Timestamp | None, Term("null in the Will, which the broker sends")]
    state: Literal["online", "offline"]
    reason: Annotated[str | None, Term("why it is offline: shutdown, or connection-lost when the broker had to say it")]


class StatusHeaders(OtherHeaders):
    """MQTT user properties of a status; a Will has no time."""

    ts: NotRequired[Timestamp]
