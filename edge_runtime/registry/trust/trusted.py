"""What was verified, as values that need no TUF library any more. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, InvariantError
from edge_runtime.registry.descriptor import MANIFEST, Descriptor
from edge_runtime.registry.documents import Release, Rollout, parse_release, release_at, release_path
from edge_runtime.registry.trust.refusals import OLDER_HELP, STRANGER_HELP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from edge_runtime.core.errors import EdgeError
    from edge_runtime.registry.trust.floors import Floors


@dataclass(frozen=True, slots=True)
class SignedTarget:
    """Bytes that TUF vouches for: length, lower-case hex SHA-256, and what the signer says about them."""

    length: int
    sha256: str
    custom: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A release, and which OCI manifest it is."""

    release: Release
    manifest: Descriptor


@dataclass(frozen=True, slots=True)
class Trusted:
    """Everything a box may believe after a refresh.

    Attributes:
        targets: what the publisher of releases signed, by target path.
        floors: as raised by this refresh.
        site: whose rollout was read.
        rollout: ``None`` when the site has none, or when there is a ``rollout_problem``.
        rollout_problem: why the rollout of the site is not believed; the rest is all the same.
        checked: the time that expiry was judged by: that of the clock, or of the time floor when that is later.
        expires: when the timestamp does, and with it this value.
        versions: of the metadata of each role.
    """

    targets: Mapping[str, SignedTarget]
    floors: Floors
    site: str
    rollout: Rollout | None
    rollout_problem: EdgeError | None
    checked: datetime
    expires: datetime
    versions: Mapping[str, int]

    def release(self, model: str, number: int) -> SignedRelease:
        """Return a release.

        Raises:
            DataError: code ``release.unsigned``: nobody signed such a release; or ``registry.release``: what was
                signed is not understood.
        """
        path = release_path(model, number)
        target = self.targets.get(path)
        if target is None:
            message = f"release {number} of {model}: the publisher of releases has not signed {path}"
            raise DataError("release.unsigned", message, help="add it with: edge-runtime registry release add")
        release = parse_release(target.custom, path)
        if (release.model, release.release) != (model, number):
            message = f"{path}: signed as release {release.release} of {release.model}"
            raise DataError("registry.release", message, help="it has to be signed again by its publisher")
        return SignedRelease(release, Descriptor(f"sha256:{target.sha256}", target.length, MANIFEST))

    def numbers(self, model: str) -> Iterator[int]:
        """Yield the numbers of the releases of ``model`` that were signed, in no order."""
        for path in self.targets:
            found = release_at(path)
            if found is not None and found[0] == model:
                yield found[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a refresh came to; ``kept`` and ``floors`` are to be stored whatever it was.

    Attributes:
        kept: all metadata files to keep, by name (those without a version in their name are the last of their role).
        floors: never lower than before.
        trusted: ``None`` when there is a refusal.
        refusal: what was refused and why, or which file could not be fetched.
        damaged: names of kept files that could not be used.
    """

    kept: Mapping[str, bytes]
    floors: Floors
    trusted: Trusted | None
    refusal: EdgeError | None
    damaged: tuple[str, ...] = ()

    def believed(self) -> Trusted:
        """Return what may be believed.

        Raises:
            EdgeError: the refusal.
        """
        if self.trusted is not None:
            return self.trusted
        refusal = self.refusal
        if refusal is not None and refusal.code == "trust.signature" and self.floors.roles.keys() <= {"root"}:
            # nothing of this registry was ever believed here: it is hardly an attack
            raise DataError(refusal.code, refusal.message, help=STRANGER_HELP) from refusal
        if refusal is not None and refusal.code == "trust.rollback":
            raise DataError(refusal.code, refusal.message, help=OLDER_HELP) from refusal
        raise refusal or InvariantError("trust.outcome", "a refresh came to nothing and nobody said why")
