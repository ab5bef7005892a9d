"""Reads a bundle as a box of its site would that has seen nothing before, and every byte of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tuf.api.metadata import Metadata

from edge_runtime.core.errors import DataError, InvariantError
from edge_runtime.registry.carriers.whole import check_blob, fetch_from, read_blob
from edge_runtime.registry.package.modelpack import parse_manifest
from edge_runtime.registry.trust.refresh import refresh

if TYPE_CHECKING:
    from datetime import datetime

    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.trust.trusted import Trusted

_ROLLOUT: Final = re.compile(r"[0-9]+\.rollout-(.+)\.json")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a bundle holds.

    Attributes:
        trusted: what a box of the site may believe.
        releases: those that its rollout names and that are there whole, by model and number.
        missing: those that are not, and why.
        expires: when the first of the signatures does, UTC.
        size_bytes: of all that was read.
    """

    trusted: Trusted
    releases: tuple[tuple[str, int], ...]
    missing: tuple[str, ...]
    expires: datetime
    size_bytes: int


def check_bundle(carrier: Carrier, root: bytes, site: str | None, now: datetime) -> Checked:
    """Verify all that a box of a site would read.

    Args:
        carrier: the bundle.
        root: the root of trust of the boxes.
        site: theirs; ``None`` = the only one that the bundle was made for.
        now: UTC.

    Raises:
        DataError: it is not signed by those who may, or a blob is not what it should be.
        ExpiredError: it is too old.
        EdgeError: it cannot be read.
    """
    listing = carrier.listing()
    if listing is None:
        raise InvariantError("registry.listing", "a listing that was not known before is said to be unchanged")
    sites = sorted(found[1] for name in listing.files if (found := _ROLLOUT.fullmatch(name)))
    if site not in sites and (site is not None or len(sites) != 1):
        made_for = ", ".join(sites) or "none"
        message = f"{carrier.name} is not for {(site or 'one site')[:80]!r}, it was made for {made_for}"
        raise DataError("bundle.site", message, help="make another: edge-runtime registry bundle export --site SITE")
    site = site or sites[0]
    outcome = refresh({}, fetch_from(carrier, listing), root, None, now=now, site=site)
    trusted = outcome.believed()
    if trusted.rollout_problem is not None or trusted.rollout is None:
        raise trusted.rollout_problem or DataError("bundle.site", f"{carrier.name} has no rollout of {site}")
    size = sum(blob.size for blob in listing.files.values())
    releases, missing = [], []
    for named in dict.fromkeys((one.model, one.release) for one in trusted.rollout.assignments):
        try:
            size += _read_release(carrier, trusted, *named)
        except DataError as error:
            if error.code != "registry.missing":
                raise
            missing.append(error.message)
        else:
            releases.append(named)
    ends = [_expiry(raw) for name, raw in outcome.kept.items() if "/" not in name and not name.endswith(".root.json")]
    return Checked(trusted, tuple(releases), tuple(missing), min(trusted.rollout.expires, *ends), size)


def _expiry(raw: bytes) -> datetime:
    expires: datetime = Metadata.from_bytes(raw).signed.expires
    return expires


def _read_release(carrier: Carrier, trusted: Trusted, model: str, number: int) -> int:
    """Read all blobs of a release and return their size in bytes."""
    signed = trusted.release(model, number)
    release = signed.release
    manifest = read_blob(carrier, release.repository, signed.manifest)
    blobs = [*parse_manifest(manifest, f"{model} {number}").blobs, *([release.bundle] if release.bundle else [])]
    for blob in blobs:
        check_blob(carrier, release.repository, blob)
    return len(manifest) + sum(blob.size for blob in blobs)
