"""Where other tools look for a Sigstore bundle in a real registry: the referrer, and the tag for registries without."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest

from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.open import open_publication
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.descriptor import INDEX, MANIFEST, digest_of
from edge_runtime.registry.publisher.sigstore import BundleSigner, attach_bundle, make_bundle_key
from edge_runtime.registry.trust.sigstore import BUNDLE, verify_bundle
from tests.registries import Registry, skopeo
from tests.unit.registry.publisher.test_sigstore import CONFIG, MODEL, NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as started:
        yield started


def manifest(registry: Registry, reference: str, kind: str) -> bytes:
    url = f"{registry.url}/v2/vision/welds/manifests/{reference}"
    with urlopen(Request(url, headers={"Accept": kind}), timeout=10) as answer:
        assert answer.headers["Content-Type"] == kind
        raw: bytes = answer.read()
    return raw


def test_a_bundle_lies_in_a_registry_where_other_tools_look(registry: Registry, tmp_path: Path) -> None:
    signer: BundleSigner = make_bundle_key(tmp_path / "board.pem", None)
    digest = digest_of(MODEL)
    bundle = signer.sign(digest)
    place = open_publication(f"oci://{registry.address}/vision", Access())
    try:
        place.put("welds", CONFIG, io.BytesIO(NOTHING))
        place.tag("welds", "7", MODEL)
        blob = attach_bundle(place, "welds", MODEL, bundle)
        attach_bundle(place, "welds", MODEL, bundle)  # again is the same
        assert read_blob(place, "welds", blob) == bundle
    finally:
        place.close()
    (entry,) = json.loads(manifest(registry, digest.replace(":", "-"), INDEX))["manifests"]
    assert entry["artifactType"] == BUNDLE
    referrer = manifest(registry, entry["digest"], MANIFEST)
    assert digest_of(referrer) == entry["digest"]
    assert json.loads(referrer)["subject"]["digest"] == digest
    (layer,) = json.loads(referrer)["layers"]
    source = f"docker://{registry.address}/vision/welds@{entry['digest']}"
    skopeo("copy", "--src-tls-verify=false", "--preserve-digests", source, f"oci:{tmp_path}/copy:bundle")
    copied = (tmp_path / "copy" / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")).read_bytes()
    assert verify_bundle(copied, digest, [signer.public], "welds 7") == signer.public
