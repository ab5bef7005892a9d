"""Write down what RapidOCR itself reads on OpenCV's photos: the answers `tests/integration/test_ocr.py` compares with.

    pip install rapidocr==3.10.0 onnxruntime==1.32.0 opencv-python-headless==4.14.0.94
    python tools/parity/ocr.py FOLDER_OF_OPENCV_DOC tests/assets/ocr_expected.json

FOLDER_OF_OPENCV_DOC is what `tools/fetch_test_assets.py` unpacked. RapidOCR runs as it comes, with the three models of
its wheel; the direction classifier is switched off for a second reading, to know where it matters.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
from rapidocr import RapidOCR

PHOTOS = (
    *(f"scenetext0{number}.jpg" for number in range(1, 7)),
    *("board.jpg", "imageTextN.png", "licenseplate_motion.jpg"),
)


def read(engine: RapidOCR, photo: Path, *, use_cls: bool) -> list[dict[str, object]]:
    """Return text, score and corners of everything RapidOCR reads in ``photo``."""
    found = engine(cv2.imread(str(photo)), use_cls=use_cls)
    if found.txts is None:
        return []
    return [
        {"text": text, "score": round(float(score), 4), "polygon": [[float(x), float(y)] for x, y in box]}
        for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)
    ]


def main(folder: Path, target: Path) -> None:
    """Read all `PHOTOS` of ``folder`` and write ``target``."""
    engine = RapidOCR()
    packages = ("rapidocr", "onnxruntime", "opencv-python-headless", "numpy", "pyclipper")
    photos = {}
    for name in PHOTOS:
        with_cls, without = (read(engine, folder / name, use_cls=use) for use in (True, False))
        photos[name] = with_cls
        same = [one["text"] for one in with_cls] == [one["text"] for one in without]
        print(f"{name}: {len(with_cls)} texts, {'the same' if same else 'OTHERS'} without the direction classifier")
    document = {"made_by": {name: version(name) for name in packages}, "photos": photos}
    target.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
