from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata import Graph, Sourced, other_labels, resolve, ultralytics
from tests.unit.engine.test_metadata import ULTRALYTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.engine.spec import ModelSpec

IMAGE = TensorInfo("images", "float32", (1, 3, 480, 640))
Shape = tuple[int | None, ...]


def graph(metadata: Mapping[str, str], *shapes: Shape, image: TensorInfo = IMAGE) -> Graph:
    named = [TensorInfo(f"output{i}", "float32", shape) for i, shape in enumerate(shapes or ((1, 6, 6300),))]
    return Graph(metadata, [image], named)


def resolved(metadata: Mapping[str, str], *shapes: Shape) -> tuple[ModelSpec, dict[str, Sourced]]:
    return resolve(None, graph(metadata, *shapes), "m.onnx")


def test_an_ultralytics_model_needs_nothing_else() -> None:
    spec, sources = resolved(ULTRALYTICS)

    assert (spec.task, spec.decoder, spec.labels) == ("detection", "yolo", ("scratch", "dent"))
    assert (spec.input.color, spec.input.resize, spec.input.scale, spec.input.pad) == ("RGB", "letterbox", 255, 114)
    assert (spec.input.size, spec.input.layout, spec.input.interpolation) == ((480, 640), "NCHW", "linear")
    assert spec.output.boxes == "cxcywh"
    assert sources["labels"] == Sourced(("scratch", "dent"), "Ultralytics metadata")
    assert sources["input.layout"].source == "graph"
    assert sources["thresholds.iou"] == Sourced(0.7, "Ultralytics metadata")
    assert sources["thresholds.score"] == Sourced(0.25, "default")


@pytest.mark.parametrize("change", [{"end2end": "True"}, {"args": "{'nms': True}"}])
def test_a_head_that_suppresses_is_end_to_end(change: dict[str, str]) -> None:
    spec, _ = resolved({**ULTRALYTICS, **change})
    assert (spec.decoder, spec.output.boxes, spec.thresholds.iou) == ("end2end", "xyxy", 1.0)


@pytest.mark.parametrize(("end2end", "decoder", "iou"), [("False", "yolo", 0.7), ("True", "end2end", 1.0)])
def test_turned_boxes_are_known(end2end: str, decoder: str, iou: float) -> None:
    spec, _ = resolved({**ULTRALYTICS, "task": "obb", "head": "OBB", "end2end": end2end})
    assert (spec.task, spec.decoder, spec.output.boxes) == ("oriented_detection", decoder, "cxcywh")
    assert (spec.thresholds.iou, spec.thresholds.score) == (iou, 0.25)


def test_a_classifier_sees_what_torchvision_shows_it() -> None:
    spec, _ = resolved({**ULTRALYTICS, "task": "classify", "imgsz": "[480, 640]"})
    assert (spec.task, spec.decoder, spec.input.resize) == ("classification", "probabilities", "stretch")
    assert (spec.input.interpolation, spec.thresholds.max_predictions) == ("antialias", 5)
    square = graph({**ULTRALYTICS, "task": "classify", "imgsz": "[224, 224]"})
    assert ultralytics.stated(square)["input.resize"] == "crop"
    assert ultralytics.stated(graph({"author": "Ultralytics", "task": "classify"}))["input.resize"] == "crop"


@pytest.mark.parametrize(
    ("task", "family", "decoder"),
    [
        ("pose", "keypoints", "yolo"),
        ("segment", "instance_segmentation", "yolo"),
        ("semantic", "semantic_segmentation", "argmax"),
    ],
)
def test_each_task_has_its_family(monkeypatch: pytest.MonkeyPatch, task: str, family: str, decoder: str) -> None:
    monkeypatch.setitem(ultralytics.DECODERS, family, (decoder, "end2end"))
    values = ultralytics.stated(graph({**ULTRALYTICS, "task": task}))
    assert (values["task"], values["decoder"], values["input.resize"]) == (family, decoder, "letterbox")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"kpt_shape": "[2, 3]", "kpt_names": "{0: ['nose', 'tail']}"}, ("nose", "tail")),
        ({"kpt_shape": "(2, 2)", "kpt_names": "['nose', 'tail']"}, ("nose", "tail")),
        ({"kpt_shape": "[2, 3]", "kpt_names": "{0: ['nose', 'tail'], 1: ['front', 'back']}"}, ("0", "1")),
        ({"kpt_shape": "[2, 3]", "kpt_names": "{0: ['nose']}"}, ("0", "1")),
        ({"kpt_shape": "[2, 3]", "kpt_names": "{}"}, ("0", "1")),
        ({"kpt_shape": "[2, 3]"}, ("0", "1")),
        ({"kpt_shape": "[]"}, None),
        ({"kpt_shape": "['a']"}, None),
        ({"kpt_shape": "[1000000000, 3]"}, None),
        ({}, None),
    ],
)
def test_keypoints_have_names_or_numbers(
    monkeypatch: pytest.MonkeyPatch, metadata: dict[str, str], expected: tuple[str, ...] | None
) -> None:
    monkeypatch.setitem(ultralytics.DECODERS, "keypoints", ("yolo",))
    assert ultralytics.stated(graph({**ULTRALYTICS, "task": "pose", **metadata}))["output.keypoints"] == expected


def test_rt_detr_is_told_by_its_head_or_by_its_axes() -> None:
    spec, _ = resolved({**ULTRALYTICS, "head": "RTDETRDecoder"}, (1, 300, 6))
    assert (spec.decoder, spec.output.boxes, spec.output.normalized) == ("end2end", "cxcywh", True)
    assert (spec.input.resize, spec.thresholds.iou) == ("stretch", 1.0)

    three = {**ULTRALYTICS, "names": "{0: 'a', 1: 'b', 2: 'c'}"}
    old = {key: value for key, value in three.items() if key != "head"}
    spec, _ = resolved(old, (1, 300, 7))
    assert (spec.decoder, spec.output.activation, spec.output.normalized) == ("detr", "none", True)
    spec, _ = resolved(old, (1, 7, 6300))
    assert spec.decoder == "yolo"
    spec, _ = resolved(old, (1, 7, 7))  # could be either: the usual one
    assert spec.decoder == "yolo"


def test_a_task_nobody_knows_is_not_guessed() -> None:
    with pytest.raises(DataError, match=r"not stated anywhere: task, decoder, input\.resize"):
        resolved({**ULTRALYTICS, "task": "depth"})


@pytest.mark.parametrize(("channels", "color"), [("1", "GRAY"), ("3", "RGB"), ("4", None)])
def test_colours_follow_the_channels(channels: str, color: str | None) -> None:
    assert ultralytics.stated(graph({**ULTRALYTICS, "channels": channels}))["input.color"] == color


def test_a_model_of_yolov5_itself_is_known_by_its_keys_and_its_output() -> None:
    metadata = {"stride": "32", "names": "{0: 'scratch', 1: 'dent'}"}
    spec, _ = resolved(metadata, (1, 18900, 7))
    assert (spec.task, spec.decoder, spec.labels) == ("detection", "yolov5", ("scratch", "dent"))
    assert (spec.input.color, spec.input.resize, spec.input.scale, spec.thresholds.iou) == (
        "RGB",
        "letterbox",
        255,
        0.45,
    )
    spec, _ = resolved({"stride": "32", "names": "['scratch', 'dent']"}, (1, 18900, 7))
    assert spec.labels == ("scratch", "dent")
    with pytest.raises(DataError, match="not stated anywhere: task"):
        resolved(metadata, (1, 18900, 8))
    with pytest.raises(DataError, match="not stated anywhere: task"):
        resolved({"names": metadata["names"]}, (1, 18900, 7))


def test_an_ir_made_from_an_ultralytics_model_keeps_its_keys_and_normalises_once() -> None:
    metadata = {f"framework/{key}": value for key, value in ULTRALYTICS.items()}
    metadata |= {"model_info/scale_values": "255.0", "model_info/model_type": "YOLO"}
    spec, _ = resolved(metadata)
    assert spec.input.pixel_std == (255.0, 255.0, 255.0)


MODEL_INFO = {
    "model_info/model_type": "YOLO",
    "model_info/labels": "deep_scratch dent",
    "model_info/reverse_input_channels": "YES",
    "model_info/scale_values": "255",
    "model_info/pad_value": "114",
    "model_info/resize_type": "fit_to_window_letterbox",
    "model_info/iou_threshold": "0.6",
}


def beside(**changes: str) -> dict[str, str]:
    values = {**ULTRALYTICS, "names": "{0: 'deep scratch', 1: 'dent'}", **changes}
    return {f"metadata.yaml/{key}": value for key, value in values.items()}


def test_the_file_beside_an_ir_says_more_than_the_model_and_spells_it_right() -> None:
    metadata = {
        **MODEL_INFO,
        "model_info/labels": "deep_scratch dent_",
        **beside(names="{0: 'deep_scratch', 1: 'dent '}"),
    }
    spec, sources = resolved({**metadata, **beside(names="{0: 'deep_scratch', 1: 'dent '}", task="obb")})
    assert (spec.task, spec.labels) == ("oriented_detection", ("deep_scratch", "dent "))
    assert sources["labels"].source == sources["task"].source == "metadata.yaml"
    assert sources["thresholds.iou"] == Sourced(0.6, "model_info")
    notes = other_labels(graph(metadata), spec.labels)
    assert notes == ("labels in model_info are not used: it has 'deep scratch' for 'deep_scratch'",)


def test_a_file_beside_that_belongs_to_another_model_is_not_used() -> None:
    metadata = {**MODEL_INFO, **beside(names="{0: 'cat', 1: 'dog'}")}
    spec, sources = resolved(metadata)
    assert spec.labels == ("deep scratch", "dent")
    assert sources["labels"].source == "model_info"
    assert other_labels(graph(metadata), spec.labels) == (
        "metadata.yaml beside the model is not used: its labels are not those of the model",
    )


def test_labels_of_another_source_are_noted() -> None:
    metadata = {**ULTRALYTICS, "labels": "a\nb\nc", "labels.txt/labels": "scratch\ndent\r"}
    spec, _ = resolved(metadata)
    assert other_labels(graph(metadata), spec.labels) == ("labels in metadata are not used: it has 'a' for 'scratch'",)
    fewer = {**ULTRALYTICS, "labels.txt/labels": "scratch"}
    assert other_labels(graph(fewer), spec.labels) == ("labels in labels.txt are not used: it has 1 labels, not 2",)
