"""``vision.reply/1``: the one answer to a command."""

from typing import Annotated, Literal

from edge_runtime.publish.contract.terms import Box, Term, Timestamp


class Reply(Box):
    """The one answer to a command; a repeat of the command gets the same."""

    schema: Literal["vision.reply/1"]
    ts: Timestamp
    verb: str
    target: Annotated[str | None, Term("inspection or camera; null means the whole box")]
    correlationId: Annotated[str, Term("of the command, hex")]
    status: Annotated[
        int,
        Term("as in HTTP: below 300 it was done (200) or accepted (202: a result follows)", minimum=200, maximum=599),
    ]
    message: Annotated[str, Term("one sentence for people")]
    fields: Annotated[dict[str, object], Term("details, by verb")]
