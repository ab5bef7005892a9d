"""Real models of points and areas on real photographs, from bare files: no `edge-model.json` says what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.metadata.signatures import COCO_KEYPOINTS
from tests.integration.matching import overlap
from tests.integration.real_assets import picture, shared
from tests.unit.engine.runlengths import pixels, shared_part

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.core.result import Prediction

BACKENDS = ("openvino", "onnxruntime")


def answers(name: str, backend: str, *frames: np.ndarray) -> list[tuple[Prediction, ...]]:
    model = load_engine(shared(name), backend=backend, threads=2)
    assert (model.info.backend, model.info.precision) == (backend, "fp32")
    found = [model.lanes[0].predict(frame).predictions for frame in frames]
    model.close()
    return found


# where the points of the player are, drawn by hand to some ten pixels
PLAYER = {
    "nose": (250, 117),
    "left eye": (253, 108),
    "right eye": (243, 110),
    "left ear": (258, 105),
    "right ear": (222, 106),
    "left shoulder": (283, 120),
    "right shoulder": (198, 122),
    "left elbow": (310, 152),
    "right elbow": (160, 128),
    "left wrist": (352, 162),
    "right wrist": (103, 103),
    "left hip": (288, 225),
    "right hip": (240, 243),
    "left knee": (358, 248),
    "right knee": (232, 283),
    "left ankle": (420, 262),
    "right ankle": (280, 308),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_movenet_finds_the_points_of_a_player(backend: str) -> None:
    (((player),),) = answers("movenet_lightning.onnx", backend, picture("opencv-doc/messi5.jpg"))
    assert player.label == "person"
    assert player.keypoints is not None
    assert player.box is not None
    assert min(score for _, _, score in player.keypoints) > 0.3
    for name, (x, y, _) in zip(COCO_KEYPOINTS, player.keypoints, strict=True):
        assert np.hypot(x - PLAYER[name][0], y - PLAYER[name][1]) < 30, name
    assert overlap(player.box, (80, 95, 345, 215)) > 0.7


# the outline of the astronaut and the helmet she holds, drawn by hand to some five pixels
ASTRONAUT = (
    *((155, 62), (170, 45), (195, 22), (225, 15), (260, 20), (290, 40), (301, 65), (300, 100), (285, 125), (270, 138)),
    *((258, 150), (256, 178), (285, 200), (303, 225), (304, 240), (335, 258), (348, 280), (360, 330), (363, 347)),
    *((395, 343), (440, 355), (475, 385), (492, 420), (497, 455), (505, 470), (505, 511), (44, 511), (28, 460)),
    *((23, 420), (25, 345), (40, 300), (62, 248), (100, 215), (115, 205), (115, 185), (130, 165), (160, 150)),
    *((183, 150), (182, 130), (165, 118), (155, 95)),
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_person_is_cut_out_of_a_portrait(backend: str) -> None:
    portrait = picture("astronaut.png")
    (((person),),) = answers("selfie_segmentation.onnx", backend, portrait)
    height, width = portrait.shape[:2]
    by_hand = cv2.fillPoly(np.zeros((height, width), np.uint8), [np.array(ASTRONAUT, np.int32)], 1).astype(bool)
    assert person.label == "person"
    assert person.score > 0.9
    assert person.rle is not None
    mask = pixels(person.rle, width, height)
    assert shared_part(mask, by_hand) > 0.95
    outline = cv2.fillPoly(np.zeros((height, width), np.uint8), [np.array(person.polygon, np.int32)], 1).astype(bool)
    assert shared_part(outline, mask) > 0.97


def test_both_engines_draw_the_same() -> None:
    frames = [picture("astronaut.png"), picture("zidane.jpg"), picture("bus.jpg")]
    for name in ("selfie_segmentation.onnx", "movenet_lightning.onnx"):
        pairs = zip(frames, *(answers(name, backend, *frames) for backend in BACKENDS), strict=True)
        for frame, (first,), (second,) in pairs:
            assert first.score == pytest.approx(second.score, abs=1e-4)
            if first.rle and second.rle:
                masks = [pixels(one.rle or "", frame.shape[1], frame.shape[0]) for one in (first, second)]
                assert shared_part(*masks) > 0.999
            else:
                assert np.allclose(first.keypoints or 0, second.keypoints or 1, atol=0.1)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("nanodet_m_416_coco.onnx", ["person", "bus", "person", "person", "person"]),
        ("centernet_512_coco.onnx", ["person", "person", "person", "bus"]),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_published_detectors_are_known_without_a_package(name: str, labels: list[str], backend: str) -> None:
    (found,) = answers(name, backend, picture("bus.jpg"))
    assert [one.label for one in found][: len(labels)] == labels


def test_a_model_that_differs_from_the_published_one_by_a_weight_is_not_guessed(tmp_path: Path) -> None:
    weights = bytearray(shared("efficientnet_lite0.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    trained = tmp_path / "efficientnet_lite0.onnx"
    trained.write_bytes(weights)
    with pytest.raises(DataError, match="not stated anywhere: task, decoder, labels") as caught:
        load_engine(trained)
    assert caught.value.code == "model.ambiguous"
