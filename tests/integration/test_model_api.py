"""Models with a `model_info` section and no other file: what OpenVINO Model API sees with them, we see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.engine.loader import load_engine
from tests.assets.make_model_api import EXPECTED, INFO, SHAPES, model, picture, write_ir

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.core.result import Prediction

TOLERANCE = {"same": 1e-4, "larger": 0.03}
"""Of scores. Model API resizes inside of the graph, in floats; OpenCV rounds each pixel to 8 bits."""
SEEN: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_text())
FORMS = (("onnx", "onnxruntime"), ("onnx", "openvino"), ("ir", "openvino"))


def answers(name: str, folder: Path, form: str, backend: str) -> dict[str, tuple[Prediction, ...]]:
    path = write_ir(name, folder) if form == "ir" else folder / f"{name}.onnx"
    if form == "onnx":
        path.write_bytes(model(name).SerializeToString())
    loaded = load_engine(path, backend=backend)
    found = {one: loaded.lanes[0].predict(picture(one)).predictions for one in SHAPES}
    loaded.close()
    return found


@pytest.mark.parametrize(("form", "backend"), FORMS)
@pytest.mark.parametrize("name", [name for name in INFO if name != "anomaly"])
def test_labels_and_scores_are_those_of_model_api(tmp_path: Path, name: str, form: str, backend: str) -> None:
    for size, predictions in answers(name, tmp_path, form, backend).items():
        # of one label Model API lists all, of several those that are present
        listed = [one for one in predictions if not one.alternative or name in ("logits", "probabilities", "unit")]
        found = {one.label: one.score for one in listed}
        expected = {label.replace("_", " "): score for label, score in SEEN[name][size]}
        assert found == pytest.approx(expected, abs=TOLERANCE[size])


@pytest.mark.parametrize(("form", "backend"), FORMS)
def test_an_anomaly_is_that_of_model_api(tmp_path: Path, form: str, backend: str) -> None:
    for size, (verdict, _, *regions) in answers("anomaly", tmp_path, form, backend).items():
        expected = SEEN["anomaly"][size]
        assert (verdict.label, verdict.score) == (
            expected["label"],
            pytest.approx(expected["score"], abs=TOLERANCE[size]),
        )
        height, width = SHAPES[size]
        found = sorted(one.box for one in regions if one.box is not None)
        boxes = sorted((x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in expected["boxes"])
        assert len(found) == len(boxes) > 0
        cell = 2 * max(height / 48, width / 64)  # of the map; Model API enlarges the mask, which rounds its borders
        for ours, theirs in zip(found, boxes, strict=True):
            assert ours == pytest.approx(theirs, abs=cell)
