"""Makes packages: a manifest from what a bare model says about itself, and the hashes that a manifest lacks.

Pure Python, for the command line; the model is neither compiled nor run here.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from edge_runtime import __version__
from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.core.manifest import MANIFEST_NAME, SCHEMA, SIZE_LIMIT_BYTES, parse_manifest
from edge_runtime.core.reference import reference_fields
from edge_runtime.engine.gates.onnxgate import inspect_onnx
from edge_runtime.engine.package import read_weights
from edge_runtime.system.files import read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.core.reference import ModelReference
    from edge_runtime.engine.package import Package

_NO_NAME: Final = re.compile(r"[^a-z0-9._-]+")
_NAME_MAX: Final = 64
_TEXT_MAX: Final = 1000


def make_manifest(package: Package, file: str, *, version: str, release: int | None = None) -> bytes:
    """Return the `edge-model.json` of a bare model: every value it runs by, and in ``provenance`` where each came from.

    Args:
        package: the bare model.
        file: name of its file in the new package, ``.onnx`` or ``.xml``; the ``.bin`` of the latter has its stem.
        version: what to call this package.
        release: its number among the releases of this name, ``None`` for one that is not released.

    Raises:
        DataError: what came out is no manifest, for example because of ``version``.
    """
    weights: dict[str, object] = {"file": file, "sha256": hashlib.sha256(package.model).hexdigest()}
    if package.parts:
        part = file.rpartition(".")[0] + ".bin"
        weights["parts"] = [{"file": part, "sha256": hashlib.sha256(package.parts).hexdigest()}]
    values: dict[str, object] = {}
    for key, one in package.sources.items():
        section, _, name = key.rpartition(".")
        place = values.setdefault(section, {}) if section else values
        if isinstance(place, dict):
            place[name] = one.value
    document = {
        "schema": SCHEMA,
        "name": _NO_NAME.sub("-", package.ref.name.lower()).strip("._-")[:_NAME_MAX] or "model",
        "version": version,
        **({} if release is None else {"release": release}),
        **_said_of_itself(package, file),
        "weights": {**weights, "format": package.format},
        **values,
        "golden": {"tolerances": {}, "gates": {}},
        "provenance": {
            "tool": f"edge-runtime {__version__} models pack",
            "origin": dict(package.origin),
            "values": {key: one.source for key, one in package.sources.items()},
        },
    }
    raw = _written(document)
    parse_manifest(raw)
    return raw


def _said_of_itself(package: Package, file: str) -> dict[str, str]:
    """Return what exporters, such as Ultralytics', write for people: the licence of the model and what it is."""
    metadata = inspect_onnx(package.model, file).metadata if package.format == "onnx" else {}
    found = {
        "license": metadata.get("license") or str(package.origin.get("license", "")),
        "description": metadata.get("description", ""),
    }
    return {key: text.strip() for key, text in found.items() if 0 < len(text.strip()) <= _TEXT_MAX}


def fill_hashes(root: Path) -> bool:
    """Write the SHA-256 of weights that the manifest of ``root`` names without one; return whether there were such.

    Raises:
        DataError: there is no manifest, or a file that it names is not there.
        StorageError: it cannot be written.
    """
    document = _read(root)
    lacking = [one for one in _files(document.get("weights")) if not one.get("sha256")]
    for one in lacking:
        one["sha256"] = hashlib.sha256(read_weights(root, str(one.get("file")))).hexdigest()
    if lacking:
        _replace(root, document)
    return bool(lacking)


def set_release(root: Path, release: int) -> bool:
    """Write the number of the release into the manifest of ``root``; return whether it had another one, or none.

    Raises:
        DataError: there is no manifest, or it would be none with this number.
        StorageError: it cannot be written.
    """
    document = _read(root)
    if document.get("release") == release:
        return False
    place = list(document).index("version") + 1 if "version" in document else 0
    rows = [pair for pair in document.items() if pair[0] != "release"]
    _replace(root, dict([*rows[:place], ("release", release), *rows[place:]]))
    return True


def set_reference(root: Path, reference: ModelReference) -> None:
    """Write what the model answers when all is well into the manifest of ``root``.

    Raises:
        DataError: there is no manifest, or it would be none with this reference.
        StorageError: it cannot be written.
    """
    _replace(root, {**_read(root), "reference": reference_fields(reference)})


def _read(root: Path) -> dict[str, object]:
    try:
        raw = read_limited(root / MANIFEST_NAME, SIZE_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{root}: no {MANIFEST_NAME} in it"
        help_ = "for a bare model: edge-runtime models pack MODEL.onnx --out DIR"
        raise DataError("model.missing", message, help=help_) from error
    return load_object(raw, f"{root.name}/{MANIFEST_NAME}", limit_bytes=SIZE_LIMIT_BYTES)


def _replace(root: Path, document: dict[str, object]) -> None:
    raw = _written(document)
    parse_manifest(raw, where=f"{root.name}/{MANIFEST_NAME}")
    write_atomic(root / MANIFEST_NAME, raw)


def _files(weights: object) -> Iterator[dict[str, object]]:
    for form in weights if isinstance(weights, list) else [weights]:
        if isinstance(form, dict) and isinstance(form.get("file"), str):
            yield form
            parts = form.get("parts")
            yield from (one for one in (parts if isinstance(parts, list) else ()) if isinstance(one, dict))


def _written(document: dict[str, object]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
