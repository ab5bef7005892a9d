"""tools/quantize on real labelled pictures: what still answers like fp32 is handed out, what does not is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_runtime.engine.loader import load_engine
from tests.integration import fashion_mnist
from tests.integration.real_assets import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "models" / "surface-defects"
pytestmark = pytest.mark.timeout(240)  # each test is a process that calibrates and judges on both engines
JUDGED = range(fashion_mnist.TRAINED, fashion_mnist.TRAINED + 600)
CALIBRATED = range(9000, 9100)


def quantize(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run the tool as a process; return its exit code, its report and what it said."""
    command = [sys.executable, "-m", "quantize_model", *map(str, arguments), "--json", "--rounds", "2"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier, labelled pictures, and calibration frames in daylight and at 5 % of it."""
    folder = tmp_path_factory.mktemp("fashion")
    fashion_mnist.write_model(folder)
    fashion_mnist.write_pictures(folder / "labelled", JUDGED, by_label=True)
    fashion_mnist.write_pictures(folder / "frames", CALIBRATED)
    fashion_mnist.write_pictures(folder / "dark", CALIBRATED, light=0.05)
    return folder


def test_a_classifier_becomes_int8_and_its_package_runs_on_both_engines(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    code, report, said = quantize(
        place / "fashion", "--out", out, "--calibration", place / "frames", "--labelled", place / "labelled"
    )
    assert code == os.EX_OK, said
    assert json.loads((out / "quantization.json").read_text()) == report
    assert report["accepted"]
    last = report["attempts"][-1]
    assert [(row["precision"], row["backend"]) for row in last["rows"]] == [
        ("fp32", "openvino"),
        ("fp32", "onnxruntime"),
        ("int8", "openvino"),
        ("int8", "onnxruntime"),
    ]
    assert all(row["accuracy"]["value"] > 0.8 for row in last["rows"])
    assert max(last["drop_points"].values()) <= 1
    manifest = json.loads((out / "edge-model.json").read_text())
    assert (manifest["name"], manifest["version"], manifest["release"]) == ("fashion", "1+int8", 5)
    assert manifest["provenance"]["calibration_frames"] == len(CALIBRATED)
    assert list(tmp_path.iterdir()) == [out]
    for backend in ("openvino", "onnxruntime"):
        model = load_engine(out, backend=backend)
        assert model.info.precision == "int8"
        model.close()


def test_calibration_at_five_percent_of_the_light_is_refused_with_65(place: Path, tmp_path: Path) -> None:
    code, report, said = quantize(
        *(place / "fashion", "--out", tmp_path / "int8", "--calibration", place / "dark"),
        *("--labelled", place / "labelled", "--limit", 300, "--max-attempts", 3),
    )
    assert code == os.EX_DATAERR, said
    assert (report["accepted"], report["package"]) == (False, None)
    assert len(report["attempts"]) == 3
    for attempt in report["attempts"]:
        assert min(attempt["drop_points"].values()) > 10
        assert any("points (top-1" in one for one in attempt["refusals"])
    assert any("mean grey level of" in one for one in report["doubts"])
    assert list(tmp_path.iterdir()) == []


def test_without_labels_the_same_dark_calibration_is_refused_for_disagreeing_with_fp32(
    place: Path, tmp_path: Path
) -> None:
    code, report, said = quantize(
        *(place / "fashion", "--out", tmp_path / "int8", "--calibration", place / "dark"),
        *("--agreement-only", place / "labelled", "--limit", 200, "--max-attempts", 1),
    )
    assert code == os.EX_DATAERR, said
    (attempt,) = report["attempts"]
    assert attempt["drop_points"] is None
    assert any("says the same as fp32 in" in one for one in attempt["refusals"])


def test_labels_of_other_pictures_are_refused_before_anything_is_quantized(place: Path, tmp_path: Path) -> None:
    labelled = fashion_mnist.write_pictures(tmp_path / "pictures", range(5000, 5010), by_label=True)
    for number, folder in enumerate(sorted(labelled.iterdir())):
        folder.rename(labelled / f"kind-{number}")
    code, _, said = quantize(
        place / "fashion", "--out", tmp_path / "int8", "--calibration", place / "frames", "--labelled", labelled
    )
    assert code == os.EX_DATAERR
    assert "folders that are no label of the model: kind-0, kind-1" in said
    assert "attempt" not in said


def test_a_package_that_exists_is_not_touched(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    out.mkdir()
    code, _, said = quantize(
        place / "fashion", "--out", out, "--calibration", place / "frames", "--labelled", place / "labelled"
    )
    assert code == os.EX_DATAERR
    assert "exists" in said
    assert list(out.iterdir()) == []


def test_an_interrupted_run_leaves_no_half_package(place: Path, tmp_path: Path) -> None:
    arguments = ["--calibration", place / "frames", "--labelled", place / "labelled", "--out", tmp_path / "int8"]
    command = [sys.executable, "-m", "quantize_model", place / "fashion", *arguments]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
    with subprocess.Popen(
        list(map(str, command)), env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("fp32: 600 pictures")
        assert len(list(tmp_path.iterdir())) == 1
        running.terminate()
        running.stderr.read()
    assert running.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_an_int8_model_is_refused_unless_it_may_be_made_fp32_again(place: Path, tmp_path: Path) -> None:
    arguments = ("--calibration", place / "frames", "--labelled", place / "labelled")
    code, _, said = quantize(PACKAGE, "--out", tmp_path / "int8", *arguments)
    assert code == os.EX_DATAERR
    assert "INT8 already" in said


def test_a_wrong_command_line_ends_with_64() -> None:
    code, _, said = quantize(PACKAGE, "--calibration", "x")
    assert code == os.EX_USAGE
    assert "required" in said


def rendered(folder: Path, split: int, count: int) -> tuple[list[Path], list[Any]]:
    """Write frames of the renderer as `.png`; return them and their boxes."""
    sys.path.insert(0, str(ROOT / "tools"))
    from surface_defects.render import render_scene
    from surface_defects.scene import sample_scene

    folder.mkdir(parents=True)
    files, boxes = [], []
    for index in range(count):
        picture = render_scene(sample_scene(11, split, index))
        files.append(folder / f"frame-{index:03d}.png")
        cv2.imwrite(str(files[-1]), picture.image)
        boxes.append(picture.boxes)
    return files, boxes


def write_coco(folder: Path, files: list[Path], boxes: list[Any]) -> None:
    labels = json.loads((PACKAGE / "edge-model.json").read_text())["labels"]
    size = cv2.imread(str(files[0])).shape[:2]
    rows = [(number, box) for number, found in enumerate(boxes) for box in found]
    data = {
        "images": [{"id": n, "file_name": f.name, "height": size[0], "width": size[1]} for n, f in enumerate(files)],
        "categories": [{"id": 10 + n, "name": label} for n, label in enumerate(labels)],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": 10 + labels.index(box.label),
                "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top],
            }
            for n, (image, box) in enumerate(rows)
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(data))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered parts: labelled ones with a COCO file, calibration frames, and the same frames at 5 % of the light."""
    folder = tmp_path_factory.mktemp("parts")
    write_coco(folder / "labelled", *rendered(folder / "labelled", 1, 12))
    frames, _ = rendered(folder / "frames" / "2026-11-25" / "top", 2, 8)
    (folder / "dark").mkdir()
    for frame in frames:
        cv2.imwrite(str(folder / "dark" / frame.name), (cv2.imread(str(frame)) * 0.05).astype(np.uint8))
    return folder


def detector(parts: Path, out: Path, calibration: str, *more: object) -> tuple[int, dict[str, Any], str]:
    return quantize(
        *(PACKAGE, "--from-int8", "--out", out, "--calibration", parts / calibration),
        *("--labelled", parts / "labelled", "--max-drop", 3, "--threads", 2, *more),
    )


def test_the_shipped_detector_is_quantized_again_as_well_as_it_was(parts: Path, tmp_path: Path) -> None:
    code, report, said = detector(parts, tmp_path / "int8", "frames", "--keep-fp32")
    assert code == os.EX_OK, said
    rows = report["attempts"][-1]["rows"]
    assert all(row["accuracy"]["metric"] == "mAP50-95" and row["accuracy"]["value"] > 0.5 for row in rows)
    assert rows[2]["size_bytes"] < 0.3 * rows[0]["size_bytes"]
    assert min(report["attempts"][-1]["agreement"].values()) > 0.95
    manifest = json.loads((tmp_path / "int8" / "edge-model.json").read_text())
    assert [one["precision"] for one in manifest["weights"]] == ["int8", "fp32"]
    for name, precision in (("model-int8.onnx", "int8"), ("model-fp32.onnx", "fp32")):
        model = load_engine(tmp_path / "int8" / name)
        assert model.info.precision == precision
        model.close()


def test_the_shipped_detector_calibrated_at_five_percent_of_the_light_is_refused_with_65(
    parts: Path, tmp_path: Path
) -> None:
    code, report, said = detector(parts, tmp_path / "int8", "dark", "--max-attempts", 1)
    assert code == os.EX_DATAERR, said
    assert min(report["attempts"][0]["drop_points"].values()) > 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", ["nncf", "nncf-ir", "ort"])
def test_every_method_passes_in_daylight_and_no_remedy_saves_the_dark(parts: Path, tmp_path: Path, method: str) -> None:
    """With the launcher and its own environment: NNCF and what it needs are 250 MB, too much for every run."""
    for calibration, expected in (("frames", os.EX_OK), ("dark", os.EX_DATAERR)):
        out = tmp_path / calibration
        command = [
            *(ROOT / "tools" / "quantize", PACKAGE, "--from-int8", "--out", out, "--method", method, "--rounds", 2),
            *("--calibration", parts / calibration, "--labelled", parts / "labelled", "--max-drop", 3),
            *("--max-attempts", 3),
        ]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        assert out.exists() == (expected == os.EX_OK)
