from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import parse_manifest
from edge_runtime.core.result import PREDICTIONS_LIMIT
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata import Graph, Sourced, resolve

if TYPE_CHECKING:
    from edge_runtime.engine.spec import ModelSpec

IMAGE = TensorInfo("images", "float32", (1, 3, 480, 640))
HEAD = TensorInfo("output0", "float32", (1, 6, 6300))
ULTRALYTICS = {
    "author": "Ultralytics",
    "task": "detect",
    "head": "Detect",
    "imgsz": "[480, 640]",
    "names": "{0: 'scratch', 1: 'dent'}",
    "args": "{'nms': False}",
    "end2end": "False",
}


def manifest(**values: Any) -> Any:
    weights = {"file": "m.onnx", "sha256": "ab" * 32}
    data = {"schema": "edge-model/1", "name": "m", "version": "1", "weights": weights, **values}
    return parse_manifest(json.dumps(data).encode())


FULL = {
    "task": "detection",
    "decoder": "yolo",
    "labels": ["a", "b"],
    "input": {"color": "BGR", "resize": "fit", "scale": 255},
}


def resolved(
    stated: dict[str, Any] | None = None,
    metadata: dict[str, str] | None = None,
    image: TensorInfo = IMAGE,
    head: TensorInfo = HEAD,
) -> tuple[ModelSpec, dict[str, Sourced]]:
    given = None if stated is None else manifest(**stated)
    return resolve(given, Graph(metadata or {}, [image], [head]), "m.onnx")


MODEL_INFO = {
    "model_info/model_type": "YOLO",
    "model_info/labels": "deep_scratch dent",
    "model_info/reverse_input_channels": "YES",
    "model_info/scale_values": "[255]",
    "model_info/mean_values": "1 2 3",
    "model_info/pad_value": "114",
    "model_info/resize_type": "fit_to_window_letterbox",
    "model_info/confidence_threshold": "0.4",
    "model_info/iou_threshold": "0.6",
}


def test_model_info_alone_describes_a_detector() -> None:
    spec, _ = resolved(metadata=MODEL_INFO)
    assert (spec.decoder, spec.labels) == ("yolo", ("deep scratch", "dent"))
    assert (spec.input.color, spec.input.resize, spec.input.pixel_mean) == ("RGB", "letterbox", (1, 2, 3))
    assert (spec.thresholds.score, spec.thresholds.iou) == (0.4, 0.6)
    finished, _ = resolved(metadata=MODEL_INFO, head=TensorInfo("o", "float32", (1, 300, 6)))
    assert finished.decoder == "end2end"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("confidence_threshold", "50", "thresholds.score: expected a number from 0 to 1, found the number 50.0"),
        ("confidence_threshold", "nan", "thresholds.score: expected a number from 0 to 1, found the number nan"),
        ("iou_threshold", "-1", "thresholds.iou: expected a number from 0 to 1"),
        ("pad_value", "999", "input.pad: expected a whole number from 0 to 255, found the number 999"),
        ("pad_value", "9" * 5000, "input.pad: expected a whole number from 0 to 255, found the number inf"),
        ("pad_value", "0.5", "input.pad: expected a whole number from 0 to 255, found the number 0.5"),
        ("scale_values", "0", "input.std: expected a list of 1 or 3 numbers from 1e-06"),
        ("mean_values", "1 2", "input.mean: expected a list of 1 or 3 numbers"),
    ],
)
def test_values_that_a_model_states_are_held_to_the_limits_of_a_manifest(key: str, value: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        resolved(metadata={**MODEL_INFO, f"model_info/{key}": value})
    assert caught.value.code == "model.wrong_value"
    assert expected in caught.value.message
    assert "(from model_info)" in caught.value.message
    assert "edge-model.json" in str(caught.value)


def test_labels_of_a_model_are_held_to_the_limits_of_a_manifest() -> None:
    stated = {key: value for key, value in FULL.items() if key != "labels"}
    for listed in ("[]", "['\\ud800']", "a\n" + "b" * 300):
        with pytest.raises(DataError, match=r"labels: expected .*\(from metadata\)"):
            resolved(stated, {"labels": listed})


def test_a_picture_that_is_too_large_is_refused() -> None:
    with pytest.raises(DataError, match=r"input\.size: expected .* from 1 to 8192, found a list \(from graph\)"):
        resolved(FULL, image=TensorInfo("images", "float32", (1, 3, 1 << 20, 640)))


def test_channels_of_the_graph_bound_the_normalisation_of_the_manifest() -> None:
    stated = {**FULL, "input": {"resize": "fit", "mean": [1, 2, 3]}}
    with pytest.raises(DataError, match=r"input\.mean: expected one number for a grey model"):
        resolved(stated, image=TensorInfo("x", "float32", (1, 1, 480, 640)))


@pytest.mark.parametrize(
    ("change", "missing"), [({"names": "{0: 'a', '1': 'b'}"}, "labels"), ({"imgsz": "[None, 'a']"}, "input.size")]
)
def test_metadata_of_other_types_than_expected_states_nothing(change: dict[str, str], missing: str) -> None:
    image = TensorInfo("images", "float32", (1, 3, None, None))
    with pytest.raises(DataError, match=rf"not stated anywhere: {missing}"):
        resolved(metadata={**ULTRALYTICS, **change}, image=image)


def test_the_manifest_wins_over_the_model() -> None:
    spec, sources = resolved(FULL, ULTRALYTICS)
    assert (spec.input.color, spec.input.resize, spec.labels) == ("BGR", "fit", ("a", "b"))
    assert sources["labels"].source == "edge-model.json"


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ({"character": "0\n90\n180"}, ("0", "90", "180")),
        ({"labels": "['ok', 'not ok']"}, ("ok", "not ok")),
        ({"classes": "a\nb"}, ("a", "b")),
    ],
)
def test_labels_are_found_under_plain_keys(metadata: dict[str, str], labels: tuple[str, ...]) -> None:
    spec, sources = resolved({key: value for key, value in FULL.items() if key != "labels"}, metadata)
    assert spec.labels == labels
    assert sources["labels"].source == "metadata"


def test_what_nobody_states_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(DataError) as caught:
        resolved()
    assert caught.value.code == "model.ambiguous"
    assert "task, decoder, labels, input.color, input.resize, input.scale" in caught.value.message
    assert '"scale": 255' in str(caught.value)
    assert "edge-model.json" in str(caught.value)


@pytest.mark.parametrize("key", ["color", "resize", "scale"])
def test_preprocessing_is_never_guessed(key: str) -> None:
    stated = {**FULL, "input": {name: value for name, value in FULL["input"].items() if name != key}}
    with pytest.raises(DataError, match=rf"not stated anywhere: input\.{key}"):
        resolved(stated)


def test_one_statement_about_normalisation_is_one_about_all_of_it() -> None:
    spec, _ = resolved({**FULL, "input": {"color": "BGR", "resize": "fit", "mean": [127], "std": [128]}})
    assert (spec.input.pixel_mean, spec.input.pixel_std) == ((127,) * 3, (128,) * 3)


def test_a_decoder_tells_its_task() -> None:
    without = {key: value for key, value in FULL.items() if key != "task"}
    spec, sources = resolved({**without, "decoder": "nanodet"})
    assert spec.task == "detection"
    assert sources["task"].source == "default"
    with pytest.raises(DataError, match="not stated anywhere: task"):
        resolved(without)  # turned boxes are written by a decoder yolo, too


def test_multi_label_classifiers_have_a_threshold_by_default() -> None:
    spec, _ = resolved({**FULL, "task": "classification", "decoder": "sigmoid"})
    assert (spec.thresholds.score, spec.thresholds.max_predictions) == (0.5, PREDICTIONS_LIMIT)


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_an_input_of_whole_numbers_takes_pixels_as_they_are(dtype: str) -> None:
    image = TensorInfo("x", dtype, (1, 480, 640, 3))
    spec, _ = resolved({**FULL, "input": {"color": "BGR", "resize": "fit"}}, image=image)
    assert (spec.input.layout, spec.input.is_raw, spec.input.shape) == ("NHWC", True, (1, 480, 640, 3))


@pytest.mark.parametrize("stated", [{"scale": 255}, {"mean": [127]}, {"std": [2, 2, 2]}])
def test_an_input_of_whole_numbers_takes_no_normalisation(stated: dict[str, Any]) -> None:
    image = TensorInfo("x", "int32", (1, 480, 640, 3))
    with pytest.raises(DataError, match="takes pixels as they are") as caught:
        resolved({**FULL, "input": {"color": "BGR", "resize": "fit", **stated}}, image=image)
    assert caught.value.code == "model.wrong_input"


def test_one_channel_means_grey() -> None:
    image = TensorInfo("x", "float32", (1, 1, 480, 640))
    spec, sources = resolved({**FULL, "input": {"resize": "fit", "scale": 255}}, image=image)
    assert (spec.input.color, spec.input.channels) == ("GRAY", 1)
    assert sources["input.color"].source == "graph"


def test_an_open_size_is_taken_from_the_manifest() -> None:
    image = TensorInfo("x", "float32", (None, 3, None, None))
    spec, _ = resolved({**FULL, "input": {**FULL["input"], "size": [96, 128]}}, image=image)
    assert spec.input.size == (96, 128)
    with pytest.raises(DataError, match=r"not stated anywhere: input\.size"):
        resolved(FULL, image=image)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([], "expected one input"),
        ([IMAGE, IMAGE], "expected one input"),
        ([TensorInfo("x", "float32", (1, 27))], "expected an input of 4 axes"),
        ([TensorInfo("x", "float32", None)], "expected an input of 4 axes"),
        ([TensorInfo("x", "int64", (1, 3, 8, 8))], "expected an input of float32, float16, uint8, int32"),
        ([TensorInfo("x", "float32", (2, 3, 8, 8))], "expected a batch of 1"),
    ],
)
def test_a_model_of_something_else_than_one_picture_is_refused(inputs: list[TensorInfo], expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        resolve(manifest(**FULL), Graph({}, inputs, [HEAD]), "m.onnx")
    assert caught.value.code == "model.wrong_input"


@pytest.mark.parametrize(
    ("stated", "shape", "expected"),
    [
        ({"size": [640, 640]}, (1, 3, 480, 640), r"input.size \[640, 640\] does not fit"),
        ({"size": [480, 640], "color": "GRAY"}, (1, 3, 480, 640), "input.color GRAY does not fit"),
        ({"color": "RGB"}, (1, 1, 480, 640), "input.color RGB does not fit"),
        ({"layout": "NHWC"}, (1, 3, 480, 640), "expected 1 or 3 channels, NHWC makes"),
        ({"layout": "NCHW"}, (1, 4, 480, 640), "expected 1 or 3 channels, NCHW makes"),
    ],
)
def test_a_manifest_that_contradicts_the_graph_is_refused(
    stated: dict[str, Any], shape: tuple[int, ...], expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        resolved({**FULL, "input": {**FULL["input"], **stated}}, image=TensorInfo("x", "float32", shape))


def test_a_layout_that_could_be_either_must_be_stated() -> None:
    with pytest.raises(DataError, match=r"not stated anywhere: input\.size, input\.layout"):
        resolved(FULL, image=TensorInfo("x", "float32", (1, 3, 100, 3)))


@pytest.mark.parametrize("text", ["{", "[1,", "x" * (1 << 20), "(" * 10_000])
def test_metadata_that_is_no_python_is_not_evaluated(text: str) -> None:
    with pytest.raises(DataError, match="labels"):
        resolved(metadata={**ULTRALYTICS, "names": text, "imgsz": text, "args": text})


def test_model_info_numbers_that_are_none_are_not_used() -> None:
    spec, _ = resolved(metadata={**ULTRALYTICS, "model_info/scale_values": "None", "model_info/labels": ""})
    assert spec.input.scale == 255


def test_a_model_of_a_table_is_told_that_only_pictures_are_judged() -> None:
    with pytest.raises(DataError) as caught:
        resolved(FULL, image=TensorInfo("x", "float32", (1, 27)))
    assert "only pictures are judged" in str(caught.value.help)


def test_models_that_measure_need_names_only_and_raw_ones_not_even_these() -> None:
    measures = {"task": "regression", "labels": ["width"], "input": FULL["input"]}
    spec, _ = resolved({**measures, "decoder": "values"})
    assert (spec.labels, spec.thresholds.score) == (("width",), 0.0)
    spec, sources = resolved({"task": "raw", "decoder": "tensors", "input": FULL["input"]})
    assert (spec.labels, sources["labels"].source, spec.thresholds.max_predictions) == (
        (),
        "default",
        PREDICTIONS_LIMIT,
    )


def test_labels_of_a_hierarchy_are_those_of_its_groups() -> None:
    stated = {"task": "classification", "decoder": "hierarchical", "input": FULL["input"]}
    spec, _ = resolved({**stated, "output": {"groups": [["good", "bad"], ["wet"]], "parents": {"wet": "bad"}}})
    assert spec.labels == ("good", "bad", "wet")
    assert (spec.output.groups, spec.output.parents) == ((("good", "bad"), ("wet",)), {"wet": "bad"})
