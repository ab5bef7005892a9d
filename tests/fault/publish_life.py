"""One release that is published into a directory, that faults are injected into, and a judge who reads it afterwards.

The directory holds a release and its metadata, A; the publisher adds another one and replaces the metadata, B.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from edge_runtime.core.errors import EdgeError
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from edge_runtime.registry.descriptor import MANIFEST, describe, digest_of
from tests.fault.install_life import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.descriptor import Descriptor
    from tests.fault.nth_call import Diary

CONFIG = b"{}"
WEIGHTS = {"A": b"old weights" * 1000, "B": b"new weights, and more of them" * 1000}
FILES = {
    "A": {"1.root.json": b"root", "timestamp.json": b"old"},
    "B": {"1.root.json": b"root", "timestamp.json": b"new", "2.targets.json": b"targets"},
}


def manifest(name: str) -> bytes:
    fields = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, "config").as_fields()}
    return json.dumps({**fields, "layers": [describe(WEIGHTS[name], "weights").as_fields()]}).encode()


def publish(root: Path, name: str) -> None:
    place = open_publication(f"oci-layout:{root}", Access())
    with place.lock():
        try:
            known = place.listing()
        except EdgeError:
            known = None
        for raw, kind in ((CONFIG, "config"), (WEIGHTS[name], "weights")):
            place.put("weld", describe(raw, kind), io.BytesIO(raw))
        place.tag("weld", name.lower(), manifest(name))
        place.publish(FILES[name], None if known is None else known.token)


def reset(root: Path) -> None:
    publish(root, "A")


def live(root: Path, diary: Diary) -> None:
    try:
        publish(root, "B")
    except EdgeError as error:
        diary.note(failed=error.code)
    else:
        diary.note(published=True)


def judge(root: Path, *, whole: bool) -> Finding:
    """Read A or B, whole; then let a publisher begin again, which ends with B and nothing half."""
    found = Finding()
    try:
        found.runs = _read(root)
        publish(root, "B")
        if _read(root) != "B":
            found.wrong.append("B was published, and is not there")
    except EdgeError as error:
        found.wrong.append(f"{'' if whole else 'after the cut: '}{error}")
    left = [path.name for path in root.rglob("*.tmp")]
    if left:
        found.wrong.append(f"left behind: {left}")
    return found


def _read(root: Path) -> str:
    """Return which listing there is, after everything that it and the names of the index lead to was read."""
    carrier = open_carrier(f"oci-layout:{root}", Access())
    listing = carrier.listing()
    assert listing is not None
    files = {name: _bytes(root, blob) for name, blob in listing.files.items()}
    name = next(name for name, expected in FILES.items() if expected == files)
    index = json.loads((root / "index.json").read_bytes())
    tags = {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]}
    for one in ("A", "B"):
        if f"weld:{one.lower()}" in tags or one <= name:
            for raw in (manifest(one), WEIGHTS[one], CONFIG):
                _bytes(root, describe(raw, "any"))
    return name


def _bytes(root: Path, blob: Descriptor) -> bytes:
    stream = open_carrier(f"oci-layout:{root}", Access()).open("any", blob)
    try:
        raw = b"".join(iter(lambda: stream.read(1 << 16), b""))
    finally:
        stream.close()
    assert digest_of(raw) == blob.digest
    return raw
