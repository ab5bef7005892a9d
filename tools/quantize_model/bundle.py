"""The package that is handed out: weights, `edge-model.json` and the report, all there or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import MANIFEST_NAME, SCHEMA
from edge_runtime.system.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_runtime.engine.package import Package

FLOAT_NAME: Final = "model-fp32.onnx"
REPORT_NAME: Final = "quantization.json"


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Give a hidden directory beside ``target``; what is in it at the end without `publish` is removed.

    Raises:
        DataError: ``target`` is there already, or its directory is not; code ``quantize.target``.
    """
    if target.exists() or not target.parent.is_dir():
        message = f"{target} exists" if target.exists() else f"{target.parent}: no such directory"
        raise DataError("quantize.target", message, help="give a new directory for the package with --out")
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path) -> None:
    """Move the finished ``folder`` to ``target`` in one step; its files are on the disk before that."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o644)
    folder.chmod(0o755)
    sync_directory(folder)
    folder.rename(target)
    sync_directory(target.parent)


def form(files: Sequence[Path], precision: str, backends: Sequence[str] | None = None) -> dict[str, object]:
    """Return the entry of the manifest's `weights` for ``files``: the model first, then what belongs to it."""
    parts = [{"file": one.name, "sha256": hashlib.sha256(one.read_bytes()).hexdigest()} for one in files]
    kind = "onnx" if files[0].suffix == ".onnx" else "openvino-ir"
    entry: dict[str, object] = {**parts[0], "format": kind, "precision": precision}
    if parts[1:]:
        entry["parts"] = parts[1:]
    if backends is not None:
        entry["backends"] = list(backends)
    return entry


def write_manifest(
    folder: Path,
    package: Package,
    written: Mapping[str, Any],
    *,
    weights: Sequence[Mapping[str, object]],
    changes: Mapping[str, object],
) -> None:
    """Write `edge-model.json`: all that the source says about itself, with other weights.

    Args:
        folder: of the new package.
        package: the source; what is said inside its model file is written out, for quantizers do not keep it.
        written: the source's own manifest, empty for a bare file.
        weights: the new forms, see `form`.
        changes: top-level keys that replace those of the source.
    """
    data: dict[str, Any] = {"schema": SCHEMA, "name": package.ref.name, "version": package.ref.version}
    for dotted, one in package.sources.items():
        *sections, key = dotted.split(".")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = list(one.value) if isinstance(one.value, tuple) else one.value
    for key, value in written.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) and isinstance(data.get(key), dict) else value
    data |= {"weights": list(weights), **changes}
    (folder / MANIFEST_NAME).write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
