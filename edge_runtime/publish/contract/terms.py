"""Words of the wire that several documents share, and how a type says more than Python's types can."""

from dataclasses import dataclass
from typing import Annotated, Literal, NotRequired, TypedDict


@dataclass(frozen=True, slots=True)
class Term:
    """What JSON Schema is to say about a value beyond its type; stands in ``Annotated[...]``.

    Attributes:
        about: its description: unit, meaning, what null means.
        pattern: ECMA 262 regular expression, anchored.
        minimum, maximum: inclusive, of a number.
        min_items, max_items: of an array.
        max_length: of a text, in characters.
    """

    about: str | None = None
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_items: int | None = None
    max_items: int | None = None
    max_length: int | None = None


_TIMESTAMP = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"

UuidV7 = Annotated[
    str,
    Term(
        "UUIDv7; the key for removing duplicates",
        pattern="^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    ),
]
Seq = Annotated[
    int,
    Term(
        "gap-free per topic, survives restarts; a gap is declared by an event with from_seq and to_seq",
        minimum=1,
    ),
]
Timestamp = Annotated[str, Term("RFC 3339 UTC with microseconds", pattern=_TIMESTAMP)]
CaptureTime = Annotated[str, Term("capture time, RFC 3339 UTC with microseconds", pattern=_TIMESTAMP)]
Digest = Annotated[str, Term(pattern="^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Term(minimum=0)]
Milliseconds = Annotated[float, Term(minimum=0)]
Historical = Annotated[bool, Term("true when sent long after it happened, or by a later run of the daemon")]
BootId = Annotated[str, Term("changes with every start of the daemon")]
Site = Annotated[str, Term("plant; a level of the topic")]
Line = Annotated[str, Term("production line; a level of the topic")]
Edge = Annotated[str, Term("the box; a level of the topic")]


class Box(TypedDict):
    """Which box speaks, and which run of it."""

    bootId: BootId
    site: Site
    line: Line
    edge: Edge


class Headers(TypedDict):
    """MQTT user properties that every document has; those of CloudEvents 1.0 with ``mqtt.cloudevents: true``."""

    schema: Annotated[str, Term("name and version of the document", pattern=r"^[a-z.]+/\d+$")]
    specversion: NotRequired[Literal["1.0"]]
    type: NotRequired[Annotated[str, Term("CloudEvents: schema as a dotted name", pattern=r"^[a-z.]+\.v\d+$")]]
    source: NotRequired[Annotated[str, Term("CloudEvents: the box", pattern="^//[^/]+/[^/]+/[^/]+$")]]
    subject: NotRequired[Annotated[str, Term("CloudEvents: the topic below the root of the box")]]
    dataschema: NotRequired[Annotated[str, Term("CloudEvents: id of the JSON Schema", pattern="^urn:edge-runtime:")]]
    time: NotRequired[Annotated[str, Term("CloudEvents: ts again", pattern=_TIMESTAMP)]]


class OtherHeaders(Headers):
    """Those of a document without an id of its own."""

    id: NotRequired[Annotated[str, Term("CloudEvents: unique at its source", pattern=".")]]
