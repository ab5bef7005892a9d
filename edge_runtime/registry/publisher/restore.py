"""Puts a registry back that has lost its metadata, or shows an old or a forged state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.registry.descriptor import MANIFEST, Descriptor
from edge_runtime.registry.documents import release_path
from edge_runtime.registry.publisher.desk import Desk, Outcome, Preview
from edge_runtime.registry.publisher.repository import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.registry.publisher.repository import Repository


def restore(desk: Desk) -> tuple[Outcome, list[str]]:
    """Put back what this publisher published last; signs nothing.

    Returns the outcome, and the releases whose manifests the registry has lost too.

    Raises:
        DataError: there is no copy, it is older than what this publisher has seen, or the registry is as it should be.
        EdgeError: it could not be done.
    """
    root, files = desk.home.root(), desk.home.last()
    if root is None or files is None:
        message = f"{desk.home.path} has no copy of this registry: nothing was published from here"
        raise DataError("publisher.no_copy", message, help="use the directory of the publisher who published last")
    kept = load(files, root, desk.home.seen())
    versions = {role: one.version for role, one in kept.roles().items()}
    changes = tuple(f"put back {role} {version}" for role, version in versions.items())
    desk.confirm(Preview(changes, {}, {}))
    with desk.registry.lock():
        desk.put(kept, _replaceable(desk))
    return Outcome(changes, versions), list(_lost(desk, kept))


def _replaceable(desk: Desk) -> str | None:
    """Return the token of a listing that this publisher does not believe, ``None`` when there is none.

    Raises:
        DataError: it is as it should be.
    """
    try:
        listing = desk.registry.listing()
    except DataError as error:
        if error.code != "registry.missing":
            raise
        return None
    try:
        desk.read()
    except DataError:
        return None if listing is None else listing.token
    message = f"{desk.registry.name} is as it should be, and perhaps newer than the copy that is here"
    raise DataError("registry.intact", message, help="edge-runtime registry status")


def _lost(desk: Desk, repository: Repository) -> Iterator[str]:
    for (model, number), (release, digest) in repository.releases().items():
        length = repository.targets.signed.targets[release_path(model, number)].length
        if not desk.registry.has(release.repository, Descriptor(digest, length, MANIFEST)):
            yield f"{model} {number}"
