"""Real detectors of other homes than NanoDet's: what they see is what their own code sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.result import Prediction
from edge_runtime.engine.loader import load_engine
from tests.integration import real_assets
from tests.integration.matching import differences
from tests.integration.real_assets import picture

if TYPE_CHECKING:
    from pathlib import Path

# scores and boxes of RapidLayout 1.2.1's own post-processing, thresholds 0.4 and 0.5
LAYOUT = {
    "imageTextN.png": [
        Prediction("text", 0.9841, (28.61, 18.94, 499.96, 235.12)),
        Prediction("title", 0.4057, (29.58, 18.76, 320.61, 11.06)),
    ],
    "board.jpg": [Prediction("figure", 0.9785, (0, 0, 639.89, 480))],
    "notes.png": [Prediction("figure", 0.8656, (0, 8.92, 1024, 125.08))],
}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_picodet_sees_the_parts_of_a_page(tmp_path: Path, backend: str) -> None:
    package = real_assets.package(
        tmp_path,
        real_assets.asset("rapid_layout.onnx"),  # its labels are inside
        task="detection",
        decoder="nanodet",
        input={"color": "BGR", "resize": "stretch", **real_assets.NORMAL},
        thresholds={"score": 0.4, "iou": 0.5},
    )
    model = load_engine(package, backend=backend, threads=2)
    found = {name: model.lanes[0].predict(picture(f"opencv-doc/{name}")).predictions for name in LAYOUT}
    model.close()
    for name, expected in LAYOUT.items():
        assert differences(found[name], expected, iou=0.99, score=1e-3, floor=0.4) == [], name
