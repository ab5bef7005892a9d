"""What may be sent to a box: the bodies of ``cmd/{verb}[/{target}]``; ``control.commands`` checks them by these types.

A trigger ignores fields that are not named here; every other command with such a field is refused, because a slip of
the pen in a command is dangerous. ``null`` is as good as left out.
"""

from typing import Annotated, Literal, NotRequired, TypedDict

from edge_runtime.publish.contract.terms import Term

TEXT_MAX = 256
Id = Annotated[str | int | None, Term("free text, comes back in the result", max_length=TEXT_MAX)]
Reason = Annotated[str | None, Term("for the record", max_length=TEXT_MAX)]


class Command(TypedDict):
    """What every command may say about itself; MQTT 5 properties say the same without it."""

    correlationId: NotRequired[
        Annotated[str | int | None, Term("instead of Correlation Data; the same for every repeat", max_length=TEXT_MAX)]
    ]
    replyTo: NotRequired[Annotated[str | None, Term("instead of Response Topic; below reply/ of the box")]]
    expiresAt: NotRequired[
        Annotated[str | None, Term("RFC 3339 with its offset: until when it is worth executing, by the box's clock")]
    ]


class Trigger(Command):
    """Judge the next picture."""

    jobId: NotRequired[Id]
    partId: NotRequired[Id]
    measId: NotRequired[Id]
    productId: NotRequired[Id]
    recipe: NotRequired[Annotated[str | None, Term("judge this part by another recipe", max_length=TEXT_MAX)]]
    timeoutMs: NotRequired[Annotated[int | None, Term("after them: NotDecidable", minimum=1, maximum=60_000)]]


class Pause(Command):
    """Judge no more pictures until resume."""

    reason: NotRequired[Reason]


class Resume(Command):
    """Go on after pause."""

    reason: NotRequired[Reason]


class RecipeSelect(Command):
    """Judge by another recipe from the next part on."""

    recipe: NotRequired[Annotated[str | None, Term("its id", max_length=TEXT_MAX)]]
    version: NotRequired[Annotated[str | None, Term("refused unless it is this one", max_length=TEXT_MAX)]]
    productId: NotRequired[Id]
    reason: NotRequired[Reason]


class Snapshot(Command):
    """Take a picture."""

    publish: NotRequired[Annotated[bool | None, Term("also to image/{camera}; by default it only stays on the box")]]
    maxWidth: NotRequired[Annotated[int | None, Term("pixels", minimum=16, maximum=16_384)]]


class Reset(Command):
    """Begin anew what is stuck."""

    reason: NotRequired[Reason]


class ConfigGet(Command):
    """Return the configuration in use, secrets masked."""

    section: NotRequired[Annotated[str | None, Term("only this part of it", max_length=TEXT_MAX)]]


class Replay(Command):
    """Send kept results again; they come with their old seq and id, and historical true."""

    fromSeq: Annotated[int, Term("first seq that is missing", minimum=1)]
    toSeq: Annotated[int, Term("last seq that is missing", minimum=1)]


class SpoolRequeue(Command):
    """Make dead letters owed again, of one inspection if the topic names it."""

    stream: NotRequired[Annotated[str | None, Term("only of this topic: event/system", max_length=TEXT_MAX)]]
    refusedFor: NotRequired[Annotated[str | None, Term("only with exactly this reason", max_length=TEXT_MAX)]]
    reason: NotRequired[Reason]


class ModelCheck(Command):
    """Look at the registry now instead of when it is time; it says nothing, so nobody need trust who sends it."""


class ModelUpdate(Command):
    """Bring a signed release to a model slot; what it must pass before it stays is asked of it as of any other."""

    release: NotRequired[
        Annotated[
            str | int | None,
            Term("number of a release that is on the box, or MODEL@CHANNEL; else what waits", max_length=TEXT_MAX),
        ]
    ]
    digest: NotRequired[Annotated[str | None, Term("refused unless it is this one", max_length=TEXT_MAX)]]
    reason: NotRequired[Reason]


class ModelRollback(Command):
    """Go back to the release before: at once while the new one is on probation."""

    reason: NotRequired[Reason]


class ModelApprove(Command):
    """Agree to the release that waits for it."""

    deployment: NotRequired[Annotated[str | None, Term("refused unless it is this one", max_length=TEXT_MAX)]]
    digest: NotRequired[Annotated[str | None, Term("refused unless it is this one", max_length=TEXT_MAX)]]
    reason: NotRequired[Reason]


class ModelHold(Command):
    """Begin no more updates of a slot, or go on with them."""

    hold: Annotated[bool, Term("true: begin none; false: go on, also after a release that went wrong")]
    reason: NotRequired[Reason]


class Lot(Command):
    """Say whether a lot is running, for boxes that change models between lots only."""

    state: Annotated[Literal["running", "between"], Term("between: models may be changed now")]
    lotId: NotRequired[Id]
