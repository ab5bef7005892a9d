"""The plain TUF tree beside a layout: ``metadata/`` and ``targets/``, as any TUF client reads it (TUF 1.0.34, 3).

It is written after the listing, which alone counts for our own boxes; what a crash left out, the next change adds. All
names but that of the timestamp carry a version or a hash, so the timestamp is written last (TUF 1.0.34, 6.2).
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.descriptor import MANIFEST, Descriptor
from edge_runtime.registry.documents import release_at
from edge_runtime.system.files import make_directory, storage_error, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.publisher.repository import Repository

METADATA, TARGETS = "metadata", "targets"
KEPT_VERSIONS: Final = 8  # a client that read the timestamp a moment ago still finds what it names
_VERSIONED: Final = re.compile(r"([1-9][0-9]{0,15})\.(?!root\.)([a-z0-9._-]+)\.json")


def write_tree(directory: Path, repository: Repository, registry: Carrier) -> None:
    """Bring the tree to the state of ``repository``.

    Args:
        directory: where ``metadata`` and ``targets`` lie.
        repository: what to show.
        registry: has the manifests of the releases.

    Raises:
        DataError: a manifest is not what was signed; one that the registry has lost is left out.
        EdgeError: it cannot be read or written.
    """
    for path, raw in _documents(repository).items():
        _write(directory / TARGETS / path, raw)
    for (model, _), (release, digest) in repository.releases().items():
        target = repository.targets.signed.targets[f"releases/{model}/{release.release}.json"]
        place = directory / TARGETS / target.get_prefixed_paths()[0]
        if not place.exists():
            with _unless_lost():
                _write(place, read_blob(registry, release.repository, Descriptor(digest, target.length, MANIFEST)))
    metadata = {name: raw for name, raw in repository.files.items() if "/" not in name}
    for name, raw in sorted(metadata.items(), key=lambda one: one[0] == "timestamp.json"):
        _write(directory / METADATA / name, raw)
    _forget(directory / METADATA, metadata)


@contextlib.contextmanager
def _unless_lost() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        if error.code != "registry.missing":
            raise


def _documents(repository: Repository) -> dict[str, bytes]:
    """Return what roles vouch for besides releases, by path with the hash before its last name."""
    found = {}
    for role in (repository.targets, *repository.rollouts.values()):
        for path, target in role.signed.targets.items():
            if release_at(path) is None and path in repository.documents:
                found[target.get_prefixed_paths()[0]] = repository.documents[path]
    return found


def _write(path: Path, raw: bytes) -> None:
    try:
        if path.exists() and path.read_bytes() == raw:
            return
    except OSError as error:
        raise storage_error(error, path, "read") from error
    make_directory(path.parent, mode=0o755)
    write_atomic(path, raw, mode=0o644)


def _forget(directory: Path, metadata: dict[str, bytes]) -> None:
    """Remove versions that no client can be about to read."""
    current = {found[2]: int(found[1]) for name in metadata if (found := _VERSIONED.fullmatch(name))}
    for path in directory.glob("*.json"):
        found = _VERSIONED.fullmatch(path.name)
        if found and int(found[1]) + KEPT_VERSIONS < current.get(found[2], 0):
            try:
                path.unlink()
            except OSError as error:
                raise storage_error(error, path, "remove") from error
