"""A directory becomes a release: always the same one, of what belongs to the package, and complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import pytest

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.registry.carriers.open import Access, open_publication
from edge_runtime.registry.descriptor import MANIFEST, Descriptor, digest_of
from edge_runtime.registry.package import pack as pack_module
from edge_runtime.registry.package.modelpack import DATASET, DOC, WEIGHT, WEIGHT_CONFIG
from edge_runtime.registry.package.pack import pack
from tests.fakes.packages import WEIGHTS, write_chain, write_weld

if TYPE_CHECKING:
    from collections.abc import Callable

ALWAYS = "sha256:3b56f40d3c3bb062268ad413938e12d3752fda4f3163d2db1164a71a256789dc"
PAPERS = ("LICENSE", "model-card.md", "provenance.intoto.json", "sbom.cdx.json")


def refused(root: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        pack(root)
    assert caught.value.help
    return caught.value


def test_a_release_holds_what_the_package_consists_of(tmp_path: Path) -> None:
    packed = pack(write_weld(tmp_path / "weld"))
    assert {path: blob.media_type for path, blob in packed.artifact.files.items()} == {
        "edge-model.json": WEIGHT_CONFIG,
        "cpu/model.onnx": WEIGHT,
        "golden/One.PNG": DATASET,
        "golden/expected.json": DATASET,
        **dict.fromkeys(PAPERS, DOC),
    }
    assert packed.made == PAPERS
    assert packed.left_out == ()
    assert packed.notes == ()
    assert packed.release == 7
    assert packed.artifact.digest == digest_of(packed.manifest)
    assert packed.package.digest == packed.artifact.files["edge-model.json"].digest


def test_the_same_content_has_this_digest_whoever_packs_it_wherever(tmp_path: Path) -> None:
    """Who changes it changes what every release that is packed again is called: say so in the changelog."""
    first = write_weld(tmp_path / "weld")
    assert pack(first).artifact.digest == ALWAYS
    other = tmp_path / "elsewhere" / "another-name"
    for path in sorted((one for one in first.rglob("*") if one.is_file()), reverse=True):  # made in another order
        target = other / path.relative_to(first)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o600)
        os.utime(target, (1, 1))
    script = f"""
import os, locale, pathlib
os.umask(0o077)
from edge_runtime.registry.package.pack import pack
print(pack(pathlib.Path({str(other)!r})).artifact.digest)
"""
    environment = {"TZ": "Asia/Kolkata", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ALWAYS


def test_what_lies_beside_is_left_out_and_named(tmp_path: Path) -> None:
    root = write_weld(tmp_path / "weld")
    for path in ("conveyor.mp4", ".git/config", "golden/more.png", "cpu/model.pt", "training/log.txt", "LICENSE.bak"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"")
    (root / "link").symlink_to(root)
    left_out = (".git/", "LICENSE.bak", "conveyor.mp4", "cpu/model.pt", "golden/more.png", "link", "training/")
    packed = pack(root)
    assert packed.left_out == left_out
    assert packed.artifact.digest == ALWAYS


def test_papers_that_are_there_are_taken(tmp_path: Path) -> None:
    root = write_weld(tmp_path / "weld")
    papers = {
        "LICENCE.md": b"free",
        "NOTICE": b"of ours",
        "model-card.md": b"# weld",
        "provenance.intoto.json": b"{}",
        "sbom.cdx.json": bill(version="1.2.0", hashes=[hashlib.sha256(WEIGHTS).hexdigest().upper()]),
    }
    for path, content in papers.items():
        (root / path).write_bytes(content)
    packed = pack(root)
    assert packed.made == ()
    assert packed.notes == ()
    assert {path: packed.artifact.files[path].digest for path in papers} == {
        path: digest_of(content) for path, content in papers.items()
    }


def bill(**component: object) -> bytes:
    return json.dumps({"metadata": {"component": component}}).encode()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (bill(version="1.2.0"), "sbom.cdx.json does not hold the hash of cpu/model.onnx"),
        (bill(version="1.1.0"), 'sbom.cdx.json is about version "1.1.0", the package is 1.2.0'),
        (b'{"metadata": []}', "sbom.cdx.json is about version null, the package is 1.2.0"),
        (b'{"metadata": {"component": 1}}', "sbom.cdx.json is about version null, the package is 1.2.0"),
        (b"<bom/>", "sbom.cdx.json:1:1: not JSON: Expecting value"),
    ],
)
def test_a_bill_of_materials_of_something_else_is_noticed(tmp_path: Path, content: bytes, what: str) -> None:
    root = write_weld(tmp_path / "weld")
    (root / "sbom.cdx.json").write_bytes(content)
    assert pack(root).notes == (f"{what}: without the file a right one is made",)


def test_what_nobody_stated_is_a_note(tmp_path: Path) -> None:
    root = write_weld(tmp_path / "weld", provenance=None)
    shutil.rmtree(root / "golden")
    packed = pack(root)
    assert [note.partition(":")[0] for note in packed.notes] == ["no licence is stated", "no golden answers"]
    assert not any(path.startswith("golden") for path in packed.artifact.files)


def test_a_chain_brings_its_steps(tmp_path: Path) -> None:
    root = write_chain(tmp_path / "chain", "find", "sort")
    (root / "find" / "LICENSE").write_text("free")
    packed = pack(root)
    assert set(packed.artifact.files) == {
        "edge-model.json",
        *PAPERS,
        *(f"{step}/{path}" for step in ("find", "sort") for path in ("edge-model.json", "cpu/model.onnx")),
        "find/LICENSE",
    }
    assert packed.left_out == ("find/golden/", "sort/golden/")


def bare_step(root: Path) -> None:
    (root / "find" / "edge-model.json").unlink()


def nested_chain(root: Path) -> None:
    write_chain(root / "find", "one", "two")


def other_step(root: Path) -> None:
    (root / "find" / "edge-model.json").write_text((root / "find" / "edge-model.json").read_text() + "\n")


@pytest.mark.parametrize(
    ("spoil", "code"), [(bare_step, "pack.bare_step"), (nested_chain, "pack.chain"), (other_step, "package.contents")]
)
def test_a_chain_of_anything_but_its_packages_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], code: str
) -> None:
    root = write_chain(tmp_path / "chain", "find", "sort")
    spoil(root)
    assert refused(root).code == code


def no_weights(root: Path) -> None:
    (root / "cpu" / "model.onnx").unlink()


def other_weights(root: Path) -> None:
    (root / "cpu" / "model.onnx").write_bytes(b"others")


def linked_weights(root: Path) -> None:
    (root / "cpu" / "model.onnx").rename(root / "model.onnx")
    (root / "cpu" / "model.onnx").symlink_to("../model.onnx")


def linked_folder(root: Path) -> None:
    (root / "cpu").rename(root / "there")
    (root / "cpu").symlink_to("there")


def weights_from_a_pipe(root: Path) -> None:
    (root / "cpu" / "model.onnx").unlink()
    os.mkfifo(root / "cpu" / "model.onnx")


def no_picture(root: Path) -> None:
    (root / "golden" / "One.PNG").unlink()


def large_manifest(root: Path) -> None:
    (root / "edge-model.json").write_bytes(b" " * (1 << 20) + (root / "edge-model.json").read_bytes())


def no_manifest(root: Path) -> None:
    (root / "edge-model.json").unlink()


def answers_from_a_pipe(root: Path) -> None:
    (root / "golden" / "expected.json").unlink()
    os.mkfifo(root / "golden" / "expected.json")


def card_in_a_folder(root: Path) -> None:
    (root / "model-card.md").mkdir()


@pytest.mark.parametrize(
    ("spoil", "code", "what"),
    [
        (no_weights, "pack.missing", "weld/cpu/model.onnx"),
        (other_weights, "package.contents", "cpu/model.onnx: expected sha256:"),
        (linked_weights, "pack.not_a_file", "weld/cpu/model.onnx"),
        (linked_folder, "pack.not_a_file", "weld/cpu/model.onnx"),
        (weights_from_a_pipe, "pack.not_a_file", "weld/cpu/model.onnx"),
        (no_picture, "pack.missing", "weld/golden/One.PNG"),
        (large_manifest, "pack.too_large", "1048576"),
        (no_manifest, "pack.missing", "weld/edge-model.json"),
        (answers_from_a_pipe, "pack.not_a_file", "weld/golden/expected.json"),
        (card_in_a_folder, "pack.not_a_file", "weld/model-card.md"),
    ],
)
def test_a_directory_that_is_no_whole_package_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], code: str, what: str
) -> None:
    root = write_weld(tmp_path / "weld")
    spoil(root)
    error = refused(root)
    assert error.code == code
    assert what in error.message


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"release": None}, "pack.no_release"),
        ({"name": "tuf"}, "pack.name"),
        ({"name": "weld."}, "pack.name"),
        ({"name": "weld..seam"}, "pack.name"),
        ({"weights": {"file": "cpu//model.onnx", "format": "onnx", "sha256": "0" * 64}}, "package.path"),
        ({"weights": {"file": ".cpu/model.onnx", "format": "onnx", "sha256": "0" * 64}}, "package.path"),
        ({"weights": {"file": "cpu/model", "format": "onnx", "sha256": "0" * 64}}, "pack.missing"),
    ],
)
def test_a_package_that_cannot_be_released_is_refused(tmp_path: Path, changes: dict[str, object], code: str) -> None:
    assert refused(write_weld(tmp_path / "weld", **changes)).code == code


def test_more_pictures_than_a_release_holds_are_refused(tmp_path: Path) -> None:
    root = write_weld(tmp_path / "weld")
    frames = [{"file": f"{number}.png", "predictions": []} for number in range(121)]
    for frame in frames:
        (root / "golden" / str(frame["file"])).write_bytes(b"")
    (root / "golden" / "expected.json").write_text(json.dumps({"schema": "golden/1", "frames": frames}))
    assert len(pack(root).artifact.files) == 128
    (root / "NOTICE").write_text("one too many")
    error = refused(root)
    assert error.code == "pack.too_many"
    assert "129 files" in error.message


def test_a_package_is_packed_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_weld(tmp_path / "weld")
    monkeypatch.chdir(root)
    assert pack(Path()).artifact.digest == ALWAYS
    no_weights(root)
    assert refused(Path()).message.startswith("weld/cpu/model.onnx")


def test_weights_that_could_be_a_program_are_refused(tmp_path: Path) -> None:
    """Attack 26: what a box would not take is not packed."""
    weights = {"file": "cpu/model.pt", "format": "onnx", "sha256": hashlib.sha256(WEIGHTS).hexdigest()}
    root = write_weld(tmp_path / "weld", weights=weights)
    (root / "cpu" / "model.onnx").rename(root / "cpu" / "model.pt")
    assert refused(root).code == "package.kind"


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def read(self, _limit: int) -> bytes:
            raise OSError(5, "Input/output error")

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    root = write_weld(tmp_path / "weld")
    monkeypatch.setattr(pack_module, "open_beneath", lambda *_: Broken())
    with pytest.raises(StorageError, match="cannot read"):
        pack(root)


def test_what_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> BinaryIO:
        raise PermissionError(13, "Permission denied")

    root = write_weld(tmp_path / "weld")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", denied)
        with pytest.raises(PermissionDeniedError, match="cannot read"):
            pack(root)
    monkeypatch.setattr(pack_module, "open_beneath", denied)
    with pytest.raises(PermissionDeniedError, match="cannot read"):
        pack(root)


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = refused(tmp_path / "nothing")
    assert error.code == "pack.missing"
    assert str(tmp_path / "nothing") in error.message
    (tmp_path / "file").write_bytes(b"")
    error = refused(tmp_path / "file")
    assert error.code == "pack.not_a_file"
    assert error.message == f"{tmp_path / 'file'} is no package: it is no directory"
    assert "models pack" in (error.help or "")


def test_what_is_published_can_be_read_by_the_digests_of_the_manifest(tmp_path: Path) -> None:
    packed = pack(write_weld(tmp_path / "weld"))
    registry = open_publication(f"oci-layout:{tmp_path / 'registry'}", Access())
    packed.publish(registry)
    for blob in (*packed.artifact.blobs, Descriptor(packed.artifact.digest, len(packed.manifest), MANIFEST)):
        stream = registry.open("weld", blob)
        assert digest_of(stream.read(1 << 20)) == blob.digest
        stream.close()
    index = json.loads((tmp_path / "registry" / "index.json").read_text())
    assert [one["annotations"] for one in index["manifests"]] == [{"org.opencontainers.image.ref.name": "weld:7"}]
    registry.close()


def test_publishing_again_writes_no_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_weld(tmp_path / "weld")
    registry = open_publication(f"oci-layout:{tmp_path / 'registry'}", Access())
    pack(root).publish(registry)
    written: list[str] = []

    def put(_repository: str, blob: Descriptor, _source: BinaryIO) -> None:
        written.append(blob.digest)

    monkeypatch.setattr(registry, "put", put)
    pack(root).publish(registry)
    assert written == []
    (root / "NOTICE").write_text("of ours")
    pack(root).publish(registry)
    assert len(written) == 2  # it, and the config, which names all files


def test_a_file_that_changes_before_it_is_written_is_noticed(tmp_path: Path) -> None:
    root = write_weld(tmp_path / "weld")
    packed = pack(root)
    (root / "cpu" / "model.onnx").write_bytes(bytes(len(WEIGHTS)))
    registry = open_publication(f"oci-layout:{tmp_path / 'registry'}", Access())
    with pytest.raises(DataError) as caught:
        packed.publish(registry)
    assert caught.value.code == "registry.digest"
    assert json.loads((tmp_path / "registry" / "index.json").read_text())["manifests"] == []
