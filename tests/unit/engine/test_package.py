from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.package import open_package
from tests.assets.make_models import SIDE, colours, write_bare, write_package
from tests.unit.engine.gates.test_irgate import BIN_BYTES, IR

if TYPE_CHECKING:
    from pathlib import Path

BARE_METADATA = {
    "author": "Ultralytics",
    "task": "classify",
    "imgsz": f"[{SIDE}, {SIDE}]",
    "names": "{0: 'red', 1: 'green', 2: 'blue'}",
}


def test_a_package_is_known_by_the_digest_of_its_manifest(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    package = open_package(root)

    digest = hashlib.sha256((root / "edge-model.json").read_bytes()).hexdigest()
    assert package.ref.digest == f"sha256:{digest}"
    assert (package.ref.name, package.ref.version, package.format) == ("colours", "1.0.0", "onnx")
    assert package.model == (root / "colours.onnx").read_bytes()


def test_a_bare_file_is_known_by_its_own_digest(tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    path.write_bytes(colours(metadata=BARE_METADATA).SerializeToString())
    package = open_package(path)

    assert package.ref.digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert (package.ref.name, package.manifest, package.spec.labels) == ("colours", None, ("red", "green", "blue"))


def test_a_bare_ir_is_known_by_both_of_its_files(tmp_path: Path) -> None:
    info = '<author value="Ultralytics"/><task value="classify"/><names value="[]"/><character value="a&#10;b&#10;c"/>'
    text = IR.replace(b"<framework>", b"<framework>" + info.encode())
    (tmp_path / "m.xml").write_bytes(text)
    (tmp_path / "m.bin").write_bytes(b"\0" * BIN_BYTES)
    first = open_package(tmp_path / "m.xml")
    (tmp_path / "m.bin").write_bytes(b"\1" * BIN_BYTES)
    second = open_package(tmp_path / "m.xml")

    assert (first.format, first.backends, first.parts) == ("openvino-ir", ("openvino",), b"\0" * BIN_BYTES)
    assert first.ref.digest != second.ref.digest


def test_a_file_inside_a_package_is_opened_as_the_package(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    assert open_package(root / "colours.onnx").ref == open_package(root).ref


def test_a_stranger_beside_a_manifest_is_a_bare_file(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    write_bare(root, "yolo")
    with pytest.raises(DataError, match="not stated anywhere") as caught:
        open_package(root / "yolo.onnx")
    assert caught.value.code == "model.ambiguous"


def test_the_form_meant_for_the_backend_is_taken(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    manifest = json.loads((root / "edge-model.json").read_text())
    weights = manifest["weights"]
    write_bare(root, "colours_open_batch")
    other = hashlib.sha256((root / "colours_open_batch.onnx").read_bytes()).hexdigest()
    manifest["weights"] = [
        {**weights, "backends": ["openvino"]},
        {"file": "colours_open_batch.onnx", "sha256": other, "backends": ["onnxruntime"]},
    ]
    (root / "edge-model.json").write_text(json.dumps(manifest))

    assert open_package(root, ("openvino",)).backends == ("openvino",)
    assert open_package(root, ("onnxruntime",)).backends == ("onnxruntime",)
    manifest["weights"].pop()
    (root / "edge-model.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="no weights for backend onnxruntime") as caught:
        open_package(root, ("onnxruntime",))
    assert caught.value.code == "model.no_form"


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    weights = root / "colours.onnx"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(DataError, match=r"colours/colours\.onnx: expected sha256 [0-9a-f]{64}, found") as caught:
        open_package(root)
    assert caught.value.code == "model.digest_mismatch"


def test_weights_outside_of_the_package_are_refused(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    (root / "colours.onnx").rename(tmp_path / "elsewhere.onnx")
    (root / "colours.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(DataError, match="leads out of the package"):
        open_package(root)


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    (root / "colours.onnx").unlink()
    with pytest.raises(DataError, match=r"colours\.onnx: no such file") as caught:
        open_package(root)
    assert caught.value.code == "model.missing"


def test_a_directory_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.onnx or \.xml file in it"):
        open_package(tmp_path)


@pytest.mark.parametrize("place", ["best.onnx", "weights/best.onnx"])
def test_the_model_in_a_directory_without_a_manifest_is_what_to_name(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(colours(metadata=BARE_METADATA).SerializeToString())
    with pytest.raises(DataError, match=f"a directory without edge-model.json, with {place}") as caught:
        open_package(tmp_path)
    assert f"name the model itself, like {tmp_path / place}" in (caught.value.help or "")


@pytest.mark.parametrize(("name", "expected"), [("nothing.onnx", "no such file"), ("notes.txt", "not a model")])
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    if name == "notes.txt":
        (tmp_path / name).write_text("hello")
    with pytest.raises(DataError, match=expected) as caught:
        open_package(tmp_path / name)
    assert caught.value.code == "model.missing"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    (root / "colours.onnx").unlink()
    (root / "colours.onnx").mkdir()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        open_package(root)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    with (root / "colours.onnx").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(DataError, match="the limit is"):
        open_package(root)


def test_what_is_odd_but_usable_is_noted(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours", labels=["red", "green", "red"], signature={})
    assert open_package(root).notes == (
        "unknown keys ignored: signature",
        "label 'red' stands there 2 times; only the id tells them apart",
    )


@pytest.mark.parametrize("name", ["x" * 300, "loop", "loop/m.onnx"])
def test_a_path_that_cannot_be_looked_at_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError) as caught:
        open_package(tmp_path / name)
    assert caught.value.code == "model.missing"


def test_a_directory_that_may_not_be_searched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = os.stat

    def denied(path: str | Path, **more: Any) -> os.stat_result:
        if str(path).endswith("secret/package"):
            raise PermissionError(13, "Permission denied", str(path))
        return looking(path, **more)

    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        open_package(tmp_path / "secret" / "package")


@pytest.mark.timeout(5)
@pytest.mark.parametrize("name", ["edge-model.json", "colours.onnx"])
def test_a_pipe_in_a_package_is_refused_instead_of_waited_for(tmp_path: Path, name: str) -> None:
    root = write_package(tmp_path, "colours")
    (root / name).unlink()
    os.mkfifo(root / name)
    with pytest.raises(DataError, match="cannot be read: not a file"):
        open_package(root)


def test_weights_that_are_a_circle_of_links_are_refused(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    (root / "colours.onnx").unlink()
    (root / "colours.onnx").symlink_to(root / "colours.onnx")
    with pytest.raises(DataError, match="cannot be read"):
        open_package(root)
