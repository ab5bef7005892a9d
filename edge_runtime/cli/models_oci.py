"""Releases before they are signed: ``models pack --oci`` writes one, ``models inspect`` looks at those of a layout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.carriers.directory import Directory
from edge_runtime.registry.carriers.index import INDEX_BYTES_MAX, parse_index
from edge_runtime.registry.carriers.layout import Layout
from edge_runtime.registry.carriers.open import open_publication
from edge_runtime.registry.carriers.whole import check_blob
from edge_runtime.registry.package.pack import pack

if TYPE_CHECKING:
    from edge_runtime.registry.package.pack import Packed
    from edge_runtime.registry.publisher.intake import Incoming

_LAYOUT = "oci-layout:"


def publish(root: Path, place: str, *, as_json: bool) -> None:
    """Write the package ``root`` as a release into ``place`` and say what was written.

    Args:
        root: a package directory.
        place: address of a registry, or the path of a directory.
        as_json: one JSON object instead of lines.

    Raises:
        EdgeError: the package is not fit to be released, the registry cannot be written, or a directory holds the
            release with another content.
    """
    packed = pack(root)
    is_address = place.startswith((_LAYOUT, "oci-archive:")) or "://" in place
    address = place if is_address else f"{_LAYOUT}{place}"
    registry = open_publication(address, Access())
    try:
        if address.startswith(_LAYOUT):
            _refuse_to_change(Path(address.removeprefix(_LAYOUT)), packed)
        packed.publish(registry)
        print(json.dumps(_fields(packed, registry.name), indent=1) if as_json else _text(packed, registry.name))
    finally:
        registry.close()


def _refuse_to_change(root: Path, packed: Packed) -> None:
    """Refuse to give another content to a release that may have been signed."""
    if not (root / "index.json").exists():
        return
    directory = Directory(root)
    name = f"{packed.package.name}:{packed.release}"
    there = parse_index(directory.read("index.json", INDEX_BYTES_MAX), directory.name).get(name)
    if there is not None and there.digest != packed.artifact.digest:
        message = f"{root} holds {name} with another content: {there.digest}, this one is {packed.artifact.digest}"
        raise DataError("pack.taken", message, help="a release never changes: count up with --release N")


def layout_at(path: Path) -> Path | None:
    """Return the image-layout directory that ``path`` names, as ``oci-layout:DIR`` or by what lies in it."""
    text = str(path)
    if text.startswith(_LAYOUT):
        return Path(text.removeprefix(_LAYOUT))
    return path if (path / "oci-layout").is_file() else None


def inspect(root: Path, *, as_json: bool) -> int:
    """Print the releases that the layout ``root`` holds; all their bytes are hashed. Exit 65 when one is not whole.

    Whether anybody signed them is not looked at: boxes do that, and ``registry status``.

    Raises:
        DataError: it is no image layout, or holds no release.
        EdgeError: it cannot be read.
    """
    directory = Directory(root)
    names = parse_index(directory.read("index.json", INDEX_BYTES_MAX), directory.name)
    rows = [_inspected(root, name) for name in sorted(names) if not name.startswith(f"{TUF}:")]
    if not rows:
        message = f"{root}: an image layout without releases"
        raise DataError("model.missing", message, help=f"edge-runtime models pack DIR --release N --oci {root}")
    print(json.dumps({"releases": rows}, indent=1) if as_json else "\n".join(map(_row, rows)))
    return DataError.exit_code if any("error" in row for row in rows) else os.EX_OK


def _inspected(root: Path, name: str) -> dict[str, object]:
    from edge_runtime.registry.publisher.intake import take_in  # noqa: PLC0415 - packing needs none of it

    model, _, tag = name.rpartition(":")
    try:
        incoming = take_in(root, model, int(tag) if tag.isdecimal() else -1)
        for blob in incoming.artifact.blobs:
            check_blob(Layout(Directory(root)), "", blob)
    except EdgeError as error:
        return {"name": name, "error": {"code": error.code, "message": error.message}}
    return {"name": name, **_description(incoming)}


def _row(row: dict[str, object]) -> str:
    error = row.get("error")
    if isinstance(error, dict):
        return f"{row['name']}  NOT WHOLE: {error['message']}"
    return f"{row['name']}  {row['size_bytes']} bytes  {row['manifest']}"


def _description(release: Packed | Incoming) -> dict[str, object]:
    package, artifact = release.package, release.artifact
    return {
        "model": {"name": package.name, "version": package.version, "digest": package.digest},
        "release": package.release,
        "manifest": artifact.digest,
        "size_bytes": artifact.size_bytes,
        "files": {path: {"size_bytes": blob.size, "digest": blob.digest} for path, blob in artifact.files.items()},
    }


def _fields(packed: Packed, registry: str) -> dict[str, object]:
    return {
        "name": f"{packed.package.name}:{packed.release}",
        "registry": registry,
        **_description(packed),
        "made": list(packed.made),
        "left_out": list(packed.left_out),
        "notes": list(packed.notes),
    }


def _text(packed: Packed, registry: str) -> str:
    package, artifact = packed.package, packed.artifact
    width = max(len(path) for path in artifact.files)
    lines = [
        f"{package.name} {package.version}, release {packed.release}",
        f"  manifest  {artifact.digest}",
        f"  written   {registry}, named {package.name}:{packed.release}",
        f"  files     {len(artifact.files)}, {artifact.size_bytes} bytes with the config",
    ]
    for path, blob in artifact.files.items():
        made = "  made here" if path in packed.made else ""
        lines.append(f"    {path:<{width}}  {blob.size:>11}{made}")
    lines += [f"  left out  {path}" for path in packed.left_out]
    lines += [f"  note: {note}" for note in packed.notes]
    place = registry.removeprefix(_LAYOUT)
    return "\n".join([*lines, f"  boxes take it once it is signed: edge-runtime registry release add {place}"])
