"""What was found in a directory of another system, and how files are looked for there: none outside of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.core.errors import DataError
from edge_runtime.engine.sidecars import SIZE_LIMIT_BYTES, Sidecars
from edge_runtime.system.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMATS: Final = (".onnx", ".xml")
ENTRIES_LIMIT: Final = 10_000
_ENTRIES_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model found in a directory of another system.

    Attributes:
        file: the `.onnx` or `.xml`.
        name: of the model.
        system: what made the directory, for provenance: `mlflow`, `triton`, `huggingface`, `ultralytics`.
        version: as the system counts, or ``None``.
        signature: of MLflow, as the JSON text it is kept as, or ``None``.
        beside: what the directory says about the model, for `engine.metadata`.
        read: hex SHA-256 of each file of the directory that was read, by its name there.
        facts: where the model came from, as the directory states it; kept with a package that is made of it.
        notes: what a reader of the log should know.
    """

    file: Path
    name: str
    system: str
    version: str | None = None
    signature: str | None = None
    beside: Sidecars = field(default_factory=Sidecars)
    read: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Directory:
    """Reads the files of one directory; remembers the hash of each.

    Attributes:
        root: the directory.
        read: as `Foreign.read`.
    """

    def __init__(self, root: Path, boundary: Path | None = None) -> None:
        """Read in ``root``; links may lead anywhere in ``boundary``, which is ``root`` itself when not given."""
        self.root = root
        self.read: dict[str, str] = {}
        self._boundary = os.path.realpath(root if boundary is None else boundary)

    def inside(self, path: Path) -> Path:
        """Return ``path`` if it lies in the boundary, whatever links say.

        Raises:
            DataError: code ``model.missing``.
        """
        if not Path(os.path.realpath(path)).is_relative_to(self._boundary):
            message = f"{self.root.name}/{os.path.relpath(path, self.root)} leads out of the model's directory"
            refuse("missing", message, "copy the file into it")
        return path

    def text(self, name: str, limit_bytes: int = SIZE_LIMIT_BYTES) -> str:
        """Return the text of a file of the directory.

        Raises:
            DataError: codes ``model.missing``, ``model.unreadable``.
            OSError: it cannot be read.
        """
        with open_regular(self.inside(self.root / name)) as file:
            raw = file.read(limit_bytes + 1)
        where = f"{self.root.name}/{name}"
        if len(raw) > limit_bytes:
            refuse("unreadable", f"{where}: more than {limit_bytes} bytes", "make the directory again")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            refuse("unreadable", f"{where}: not UTF-8", "make the directory again")
        self.read[name] = hashlib.sha256(raw).hexdigest()
        return text


def names_in(place: Path) -> list[str]:
    """Return what is in the directory ``place``, sorted.

    Raises:
        DataError: code ``model.unreadable``: that is more than a directory of a model has.
        OSError: it cannot be looked at.
    """
    names = []
    with os.scandir(place) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > ENTRIES_LIMIT:
                message = f"{place.name}: more than {ENTRIES_LIMIT} files"
                refuse("unreadable", message, "name the directory of one model")
    return sorted(names)


def some(names: list[str]) -> str:
    """Return the first few of ``names`` for a message."""
    return ", ".join(names[:_ENTRIES_TOLD]) + (" ..." if len(names) > _ENTRIES_TOLD else "") or "nothing"


def refuse(code: str, message: str, help_: str) -> NoReturn:
    """Raise ``DataError`` with the code ``model.`` and ``code``."""
    raise DataError(f"model.{code}", message, help=help_)
