"""A small classifier of real, labelled product pictures, trained in seconds with numpy: Zalando's Fashion-MNIST.

Two convolutions with fixed filters (patches of the pictures, then random ones), and one matrix fitted by ridge
regression: 84 % right, with the layers that quantizers care about.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from tests.integration.real_assets import asset

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TRAINED = 5000
_RIDGE = 10.0
_SHARPNESS = 12.0  # of the softmax: regression answers lie between 0 and 1
_FEATURES = 32 * 7 * 7


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return (10000, 28, 28) uint8 and their (10000,) labels; the first `TRAINED` are those of `classifier`."""
    folder = asset("fashion-mnist")
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def classifier() -> onnx.ModelProto:
    """Train; the same weights each time, up to rounding."""
    images, labels = pictures()
    x = (images[:TRAINED, None] / 255).astype(np.float32)
    draw = np.random.default_rng(5)
    weights = {
        "w1": _patches(x, draw),
        "w2": (draw.standard_normal((32, 24, 3, 3)) * np.sqrt(2 / (24 * 9))).astype(np.float32),
    }
    session = ort.InferenceSession(_network(weights).SerializeToString(), providers=["CPUExecutionProvider"])
    features = np.concatenate([session.run(None, {"x": part})[0] for part in np.split(x, TRAINED // 500)])
    mean = features.mean(0)
    centred = features - mean
    wanted = np.eye(len(LABELS), dtype=np.float32)[labels[:TRAINED]] - np.float32(0.1)
    matrix = np.linalg.solve(
        centred.T @ centred + _RIDGE * np.eye(_FEATURES, dtype=np.float32), centred.T @ wanted
    ).astype(np.float32)
    weights |= {"w3": matrix * np.float32(_SHARPNESS), "b3": ((0.1 - mean @ matrix) * _SHARPNESS).astype(np.float32)}
    return _network(weights)


def _patches(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """24 filters of 5 x 5: pieces of pictures, without their mean, of about unit length."""
    places = zip(draw.integers(0, len(x), 24), draw.integers(0, 24, 24), draw.integers(0, 24, 24), strict=True)
    pieces = np.stack([x[i, :, u : u + 5, v : v + 5] for i, u, v in places])
    pieces = pieces - pieces.mean((1, 2, 3), keepdims=True)
    return (pieces / (np.sqrt((pieces**2).sum((1, 2, 3), keepdims=True)) + 0.1)).astype(np.float32)


def _network(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[2] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["features"]),
        helper.make_node("Gemm", ["features", "w3", "b3"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    is_whole = "w3" in weights
    output = ("y", len(LABELS)) if is_whole else ("features", _FEATURES)
    graph = helper.make_graph(
        nodes if is_whole else nodes[:5],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, ["n", output[1]])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_model(folder: Path) -> Path:
    """Write the classifier as a bare model, with what `edge-model.json` has to add inside its package."""
    import hashlib

    root = folder / "fashion"
    root.mkdir()
    onnx.save(classifier(), root / "model.onnx")
    digest = hashlib.sha256((root / "model.onnx").read_bytes()).hexdigest()
    manifest = {
        "schema": "edge-model/1",
        "name": "fashion",
        "version": "1",
        "release": 4,
        "task": "classification",
        "decoder": "probabilities",
        "weights": {"file": "model.onnx", "format": "onnx", "precision": "fp32", "sha256": digest},
        "input": {"color": "GRAY", "size": [28, 28], "resize": "stretch", "scale": 255},
        "labels": list(LABELS),
    }
    (root / "edge-model.json").write_text(json.dumps(manifest))
    return root


def write_pictures(folder: Path, indices: range, *, light: float = 1.0, by_label: bool = False) -> Path:
    """Write pictures as `.png`, in one folder per label or in folders as evidence lies in: by day."""
    images, labels = pictures()
    for index in indices:
        place = folder / (LABELS[labels[index]] if by_label else f"2026-11-{1 + index % 3:02d}")
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{index:05d}.png"), (images[index] * light).astype(np.uint8))
    return folder
