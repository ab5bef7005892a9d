"""``models validate`` and ``models pack`` as a user types them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_runtime.core.manifest import parse_manifest
from tests.assets.make_models import SIDE, colours, write_bare, write_package
from tests.daemons import MODEL
from tests.integration.test_verbs import edge

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)

KNOWN = {"author": "Ultralytics", "task": "classify", "names": "{0: 'red', 1: 'green', 2: 'blue'}", "imgsz": "[32, 32]"}


def pictures(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(("blue", "green", "red")):  # of BGR
        picture = np.full((SIDE, SIDE, 3), 40, np.uint8)
        picture[:, :, place] = 250
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder


def test_a_good_package_is_validated(tmp_path: Path) -> None:
    done = edge("models", "validate", MODEL, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert [one["step"] for one in report["steps"]] == ["gate", "reference", "engine", "golden", "speed"]
    assert all(one["ok"] for one in report["steps"])
    assert report["golden"]["frames"] == 8
    assert report["latency_ms"]["p50"] > 0

    root = tmp_path / "surface-defects"
    shutil.copytree(MODEL, root)
    manifest = json.loads((root / "edge-model.json").read_text())
    manifest["golden"]["gates"] = {"p99_ms": 0.001}
    (root / "edge-model.json").write_text(json.dumps(manifest))
    done = edge("models", "validate", root)
    assert done.returncode == 65
    assert "FAIL  speed" in done.stdout
    assert "p99_ms is" in done.stderr
    assert "at most 0.001" in done.stderr


def test_an_evil_model_is_refused_in_words(tmp_path: Path) -> None:
    path = write_bare(tmp_path, "conv_without_weights")
    done = edge("models", "validate", path)
    assert done.returncode == 65
    assert "FAIL  gate" in done.stdout
    assert done.stderr == (
        "error: conv_without_weights.onnx: Conv has 1 input(s), it needs 2\n   = help: export it again\n"
    )
    refused = json.loads(edge("models", "validate", path, "--json").stdout)
    assert (refused["ok"], refused["error"]["code"]) == (False, "model.unsafe")


def test_a_device_that_is_not_there_is_no_fault_of_the_model() -> None:
    done = edge("models", "validate", MODEL, "--device", "npu")
    assert done.returncode == 69
    assert "device NPU is not on this box" in done.stderr


def test_a_bare_model_becomes_a_package_that_other_boxes_can_check(tmp_path: Path) -> None:
    model = tmp_path / "Colour Model.onnx"
    model.write_bytes(colours(metadata=KNOWN).SerializeToString())
    out = tmp_path / "packs" / "colours"
    words = ("models", "pack", model, "--out", out, "--golden", pictures(tmp_path / "frames"), "--version", "2.1")
    done = edge(*words, "--backend", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert sorted(str(one.relative_to(out)) for one in out.rglob("*") if one.is_file()) == [
        *("edge-model.json", "golden/blue.png", "golden/expected.json", "golden/green.png", "golden/red.png"),
        "model.onnx",
    ]
    manifest = parse_manifest((out / "edge-model.json").read_bytes())
    assert (manifest.name, manifest.version, manifest.description.labels) == (
        "colour-model",
        "2.1",
        ("red", "green", "blue"),
    )
    assert manifest.description.input.size == (SIDE, SIDE)
    expected = json.loads((out / "golden" / "expected.json").read_text())
    assert expected["trusted"]["backend"] == "onnxruntime"
    assert [one["predictions"][0]["label"] for one in expected["frames"]] == ["blue", "green", "red"]
    assert not list(out.parent.glob(".pack-*"))

    inspected = json.loads(edge("models", "inspect", out, "--json").stdout)
    bare = json.loads(edge("models", "inspect", model, "--json").stdout)
    assert {key: one["value"] for key, one in inspected["values"].items()} == {
        key: one["value"] for key, one in bare["values"].items()
    }
    done = edge("models", "validate", out, "--backend", "openvino")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "3 frames" in done.stdout

    again = edge(*words)
    assert again.returncode == 65
    assert "exists already" in again.stderr
    assert "--force" in again.stderr
    assert edge(*words, "--force", "--backend", "onnxruntime").returncode == 0


def test_a_directory_of_another_system_becomes_a_package(tmp_path: Path) -> None:
    (tmp_path / "colours" / "3").mkdir(parents=True)
    (tmp_path / "colours" / "3" / "model.onnx").write_bytes(colours(metadata=KNOWN).SerializeToString())
    done = edge("models", "pack", tmp_path / "colours", "--out", tmp_path / "p", "--golden", pictures(tmp_path / "f"))
    assert done.returncode == 0, done.stderr
    manifest = parse_manifest((tmp_path / "p" / "edge-model.json").read_bytes())
    assert (manifest.name, manifest.weights[0].files[0].file) == ("colours", "model.onnx")
    assert edge("models", "validate", tmp_path / "p").returncode == 0


def test_a_package_gets_its_hashes_and_answers(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    manifest = json.loads((root / "edge-model.json").read_text())
    right = manifest["weights"].pop("sha256")
    (root / "edge-model.json").write_text(json.dumps(manifest))
    assert "edge-runtime models pack" in edge("models", "inspect", root).stderr
    (root / "golden").mkdir()
    none = edge("models", "pack", root)
    assert none.returncode == 65
    assert "expected 1 to 200 pictures" in none.stderr
    pictures(root / "golden")
    done = edge("models", "pack", root, "--backend", "onnxruntime")
    assert done.returncode == 0, done.stderr
    assert json.loads((root / "edge-model.json").read_text())["weights"]["sha256"] == right
    assert len(json.loads((root / "golden" / "expected.json").read_text())["frames"]) == 3
    assert edge("models", "pack", root).returncode == 65


def test_a_package_says_what_its_model_sees_on_a_normal_day(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    normal = tmp_path / "normal"
    normal.mkdir()
    for number in range(20):
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        picture[:, :, 1 if number < 15 else 2] = 255
        cv2.imwrite(str(normal / f"{number:02}.png"), picture)
    done = edge("models", "pack", root, "--backend", "onnxruntime", "--reference", normal)
    assert done.returncode == 0, done.stderr
    reference = parse_manifest((root / "edge-model.json").read_bytes()).reference
    assert reference is not None
    assert reference.pictures == 20
    assert reference.labels == {"green": 0.75, "red": 0.25}
    (normal / "00.png").unlink()
    few = edge("models", "pack", root, "--reference", normal)
    assert (few.returncode, "expected 20 pictures" in few.stderr) == (65, True)


def test_a_package_without_pictures_gets_its_hashes(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    manifest = json.loads((root / "edge-model.json").read_text())
    right = manifest["weights"].pop("sha256")
    (root / "edge-model.json").write_text(json.dumps(manifest))
    done = edge("models", "pack", root)
    assert done.returncode == 0, done.stderr
    assert "no golden frames" in done.stdout
    assert json.loads((root / "edge-model.json").read_text())["weights"]["sha256"] == right
    assert edge("models", "inspect", root).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pack", "nowhere.onnx"), "no such file"),
        (("pack", "bare.onnx"), "--out DIR"),
        (("pack", "package", "--out", "x"), "are for a bare model"),
        (("pack", "package/colours.onnx", "--out", "x"), "belongs to a package already"),
        (("pack", "empty"), "a directory without edge-model.json"),
    ],
)
def test_what_cannot_be_packed_says_why(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "bare.onnx").write_bytes(colours(metadata=KNOWN).SerializeToString())
    write_package(tmp_path, "colours").rename(tmp_path / "package")
    pictures(tmp_path / "empty" / "golden")
    action, model, *rest = words
    done = edge("models", action, tmp_path / model, *rest)
    assert done.returncode == 65
    assert said in done.stderr
    assert not (tmp_path / "x").exists()
