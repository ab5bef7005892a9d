"""Pictures that somebody asked for, in a directory that is bounded: the oldest go first. For one thread."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge_runtime.system.files import make_directory, storage_error, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.pipeline.snapshots import Shot

DIRECTORY: Final = "snapshots"
COUNT_MAX: Final = 100
BYTES_MAX: Final = 128 << 20
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture on the disk: its path and ``sha256:<hex>`` of its bytes."""

    path: Path
    digest: str


class SnapshotFiles:
    """See the module docstring."""

    def __init__(self, state_dir: Path, *, count_max: int = COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        """Keep pictures below ``state_dir``; the directory is made with the first of them."""
        self.directory = state_dir / DIRECTORY
        self._count_max = count_max
        self._bytes_max = bytes_max

    def keep(self, shot: Shot) -> Kept:
        """Write a picture, for this user's eyes only, and remove old ones that are too many or too large.

        Raises:
            PermissionDeniedError: the directory may not be written.
            StorageError: the disk is full, read-only or broken.
        """
        make_directory(self.directory, mode=0o700)
        self._tidy(len(shot.jpeg))
        seconds, rest_ns = divmod(shot.captured_utc_ns, _NS_PER_S)
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")
        # the time comes first, so that names are in the order of age
        path = self.directory / f"{moment}.{rest_ns // 1000:06}Z-{shot.camera}-{shot.frame_id}.jpg"
        write_atomic(path, shot.jpeg, mode=0o600)
        return Kept(path, "sha256:" + hashlib.sha256(shot.jpeg).hexdigest())

    def _tidy(self, more_bytes: int) -> None:
        """Make room for one more picture of ``more_bytes``."""
        try:
            found = sorted((path.name, path.stat().st_size, path) for path in self.directory.glob("*.jpg"))
        except OSError as error:
            raise storage_error(error, self.directory, "list") from error
        total = sum(size for _, size, _ in found) + more_bytes
        while found and (len(found) >= self._count_max or total > self._bytes_max):
            _, size, path = found.pop(0)
            with contextlib.suppress(OSError):  # then the next ones have to go
                path.unlink(missing_ok=True)
                total -= size
