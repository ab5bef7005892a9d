"""Our Sigstore bundles are verified by programs that are not ours, and lie where those look for them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.open import open_publication
from edge_runtime.registry.descriptor import EMPTY, MANIFEST, describe, digest_of
from edge_runtime.registry.publisher.sigstore import (
    BundleSigner,
    attach_bundle,
    make_bundle_key,
    read_bundle_signer,
)
from edge_runtime.registry.trust.sigstore import BUNDLE, pre_authentication_encoding, read_bundle_key, verify_bundle
from tests.required import needs
from tests.sparkplug.hosts import assets

MODULES = assets() / "sigstore-verify" / "node_modules"
PROGRAM = Path(__file__).parent.parent / "verify_bundle.mjs"
NOTHING = b"{}"
CONFIG = describe(NOTHING, EMPTY)
MODEL = json.dumps(
    {"schemaVersion": 2, "mediaType": MANIFEST, "config": CONFIG.as_fields(), "layers": [CONFIG.as_fields()]}
).encode()
DIGEST = digest_of(MODEL)


def nobody() -> str:
    raise AssertionError("no passphrase is needed")


@pytest.fixture
def signer(tmp_path: Path) -> BundleSigner:
    make_bundle_key(tmp_path / "board.pem", None)
    return read_bundle_signer(tmp_path / "board.pem", nobody)


def sigstore(bundle: Path, key: Path) -> subprocess.CompletedProcess[str]:
    needs(shutil.which("node") and MODULES.is_dir(), "node, and @sigstore/verify of tools/fetch_test_assets.py")
    command = ["node", str(PROGRAM), str(MODULES), str(bundle), str(key)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_sigstore_itself_verifies_a_bundle_and_refuses_a_flipped_byte(tmp_path: Path, signer: BundleSigner) -> None:
    path = tmp_path / "bundle.json"
    path.write_bytes(signer.sign(DIGEST))
    done = sigstore(path, tmp_path / "board.pub")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, DIGEST, "")
    fields = json.loads(path.read_bytes())
    payload = bytearray(base64.b64decode(fields["dsseEnvelope"]["payload"]))
    payload[-3] ^= 1
    fields["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    path.write_text(json.dumps(fields))
    done = sigstore(path, tmp_path / "board.pub")
    assert (done.returncode, "signature verification failed" in done.stderr) == (1, True)


def test_openssl_verifies_the_signature_over_the_encoding_of_dsse(tmp_path: Path, signer: BundleSigner) -> None:
    needs(shutil.which("openssl"), "openssl")
    envelope = json.loads(signer.sign(DIGEST))["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    signed = pre_authentication_encoding(envelope["payloadType"], payload)
    for content, expected in ((signed, "Verified OK"), (signed[:-1] + b"!", "Verification failure")):
        (tmp_path / "signed").write_bytes(content)
        command = ["openssl", "dgst", "-sha256", "-verify", "board.pub", "-signature", "sig", "signed"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
        assert expected in done.stdout + done.stderr


def test_a_key_with_a_passphrase_opens_with_it_alone(tmp_path: Path) -> None:
    made = make_bundle_key(tmp_path / "board.pem", "secret")
    assert (tmp_path / "board.pem").stat().st_mode & 0o777 == 0o600
    assert read_bundle_signer(tmp_path / "board.pem", lambda: "secret").public.hint == made.public.hint
    assert read_bundle_key((tmp_path / "board.pub").read_bytes(), "x").hint == made.public.hint
    with pytest.raises(DataError, match="not its passphrase") as caught:
        read_bundle_signer(tmp_path / "board.pem", lambda: "wrong")
    assert caught.value.code == "key.passphrase"


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "board.pub").write_text("x")
    with pytest.raises(DataError) as caught:
        make_bundle_key(tmp_path / "board.pem", None)
    assert caught.value.code == "key.exists"


@pytest.mark.parametrize(
    ("raw", "code"), [(None, "key.missing"), (b"x", "key.unreadable"), (b"ed25519", "key.kind"), (b"p384", "key.kind")]
)
def test_another_file_is_no_key_for_bundles(tmp_path: Path, raw: bytes | None, code: str) -> None:
    path = tmp_path / "board.pem"
    if raw in (b"ed25519", b"p384"):
        kind = ["ed25519"] if raw == b"ed25519" else ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]
        subprocess.run(["openssl", "genpkey", "-algorithm", *kind, "-out", str(path)], check=True, timeout=30)
    elif raw is not None:
        path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        read_bundle_signer(path, nobody)
    assert caught.value.code == code


def test_a_bundle_is_found_by_the_tag_and_points_at_its_model(tmp_path: Path, signer: BundleSigner) -> None:
    place = open_publication(f"oci-layout:{tmp_path / 'layout'}", Access())
    place.tag("welds", "7", MODEL)
    bundle = signer.sign(DIGEST)
    blob = attach_bundle(place, "welds", MODEL, bundle)
    assert (blob.digest, blob.media_type) == (digest_of(bundle), BUNDLE)
    names = {one["annotations"]["org.opencontainers.image.ref.name"]: one for one in index(tmp_path)["manifests"]}
    assert sorted(names) == ["welds:7", f"welds:{DIGEST.replace(':', '-')}"]
    found = document(tmp_path, names[f"welds:{DIGEST.replace(':', '-')}"]["digest"])
    (entry,) = found["manifests"]
    assert entry["artifactType"] == BUNDLE
    referrer = document(tmp_path, entry["digest"])
    assert referrer["subject"] == describe(MODEL, MANIFEST).as_fields()
    assert referrer["layers"][0]["digest"] == blob.digest
    with closing(place.open("welds", blob)) as stream:
        assert verify_bundle(stream.read(1 << 16), DIGEST, [signer.public], "welds 7") == signer.public


def index(root: Path) -> dict[str, list[dict[str, dict[str, str]]]]:
    found: dict[str, list[dict[str, dict[str, str]]]] = json.loads((root / "layout" / "index.json").read_bytes())
    return found


def document(root: Path, digest: object) -> dict[str, list[dict[str, str]]]:
    path = root / "layout" / "blobs" / "sha256" / str(digest).removeprefix("sha256:")
    found: dict[str, list[dict[str, str]]] = json.loads(path.read_bytes())
    return found
