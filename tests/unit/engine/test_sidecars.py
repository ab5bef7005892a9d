from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.manifest import bare_digest
from edge_runtime.engine.package import open_package
from edge_runtime.engine.sidecars import SIZE_LIMIT_BYTES, Sidecars, read_sidecars
from tests.assets.make_models import colours, write_package
from tests.unit.engine.test_package import BARE_METADATA

if TYPE_CHECKING:
    from pathlib import Path

# as ultralytics 8.4 writes it, with labels that YAML could take for something else
WRITTEN = """\
description: 'Ultralytics YOLOv8n model '
author: Ultralytics
version: 8.4.190
stride: 32
task: detect
imgsz:
- 320
- 320
names:
  0: deep scratch
  1: 'no'
  2: 1e3
  3: 0o17
  4: 7
args:
  data: null
  fraction: 1.0
  nms: false
end2end: false
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    return path


def test_nothing_beside_a_model_is_nothing(model: Path) -> None:
    assert read_sidecars(model) == Sidecars()


def test_yaml_becomes_what_a_model_file_would_say(model: Path) -> None:
    model.with_name("metadata.yaml").write_text(WRITTEN)
    found = read_sidecars(model)
    assert found.notes == []
    assert found.sha256 == {"metadata.yaml": hashlib.sha256(WRITTEN.encode()).hexdigest()}
    assert found.metadata == {
        "metadata.yaml/description": "Ultralytics YOLOv8n model ",
        "metadata.yaml/author": "Ultralytics",
        "metadata.yaml/version": "8.4.190",
        "metadata.yaml/stride": "32",
        "metadata.yaml/task": "detect",
        "metadata.yaml/imgsz": "[320, 320]",
        "metadata.yaml/names": "{0: 'deep scratch', 1: 'no', 2: '1e3', 3: '0o17', 4: 7}",
        "metadata.yaml/args": "{'data': None, 'fraction': 1.0, 'nms': False}",
        "metadata.yaml/end2end": "False",
    }


def test_a_list_of_labels_is_read_line_by_line(model: Path) -> None:
    model.with_name("labels.txt").write_bytes("\ufeffscratch\r\ndent\r\n\n".encode())
    assert read_sidecars(model).metadata == {"labels.txt/labels": "scratch\r\ndent"}


def test_what_could_belong_to_another_model_is_not_read(model: Path) -> None:
    model.with_name("labels.txt").write_text("a")
    model.with_name("m.xml").write_text("")  # the same model in another form
    assert read_sidecars(model).metadata == {"labels.txt/labels": "a"}
    model.with_name("other.XML").write_text("")
    found = read_sidecars(model)
    assert (found.metadata, found.sha256) == ({}, {})
    assert found.notes == ["labels.txt may belong to other.XML beside the model: not read"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: [1", "metadata.yaml beside the model is not read: metadata.yaml:"),
        (b"a: &x 1\nb: *x\n", "anchors like &NAME are not allowed"),
        (b"- a\n", "the file must be a map"),
        (b"", "the file is empty"),
        (b"a: !!python/object/apply:os.system ['true']\n", "this tag is not known"),
        (b"a: " + b"[" * 100, "nested deeper than"),
        (b"\xff\xfe", "metadata.yaml beside the model cannot be read: not UTF-8"),
        (b"#" * (SIZE_LIMIT_BYTES + 1), "metadata.yaml beside the model is larger than 1048576 bytes: not read"),
    ],
)
def test_what_cannot_be_read_is_a_note(model: Path, content: bytes, expected: str) -> None:
    model.with_name("metadata.yaml").write_bytes(content)
    found = read_sidecars(model)
    assert found.metadata == {}
    (note,) = found.notes
    assert expected in note


@pytest.mark.timeout(5)
def test_what_is_no_file_is_a_note(model: Path) -> None:
    os.mkfifo(model.with_name("labels.txt"))
    model.with_name("metadata.yaml").mkdir()
    assert read_sidecars(model).notes == [
        "metadata.yaml beside the model cannot be read: Is a directory",
        "labels.txt beside the model cannot be read: not a file",
    ]


def test_a_file_that_a_value_was_read_from_is_part_of_the_identity(tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    without = {key: value for key, value in BARE_METADATA.items() if key != "names"}
    path.write_bytes(colours(metadata=without).SerializeToString())
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    package = open_package(path)
    assert package.spec.labels == ("red", "green", "blue")
    assert package.sources["labels"].source == "labels.txt"
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("colours.onnx", "labels.txt")]
    assert package.ref.digest == bare_digest(digests)


def test_a_file_that_says_nothing_new_does_not_change_the_identity(tmp_path: Path) -> None:
    path = tmp_path / "colours.onnx"
    path.write_bytes(colours(metadata=BARE_METADATA).SerializeToString())
    before = open_package(path)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    after = open_package(path)
    assert (after.ref, after.spec) == (before.ref, before.spec)
    assert after.notes == ("labels in labels.txt are not used: it has 'a' for 'red'",)


def test_files_beside_a_package_are_not_read(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    before = open_package(root)
    (root / "labels.txt").write_text("a\nb\nc\n")
    (root / "metadata.yaml").write_text("[")
    after = open_package(root)
    assert (after.ref, after.spec, after.notes) == (before.ref, before.spec, before.notes)
