"""PP-OCRv6 as RapidOCR (Apache-2.0) ships and runs it: real trained models, where text is and what it says."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rapidocr
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec import TextRecInput
from record import Found, Picture, box_of, write

PICTURES = (
    "opencv-doc/board.jpg",
    "opencv-doc/imageTextN.png",
    "opencv-doc/scenetext01.jpg",
    "opencv-doc/scenetext03.jpg",
    "opencv-doc/scenetext05.jpg",
)
EXPORTS = {"rapidocr-det": "PP-OCRv6_det_small.onnx", "rapidocr-rec": "PP-OCRv6_rec_small.onnx"}
SCORE = 0.5


def make(name: str, folder: Path, pictures: list[Picture]) -> None:
    """Copy a model into ``folder`` and write what RapidOCR sees in ``pictures``, or in the lines it finds there."""
    shutil.copy(Path(rapidocr.__file__).parent / "models" / EXPORTS[name], folder / "model.onnx")
    engine = RapidOCR(params={"Global.log_level": "warning"})
    detector = engine._load_det_model()  # noqa: SLF001 - its parts have no public name
    found = [_regions(detector, one.pixels) for one in pictures]
    if name == "rapidocr-det":
        manifest = {"task": "text_detection", "decoder": "db", "thresholds": {"score": SCORE}}
        settings = {"box_thresh": SCORE, "unclip_ratio": 1.6, "limit_side_len": 736, "limit_type": "min"}
        answers = list(zip(pictures, found, strict=True))
    else:
        recognizer = engine._load_rec_model()  # noqa: SLF001 - its parts have no public name
        manifest = {"task": "text_recognition", "decoder": "ctc"}
        settings = {"one line at a time": True}
        answers = [(line, _text(recognizer, line.pixels)) for line in _lines(folder, pictures, found)]
    # A corner of a region is rounded to a pixel, which is much of a low line. How far a line is padded to the right
    # moves the score of what is read, not the text.
    tolerance = {"box": 0.8, "score": 5e-3 if name == "rapidocr-det" else 0.05}
    write(folder, "rapidocr", version("rapidocr"), settings, manifest, answers, tolerance=tolerance)


def _regions(detector: Any, pixels: np.ndarray) -> Found:  # noqa: ANN401 - a TextDetector
    """Do the steps of its ``__call__`` but the last, which sorts regions and leaves their scores where they were."""
    maps = detector.session(detector.get_preprocess()(pixels.copy()))
    found: Found = []
    for corners, score in zip(*detector.postprocess_op(maps, pixels.shape[:2]), strict=True):
        points = np.asarray(corners, float)
        box = box_of([*points.min(0), *points.max(0)])
        found.append({"label": "text", "score": float(score), "box": box, "corners": points.tolist()})
    return found


def _lines(folder: Path, pictures: list[Picture], found: list[Found]) -> list[Picture]:
    """Cut the upright lines out of the pictures, as files: reading is compared on the same pixels."""
    lines = []
    for picture, regions in zip(pictures, found, strict=True):
        for index, region in enumerate(regions):
            x, y, width, height = (round(value) for value in region["box"])
            if width < 1.5 * height or height < 12:  # noqa: PLR2004 - turned, or too small to read
                continue
            path = folder / f"{Path(picture.file).stem}-{index}.png"
            cut = np.ascontiguousarray(picture.pixels[max(y, 0) : y + height, max(x, 0) : x + width])
            cv2.imwrite(str(path), cut)
            lines.append(Picture(str(path), cut))
    return lines


def _text(recognizer: Any, pixels: np.ndarray) -> Found:  # noqa: ANN401 - a TextRecognizer
    answer = recognizer(TextRecInput(img=[pixels], return_word_box=False))
    return [
        {"label": "text", "score": float(score), "text": text}
        for text, score in zip(answer.txts, answer.scores, strict=True)
        if text
    ]
