"""A registry in a directory with real metadata, and releases that are whole packages, as a publisher makes them."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from tuf.api.metadata import TargetFile

from edge_runtime.core.manifest import MANIFEST_NAME
from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.writer import LayoutPublication
from edge_runtime.registry.descriptor import MANIFEST, Descriptor, describe, digest_of
from edge_runtime.registry.documents import Assignment, Release, release_fields, release_path
from edge_runtime.registry.package.modelpack import CONFIG, DATASET, DOC, WEIGHT, WEIGHT_CONFIG, make_manifest
from tests.fakes.tuf_repository import START, TufRepository

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

SITE = "plant-a"
KINDS = {"onnx": WEIGHT, "json": WEIGHT_CONFIG, "jpg": DATASET, "png": DATASET, "md": DOC, "LICENSE": DOC}


def make_files(model: str, number: int, weights: bytes | None = None) -> dict[str, bytes]:
    """A small package; its weights are no model."""
    weights = f"weights of {model} {number}".encode() if weights is None else weights
    manifest = {
        "schema": "edge-model/1",
        "name": model,
        "version": f"{number}.0.0",
        "release": number,
        "task": "classification",
        "decoder": "probabilities",
        "labels": ["good", "bad"],
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(weights).hexdigest(), "precision": "fp32"},
        "input": {"color": "RGB", "resize": "stretch", "scale": 255},
    }
    return {MANIFEST_NAME: json.dumps(manifest).encode(), "model.onnx": weights, "model-card.md": b"# card\n"}


class Published:
    """``oci-layout:DIRECTORY``: change something, then ``publish``."""

    def __init__(self, directory: Path, *, site: str = SITE, now: datetime = START) -> None:
        self.directory = directory
        self.site = site
        self.tuf = TufRepository(sites=[site], now=now)
        self.seq = 0
        self.manifests: dict[tuple[str, int], Descriptor] = {}
        self._place = LayoutPublication(directory / "registry")
        self._token: str | None = None
        self.anchor = directory / "root.json"
        directory.mkdir(parents=True, exist_ok=True)
        self.anchor.write_bytes(self.tuf.pinned)

    @property
    def url(self) -> str:
        return f"oci-layout:{self.directory / 'registry'}"

    def release(self, model: str, number: int, files: dict[str, bytes] | None = None, **custom: Any) -> Descriptor:
        """Push a release and sign it; return the descriptor of its manifest."""
        files = files or make_files(model, number)
        config = b"{}"
        blobs = {path: describe(raw, KINDS[path.rpartition(".")[2]]) for path, raw in files.items()}
        manifest = make_manifest(blobs, describe(config, CONFIG))
        with self._place.lock():
            for raw in (config, *files.values()):
                self._place.put(model, describe(raw, ""), io.BytesIO(raw))
            self._place.tag(model, str(number), manifest)
        fields: dict[str, Any] = {
            "version": f"{number}.0.0",
            "digest": digest_of(files[MANIFEST_NAME]),
            "issued": self.tuf.now,
            "repository": model,
            **custom,
        }
        path = release_path(model, number)
        info = TargetFile.from_data(path, manifest, ["sha256"])
        info.unrecognized_fields["custom"] = release_fields(Release(model=model, release=number, **fields))
        self.tuf.targets.targets[path] = info
        self.manifests[model, number] = describe(manifest, MANIFEST)
        return self.manifests[model, number]

    def roll_out(self, *assignments: Assignment, **other: Any) -> int:
        """Sign a rollout with the next seq, and publish."""
        self.seq += 1
        self.tuf.set_rollout(self.site, self.seq, *assignments, **other)
        self.publish()
        return self.seq

    def publish(self) -> None:
        """Sign new metadata and put it into the registry."""
        self.tuf.publish()
        self.put(self.tuf.files)

    def put(self, files: dict[str, bytes]) -> None:
        """Let the listing name these files."""
        with self._place.lock():
            self._token = self._place.publish(files, self._token)

    def blob_path(self, blob: Descriptor) -> Path:
        return self.directory / "registry" / "blobs" / "sha256" / blob.hex

    def order(self, root: Path, *wants: Want, **changed: Any) -> Order:
        """What a box of the site asks."""
        fields: dict[str, Any] = {
            "urls": (self.url,),
            "access": Access(),
            "site": self.site,
            "line": "line-3",
            "edge": "box-17",
            "wants": wants or (Want("defects", "weld"),),
            "hardware": ("cpu",),
            "versions": {"openvino": "2026.4.1"},
        }
        return Order(root=root, anchor=self.anchor, **{**fields, **changed})
