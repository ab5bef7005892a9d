"""Pictures are chosen evenly, read as the product reads them, and labelled as their folders or COCO files say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.package import open_package
from edge_runtime.engine.spec import InputSpec
from tests.assets.make_models import colours

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from quantize_model.calibration import Calibration
from quantize_model.judge import Run, accuracy, agreement, seen
from quantize_model.pictures import TensorMaker, find_pictures, spread
from quantize_model.source import open_source, write_float
from quantize_model.truth import Example, labelled, unlabelled

LABELS = ("scratch", "dent")


def write(path: Path, level: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 12, 3), level, np.uint8))
    return path


def test_frames_are_spread_evenly_over_the_days(tmp_path: Path) -> None:
    for day in range(1, 5):
        for number in range(10):
            write(tmp_path / f"2026-11-0{day}" / "top" / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = find_pictures(tmp_path, 8)
    assert [path.parts[-3] for path in found] == [f"2026-11-0{day}" for day in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert found == find_pictures(tmp_path, 8)
    assert len(find_pictures(tmp_path, 100)) == 40
    assert spread([1, 2, 3], None) == [1, 2, 3]


def test_a_directory_without_pictures_and_a_cut_off_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected pictures"):
        find_pictures(tmp_path)
    whole = write(tmp_path / "a.png")
    whole.write_bytes(whole.read_bytes()[:40])
    with pytest.raises(DataError, match=r"a\.png"):
        Calibration(tmp_path, 5)


def test_a_calibration_tensor_is_what_the_product_feeds_to_onnxruntime(tmp_path: Path) -> None:
    spec = InputSpec(
        *("x", "float32", "NCHW", "RGB", (8, 12), "stretch", "linear", 1.0, (0.5,), (0.25,), 255.0, 114),
    )
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((8, 12, 3), (10, 20, 30), np.uint8))  # BGR
    make = TensorMaker(spec)
    first, second = make(path), make(path)
    assert first is not second
    assert first.shape == (1, 3, 8, 12)
    np.testing.assert_allclose(first[0, :, 0, 0], (np.array([30, 20, 10]) / 255 - 0.5) / 0.25, rtol=1e-5)


def test_darkness_shared_pictures_and_few_frames_are_doubted(tmp_path: Path) -> None:
    frame = write(tmp_path / "frames" / "a.png", 6)
    frames = Calibration(frame.parent, 5)
    write(tmp_path / "judged" / "b.png", 120)
    doubts = frames.doubts(unlabelled(tmp_path / "judged", None))
    assert [one.split(":")[0] for one in doubts] == [
        "calibration frames have a mean grey level of 6, the judged pictures 120",
        "1 calibration frames are few, 100 to 300 are usual",
    ]
    assert any("1 judged pictures were calibrated with" in one for one in frames.doubts(unlabelled(frame.parent, None)))


def test_folders_are_labels_by_name_or_number(tmp_path: Path) -> None:
    write(tmp_path / "dent" / "a.png")
    write(tmp_path / "0" / "b.png")
    found = labelled(tmp_path, "classification", LABELS, annotations=None, limit=None)
    assert [(Path(one.name).name, one.label) for one in found] == [("b.png", 0), ("a.png", 1)]
    with pytest.raises(DataError, match="folders that are no label of the model: dent"):
        labelled(tmp_path, "classification", ("good",), annotations=None, limit=None)


def coco(**changes: Any) -> dict[str, Any]:
    data = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "dent"}, {"id": 1, "name": "scratch"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }
    return {**data, **changes}


def test_coco_boxes_become_corners_by_the_names_of_the_labels_and_crowds_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "images" / "b.png")
    (tmp_path / "annotations.json").write_text(json.dumps(coco()))
    first, second = labelled(tmp_path, "detection", LABELS, annotations=None, limit=None)
    assert first.boxes is not None
    assert first.boxes.tolist() == [[1, 1, 2, 4, 6]]
    assert second.boxes is not None
    assert second.boxes.shape == (0, 5)
    assert first.read().shape == (8, 12, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "not COCO annotations"),
        ("{}", "KeyError: 'categories'"),
        (json.dumps(coco(categories=[{"id": 3, "name": "rust"}])), "KeyError: 'rust'"),
        (json.dumps(coco(images=[{"id": 7, "file_name": "gone.png"}])), "no picture gone.png"),
        ("not JSON", "JSONDecodeError"),
    ],
)
def test_annotations_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(DataError, match=message):
        labelled(tmp_path, "detection", LABELS, annotations=None, limit=None)


def test_several_json_files_are_no_guess(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match=r"expected one COCO \.json file, found 2"):
        labelled(tmp_path, "detection", LABELS, annotations=None, limit=None)


def package(task: str, score: float = 0.25) -> Any:
    limits = SimpleNamespace(score=score, by_label={})
    return SimpleNamespace(spec=SimpleNamespace(task=task, labels=LABELS, thresholds=limits))


def box(number: int, score: float, *corners: float) -> Prediction:
    x1, y1, x2, y2 = corners
    return Prediction(LABELS[number], score, (x1, y1, x2 - x1, y2 - y1), id=number)


def example(*rows: tuple[float, ...]) -> Example:
    return Example("e", lambda: np.zeros((1, 1), np.uint8), boxes=np.array(rows, np.float32).reshape(-1, 5))


def test_the_precision_of_boxes_is_that_of_coco_worked_out_by_hand() -> None:
    truth = [example((0, 0, 0, 10, 10), (0, 20, 20, 30, 30))]
    exact = box(0, 0.9, 0, 0, 10, 10)
    assert accuracy(Run(((exact, box(0, 0.8, 20, 20, 30, 30)),), (), 0), truth, package("detection")).value == 1.0
    # half of the truth found: precision 1 up to recall 0.5, which is 51 of 101 points, at every overlap
    half = accuracy(Run(((exact,),), (), 0), truth, package("detection"))
    assert half.value == pytest.approx(51 / 101)
    # an overlap of 0.8 counts from 0.5 to 0.8: 7 of 10 levels
    loose = accuracy(Run(((box(0, 0.9, 0, 0, 10, 8),),), (), 0), [example((0, 0, 0, 10, 10))], package("detection"))
    assert loose.value == pytest.approx(0.7)
    assert loose.map50 == 1.0
    # a wrong box before the right one halves its precision; a double of a found box is wrong
    wrong = box(0, 0.95, 50, 50, 60, 60)
    assert accuracy(
        Run(((wrong, exact),), (), 0), [example((0, 0, 0, 10, 10))], package("detection")
    ).value == pytest.approx(0.5)
    # the right place with the wrong label is nothing
    assert accuracy(Run(((box(1, 0.9, 0, 0, 10, 10),),), (), 0), truth, package("detection")).value == 0.0


def test_agreement_counts_boxes_above_the_threshold_that_have_a_partner() -> None:
    one, low = box(0, 0.9, 0, 0, 10, 10), box(0, 0.2, 50, 50, 60, 60)
    other = box(1, 0.9, 0, 0, 10, 10)
    both = package("detection")
    assert agreement(Run(((one, low),), (), 0), Run(((one,),), (), 0), both) == 1.0
    assert agreement(Run(((one,),), (), 0), Run(((other,),), (), 0), both) == 0.0
    assert agreement(Run(((one, one),), (), 0), Run(((one,),), (), 0), both) == pytest.approx(2 / 3)
    assert agreement(Run(((low,),), (), 0), Run(((),), (), 0), both) == 1.0
    assert seen(Run(((one, low),), (), 0), both) == 1


def test_classes_agree_by_the_first_label_and_a_refused_answer_is_none() -> None:
    first = Run(((Prediction("dent", 0.9, id=1),), (Prediction("scratch", 0.9, id=0),), ()), (), 1)
    second = Run(((Prediction("dent", 0.4, id=1),), (Prediction("dent", 0.9, id=1),), ()), (), 0)
    task = package("classification")
    assert agreement(first, second, task) == pytest.approx(2 / 3)
    truth = [Example("e", lambda: np.zeros((1, 1), np.uint8), label=label) for label in (1, 1, 0)]
    assert accuracy(first, truth, task).value == pytest.approx(1 / 3)


def test_other_tasks_are_compared_by_their_raw_outputs() -> None:
    a, b = np.array([3, 4], np.float32), np.array([3, 4.5], np.float32)
    assert agreement(Run((), (a,), 0), Run((), (b,), 0), package("segmentation")) == pytest.approx(0.9)


def test_the_renderers_own_files_are_labelled_pictures(tmp_path: Path) -> None:
    pictures = np.zeros((3, 4, 6, 3), np.uint8)
    pictures[1] = (10, 20, 30)  # RGB
    np.save(tmp_path / "test-images.npy", pictures)
    targets = [[], [[1, 0, 0, 3, 2]], []]
    (tmp_path / "test-boxes.json").write_text(json.dumps({"seed": 7, "targets": targets}))
    found = labelled(tmp_path, "detection", LABELS, annotations=None, limit=None)
    assert [len(one.boxes) for one in found if one.boxes is not None] == [0, 1, 0]
    assert found[1].read()[0, 0].tolist() == [30, 20, 10]
    with pytest.raises(DataError, match="not of this model's labels"):
        labelled(tmp_path, "detection", ("scratch",), annotations=None, limit=None)


def test_what_a_bare_file_says_about_itself_is_written_into_the_package(tmp_path: Path) -> None:
    metadata = {"author": "Ultralytics", "task": "classify", "names": "{0: 'red', 1: 'green', 2: 'blue'}"}
    onnx.save(colours(("batch", 3, "height", "width"), metadata={**metadata, "imgsz": "[32, 32]"}), tmp_path / "c.onnx")
    source = open_source(tmp_path / "c.onnx", from_int8=False)
    package = open_package(write_float(source, tmp_path / "fp32"))
    assert package.spec == source.package.spec
    assert package.ref.name == "c"
    assert {one.source for key, one in package.sources.items() if key in ("labels", "task", "input.color")} == {
        "edge-model.json"
    }
    assert [axis.dim_value for axis in source.model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 32, 32]


def test_half_precision_is_no_source(tmp_path: Path) -> None:
    metadata = {"author": "Ultralytics", "task": "classify", "names": "{0: 'red', 1: 'green', 2: 'blue'}"}
    onnx.save(colours((1, 3, 32, 32), onnx.TensorProto.FLOAT16, metadata), tmp_path / "half.onnx")
    with pytest.raises(DataError, match="expected fp32, found fp16"):
        open_source(tmp_path / "half.onnx", from_int8=False)
