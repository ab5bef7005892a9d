from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import parse_manifest
from edge_runtime.engine.authoring import fill_hashes, make_manifest, set_release
from edge_runtime.engine.package import open_package
from tests.assets.make_models import colours, write_package
from tests.unit.engine.test_package import BARE_METADATA

if TYPE_CHECKING:
    from pathlib import Path


def test_the_manifest_of_a_bare_model_describes_the_same_model(tmp_path: Path) -> None:
    bare = tmp_path / "Ünsere Farben (v2).onnx"
    bare.write_bytes(colours(metadata=BARE_METADATA).SerializeToString())
    package = open_package(bare)
    raw = make_manifest(package, "model.onnx", version="3")

    manifest = parse_manifest(raw)
    assert (manifest.name, manifest.version, manifest.ignored) == ("nsere-farben-v2", "3", ())
    root = tmp_path / "package"
    root.mkdir()
    (root / "model.onnx").write_bytes(package.model)
    (root / "edge-model.json").write_bytes(raw)
    again = open_package(root)
    assert again.spec == package.spec
    sources = json.loads(raw)["provenance"]["values"]
    assert sources["input.name"] == "graph"


def test_a_version_that_is_none_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "m.onnx"
    bare.write_bytes(colours(metadata=BARE_METADATA).SerializeToString())
    with pytest.raises(DataError, match="version: expected a text like"):
        make_manifest(open_package(bare), "model.onnx", version="no version")


def test_hashes_are_added_where_they_lack_and_only_there(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    (root / "m.xml").write_bytes(b"<net/>")
    (root / "m.bin").write_bytes(b"weights")
    path = root / "edge-model.json"
    document = json.loads(path.read_text())
    wrong = {"file": "m.xml", "sha256": "", "parts": [{"file": "m.bin"}]}
    document["weights"] = [document["weights"], wrong]
    path.write_text(json.dumps(document))

    assert fill_hashes(root)
    first, second = json.loads(path.read_text())["weights"]
    assert first == document["weights"][0]
    assert second["sha256"] == hashlib.sha256(b"<net/>").hexdigest()
    assert second["parts"][0]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    before = path.read_bytes()
    assert not fill_hashes(root)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("file", "words"), [("../secret", "leads out of the package"), ("absent.onnx", "no such file")]
)
def test_only_files_of_the_package_are_hashed(tmp_path: Path, file: str, words: str) -> None:
    root = write_package(tmp_path, "colours")
    (tmp_path / "secret").write_text("x")
    path = root / "edge-model.json"
    document = json.loads(path.read_text())
    document["weights"] = {"file": file}
    path.write_text(json.dumps(document))
    before = path.read_bytes()
    with pytest.raises(DataError, match=words):
        fill_hashes(root)
    assert path.read_bytes() == before


def test_a_directory_without_a_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no edge-model\.json in it") as caught:
        fill_hashes(tmp_path)
    assert "--out DIR" in (caught.value.help or "")


@pytest.mark.parametrize("before", [None, 3])
def test_the_number_of_the_release_is_written_behind_the_version(before: int | None, tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours", release=before)
    assert set_release(root, 4)
    document = json.loads((root / "edge-model.json").read_text())
    assert list(document)[2:4] == ["version", "release"]
    assert document["release"] == 4
    raw = (root / "edge-model.json").read_bytes()
    assert not set_release(root, 4)
    assert (root / "edge-model.json").read_bytes() == raw


def test_what_is_no_manifest_gets_no_number(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours", version=None)
    raw = (root / "edge-model.json").read_bytes()
    with pytest.raises(DataError, match="version"):
        set_release(root, 4)
    assert (root / "edge-model.json").read_bytes() == raw


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"license": " MIT ", "description": "finds dents"}, {"license": "MIT", "description": "finds dents"}),
        ({"license": " ", "description": "x" * 1001}, {}),
        ({}, {}),
    ],
)
def test_what_an_exporter_wrote_for_people_is_kept(metadata: dict[str, str], said: object, tmp_path: Path) -> None:
    bare = tmp_path / "colours.onnx"
    bare.write_bytes(colours(metadata={**BARE_METADATA, **metadata}).SerializeToString())
    document = json.loads(make_manifest(open_package(bare), "model.onnx", version="1"))
    assert {key: document[key] for key in ("license", "description") if key in document} == said
