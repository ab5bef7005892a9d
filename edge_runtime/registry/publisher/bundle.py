"""A bundle: all that one site needs, in an image layout of its own that somebody carries through an air gap.

It is read by the same client as a registry (``oci-layout:DIR``, ``oci-archive:FILE``), from the same root of trust. Of
the metadata it has what a box of the site reads; the list of all releases is among it, since it is signed as a whole.
What is not renewed limits how long a bundle is good for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.carrier import LATEST, TUF
from edge_runtime.registry.carriers.index import EMPTY_INDEX, with_name
from edge_runtime.registry.carriers.listing import ARTIFACT, NOTHING, make_listing
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.descriptor import EMPTY, INDEX, MANIFEST, Descriptor, describe
from edge_runtime.registry.documents import FLOORS_PATH, release_path, rollout_path, rollout_role
from edge_runtime.registry.package.modelpack import parse_manifest
from edge_runtime.registry.publisher.repository import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from edge_runtime.registry.publisher.sigstore import point_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.publisher.repository import Repository

_HELP_RELEASES = "edge-runtime registry release list"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is going to be carried.

    Attributes:
        site: whom it is for.
        index: the ``index.json``.
        small: metadata and manifests, by digest; each as an image layout holds it.
        large: blobs of releases with their repository, smallest first.
        releases: which ones, by model and number.
        expires: when it is good for nothing any more, UTC.
        limit: what expires then.
        notes: what its maker should know.
    """

    site: str
    index: bytes
    small: Mapping[str, bytes]
    large: tuple[tuple[str, Descriptor], ...]
    releases: tuple[tuple[str, int], ...]
    expires: datetime
    limit: str
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all blobs."""
        return sum(map(len, self.small.values())) + sum(blob.size for _, blob in self.large)


def collect(
    registry: Carrier, repository: Repository, site: str, wanted: Sequence[tuple[str, int | None]] = ()
) -> Bundle:
    """Return the bundle of ``site``; the blobs of the releases are only named.

    The same repository gives the same bundle.

    Args:
        registry: has the releases.
        repository: what is signed.
        site: whom it is for: the releases that its rollout names are taken.
        wanted: more releases; without a number the newest of the model.

    Raises:
        DataError: there is no such site or release, or what is signed is not there.
        EdgeError: the registry cannot be read.
    """
    numbers, notes = _chosen(repository, site, wanted)
    files = _files(repository, site)
    listing = make_listing(files)
    small = [(raw, ARTIFACT) for raw in files.values()]
    small += [(listing, MANIFEST), (NOTHING, EMPTY)]
    index = with_name(EMPTY_INDEX, f"{TUF}:{LATEST}", describe(listing, MANIFEST), "bundle")
    large: dict[str, tuple[str, Descriptor]] = {}
    releases = repository.releases()
    for model, number in numbers:
        release, digest = releases[model, number]
        length = repository.targets.signed.targets[release_path(model, number)].length
        manifest = read_blob(registry, release.repository, Descriptor(digest, length, MANIFEST))
        small.append((manifest, MANIFEST))
        index = with_name(index, f"{model}:{number}", describe(manifest, MANIFEST), "bundle")
        blobs = [*parse_manifest(manifest, f"{model} {number}").blobs]
        if release.bundle is not None:
            blobs.append(release.bundle)
            pointer = point_at(manifest, release.bundle)
            small += [(pointer.referrer, MANIFEST), (pointer.index, INDEX)]
            index = with_name(index, f"{model}:{pointer.tag}", describe(pointer.index, INDEX), "bundle")
        large |= {blob.digest: (release.repository, blob) for blob in blobs}
    expires, limit = _expiry(repository, site)
    return Bundle(
        site,
        index,
        {describe(raw, kind).digest: raw for raw, kind in small},
        tuple(sorted(large.values(), key=lambda one: (one[1].size, one[1].digest))),
        tuple(numbers),
        expires,
        limit,
        notes,
    )


def _chosen(
    repository: Repository, site: str, wanted: Sequence[tuple[str, int | None]]
) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    releases, floors = repository.releases(), repository.floors()
    rollout = repository.rollout(site)
    killed = set(rollout.kill)

    def is_good(model: str, number: int) -> bool:
        digest = releases[model, number][1]
        return digest not in killed and floors.of(model).bans(number, digest) is None

    named = [(one.model, one.release) for one in rollout.assignments]
    for model, number in wanted:
        good = [one for name, one in releases if name == model and is_good(name, one)]
        if number is None and not good:
            message = f"there is no release of {model[:80]!r} that a box would take"
            raise DataError("release.missing", message, help=_HELP_RELEASES)
        named.append((model, max(good) if number is None else number))
    found, notes = [], []
    for model, number in dict.fromkeys(named):
        if (model, number) not in releases:
            raise DataError("release.missing", f"there is no release {number} of {model[:80]!r}", help=_HELP_RELEASES)
        if is_good(model, number):
            found.append((model, number))
        else:
            notes.append(f"{model} {number} is banned: it is left out, no box of {site} would take it")
    if not found:
        notes.append(f"the rollout of {site} names no release that a box would take: only metadata are carried")
    return sorted(found), tuple(notes)


def _files(repository: Repository, site: str) -> dict[str, bytes]:
    """Return the files that a box of ``site`` reads."""
    versions = {role: one.version for role, one in repository.roles().items()}
    names = [f"{versions[role]}.{role}.json" for role in (SNAPSHOT, TARGETS, rollout_role(site))]
    names += [f"{TIMESTAMP}.json", f"targets/{FLOORS_PATH}", f"targets/{rollout_path(site)}"]
    names += [name for name in repository.files if name.endswith(f".{ROOT}.json")]
    return {name: repository.files[name] for name in sorted(names)}


def _expiry(repository: Repository, site: str) -> tuple[datetime, str]:
    signed = repository.roles()
    ends = {role: signed[role].expires for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP, rollout_role(site))}
    ends[f"the rollout of {site}"] = repository.rollout(site).expires
    limit = min(ends, key=lambda role: ends[role])
    return ends[limit], limit
