"""Real trained models on real photographs: both engines see what is in the picture, and see the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.engine.loader import load_engine
from tests.integration import real_assets
from tests.integration.matching import differences, overlap
from tests.integration.real_assets import picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.core.result import Prediction

BACKENDS = ("openvino", "onnxruntime")


def answers(package: Path, backend: str, *frames: np.ndarray) -> list[tuple[Prediction, ...]]:
    model = load_engine(package, backend=backend, threads=2)
    assert (model.info.backend, model.info.device, model.info.precision) == (backend, "CPU", "fp32")
    found = [model.lanes[0].predict(frame).predictions for frame in frames]
    model.close()
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_page_is_seen_the_right_way_up_and_turned(tmp_path: Path, backend: str) -> None:
    page = picture("opencv-doc/imageTextN.png")
    turned = [np.ascontiguousarray(np.rot90(page, -quarter)) for quarter in range(4)]
    found = answers(real_assets.orientation_package(tmp_path), backend, *turned)
    assert [one[0].label for one in found] == ["0", "90", "180", "270"]
    assert min(one[0].score for one in found) > 0.9


@pytest.mark.parametrize("backend", BACKENDS)
def test_photographs_are_classified(tmp_path: Path, backend: str) -> None:
    names = {"squirrel_cls": "fox squirrel", "baboon": "baboon", "orange": "orange", "messi5": "soccer ball"}
    photographs = [picture(f"opencv-doc/{name}.jpg") for name in names]
    found = answers(real_assets.imagenet_package(tmp_path), backend, *photographs)
    assert [one[0].label for one in found] == list(names.values())
    assert found[0][0].score > 0.85
    assert found[1][0].score > 0.85


# where the people and the bus are in the photograph, drawn by hand to some ten pixels
PEOPLE = [(50, 395, 185, 510), (222, 405, 122, 455), (680, 380, 130, 500), (0, 560, 75, 310)]
BUS = (20, 220, 775, 540)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nanodet_finds_four_people_and_a_bus(tmp_path: Path, backend: str) -> None:
    (found,) = answers(real_assets.nanodet_package(tmp_path), backend, picture("bus.jpg"))
    assert Counter(one.label for one in found) == {"person": 4, "bus": 1}
    people = [one.box for one in found if one.label == "person" and one.box]
    assert all(max(overlap(box, true) for box in people) > 0.7 for true in PEOPLE)
    assert all(overlap(one.box, BUS) > 0.8 for one in found if one.label == "bus" and one.box)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nanodet_finds_the_same_in_the_other_photograph(tmp_path: Path, backend: str) -> None:
    (found,) = answers(real_assets.nanodet_package(tmp_path), backend, picture("zidane.jpg"))
    assert Counter(one.label for one in found)["person"] == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_centernet_finds_the_people_in_front_and_the_bus(tmp_path: Path, backend: str) -> None:
    (found,) = answers(real_assets.centernet_package(tmp_path), backend, picture("bus.jpg"))
    assert Counter(one.label for one in found) >= Counter({"person": 3, "bus": 1})
    people = [one.box for one in found if one.label == "person" and one.box]
    assert all(max(overlap(box, true) for box in people) > 0.7 for true in PEOPLE[:3])


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (real_assets.orientation_package, ["opencv-doc/imageTextN.png", "opencv-doc/scenetext01.jpg"]),
        (real_assets.imagenet_package, ["opencv-doc/squirrel_cls.jpg", "opencv-doc/board.jpg"]),
        (real_assets.nanodet_package, ["bus.jpg", "zidane.jpg", "opencv-doc/messi5.jpg"]),
        (real_assets.centernet_package, ["bus.jpg", "zidane.jpg"]),
    ],
    ids=["orientation", "imagenet", "nanodet", "centernet"],
)
def test_both_engines_see_the_same(tmp_path: Path, make: Callable[[Path], Path], names: list[str]) -> None:
    package = make(tmp_path)
    photographs = [picture(name) for name in names]
    pairs = zip(*(answers(package, backend, *photographs) for backend in BACKENDS), strict=True)
    for name, (openvino, onnxruntime) in zip(names, pairs, strict=True):
        assert openvino
        assert differences(openvino, onnxruntime, iou=0.99, score=1e-3, floor=0.0) == [], name


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_for_something_else_is_refused_in_words(tmp_path: Path, backend: str) -> None:
    from edge_runtime.core.errors import DataError

    pose = real_assets.package(tmp_path, real_assets.shared("movenet_lightning.onnx"), task="detection", decoder="yolo")
    with pytest.raises(DataError, match=r"decoder 'yolo' expects an output \[1,5,n\] .* \[1,1,17,3\]"):
        load_engine(pose, backend=backend)
