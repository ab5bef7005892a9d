"""The table of models leaves nothing out: every form on every engine it is meant for, failures with their reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx

from tests.assets.make_models import colours, write_bare

ROOT = Path(__file__).resolve().parents[3]
METADATA = {"author": "Ultralytics", "task": "classify", "names": "{0: 'red', 1: 'green', 2: 'blue'}"}


def test_good_models_have_figures_and_bad_ones_their_error(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    onnx.save(colours(metadata=METADATA), models / "colours.onnx")
    write_bare(models, "unknown_operator")
    (models / ".unfinished").mkdir()
    onnx.save(colours(metadata=METADATA), models / ".unfinished" / "half.onnx")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        cv2.imwrite(
            str(pictures / f"{number}.png"), np.eye(3, dtype=np.uint8)[number] * np.full((9, 9, 3), 200, np.uint8)
        )
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- models_table.py: begin -->\nold\n<!-- models_table.py: end -->\nafter\n")
    script = ROOT / "tools" / "bench" / "models_table.py"
    command = [sys.executable, script, "models", "--pictures", "pictures", "--rounds", "2", "--out", page]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "python tools/bench/models_table.py models --pictures pictures --rounds 2" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")][1:]
    assert [(row[0], row[2]) for row in rows] == [
        (name, engine) for name in ("colours", "unknown_operator") for engine in ("openvino", "onnxruntime")
    ]
    assert [row[8:] for row in rows[:2]] == [["parity 1.0000", "1.0000"], ["reference", "1.0000"]]
    assert all(float(row[5]) > 0 for row in rows[:2])
    assert all(row[8].startswith("failed: ") for row in rows[2:])


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks\n")
    script = ROOT / "tools" / "bench" / "models_table.py"
    command = [sys.executable, script, "--out", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 65
    assert "expected the lines" in done.stderr
    assert page.read_text() == "no marks\n"
