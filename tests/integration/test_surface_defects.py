"""The model that is shipped: golden frames on both engines, within the tolerances of its manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import pytest

from edge_runtime.core.result import Prediction
from edge_runtime.engine.loader import load_engine
from tests.integration.matching import differences
from tests.integration.real_assets import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.engine.loader import LoadedModel

PACKAGE = ROOT / "models" / "surface-defects"
BACKENDS = ("openvino", "onnxruntime")

Answers = dict[str, tuple[Prediction, ...]]


def golden() -> Answers:
    data = json.loads((PACKAGE / "golden" / "expected.json").read_text())
    assert data["schema"] == "golden/1"
    return {
        frame["file"]: tuple(Prediction(one["label"], one["score"], tuple(one["box"])) for one in frame["predictions"])
        for frame in data["frames"]
    }


def judged(model: LoadedModel) -> Answers:
    found = {}
    for name in golden():
        frame = cv2.imread(str(PACKAGE / "golden" / name))
        assert frame is not None
        found[name] = model.lanes[0].predict(frame).predictions
    return found


@pytest.fixture(params=BACKENDS)
def model(request: pytest.FixtureRequest) -> Iterator[LoadedModel]:
    loaded = load_engine(PACKAGE, backend=request.param, threads=2)
    yield loaded
    loaded.close()


def test_the_golden_frames_show_every_label() -> None:
    labels = json.loads((PACKAGE / "edge-model.json").read_text())["labels"]
    assert {one.label for predictions in golden().values() for one in predictions} == set(labels)


def test_the_model_runs_in_int8_and_fills_a_frame_of_its_own_aspect(model: LoadedModel) -> None:
    assert model.info.precision == "int8"
    assert (model.spec.task, model.spec.decoder) == ("detection", "yolo")


def test_golden_frames_are_judged_as_the_publisher_saw_them(model: LoadedModel) -> None:
    manifest = json.loads((PACKAGE / "edge-model.json").read_text())
    tolerances = manifest["golden"]["tolerances"]
    found = judged(model)
    for name, expected in golden().items():
        problems = differences(
            found[name],
            expected,
            iou=tolerances["iou"],
            score=tolerances["score"],
            floor=manifest["thresholds"]["score"],
        )
        assert problems == [], name


def test_both_engines_see_the_same() -> None:
    seen = []
    for backend in BACKENDS:
        loaded = load_engine(PACKAGE, backend=backend, threads=2)
        seen.append(judged(loaded))
        loaded.close()
    manifest = json.loads((PACKAGE / "edge-model.json").read_text())
    tolerances = manifest["golden"]["tolerances"]
    for name, openvino in seen[0].items():
        problems = differences(
            openvino,
            seen[1][name],
            iou=tolerances["iou"],
            score=tolerances["score"],
            floor=manifest["thresholds"]["score"],
        )
        assert problems == [], name
