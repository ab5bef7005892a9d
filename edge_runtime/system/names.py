"""Names of files, durably: moved, linked, pointed elsewhere, removed; after a crash or power cut a step is done or not.

What a name stands for has to be durable before it: ``files.write_atomic``, or an fsync of the caller's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from edge_runtime.system.files import storage_error, sync_directory

if TYPE_CHECKING:
    from pathlib import Path


def move(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target`` on the same file system, replacing a file there; back again when it cannot last.

    Raises:
        PermissionDeniedError: a directory may not be written.
        StorageError: the disk refuses; then, as far as it lets us, ``target`` does not exist.
    """
    try:
        source.rename(target)
        try:
            sync_directory(target.parent)
        except OSError:
            with contextlib.suppress(OSError):  # the first error is the one to report
                target.rename(source)
            raise
    except OSError as error:
        raise storage_error(error, target, "move a file to") from error


def link(source: Path, target: Path) -> None:
    """Give the file ``source`` the further name ``target``; durable once the caller syncs the directory.

    Raises:
        PermissionDeniedError: the directory may not be written.
        StorageError: the disk refuses, or has no hard links.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        raise storage_error(error, target, "link") from error


def point(name: Path, target: str) -> None:
    """Let the symbolic link ``name`` point to ``target``; a reader sees the old one or the new one, never none.

    Raises:
        PermissionDeniedError: the directory may not be written.
        StorageError: the disk refuses, or ``name`` is a directory.
    """
    temporary = name.with_name(f".{name.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        temporary.symlink_to(target)
        try:
            temporary.rename(name)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_directory(name.parent)
    except OSError as error:
        raise storage_error(error, name, "point") from error


def remove(path: Path) -> None:
    """Remove a file or link; fine when there is none.

    Raises:
        PermissionDeniedError: the directory may not be written.
        StorageError: the disk refuses.
    """
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(error, path, "remove") from error


def remove_tree(path: Path) -> None:
    """Remove a directory, read-only ones in it as well; a link is removed, not followed; fine when there is none.

    Raises:
        PermissionDeniedError: it may not be removed.
        StorageError: the disk refuses; part of it may be gone.
    """
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            for directory, _, _ in os.walk(path):
                os.chmod(directory, 0o750)  # noqa: PTH101, S103 - os.walk gives texts; ours, and of our group
            shutil.rmtree(path)
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(error, path, "remove") from error
