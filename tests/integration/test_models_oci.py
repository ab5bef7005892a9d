"""``models pack --oci`` as a user types it, and what tools of others make of the result."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from edge_runtime.cli import dispatch
from edge_runtime.core.errors import DataError
from edge_runtime.engine.package import open_package
from edge_runtime.registry.descriptor import digest_of
from edge_runtime.registry.package.modelpack import (
    DOC,
    WEIGHT,
    WEIGHT_CONFIG,
    Artifact,
    parse_manifest,
)
from edge_runtime.registry.package.pack import pack
from edge_runtime.registry.package.unpack import check_contents, described_in
from tests.assets.make_models import colours, write_package
from tests.daemons import MODEL
from tests.foreign_clients import modelpack_pull, modelpack_push
from tests.integration.test_verbs import edge
from tests.registries import Registry, skopeo
from tests.required import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of this repository as release 1, packed by the command."""
    folder = tmp_path_factory.mktemp("layout") / "registry"
    assert edge("models", "pack", MODEL, "--oci", folder).returncode == 0
    return folder


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process; return its exit code and what it printed."""

    def run(*words: object) -> tuple[int, str, str]:
        code = dispatch([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


Here = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


def manifest_of(layout: Path, name: str = "surface-defects:1") -> bytes:
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    (digest,) = [one["digest"] for one in entries if one["annotations"]["org.opencontainers.image.ref.name"] == name]
    return blob_of(layout, digest)


def blob_of(layout: Path, digest: str) -> bytes:
    raw = (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert digest_of(raw) == digest
    return raw


def laid_out(layout: Path, artifact: Artifact, target: Path) -> Path:
    for path, blob in artifact.files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(blob_of(layout, blob.digest))
    return target


def test_a_release_is_the_package_that_was_packed(layout: Path, tmp_path: Path) -> None:
    artifact = parse_manifest(manifest_of(layout), "test")
    root = laid_out(layout, artifact, tmp_path / "release")
    assert open_package(root).ref == open_package(MODEL).ref
    contents = {path: (root / path).read_bytes() for path in described_in(artifact, "test")}
    digest = open_package(MODEL).ref.digest
    assert check_contents(artifact, contents, model="surface-defects", release=1, digest=digest, where="test")
    assert not (root / "conveyor.mp4").exists()


def test_the_command_says_what_was_packed(layout: Path, tmp_path: Path, here: Here) -> None:
    code, out, err = here("models", "pack", MODEL, "--oci", f"oci-layout:{tmp_path / 'other'}", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["manifest"] == digest_of(manifest_of(layout))  # packed twice, the same digest
    assert report["model"]["digest"] == open_package(MODEL).ref.digest
    assert report["name"] == "surface-defects:1"
    assert report["left_out"] == ["conveyor.mp4"]
    assert report["made"] == ["provenance.intoto.json"]
    assert manifest_of(tmp_path / "other") == manifest_of(layout)


def test_a_layout_is_looked_at(layout: Path, tmp_path: Path, here: Here) -> None:
    code, out, _ = here("models", "inspect", f"oci-layout:{layout}", "--json")
    assert code == 0
    (release,) = json.loads(out)["releases"]
    assert release["manifest"] == digest_of(manifest_of(layout))
    assert release["model"]["digest"] == open_package(MODEL).ref.digest
    copy = shutil.copytree(layout, tmp_path / "stick")
    assert here("models", "inspect", copy)[1].startswith("surface-defects:1  ")
    weights = copy / "blobs" / "sha256" / release["files"]["model.onnx"]["digest"].removeprefix("sha256:")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    code, out, _ = here("models", "inspect", copy)
    assert code == 65
    assert out.startswith("surface-defects:1  NOT WHOLE: ")
    weights.unlink()
    code, out, _ = here("models", "inspect", copy, "--json")
    assert code == 65
    assert json.loads(out)["releases"][0]["error"]["code"] == "registry.missing"
    (copy / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    code, _, err = here("models", "inspect", copy)
    assert code == 65
    assert "an image layout without releases" in err


def test_skopeo_sees_the_same_digest_and_keeps_it(layout: Path, tmp_path: Path) -> None:
    """Check 1 of what was promised: the raw manifest has our digest, in our layout and in copies of it."""
    ours = manifest_of(layout)
    assert skopeo("inspect", "--raw", f"oci:{layout}:surface-defects:1") == ours
    there, back, archive = tmp_path / "there", tmp_path / "back", tmp_path / "archive.tar"
    skopeo("copy", "--preserve-digests", f"oci:{layout}:surface-defects:1", f"oci:{there}:x:1")
    skopeo("copy", "--preserve-digests", f"oci:{there}:x:1", f"oci-archive:{archive}:y:1")
    skopeo("copy", "--preserve-digests", f"oci-archive:{archive}:y:1", f"oci:{back}:surface-defects:1")
    assert manifest_of(back) == ours
    for blob in parse_manifest(ours, "test").blobs:
        assert blob_of(back, blob.digest)


def test_modelpack_client_pulls_what_we_packed(layout: Path, registry: Registry, tmp_path: Path, here: Here) -> None:
    """Packed into a registry at once; its own schema validation passes, and the files are ours."""
    code, out, err = here("models", "pack", MODEL, "--oci", f"oci://{registry.address}/plant")
    assert code == 0, err
    target = f"{registry.address}/plant/surface-defects:1"
    assert f"oci://{registry.address}/plant, named surface-defects:1" in out
    assert skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}") == manifest_of(layout)
    config = modelpack_pull(target, tmp_path / "pulled")
    assert config["descriptor"]["name"] == "surface-defects"
    assert config["descriptor"]["licenses"] == ["Apache-2.0"]
    artifact = parse_manifest(manifest_of(layout), "test")
    for path, blob in artifact.files.items():
        assert digest_of((tmp_path / "pulled" / path).read_bytes()) == blob.digest
    assert open_package(tmp_path / "pulled").ref == open_package(MODEL).ref


def test_what_modelpack_client_pushes_is_a_release(registry: Registry, tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours", release=4)
    (root / "README.md").write_text("# colours")
    target = f"{registry.address}/plant/colours:4"
    files = {
        "edge-model.json": (root / "edge-model.json", WEIGHT_CONFIG),
        "colours.onnx": (root / "colours.onnx", WEIGHT),
        "README.md": (root / "README.md", DOC),
    }
    digest = modelpack_push(target, files, name="colours")
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}")
    artifact = parse_manifest(raw, "test")
    assert artifact.digest == digest
    assert {path: blob.digest for path, blob in artifact.files.items()} == {
        path: digest_of(file.read_bytes()) for path, (file, _) in files.items()
    }
    contents = {"edge-model.json": (root / "edge-model.json").read_bytes()}
    signed = digest_of(contents["edge-model.json"])
    assert check_contents(artifact, contents, model="colours", release=4, digest=signed, where="test").release == 4


def test_the_config_passes_the_schema_of_the_specification(layout: Path) -> None:
    """The schema is the one that modelpack-client ships, copied from the specification."""
    folder = Path(os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests")
    file = folder / "oci-clients" / "modelpack_client" / "schema.py"
    needs(file.exists(), "modelpack-client (run: python tools/fetch_test_assets.py)")
    spec = importlib.util.spec_from_file_location("modelpack_schema", file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    validator = jsonschema.Draft202012Validator(module.CONFIG_SCHEMA)
    artifact = parse_manifest(manifest_of(layout), "test")
    config = json.loads(blob_of(layout, artifact.config.digest))
    assert [error.message for error in validator.iter_errors(config)] == []
    assert config["modelfs"]["diffIds"] == [blob.digest for blob in artifact.files.values()]
    assert list(validator.iter_errors({**config, "golden": {}}))  # it is closed


KNOWN = {
    "author": "Ultralytics",
    "task": "classify",
    "names": "{0: 'red', 1: 'green', 2: 'blue'}",
    "imgsz": "[32, 32]",
    "description": "Ultralytics YOLO11n-cls model trained on colours",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
}


def test_a_bare_model_becomes_a_release_with_honest_papers(tmp_path: Path, here: Here) -> None:
    model = tmp_path / "Colour Model.onnx"
    model.write_bytes(colours(metadata=KNOWN).SerializeToString())
    words = ("models", "pack", model, "--oci", tmp_path / "registry")
    code, _, err = here(*words)
    assert code == 65
    assert "--release N" in err
    assert not (tmp_path / "registry").exists()
    code, out, err = here(*words, "--release", "3", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["name"] == "colour-model:3"
    assert list(report["files"]) == [
        *("LICENSE", "edge-model.json", "model-card.md", "model.onnx", "provenance.intoto.json", "sbom.cdx.json")
    ]
    assert report["notes"] == ["no golden answers: boxes cannot check that they see the same"]
    artifact = parse_manifest(manifest_of(tmp_path / "registry", "colour-model:3"), "test")
    root = laid_out(tmp_path / "registry", artifact, tmp_path / "release")
    assert open_package(root).ref.digest == report["model"]["digest"]
    assert "SPDX-License-Identifier: AGPL-3.0\n" in (root / "LICENSE").read_text()
    assert "trained on colours" in (root / "model-card.md").read_text()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["Colour Model.onnx", "registry", "release"]


def test_a_package_gets_the_number_of_its_release(tmp_path: Path, here: Here) -> None:
    root = write_package(tmp_path, "colours")
    words = ("models", "pack", root, "--oci", tmp_path / "registry")
    code, _, err = here(*words)
    assert code == 65
    assert "higher than any before" in err
    for number in (1, 2, 2):
        code, out, err = here(*words, "--release", number)
        assert code == 0, err
        assert f"colours 1.0.0, release {number}" in out
        assert json.loads((root / "edge-model.json").read_text())["release"] == number
    assert manifest_of(tmp_path / "registry", "colours:1") != manifest_of(tmp_path / "registry", "colours:2")
    before = manifest_of(tmp_path / "registry", "colours:2")
    (root / "LICENSE").write_text("another one")
    code, _, err = here(*words, "--release", 2)
    assert code == 65
    assert "a release never changes: count up with --release N" in err
    assert manifest_of(tmp_path / "registry", "colours:2") == before
    assert hashlib.sha256((root / "edge-model.json").read_bytes()).hexdigest() == open_package(root).ref.digest[7:]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, here: Here) -> None:
    assert here("models", "pack", MODEL, "--json")[0] == 65
    (tmp_path / "file").write_text("")
    assert here("models", "pack", MODEL, "--oci", tmp_path / "file")[0] != 0
    code, _, err = here("models", "pack", MODEL, "--oci", "ftp://host/place")
    assert code == 78
    assert "is no address of a registry" in err


def pickled(folder: Path) -> Path:
    """A package whose weights, with the right hash, are a pickle."""
    root = write_package(folder, "colours", release=1)
    weights = pickle.dumps({"weights": [1.0]})
    document = json.loads((root / "edge-model.json").read_text())
    document["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    (root / "edge-model.json").write_text(json.dumps(document))
    (root / "colours.onnx").write_bytes(weights)
    return root


def test_attack_26_weights_that_would_run_or_reach_out_are_refused_before_an_engine_sees_them(
    tmp_path: Path, here: Here
) -> None:
    """A publisher may have signed them: from outside nothing gives them away."""
    refused = {
        "model.external_data": write_package(tmp_path, "external_data", release=1),
        "model.unknown_operator": write_package(tmp_path, "custom_domain", release=1),
        "model.unreadable": pickled(tmp_path),
    }
    for code, root in refused.items():
        assert pack(root).release == 1
        with pytest.raises(DataError) as caught:
            open_package(root)  # which the process that serves does first, and the trial
        assert caught.value.code == code
    exit_code, out, _ = here("models", "validate", refused["model.external_data"], "--json")
    assert exit_code == 65, out
    assert json.loads(out)["error"]["code"] == "model.external_data"
