"""What may be sent to a box: the bodies of ``cmd/{verb}[/{target}]``. None of them is required to have any field."""

from typing import Annotated, NotRequired, TypedDict

from edge_runtime.publish.contract.terms import Term

Id = Annotated[str | int | None, Term("free text, comes back in the result", max_length=256)]


class Command(TypedDict):
    """What every command may say about itself; MQTT 5 properties say the same without it."""

    correlationId: NotRequired[Annotated[str, Term("instead of Correlation Data; the same for every repeat")]]
    replyTo: NotRequired[Annotated[str, Term("instead of Response Topic; below reply/ of the box")]]
    expiresAt: NotRequired[
        Annotated[str, Term("RFC 3339 with its offset: until when it is worth executing; by the clock of the box")]
    ]


class Trigger(Command):
    """Judge the next picture."""

    jobId: NotRequired[Id]
    partId: NotRequired[Id]
    measId: NotRequired[Id]
    productId: NotRequired[Id]


class Replay(Command):
    """Send kept results again; they come with their old seq and id, and historical true."""

    fromSeq: Annotated[int, Term("first seq that is missing", minimum=1)]
    toSeq: Annotated[int, Term("last seq that is missing", minimum=1)]
