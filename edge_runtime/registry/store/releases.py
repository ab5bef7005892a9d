"""Releases as package directories: ``releases/HEX/`` of the manifest's digest, hard links to blobs, read-only.

A directory gets its name when all of it is on the disk, so one that has a name is whole. ``verified.json`` in it says
what it is made of, for people and for those that do not want to read the manifest; whoever is about to load files
calls `Releases.verify`, which believes only the digests.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.descriptor import Descriptor, checked_digest
from edge_runtime.registry.store.blobs import damaged, entries, hash_file
from edge_runtime.system.files import make_directory, read_limited, storage_error, sync_directory, write_atomic
from edge_runtime.system.names import link, move, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_runtime.registry.store.blobs import Blobs

logger = logging.getLogger(__name__)

VERIFIED: Final = "verified.json"
SCHEMA: Final = "edge-verified/1"
_LIMIT_BYTES: Final = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"[0-9a-z][0-9a-z._-]*(/[0-9a-z][0-9a-z._-]*)*")


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release that is on this disk, whole.

    Attributes:
        manifest: of its OCI manifest; its digest is the name of the release.
        directory: an ordinary package directory.
        files: by path below ``directory``.
        others: further blobs of the artifact, for example its config.
        facts: what else was known when it was stored: model, release, seq ...
    """

    manifest: Descriptor
    directory: Path
    files: Mapping[str, Descriptor]
    others: tuple[Descriptor, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)

    def digests(self) -> frozenset[str]:
        """Return the digests of all blobs that it is made of."""
        return frozenset(blob.digest for blob in (self.manifest, *self.others, *self.files.values()))


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

    def stage(
        self,
        manifest: Descriptor,
        files: Mapping[str, Descriptor],
        *,
        others: Iterable[Descriptor] = (),
        facts: Mapping[str, object] | None = None,
    ) -> StoredRelease:
        """Make the directory of a release whose blobs are all stored; one that is there as it should be is left alone.

        Args:
            manifest: of the release.
            files: by path; the paths were checked by who parsed the manifest.
            others: further blobs to keep with it.
            facts: JSON values for ``verified.json``.

        Raises:
            DataError: code ``store.damaged``: a blob is missing; ``store.path``: two paths exclude each other.
            PermissionDeniedError, StorageError: the disk refuses; nothing was changed, or only what was damaged.
        """
        release = StoredRelease(manifest, self.path(manifest.digest), dict(files), tuple(others), dict(facts or {}))
        existing = self.find(manifest.digest)
        if existing is not None and existing.files == release.files and _is_whole(existing):
            return existing
        _refuse_odd_paths(release)
        half = self.directory / f".{release.directory.name}.{os.getpid()}.tmp"
        remove_tree(half)
        try:
            self._fill(half, release)
            self.drop(manifest.digest)  # there is none, or a damaged one
            move(half, release.directory)
        except EdgeError:
            _try_remove(half)
            raise
        return release

    def find(self, digest: str) -> StoredRelease | None:
        """Return a release by the digest of its manifest, or ``None``: not there, or not readable any more.

        Raises:
            PermissionDeniedError: it may not be read.
        """
        directory = self.path(digest)
        try:
            return _parse(directory, read_limited(directory / VERIFIED, _LIMIT_BYTES))
        except FileNotFoundError:
            return None
        except EdgeError as error:
            if error.exit_code == os.EX_NOPERM:
                raise
            logger.error("release %s cannot be used: %s", digest, error)  # noqa: TRY400 - expected after a power cut
            return None

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
        it again mends it.

        Raises:
            DataError: code ``store.damaged``: a file is missing, another one than was verified, or one too many.
            PermissionDeniedError, StorageError: a file cannot be read.
        """
        wrong = [path for path, blob in release.files.items() if not _is_itself(release.directory / path, blob)]
        for path in wrong:
            self._blobs.is_sound(release.files[path])  # sets it aside unless only the link is damaged
        unknown = _found(release.directory) - {*release.files, VERIFIED}
        if wrong or unknown:
            self.drop(release.manifest.digest)
            path = min([*wrong, *unknown])
            blob = release.files.get(path)
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

    def _fill(self, half: Path, release: StoredRelease) -> None:
        make_directory(half)
        for path, blob in sorted(release.files.items()):
            if not self._blobs.has(blob):
                raise damaged(blob.digest, self._blobs.path(blob.digest))
            target = half / path
            make_directory(target.parent)
            link(self._blobs.path(blob.digest), target)
        document = {
            "schema": SCHEMA,
            "manifest": release.manifest.as_fields(),
            "files": {path: blob.as_fields() for path, blob in sorted(release.files.items())},
            "others": [blob.as_fields() for blob in release.others],
            "facts": dict(release.facts),
        }
        write_atomic(half / VERIFIED, json.dumps(document, indent=1).encode(), mode=0o440)
        try:
            for directory, _, _ in os.walk(half, topdown=False):
                os.chmod(directory, 0o550)  # noqa: PTH101, S103 - os.walk gives texts; nobody may write
                sync_directory(Path(directory))
        except OSError as error:
            raise storage_error(error, half, "write") from error


def _is_whole(release: StoredRelease) -> bool:
    sizes = {path: blob.size for path, blob in release.files.items()}
    return _found(release.directory) == {*sizes, VERIFIED} and all(
        (release.directory / path).lstat().st_size == size for path, size in sizes.items()
    )


def _is_itself(path: Path, blob: Descriptor) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == blob.size and hash_file(path) == blob.digest


def _found(directory: Path) -> set[str]:
    """Return everything below ``directory`` that is no directory, by relative path."""
    found: set[str] = set()
    for top, directories, names in os.walk(directory):
        linked = [name for name in directories if (Path(top) / name).is_symlink()]
        found.update((Path(top) / name).relative_to(directory).as_posix() for name in (*names, *linked))
    return found


def _refuse_odd_paths(release: StoredRelease) -> None:
    """Second lock: who parsed the manifest has checked them, but here is where a wrong one would do harm."""
    paths = set(release.files)
    for path in paths:
        parents = {str(parent) for parent in Path(path).parents}
        if not _PATH.fullmatch(path) or path == VERIFIED or parents & paths:
            message = f"release {release.manifest.digest}: {path[:100]!r} cannot be the path of one of its files"
            raise DataError("store.path", message)


def _parse(directory: Path, raw: bytes) -> StoredRelease | None:
    data = load_object(raw, str(directory / VERIFIED), limit_bytes=_LIMIT_BYTES)
    files, others, facts = data.get("files"), data.get("others"), data.get("facts")
    manifest = _descriptor(data.get("manifest"), directory)
    if (
        data.get("schema") != SCHEMA
        or manifest.hex != directory.name
        or not isinstance(files, dict)
        or not isinstance(others, list)
        or not isinstance(facts, dict)
    ):
        raise DataError("store.damaged", f"{directory / VERIFIED} does not describe the release it lies in")
    release = StoredRelease(
        manifest,
        directory,
        {path: _descriptor(blob, directory) for path, blob in files.items()},
        tuple(_descriptor(blob, directory) for blob in others),
        facts,
    )
    _refuse_odd_paths(release)
    return release


def _descriptor(fields: object, directory: Path) -> Descriptor:
    data = fields if isinstance(fields, dict) else {}
    size, media_type, notes = data.get("size"), data.get("mediaType"), data.get("annotations", {})
    digest = checked_digest(data.get("digest"), str(directory / VERIFIED))
    if not isinstance(size, int) or not isinstance(media_type, str) or not isinstance(notes, dict):
        raise DataError("store.damaged", f"{directory / VERIFIED} does not describe {digest}")
    return Descriptor(digest, size, media_type, notes)


def _try_remove(half: Path) -> None:
    try:
        remove_tree(half)
    except EdgeError as error:
        logger.warning("%s", error)  # the next start removes it; the first error is the one to report
