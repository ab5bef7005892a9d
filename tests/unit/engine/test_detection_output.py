"""`DetectionOutput`, the end of every SSD in OpenVINO's own format."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.core.result import Prediction
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.ov import ov  # the one that keeps to itself

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 32


def write_ssd(folder: Path) -> Path:
    """Four priors, the quarters of the picture; its green is the score of class 1, its blue that of class 2."""
    ops = ov.opset8
    picture = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="image")
    half = SIDE // 2
    means = ops.avg_pool(picture, [half, half], [0, 0], [0, 0], [half, half], exclude_pad=True)
    scores = ops.reshape(ops.transpose(means, np.array([0, 2, 3, 1])), np.array([1, 12]), special_zero=False)
    quarters = [[x, y, x + 0.5, y + 0.5] for y in (0, 0.5) for x in (0, 0.5)]
    priors = ops.constant(np.array(quarters, np.float32).reshape(1, 1, 16))
    found = ops.detection_output(
        ops.constant(np.zeros((1, 16), np.float32)),
        scores,
        priors,
        {
            "background_label_id": 0,
            "keep_top_k": [8],
            "nms_threshold": 0.5,
            "confidence_threshold": 0.1,
            "code_type": "caffe.PriorBoxParameter.CORNER",
            "share_location": True,
            "variance_encoded_in_target": True,
            "normalized": True,
        },
    )
    found.output(0).tensor.set_names({"detection_out"})
    root = folder / "ssd"
    root.mkdir()
    ov.save_model(ov.Model([found], [picture], "ssd"), root / "ssd.xml", compress_to_fp16=False)
    files = [
        {"file": name, "sha256": hashlib.sha256((root / name).read_bytes()).hexdigest()}
        for name in ("ssd.xml", "ssd.bin")
    ]
    manifest = {
        "schema": "edge-model/1",
        "name": "ssd",
        "version": "1",
        "weights": {**files[0], "parts": files[1:]},
        "decoder": "ssd",
        "labels": ["scratch", "dent"],
        "input": {"color": "RGB", "resize": "stretch", "scale": 255},
        "output": {"background": "first"},
    }
    (root / "edge-model.json").write_text(json.dumps(manifest))
    return root


def test_an_ssd_finds_what_is_there_and_nothing_behind_the_end_of_its_list(tmp_path: Path) -> None:
    model = load_engine(write_ssd(tmp_path))
    frame = np.zeros((64, 64, 3), np.uint8)
    black = model.lanes[0].predict(frame).predictions
    frame[:32, 32:] = (0, 204, 255)  # blue, green, red
    frame[32:, :32] = (153, 0, 0)
    found = model.lanes[0].predict(frame).predictions
    again = model.lanes[0].predict(np.zeros((64, 64, 3), np.uint8)).predictions
    model.close()
    assert (black, again) == ((), ())
    assert found == (
        Prediction("scratch", pytest.approx(0.8, abs=1e-4), (32, 0, 32, 32), id=0),
        Prediction("dent", pytest.approx(0.6, abs=1e-4), (0, 32, 32, 32), id=1),
    )
