"""``vision.reply/1``: the one answer to a command."""

from typing import Annotated, Literal, NotRequired

from edge_runtime.publish.contract.terms import Box, Headers, Term, Timestamp, UuidV7


class Reply(Box):
    """The one answer to a command, with the details of its verb beside; a repeat gets the same bytes."""

    schema: Literal["vision.reply/1"]
    id: UuidV7
    ts: Timestamp
    correlationId: Annotated[str | None, Term("of the command; hex where it was MQTT 5 Correlation Data")]
    verb: Annotated[str | None, Term("null: the topic named none")]
    target: Annotated[str | None, Term("inspection, camera or model slot; null means the whole box")]
    status: Annotated[
        int,
        Term("as in HTTP: below 300 it was done (200) or accepted (202: a result follows)", minimum=200, maximum=599),
    ]
    statusText: Annotated[str, Term("the status in words")]
    message: Annotated[str, Term("one sentence for people")]
    jobId: NotRequired[Annotated[str | None, Term("of a trigger; the result will carry it")]]


class ReplyHeaders(Headers):
    """MQTT user properties of an answer."""

    id: UuidV7
    status: Annotated[str, Term("as in the document", pattern="^[2-5][0-9][0-9]$")]
