"""Releases as package directories: ``releases/HEX/`` of the manifest's digest, hard links to blobs, read-only.

A directory gets its name when all of it is on the disk, so one that has a name is whole. What belongs into it is said
by the manifest, a blob of the store whose digest is that name; `Releases.verify` hashes everything again before it is
loaded. ``verified.json`` in it, written last, holds what else was known, for people and for the index: losing it costs
only that.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.descriptor import MANIFEST, checked_digest, describe
from edge_runtime.registry.package.modelpack import MANIFEST_BYTES_MAX, VERIFIED_NAME, Artifact, parse_manifest
from edge_runtime.registry.store.blobs import UnreadableError, damaged, entries, is_itself
from edge_runtime.system.files import make_directory, read_limited, storage_error, sync_directory, write_atomic
from edge_runtime.system.names import link, move, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_runtime.registry.store.blobs import Blobs

logger = logging.getLogger(__name__)

SCHEMA: Final = "edge-verified/1"
_LIMIT_BYTES: Final = 1 << 20
_ANY_SIZE: Final = 1 << 63  # whether there is room for it was asked before it was fetched
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release that is on this disk, whole.

    Attributes:
        directory: an ordinary package directory.
        artifact: what it is made of; its digest is the name of the release.
        manifest_size: bytes of its manifest.
        facts: what else was known when it was stored: model, release, seq ...
    """

    directory: Path
    artifact: Artifact
    manifest_size: int
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Digest of the manifest."""
        return self.artifact.digest

    def digests(self) -> frozenset[str]:
        """Return the digests of all blobs that it is made of."""
        return frozenset({self.digest, *(blob.digest for blob in self.artifact.blobs)})


class Releases:
    """The releases below ``root``/releases. Reading from any thread; who writes holds the lock of the store."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        """Touch nothing yet."""
        self.directory = root / "releases"
        self._blobs = blobs

    def prepare(self) -> None:
        """Make the directory, and remove what a process before us was killed over.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        make_directory(self.directory)
        for name, _ in list(entries(self.directory)):
            if name.startswith("."):
                remove_tree(self.directory / name)

    def path(self, digest: str) -> Path:
        """Return where the release with this manifest lies, or would.

        Raises:
            DataError: code ``registry.digest``: no SHA-256 digest.
        """
        return self.directory / checked_digest(digest, "release").removeprefix("sha256:")

    def stage(self, manifest: bytes, facts: Mapping[str, object] | None = None) -> StoredRelease:
        """Make the directory of a release whose blobs are all stored; one that is there and whole is left alone.

        Args:
            manifest: as it was signed; it becomes a blob too.
            facts: JSON values for ``verified.json``.

        Raises:
            DataError: code ``store.damaged``: a blob is missing; those of `modelpack.parse_manifest`.
            PermissionDeniedError, StorageError: the disk refuses; nothing was changed, or only what was damaged.
        """
        blob = describe(manifest, MANIFEST)
        artifact = parse_manifest(manifest, f"release {blob.digest}", quota_bytes=_ANY_SIZE)
        self._blobs.put(blob, manifest)
        release = StoredRelease(self.path(blob.digest), artifact, blob.size, dict(facts or {}))
        if (existing := self.find(blob.digest)) is not None and self._is_whole(existing):
            return existing
        half = self.directory / f".{release.directory.name}.{os.getpid()}.tmp"
        remove_tree(half)
        try:
            self._fill(half, release)
            self.drop(blob.digest)  # there is none, or a damaged one
            move(half, release.directory)
        except EdgeError:
            _try_remove(half)
            raise
        return release

    def find(self, digest: str) -> StoredRelease | None:
        """Return a release by the digest of its manifest, or ``None``: it is not there, or its manifest is damaged.

        Raises:
            PermissionDeniedError, StorageError: it cannot be told.
        """
        directory = self.path(digest)
        if not _is_directory(directory):
            return None
        try:
            raw = self._blobs.read(digest, MANIFEST_BYTES_MAX)
            artifact = parse_manifest(raw, f"release {digest}", quota_bytes=_ANY_SIZE)
        except DataError as error:
            logger.error("release %s cannot be used: %s", digest, error)  # noqa: TRY400 - no bug of ours
            return None
        return StoredRelease(directory, artifact, len(raw), _facts(directory))

    def all(self) -> Iterator[StoredRelease]:
        """Yield every readable release.

        Raises:
            PermissionDeniedError, StorageError: the directory cannot be read.
        """
        for name in self.names():
            release = self.find(f"sha256:{name}")
            if release is not None:
                yield release

    def names(self) -> list[str]:
        """Return the hex digests of all releases, readable or not.

        Raises:
            PermissionDeniedError, StorageError: the directory cannot be read.
        """
        return sorted(name for name, _ in entries(self.directory) if _HEX.fullmatch(name))

    def verify(self, release: StoredRelease) -> None:
        """Re-hash all files, some 2 ms per MB; to be called before they are loaded.

        A release that is not what it was is removed, and its damaged blobs are set aside, so that fetching and staging
        it again mends it. One that the disk cannot read stays, and is mended in the same way.

        Raises:
            DataError: code ``store.damaged``: a file is missing or cannot be read, is another one than was verified, or
                is one too many.
            PermissionDeniedError, StorageError: it cannot be told.
        """
        files = release.artifact.files
        try:
            wrong = [path for path, blob in files.items() if not is_itself(release.directory / path, blob)]
        except UnreadableError as error:
            raise DataError("store.damaged", error.message, help=error.help) from error
        for path in wrong:
            self._blobs.is_sound(files[path])  # sets it aside unless only the link is damaged
        unknown = _found(release.directory) - {*files, VERIFIED_NAME}
        if wrong or unknown:
            self.drop(release.digest)
            path = min([*wrong, *unknown])
            blob = files.get(path)
            raise damaged("nothing that was signed" if blob is None else blob.digest, release.directory / path)

    def drop(self, digest: str) -> None:
        """Remove a release; its blobs stay. Fine when there is none.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        path = self.path(digest)
        if os.path.lexists(path):
            gone = self.directory / f".{path.name}.{os.getpid()}.gone"
            remove_tree(gone)
            move(path, gone)  # at once, so that nobody ever finds half of it
            remove_tree(gone)

    def _is_whole(self, release: StoredRelease) -> bool:
        """Tell whether nothing is missing, and each file is the blob of the store, which may be a new one by now."""
        files = release.artifact.files
        try:
            return _found(release.directory) == {*files, VERIFIED_NAME} and all(
                self._blobs.has(blob) and (release.directory / path).samefile(self._blobs.path(blob.digest))
                for path, blob in files.items()
            )
        except OSError:  # a link to nowhere
            return False

    def _fill(self, half: Path, release: StoredRelease) -> None:
        make_directory(half)
        for path, blob in release.artifact.files.items():
            if not self._blobs.has(blob):
                raise damaged(blob.digest, self._blobs.path(blob.digest))
            target = half / path
            make_directory(target.parent)
            link(self._blobs.path(blob.digest), target)
        document = {"schema": SCHEMA, "manifest": release.digest, "facts": dict(release.facts)}
        write_atomic(half / VERIFIED_NAME, json.dumps(document, indent=1).encode(), mode=0o440)
        try:
            for directory, _, _ in os.walk(half, topdown=False):
                os.chmod(directory, 0o550)  # noqa: PTH101, S103 - os.walk gives texts; nobody may write
                sync_directory(Path(directory))
        except OSError as error:
            raise storage_error(error, half, "write") from error


def _found(directory: Path) -> set[str]:
    """Return everything below ``directory`` that is no directory, by relative path."""
    found: set[str] = set()
    try:
        for top, directories, names in os.walk(directory, onerror=_raise):
            linked = [name for name in directories if (Path(top) / name).is_symlink()]
            found.update((Path(top) / name).relative_to(directory).as_posix() for name in (*names, *linked))
    except OSError as error:
        raise storage_error(error, directory, "read") from error
    return found


def _raise(error: OSError) -> NoReturn:
    raise error


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, path, "look at") from error


def _facts(directory: Path) -> dict[str, object]:
    """Return what ``verified.json`` says; nothing when it cannot be read, as after damage to the file system."""
    path = directory / VERIFIED_NAME
    try:
        data = load_object(read_limited(path, _LIMIT_BYTES), str(path), limit_bytes=_LIMIT_BYTES)
    except (EdgeError, FileNotFoundError) as error:
        logger.warning("what is known about a release cannot be read: %s", error)
        return {}
    facts = data.get("facts")
    return facts if isinstance(facts, dict) else {}


def _try_remove(half: Path) -> None:
    try:
        remove_tree(half)
    except EdgeError as error:
        logger.warning("%s", error)  # the next start removes it; the first error is the one to report
