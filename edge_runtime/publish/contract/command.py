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
    recipe: NotRequired[
        Annotated[str, Term("judges this part alone; by default the one that is selected", max_length=256)]
    ]
    timeoutMs: NotRequired[
        Annotated[int, Term("milliseconds to the result, instead of deadline_ms", minimum=1, maximum=60_000)]
    ]


class Pause(Command):
    """Judge no frames until resume; without a target no inspection does. The bodies of pause, resume and reset."""


class RecipeSelect(Command):
    """Judge by another recipe from the next frame on."""

    recipe: Annotated[str, Term("id of a configured recipe", max_length=256)]
    productId: NotRequired[Id]


class Snapshot(Command):
    """Make a picture of what a camera shows now."""

    publish: NotRequired[Annotated[bool, Term("also send it to image/{camera}; by default it is only kept on the box")]]


class ConfigGet(Command):
    """Show the configuration in force, without secrets."""

    section: NotRequired[Annotated[str, Term("only this one, for example cameras", max_length=256)]]


class Replay(Command):
    """Send kept results again; they come with their old seq and id, and historical true."""

    fromSeq: Annotated[int, Term("first seq that is missing", minimum=1)]
    toSeq: Annotated[int, Term("last seq that is missing", minimum=1)]
