"""Text on real photographs, read by PP-OCRv6 without a word of configuration, against what RapidOCR reads there.

`tests/assets/ocr_expected.json` is RapidOCR's own answer (its versions stand in it), made by `tools/parity/ocr.py`. The
texts are the same with both engines, with one exception: RapidOCR pads a line to the longest of six that it reads at
once, so what it reads of one depends on the others. An ornamental word of one photograph changes its capitals by that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.engine.loader import load_engine
from tests.integration.real_assets import asset, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.loader import LoadedModel

EXPECTED = json.loads((Path(__file__).parents[1] / "assets" / "ocr_expected.json").read_text(encoding="utf-8"))
CORNER_PX = 2  # what grows a text there counts in whole pixels of the input
ORNAMENTAL = "scenetext06.jpg"


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def reader(request: pytest.FixtureRequest) -> Iterator[LoadedModel]:
    model = load_engine(asset("rapidocr"), backend=request.param, threads=2)
    yield model
    model.close()


def read(model: LoadedModel, name: str) -> list[Prediction]:
    """What has a text; RapidOCR leaves the others out."""
    return [one for one in model.lanes[0].predict(picture(f"opencv-doc/{name}")).predictions if one.text is not None]


def check(model: LoadedModel, name: str) -> None:
    found, theirs = read(model, name), EXPECTED["photos"][name]
    texts, expected = [one.text or "" for one in found], [one["text"] for one in theirs]
    if name == ORNAMENTAL:
        texts, expected = [one.casefold() for one in texts], [one.casefold() for one in expected]
    assert texts == expected
    for one, other in zip(found, theirs, strict=True):
        assert one.polygon is not None
        assert np.abs(np.subtract(one.polygon, other["polygon"])).max() <= CORNER_PX
        assert one.score == pytest.approx(other["score"], abs=0.1)


@pytest.mark.parametrize("name", ["scenetext01.jpg", "licenseplate_motion.jpg"])
def test_a_photograph_reads_as_rapidocr_reads_it(reader: LoadedModel, name: str) -> None:
    check(reader, name)


def test_a_circuit_board_reads_as_rapidocr_reads_it(reader: LoadedModel) -> None:
    check(reader, "board.jpg")  # some of its texts stand on their heads: the direction classifier is needed


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(EXPECTED["photos"].keys()))
def test_every_photograph_reads_as_rapidocr_reads_it(reader: LoadedModel, name: str) -> None:
    check(reader, name)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_chain_keeps_its_memory_over_many_frames(reader: LoadedModel) -> None:
    frame = picture("opencv-doc/scenetext01.jpg")
    crops = [np.ascontiguousarray(frame[:, : frame.shape[1] - 20 * number]) for number in range(4)]

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    for crop in crops * 3:
        reader.lanes[0].predict(crop)
    before = pages()
    for crop in crops * 6:
        reader.lanes[0].predict(crop)
    assert (pages() - before) * 4096 < 100 << 20


def test_the_models_are_known_without_a_manifest_by_one_digest(reader: LoadedModel) -> None:
    assert (reader.ref.name, reader.spec.task, reader.spec.labels) == ("rapidocr", "chain", ("text",))
    assert reader.ref.digest.startswith("sha256:")
    assert reader.reads_text


def test_a_detector_and_a_recogniser_do_without_the_direction_classifier(tmp_path: Path) -> None:
    for name in ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"):
        folder = tmp_path / name.split("_")[1]
        folder.mkdir()
        shutil.copy(asset("rapidocr") / name, folder / "inference.onnx")
    model = load_engine(tmp_path, threads=2)
    assert "NOTICE" in [one.text for one in read(model, "scenetext01.jpg")]
    model.close()


def test_one_of_the_two_alone_runs_too() -> None:
    found = {}
    line = np.ascontiguousarray(picture("opencv-doc/scenetext01.jpg"))
    for name in ("det", "rec"):
        model = load_engine(asset("rapidocr") / f"PP-OCRv6_{name}_small.onnx", threads=2)
        found[name] = model.lanes[0].predict(line).predictions
        model.close()
    x, y, w, h = found["det"][0].box or (0, 0, 0, 0)
    assert found["det"][0].text is None
    assert w > h > 0 <= min(x, y)
    assert all(one.box is None for one in found["rec"])
