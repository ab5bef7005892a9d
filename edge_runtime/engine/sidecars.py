"""Files beside a bare model that say more about it: `metadata.yaml` of Ultralytics' exporter, and `labels.txt`.

They are read only where one model lies in the folder, so that they cannot be about another, and never for a package,
whose digest would not pin them. Whoever wrote them is not trusted: they are small, plain, and never evaluated.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.config.yaml12 import parse
from edge_runtime.core.layouts import METADATA_NAME
from edge_runtime.system.regular import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.config.tree import Node

LABELS_NAME: Final = "labels.txt"
SIZE_LIMIT_BYTES: Final = 1 << 20
_MODELS: Final = (".onnx", ".xml")


@dataclass(slots=True)
class Sidecars:
    """What lies beside a model.

    Attributes:
        metadata: facts as ``file/key`` -> text; what is no text stands there as Python writes it.
        sha256: hex digest of each file that was read, by its name.
        notes: what was not read, and why.
    """

    metadata: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, more: Sidecars) -> None:
        """Take what else is known; it goes before what lies directly beside the model."""
        self.metadata.update(more.metadata)
        self.sha256.update(more.sha256)
        self.notes.extend(more.notes)


def read_sidecars(model: Path) -> Sidecars:
    """Return what lies beside the bare file ``model``; what cannot be read is a note."""
    found = Sidecars()
    present = [name for name in (METADATA_NAME, LABELS_NAME) if model.with_name(name).exists()]
    if not present:
        return found
    others = sorted(
        one.name for one in model.parent.iterdir() if one.suffix.lower() in _MODELS and one.stem != model.stem
    )
    if others:
        found.notes.append(f"{' and '.join(present)} may belong to {others[0]} beside the model: not read")
        return found
    for name in present:
        raw = _read(model.with_name(name), found)
        if raw is None:
            continue
        if name == LABELS_NAME:
            found.metadata[f"{name}/labels"] = raw.removeprefix("\ufeff").rstrip()
        else:
            _add_yaml(raw, name, found)
    return found


def _read(path: Path, found: Sidecars) -> str | None:
    try:
        with open_regular(path) as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
        if len(raw) > SIZE_LIMIT_BYTES:
            found.notes.append(f"{path.name} beside the model is larger than {SIZE_LIMIT_BYTES} bytes: not read")
            return None
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        found.notes.append(f"{path.name} beside the model cannot be read: {reason}")
        return None
    found.sha256[path.name] = hashlib.sha256(raw).hexdigest()
    return text


def _add_yaml(text: str, name: str, found: Sidecars) -> None:
    document = parse(text, name)
    if document.problems or document.root is None or not isinstance(document.root.value, dict):
        problem = document.problems[0]
        found.notes.append(f"{name} beside the model is not read: {problem.origin}: {problem.message}")
        return
    for key, entry in document.root.value.items():
        value = _plain(entry.node)
        found.metadata[f"{name}/{key}"] = value if isinstance(value, str) else repr(value)


def _plain(node: Node) -> object:
    """Return the value in Python's own types; a number that was written in a way of its own stays the text it was."""
    if isinstance(node.value, dict):
        return {int(key) if key.isdecimal() else key: _plain(entry.node) for key, entry in node.value.items()}
    if isinstance(node.value, tuple):
        return [_plain(one) for one in node.value]
    is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return node.raw if is_number and node.raw is not None and str(node.value) != node.raw else node.value
