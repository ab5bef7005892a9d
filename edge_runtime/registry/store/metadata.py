"""The verified TUF metadata and the floors of this box, as they lie on its disk.

::

    models/floors.a  floors.b
    models/tuf/root_history/2.root.json ...    # the chain from the pinned root on
    models/tuf/timestamp.json  snapshot.json  targets.json  rollout-SITE.json
    models/tuf/targets/floors.json  targets/rollout/SITE/desired.json

Metadata is written before floors: a power cut between the two leaves floors that are too low, never ones that the
metadata beside them cannot meet; what is kept there raises them again.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import StorageError
from edge_runtime.registry.carriers.listing import FILE_BYTES_MAX
from edge_runtime.registry.store.blobs import entries
from edge_runtime.registry.store.floors import FloorsFiles, read_if_any
from edge_runtime.system.files import make_directory, write_atomic
from edge_runtime.system.names import remove

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_runtime.registry.trust.floors import Floors

DIRECTORY: Final = "tuf"
ROOTS: Final = "root_history"

_PLACE = re.compile(
    rf"({ROOTS}/[0-9]{{1,9}}\.root|[a-z0-9._-]+|targets/floors|targets/rollout/[a-z0-9._-]+/desired)\.json"
)
_ROOT = re.compile(r"[0-9]{1,9}\.root\.json")
_ORDER: Final = ("timestamp.json", "snapshot.json", "targets.json")  # then delegated roles, then documents


@dataclass(frozen=True, slots=True)
class Kept:
    """What was stored after the last refresh.

    Attributes:
        files: metadata by name; a file that cannot be read is empty, so that nobody takes it for one that never was.
        floors: ``None`` = there are none, or they are unknown; ``files`` are then all that is remembered.
        damaged: names of the files that could not be read, so far as the disk knows.
    """

    files: Mapping[str, bytes]
    floors: Floors | None
    damaged: tuple[str, ...]


class TrustStore:
    """Keeps what a refresh said to keep; one owner at a time, from one thread."""

    def __init__(self, directory: Path) -> None:
        """Name ``state_dir/models``; nothing is read yet."""
        self._directory = directory / DIRECTORY
        self._floors = FloorsFiles(directory)
        self._files: dict[str, bytes] = {}
        self._leftovers: list[Path] = []

    def read(self) -> Kept:
        """Return what was stored.

        Raises:
            StorageError: code ``floors.unknown``: both files of the floors are damaged, and no metadata is left that
                could replace them; nothing may be trusted as if it were the first time.
            StorageError, PermissionDeniedError: a file cannot be read for a reason that is not its own.
        """
        damaged: list[str] = []
        self._files = dict(self._read(damaged))
        try:
            floors = self._floors.read()
        except StorageError as error:
            if error.code != "floors.unknown" or not self._files:
                raise
            floors = None
        return Kept(dict(self._files), floors, (*damaged, *self._floors.damaged))

    def write(self, files: Mapping[str, bytes], floors: Floors) -> None:
        """Store what a refresh said to keep, whatever it came to; after `read`. Only what changed is written.

        Raises:
            InvariantError: ``floors`` are lower than those that are stored.
            StorageError, PermissionDeniedError: the disk refuses; what is stored is older, never wrong.
        """
        while self._leftovers:  # of a process that was killed while it wrote
            remove(self._leftovers.pop())
        for name in sorted(files, key=_rank):
            if self._files.get(name) != files[name]:
                path = self._path(name)
                make_directory(path.parent)
                write_atomic(path, files[name])
                self._files[name] = files[name]
        for name in [name for name in self._files if name not in files]:
            remove(self._path(name))
            del self._files[name]
        make_directory(self._directory)
        self._floors.write(floors)

    def _read(self, damaged: list[str]) -> Iterator[tuple[str, bytes]]:
        self._leftovers.clear()
        for path in _walk(self._directory):
            place = path.relative_to(self._directory).as_posix()
            name = place.removeprefix(f"{ROOTS}/")
            if place.endswith(".tmp"):
                self._leftovers.append(path)
            elif _PLACE.fullmatch(place):
                raw = read_if_any(path, FILE_BYTES_MAX)
                if not raw:  # a link to nowhere, too
                    damaged.append(name)
                yield name, raw or b""

    def _path(self, name: str) -> Path:
        return self._directory / ROOTS / name if _ROOT.fullmatch(name) else self._directory / name


def _rank(name: str) -> tuple[int, int, str]:
    if _ROOT.fullmatch(name):
        return 0, int(name.partition(".")[0]), name
    return 1, _ORDER.index(name) if name in _ORDER else len(_ORDER), name


def _walk(directory: Path) -> Iterator[Path]:
    for name, status in sorted(entries(directory), key=lambda entry: entry[0]):
        path = directory / name
        if stat.S_ISDIR(status.st_mode) and not name.endswith(".json"):
            yield from _walk(path)
        else:
            yield path
