from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_runtime.cli import dispatch
from edge_runtime.engine.package import open_package
from tests.assets.make_models import FILES, write_bare, write_package
from tests.unit.engine.test_huggingface import directory as huggingface_directory

if TYPE_CHECKING:
    from pathlib import Path


def test_inspect_prints_each_value_with_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = dispatch(["models", "inspect", str(write_package(tmp_path, "colours_labelled", signature={}))])

    text = capsys.readouterr().out
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    assert ["input.color", '"RGB"', "from", "edge-model.json"] in lines
    assert ["labels", '["red",', '"green",', '"blue"]', "from", "metadata"] in lines
    assert ["thresholds.max_predictions", "5", "from", "default"] in lines
    assert ["input.size", "[32,", "32]", "from", "graph"] in lines
    assert "  note: unknown keys ignored: signature" in text.splitlines()


def test_inspect_as_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["models", "inspect", str(write_package(tmp_path, "yolo")), "--json"]) == 0

    data = json.loads(capsys.readouterr().out)
    assert data["model"]["name"] == "yolo"
    assert data["model"]["digest"].startswith("sha256:")
    assert (data["format"], data["precision"], data["backends"]) == ("onnx", "fp32", ["openvino", "onnxruntime"])
    assert data["values"]["decoder"] == {"value": "yolo", "source": "edge-model.json"}


def test_long_values_are_cut_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = [f"label number {number}" for number in range(100)]
    assert dispatch(["models", "inspect", str(write_package(tmp_path, "colours", labels=labels))]) == 0
    assert "... (100)" in capsys.readouterr().out


def test_inspect_says_what_to_write_for_a_bare_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["models", "inspect", str(write_bare(tmp_path, "colours"))]) == 65
    error = capsys.readouterr().err
    assert "not stated anywhere" in error
    assert "edge-model.json" in error


def test_what_inspect_says_to_write_is_a_package_once_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_bare(tmp_path, "colours")
    dispatch(["models", "inspect", str(path)])
    asked = capsys.readouterr().err
    written = json.loads(asked[asked.index("{") : asked.rindex("}") + 1])
    manifest = {**written, "labels": ["red", "green", "blue"], "task": "classification", "decoder": "softmax"}
    (tmp_path / "edge-model.json").write_text(json.dumps(manifest))
    assert dispatch(["models", "pack", str(tmp_path)]) == 0
    assert dispatch(["models", "inspect", str(tmp_path)]) == 0


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_model_whatever_makes_a_traceback(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (write_bare(tmp_path, name), write_package(tmp_path, name)):
        assert dispatch(["models", "inspect", str(path)]) in (0, 65)
    assert "Traceback" not in capsys.readouterr().err


def test_inspect_imports_no_engine(tmp_path: Path) -> None:
    program = (
        "import sys; from edge_runtime.cli import dispatch; code = dispatch(sys.argv[1:]);"
        "print([m for m in ('cv2', 'openvino', 'onnxruntime', 'numpy') if m in sys.modules], code)"
    )
    command = [sys.executable, "-c", program, "models", "inspect", str(write_package(tmp_path, "colours"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


def test_a_directory_of_another_system_becomes_a_package_that_says_where_it_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = huggingface_directory(tmp_path / "weld-vit", "onnx/model.onnx")
    assert dispatch(["models", "pack", str(root), "--out", str(tmp_path / "package")]) == 0
    assert "wrote" in capsys.readouterr().out
    package = open_package(tmp_path / "package")
    assert package.manifest is not None
    assert (package.manifest.name, package.spec) == ("weld-vit", open_package(root).spec)
    origin = package.manifest.provenance["origin"]
    assert isinstance(origin, dict)
    assert origin["system"] == "huggingface"
    digest = hashlib.sha256((root / "config.json").read_bytes()).hexdigest()
    assert origin["files"]["config.json"] == digest
