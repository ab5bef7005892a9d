"""``vision.event/1``: a change that somebody may have to act on."""

from typing import Annotated, Literal

from edge_runtime.publish.contract.terms import Box, Headers, Historical, Seq, Term, Timestamp, UuidV7

Kind = Annotated[str, Term("dotted name, for example camera.lost", pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")]


class Event(Box):
    """A change that somebody may have to act on."""

    schema: Literal["vision.event/1"]
    id: UuidV7
    seq: Seq
    ts: Timestamp
    scope: Annotated[str, Term("inspection or camera that it is about, or system")]
    kind: Kind
    message: Annotated[str, Term("one sentence for people")]
    fields: Annotated[dict[str, object], Term("details, by kind")]
    historical: Historical


class EventHeaders(Headers):
    """MQTT user properties of an event."""

    id: UuidV7
    kind: Kind
    ts: Timestamp
