"""Releases of a few small files, with their blobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.registry.descriptor import MANIFEST, Descriptor, describe
from edge_runtime.registry.package.modelpack import (
    CONFIG,
    DATASET,
    DOC,
    WEIGHT,
    WEIGHT_CONFIG,
    make_manifest,
    parse_manifest,
)

if TYPE_CHECKING:
    from edge_runtime.registry.package.modelpack import Artifact
    from edge_runtime.registry.store.store import ModelStore

KINDS = {"onnx": WEIGHT, "json": WEIGHT_CONFIG, "png": DATASET, "md": DOC}


@dataclass(frozen=True)
class FakeRelease:
    """What a publisher made: the manifest and all blobs by digest."""

    manifest: bytes
    content: dict[str, bytes]
    files: dict[str, bytes]

    @property
    def artifact(self) -> Artifact:
        return parse_manifest(self.manifest, "test")

    @property
    def blob(self) -> Descriptor:
        return describe(self.manifest, MANIFEST)

    @property
    def digest(self) -> str:
        return self.blob.digest

    def all_bytes(self) -> list[bytes]:
        return [self.manifest, *self.content.values()]


def make_release(number: int, *, size: int = 5000, shared: bytes = b"shared by all releases") -> FakeRelease:
    """Make release ``number``: weights of ``size`` bytes, a golden picture that all releases share, a card."""
    seed = f"release {number}|".encode()
    files = {
        "edge-model.json": json.dumps({"name": "weld", "release": number}).encode(),
        "model.onnx": (seed * (size // len(seed) + 1))[:size],
        "golden/one.png": shared,
        "model-card.md": f"# Release {number}\n".encode(),
    }
    config = b"{}"
    blobs = {path: describe(raw, KINDS[path.rpartition(".")[2]]) for path, raw in files.items()}
    manifest = make_manifest(blobs, describe(config, CONFIG))
    content = {describe(raw, "").digest: raw for raw in (config, *files.values())}
    return FakeRelease(manifest, content, files)


def store_blobs(store: ModelStore, release: FakeRelease) -> None:
    """Put all blobs but the manifest."""
    for raw in release.content.values():
        store.blobs.put(describe(raw, ""), raw)


def install(store: ModelStore, release: FakeRelease, slot: str | None = None) -> None:
    """Store and stage it, and make it current in ``slot``."""
    store_blobs(store, release)
    store.releases.stage(release.manifest, {"model": "weld", "release": 1})
    if slot is not None:
        store.slots.activate(slot, release.digest)
