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


class DeploymentInfo(TypedDict):
    """A release on its way to become the model of a slot; the last one stays until another begins."""

    id: Annotated[str, Term("of this deployment; approvals and the audit trail name it")]
    release: Annotated[int, Term("counts the releases of the model", minimum=0)]
    version: Annotated[str, Term("for people")]
    digest: Annotated[Digest, Term("of its edge-model.json, as in results", pattern="^sha256:[0-9a-f]{64}$")]
    seq: Annotated[int, Term("of the rollout in force when it began", minimum=0)]
    origin: Annotated[str, Term("rollout, command, or box: somebody at the box")]
    state: Annotated[
        str,
        Term(
            "vetting, waiting, loading, shadow, canary, activating, probation; it ends as committed, rejected (it "
            "never judged), rolled_back (it did), or superseded"
        ),
    ]
    since: Annotated[Timestamp, Term("when it came into this state")]
    reason: Annotated[str | None, Term("stable code of its end, or of what it waits for")]
    message: Annotated[str | None, Term("for people")]
    progress: Annotated[float, Term("through this state", minimum=0)]
    gates: Annotated[dict[str, float], Term("what was seen, by the name of its gate")]
    triesLeft: Annotated[int, Term("deaths until it is given up", minimum=0)]


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
    deployment: NotRequired[DeploymentInfo | None]
    registry: RegistryState


class Model(Box, ModelFields):
    """Which release a slot has, and which one it should have."""

    schema: Literal["vision.model/1"]
    ts: Timestamp
