"""``edge-runtime models pack --oci``: a package as a release in a registry, before anybody signed it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_runtime.registry.carriers.open import Access, open_publication
from edge_runtime.registry.package.pack import pack

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.package.pack import Packed

_LAYOUT = "oci-layout:"


def publish(root: Path, place: str, *, as_json: bool) -> None:
    """Write the package ``root`` as a release into ``place`` and say what was written.

    Args:
        root: a package directory.
        place: address of a registry, or the path of a directory.
        as_json: one JSON object instead of lines.

    Raises:
        EdgeError: the package is not fit to be released, or the registry cannot be written.
    """
    packed = pack(root)
    is_address = place.startswith((_LAYOUT, "oci-archive:")) or "://" in place
    registry = open_publication(place if is_address else f"{_LAYOUT}{place}", Access())
    try:
        packed.publish(registry)
        print(json.dumps(_fields(packed, registry.name), indent=1) if as_json else _text(packed, registry.name))
    finally:
        registry.close()


def _fields(packed: Packed, registry: str) -> dict[str, object]:
    package, artifact = packed.package, packed.artifact
    return {
        "model": {"name": package.name, "version": package.version, "digest": package.digest},
        "release": packed.release,
        "manifest": {"digest": artifact.digest, "size_bytes": len(packed.manifest)},
        "registry": registry,
        "name": f"{package.name}:{packed.release}",
        "size_bytes": artifact.size_bytes,
        "files": [
            {"path": path, "size_bytes": blob.size, "digest": blob.digest, "made": path in packed.made}
            for path, blob in artifact.files.items()
        ],
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
    return "\n".join([*lines, "  boxes take it once it is signed: edge-runtime registry release --help"])
