"""``vision.model/1``: which release of its model a slot has, which one it should have, and why it does not yet."""

from typing import Annotated, Literal, NotRequired, TypedDict

from edge_runtime.publish.contract.terms import Box, Count, Digest, Term, Timestamp


class ReleaseInfo(TypedDict):
    """A release that is on the box."""

    release: Annotated[int, Term("counts the releases of the model", minimum=0)]
    version: Annotated[str, Term("for people")]
    digest: Annotated[Digest, Term("of its edge-model.json, as in results", pattern="^sha256:[0-9a-f]{64}$")]
    manifest: Annotated[Digest, Term("of its OCI manifest", pattern="^sha256:[0-9a-f]{64}$")]


class RegistryState(TypedDict):
    """How the last look at the registry ended."""

    state: Annotated[
        str,
        Term(
            "unknown: not looked at yet; ok; unreachable; frozen: what it says is too old to be believed; refused: it "
            "must not be believed; denied: it refuses our credentials; failed: our own disk"
        ),
    ]
    reason: Annotated[str | None, Term("stable code")]
    message: Annotated[str | None, Term("for people")]
    checkedAt: Annotated[Timestamp | None, Term("when it last answered; null: not since the daemon started")]


class ModelFields(TypedDict):
    """One model slot that has its releases from a registry."""

    slot: str
    model: str
    channel: str
    state: Annotated[
        str,
        Term(
            "empty: no release yet; current: has what it should; staged: another release is on the box and waits; "
            "kept: nothing is assigned to it, or the rollout is paused; refused: what is wanted must not run; retry"
        ),
    ]
    reason: Annotated[str | None, Term("stable code of why it has not what it should")]
    message: Annotated[str | None, Term("for people")]
    seq: Annotated[Count | None, Term("of the rollout that was obeyed last")]
    wanted: Annotated[int | None, Term("release that the rollout names", minimum=0)]
    current: ReleaseInfo | None
    staged: NotRequired[ReleaseInfo | None]
    previous: NotRequired[ReleaseInfo | None]
    revoked: Annotated[bool, Term("what is current was revoked or killed by its publisher, and somebody has to act")]
    registry: RegistryState


class Model(Box, ModelFields):
    """Which release a slot has, and which one it should have."""

    schema: Literal["vision.model/1"]
    ts: Timestamp
