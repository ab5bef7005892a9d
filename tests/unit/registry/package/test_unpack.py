"""The files of a release are one package, the one that was signed for, and nothing else."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.registry.descriptor import Descriptor, describe
from edge_runtime.registry.package.modelpack import CONFIG, DATASET, DOC, WEIGHT, WEIGHT_CONFIG, make_manifest
from edge_runtime.registry.package.modelpack import parse_manifest as parse_artifact
from edge_runtime.registry.package.pack import pack
from edge_runtime.registry.package.unpack import check_contents, described_in
from tests.fakes.packages import write_chain, write_weld

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.core.manifest import Manifest

Files = dict[str, tuple[bytes, str]]


def files_of(root: Path) -> Files:
    """Return what was packed of a directory, as content and media type by path, to be changed by a stranger."""
    packed = pack(root)
    found = {}
    for path, blob in packed.artifact.files.items():
        with packed._reader.open(path) as file:
            found[path] = (file.read(), blob.media_type)
    return found


def checked(files: Files, **signed: Any) -> Manifest:
    """Check a release of these files as a box would that was told to fetch ``weld`` 7."""
    blobs = {path: describe(content, kind) for path, (content, kind) in files.items()}
    artifact = parse_artifact(make_manifest(blobs, describe(b"{}", CONFIG)), "weld 7")
    contents = {path: files[path][0] for path in described_in(artifact, "weld 7")}
    digest = describe(files["edge-model.json"][0], "").digest
    wanted = {"model": "weld", "release": 7, "digest": digest, **signed}
    return check_contents(artifact, contents, **wanted, where="weld 7")


def refused(files: Files, **signed: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        checked(files, **signed)
    assert caught.value.message.startswith("weld 7")
    assert caught.value.code == "package.contents"
    return caught.value


@pytest.fixture
def weld(tmp_path: Path) -> Files:
    return files_of(write_weld(tmp_path / "weld"))


@pytest.fixture
def chain(tmp_path: Path) -> Files:
    return files_of(write_chain(tmp_path / "chain", "find", "sort"))


def test_what_was_packed_is_a_package(weld: Files) -> None:
    package = checked(weld)
    assert (package.name, package.version, package.release) == ("weld", "1.2.0", 7)


def test_what_others_packed_beside_it_does_no_harm(weld: Files) -> None:
    weld["config.json"] = (b"{}", WEIGHT_CONFIG)
    weld["other/edge-model.json"] = (b"not even JSON", WEIGHT_CONFIG)
    assert checked(weld).name == "weld"


def test_a_package_without_golden_frames_is_one(tmp_path: Path) -> None:
    root = write_weld(tmp_path / "weld")
    (root / "golden" / "expected.json").unlink()
    assert checked(files_of(root)).golden == {}


def test_large_answers_are_left_to_who_tries_the_package(weld: Files) -> None:
    weld["golden/expected.json"] = (b" " * ((1 << 20) + 1), DATASET)
    assert checked(weld).name == "weld"


def test_a_chain_is_a_package_with_its_steps(chain: Files) -> None:
    assert len(checked(chain, model="chain", release=2).steps) == 2


@pytest.mark.parametrize(
    ("signed", "what"),
    [
        ({"model": "other"}, "expected the package of other 7, found weld 7"),
        ({"release": 8}, "expected the package of weld 8, found weld 7"),
        ({"digest": "sha256:" + "0" * 64}, "with the digest sha256:000"),
    ],
)
def test_a_package_that_was_not_signed_for_is_refused(weld: Files, signed: dict[str, object], what: str) -> None:
    assert what in refused(weld, **signed).message


def test_attack_26_data_beside_the_weights_that_nothing_names(weld: Files) -> None:
    """The external data of an ONNX file have to come from somewhere."""
    weld["external.bin"] = (b"data", WEIGHT)
    assert "nothing in edge-model.json names it" in refused(weld).message


def without_release(files: Files) -> None:
    document = json.loads(files["edge-model.json"][0])
    del document["release"]
    files["edge-model.json"] = (json.dumps(document).encode(), WEIGHT_CONFIG)


def without_weights(files: Files) -> None:
    del files["cpu/model.onnx"]


def with_other_weights(files: Files) -> None:
    files["cpu/model.onnx"] = (b"weights of somebody else", WEIGHT)


def with_weights_as_document(files: Files) -> None:
    content, _ = files.pop("cpu/model.onnx")
    document = json.loads(files["edge-model.json"][0])
    document["weights"]["file"] = "model.txt"
    files["edge-model.json"] = (json.dumps(document).encode(), WEIGHT_CONFIG)
    files["model.txt"] = (content, DOC)


def with_stowaway(files: Files) -> None:
    files["cpu/model.bin"] = (b"external data", WEIGHT)


def without_picture(files: Files) -> None:
    del files["golden/One.PNG"]


def with_large_manifest(files: Files) -> None:
    files["other/edge-model.json"] = (b" " * ((1 << 20) + 1), WEIGHT_CONFIG)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (without_release, "found weld without a release"),
        (without_weights, "cpu/model.onnx is named but not among its files"),
        (with_other_weights, "cpu/model.onnx: expected sha256:"),
        (with_weights_as_document, "model.txt is of type application/vnd.cncf.model.doc.v1.raw"),
        (with_stowaway, "cpu/model.bin is of type application/vnd.cncf.model.weight.v1.raw, but nothing"),
        (without_picture, "golden/One.PNG is named but not among its files"),
        (with_large_manifest, "other/edge-model.json has 1048577 bytes"),
    ],
)
def test_files_that_are_no_whole_package_are_refused(weld: Files, change: Callable[[Files], None], what: str) -> None:
    change(weld)
    assert what in refused(weld).message


def test_a_step_is_the_one_that_the_chain_pins(chain: Files) -> None:
    raw, kind = chain["find/edge-model.json"]
    chain["find/edge-model.json"] = (raw + b"\n", kind)
    assert "find/edge-model.json: expected sha256:" in refused(chain, model="chain", release=2).message
    del chain["find/edge-model.json"]
    assert "step find is no package" in refused(chain, model="chain", release=2).message


def test_a_chain_in_a_chain_is_refused(chain: Files, tmp_path: Path) -> None:
    inner = (write_chain(tmp_path / "inner", "one", "two") / "edge-model.json").read_bytes()
    chain["find/edge-model.json"] = (inner, WEIGHT_CONFIG)
    outer = json.loads(chain["edge-model.json"][0])
    outer["steps"][0]["digest"] = describe(inner, "").digest
    chain["edge-model.json"] = (json.dumps(outer).encode(), WEIGHT_CONFIG)
    assert "step find is a chain itself" in refused(chain, model="chain", release=2).message


@pytest.mark.parametrize("contents", [{}, {"edge-model.json": b"{}"}])
def test_content_that_is_not_what_the_manifest_says_is_refused(tmp_path: Path, contents: dict[str, bytes]) -> None:
    """Whoever reads the files for us may be wrong."""
    packed = pack(write_weld(tmp_path / "weld"))
    with pytest.raises(DataError, match=r"edge-model\.json is not what the manifest says"):
        check_contents(packed.artifact, contents, model="weld", release=7, digest=packed.package.digest, where="weld 7")


def test_only_small_documents_are_asked_for(tmp_path: Path) -> None:
    packed = pack(write_weld(tmp_path / "weld"))
    wanted = described_in(packed.artifact, "weld 7")
    assert wanted.keys() == {"edge-model.json", "golden/expected.json"}
    assert all(isinstance(blob, Descriptor) for blob in wanted.values())


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_a_package_says_of_itself_it_is_one_or_refused(data: st.DataObject) -> None:
    document: Any = {
        "schema": "edge-model/1",
        "name": "weld",
        "version": "1",
        "release": 7,
        "weights": {"file": "m.onnx", "format": "onnx", "sha256": describe(b"", "").hex},
    }
    key = data.draw(st.sampled_from([*document, "steps", "task", "golden"]))
    document[key] = data.draw(ANYTHING)
    files = {"edge-model.json": (json.dumps(document).encode(), WEIGHT_CONFIG), "m.onnx": (b"", WEIGHT)}
    with contextlib.suppress(DataError):
        checked(files)
