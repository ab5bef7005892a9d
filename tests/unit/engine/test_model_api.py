"""`model_info`: every key that changes an answer is followed, or refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import PREDICTIONS_LIMIT
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata import Graph, model_api, resolve
from tests.unit.engine.test_metadata import manifest

IMAGE = TensorInfo("image", "float32", (1, 3, 64, 96))
LOGITS = TensorInfo("logits", "float32", (1, 3))
CLASSIFIER = {
    "model_type": "Classification",
    "labels": "good deep_scratch dent",
    "reverse_input_channels": "True",
    "mean_values": "123.675 116.28 103.53",
    "scale_values": "58.395 57.12 57.375",
    "resize_type": "standard",
}
TREE = {
    "cls_heads_info": {
        "num_multiclass_heads": 2,
        "num_multilabel_classes": 1,
        "head_idx_to_logits_range": {"0": [0, 2], "1": [2, 4]},
        "num_single_label_classes": 4,
        "class_to_group_idx": {},
        "all_groups": [["good", "bad"], ["scratch", "dent"], ["wet"]],
        "label_to_idx": {"good": 0, "bad": 1, "scratch": 2, "dent": 3, "wet": 4},
    },
    "label_tree_edges": [["scratch", "bad"], ["dent", "bad"]],
}


def stated(info: dict[str, str], *outputs: TensorInfo, image: TensorInfo = IMAGE) -> dict[str, object]:
    graph = Graph({f"model_info/{key}": value for key, value in info.items()}, [image], outputs or [LOGITS])
    return {key: value for key, value in model_api.stated(graph).items() if value is not None}


def output(*shape: int | None, name: str = "out", dtype: str = "float32") -> TensorInfo:
    return TensorInfo(name, dtype, shape)


def refused(info: dict[str, str], *outputs: TensorInfo, image: TensorInfo = IMAGE) -> str:
    graph = Graph({f"model_info/{key}": value for key, value in info.items()}, [image], outputs or [LOGITS])
    with pytest.raises(DataError) as caught:
        resolve(None, graph, "m.xml")
    assert caught.value.code == "model.unsupported"
    assert caught.value.help
    return caught.value.message


@pytest.mark.parametrize("form", ["model_info/{}", "model_info {}", "framework/model_info {}"])
def test_a_classifier_needs_nothing_else(form: str) -> None:
    graph = Graph({form.format(key): value for key, value in CLASSIFIER.items()}, [IMAGE], [LOGITS])
    spec, sources = resolve(None, graph, "m.xml")
    assert (spec.task, spec.decoder) == ("classification", "auto")
    assert spec.labels == ("good", "deep scratch", "dent")
    assert (spec.input.color, spec.input.resize) == ("RGB", "stretch")
    assert spec.input.pixel_mean == (123.675, 116.28, 103.53)
    assert spec.input.pixel_std == (58.395, 57.12, 57.375)
    assert sources["task"].source == "model_info"
    assert (spec.thresholds.score, spec.thresholds.max_predictions) == (0.0, 5)


def test_without_the_section_nothing_is_stated() -> None:
    assert model_api.stated(Graph({"labels": "a b"}, [IMAGE], [LOGITS])) == {}


def test_none_is_as_good_as_absent() -> None:
    assert "input.color" not in stated(CLASSIFIER | {"reverse_input_channels": "None"})
    assert stated(CLASSIFIER | {"hierarchical": "None", "topk": "None"})["decoder"] == "auto"


@pytest.mark.parametrize(
    ("text", "color"), [("True", "RGB"), ("YES", "RGB"), ("1", "RGB"), ("NO", "BGR"), ("False", "BGR")]
)
def test_reversed_channels_are_those_of_an_rgb_model(text: str, color: str) -> None:
    values = CLASSIFIER | {"reverse_input_channels": text, "mean_values": "127 127 127"}
    assert stated(values)["input.color"] == color


@pytest.mark.parametrize(
    ("mean", "color"),
    [
        ("123.675 116.28 103.53", "RGB"),
        ("0.485 0.456 0.406", "RGB"),
        ("103.53 116.28 123.675", "BGR"),
        ("0 0 0", None),
        ("", None),
    ],
)
def test_what_geti_does_not_reverse_is_told_by_the_mean_of_red(mean: str, color: str | None) -> None:
    info = CLASSIFIER | {"reverse_input_channels": "False", "mean_values": mean, "otx_version": "2.4"}
    assert stated(info).get("input.color") == color


def test_more_labels_than_usual_may_be_wanted_but_none_are_hidden() -> None:
    assert stated(CLASSIFIER | {"topk": "7"})["thresholds.max_predictions"] == 7
    assert "thresholds.max_predictions" not in stated(CLASSIFIER | {"topk": "1", "confidence_threshold": "0.5"})
    assert "thresholds.score" not in stated(CLASSIFIER | {"topk": "1", "confidence_threshold": "0.5"})
    assert stated(CLASSIFIER | {"topk": "123456"})["thresholds.max_predictions"] == PREDICTIONS_LIMIT


@pytest.mark.parametrize("text", ["inf", "nan", "-inf", "1e400", "many", ""])
def test_a_number_that_is_none_is_not_stated(text: str) -> None:
    assert "thresholds.max_predictions" not in stated(CLASSIFIER | {"topk": text})
    assert "thresholds.max_predictions" not in stated(SSD | {"nms_max_predictions": text}, output(1, 1, 200, 7))


def test_any_number_of_labels_may_be_present() -> None:
    found = stated(CLASSIFIER | {"multilabel": "True", "confidence_threshold": "0.35", "output_raw_scores": "True"})
    assert (found["decoder"], found["thresholds.score"]) == ("sigmoid", 0.35)


def hierarchical(config: object) -> dict[str, str]:
    return CLASSIFIER | {
        "hierarchical": "YES",
        "hierarchical_config": json.dumps(config),
        "confidence_threshold": "0.4",
    }


@pytest.mark.parametrize("postproc", ["greedy", "probabilistic"])
def test_a_tree_of_labels_is_read(postproc: str) -> None:
    graph_info = hierarchical(TREE) | {"hierarchical_postproc": postproc}
    graph = Graph({f"model_info/{key}": value for key, value in graph_info.items()}, [IMAGE], [output(1, 5)])
    spec, _ = resolve(None, graph, "m.xml")
    assert (spec.decoder, spec.thresholds.score) == ("hierarchical", 0.4)
    assert spec.labels == ("good", "bad", "scratch", "dent", "wet")
    assert spec.output.groups == (("good", "bad"), ("scratch", "dent"), ("wet",))
    assert spec.output.parents == {"scratch": "bad", "dent": "bad"}


def heads(**changes: Any) -> dict[str, Any]:
    return {**TREE, "cls_heads_info": {**TREE["cls_heads_info"], **changes}}  # type: ignore[dict-item]  # a mapping


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "not one: KeyError"),
        ([], "not one: TypeError"),
        ({**TREE, "label_tree_edges": [["a"]]}, "not one: ValueError"),
        (heads(num_multilabel_classes=2), r"heads of \[2, 2\] numbers and 2 alone, but groups of \[2, 2, 1\] labels"),
        (heads(num_multilabel_classes=10**12), "alone"),
        (heads(num_multiclass_heads="2"), "not one: TypeError"),
        (heads(head_idx_to_logits_range={"0": [0, 2], "1": ["2", "4"]}), "not one: TypeError"),
        (heads(all_groups=[["good", "bad"], ["scratch", "dent"], ["wet", "dry"]]), "groups of"),
        (heads(head_idx_to_logits_range={"0": [0, 2], "1": [0, 2]}), "heads of"),
        (heads(num_multiclass_heads=3, head_idx_to_logits_range={"0": [0, 2], "1": [2, 4], "2": [4, 5]}), "heads of"),
    ],
)
def test_a_tree_that_does_not_hold_together_is_refused(config: object, message: str) -> None:
    info = hierarchical(config)
    with pytest.raises(model_api.UnusableMetadataError, match=message):
        stated(info)
    assert "m.xml: model_info says hierarchical" in refused(info)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile_size": "400"}, "tile_size = 400"),
        ({"intensity_mode": "percentile"}, "intensity_mode = percentile"),
        ({"intensity_mode": "window"}, "intensity_mode = window"),
        ({"intensity_mode": "range_scale"}, "intensity_mode = range_scale"),
        ({"input_dtype": "u16"}, "input_dtype = u16"),
        ({"blur_strength": "5"}, "blur_strength = 5"),
        ({"agnostic_nms": "True"}, "agnostic_nms = True"),
        ({"embedded_processing": "True"}, "embedded_processing = True"),
    ],
)
def test_what_would_change_an_answer_and_is_not_built_is_refused(change: dict[str, str], message: str) -> None:
    assert f"m.xml: model_info says {message}" in refused(CLASSIFIER | change)


@pytest.mark.parametrize(
    "harmless", [{"blur_strength": "-1"}, {"agnostic_nms": "True", "nms_execute": "False"}, {"label_ids": "a b"}]
)
def test_what_changes_nothing_is_not_refused(harmless: dict[str, str]) -> None:
    assert stated(CLASSIFIER | harmless) == stated(CLASSIFIER)


def test_pixels_scaled_to_one_come_before_mean_and_scale() -> None:
    info = CLASSIFIER | {
        "intensity_mode": "scale_to_unit",
        "mean_values": "0.5 0.5 0.5",
        "scale_values": "0.25 0.25 0.25",
    }
    spec, _ = resolve(None, Graph({f"model_info/{k}": v for k, v in info.items()}, [IMAGE], [LOGITS]), "m")
    assert (spec.input.scale, spec.input.mean, spec.input.std) == (255.0, (0.5,) * 3, (0.25,) * 3)
    assert stated(info | {"intensity_max_value": "1023.0"})["input.scale"] == 1023.0


def test_pictures_of_floats_are_of_an_unknown_range() -> None:
    assert not {"input.scale", "input.mean", "input.std"} & stated(CLASSIFIER | {"input_dtype": "f32"}).keys()


def test_empty_lists_of_means_and_scales_are_a_statement() -> None:
    assert stated(CLASSIFIER | {"mean_values": "", "scale_values": ""})["input.scale"] == 1.0
    without = {key: value for key, value in CLASSIFIER.items() if key not in ("mean_values", "scale_values")}
    assert not {"input.scale", "input.mean", "input.std"} & stated(without).keys()


def test_labels_that_lie_in_a_file_elsewhere_are_not_stated() -> None:
    assert "labels" not in stated(CLASSIFIER | {"path_to_labels": "labels.txt"})


@pytest.mark.parametrize(
    ("text", "layout"), [("NCHW", "NCHW"), ("image:NHWC", "NHWC"), ("[N,C,H,W]", "NCHW"), ("NC", None)]
)
def test_the_layout_may_be_written_in_several_ways(text: str, layout: str | None) -> None:
    assert stated(CLASSIFIER | {"layout": text}).get("input.layout") == layout


@pytest.mark.parametrize(
    ("text", "word"), [("LINEAR", "linear"), ("CUBIC", "cubic"), ("NEAREST", "nearest"), ("AREA", None)]
)
def test_the_interpolation_is_followed(text: str, word: str | None) -> None:
    assert stated(CLASSIFIER | {"interpolation_mode": text}).get("input.interpolation") == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("standard", "stretch"),
        ("crop", "crop"),
        ("fit_to_window", "fit"),
        ("fit_to_window_letterbox", "letterbox"),
        ("x", None),
    ],
)
def test_the_resize_is_followed(text: str, word: str | None) -> None:
    square = TensorInfo("image", "float32", (1, 3, 64, 64))
    assert stated(CLASSIFIER | {"resize_type": text}, image=square).get("input.resize") == word


def test_a_crop_that_model_api_does_another_way_is_not_stated() -> None:
    assert "input.resize" not in stated(CLASSIFIER | {"resize_type": "crop"})


def test_a_model_with_its_preparation_inside_takes_pictures_as_they_are() -> None:
    raw = TensorInfo("image", "uint8", (1, None, None, 3))
    info = CLASSIFIER | {"embedded_processing": "True", "orig_height": "64", "orig_width": "96"}
    spec, _ = resolve(None, Graph({f"model_info/{k}": v for k, v in info.items()}, [raw], [LOGITS]), "m")
    assert (spec.input.size, spec.input.color, spec.input.layout) == ((64, 96), "BGR", "NHWC")
    assert spec.input.is_raw
    assert "embedded_processing" in refused(info)  # an input of floats
    assert "embedded_processing" in refused(CLASSIFIER | {"embedded_processing": "True"}, image=raw)


SSD = {"model_type": "SSD", "labels": "a b", "confidence_threshold": "0.3", "iou_threshold": "0.6"}


@pytest.mark.parametrize("kind", ["SSD", "ssd", "detection_output"])
def test_rows_of_seven_are_fractions_that_are_not_suppressed_again(kind: str) -> None:
    found = stated(SSD | {"model_type": kind}, output(1, 1, 200, 7))
    assert (found["task"], found["decoder"], found["output.normalized"]) == ("detection", "ssd", True)
    assert (found["thresholds.score"], found["thresholds.iou"]) == (0.3, 1.0)


def test_suppression_is_done_when_it_is_asked_for() -> None:
    found = stated(SSD | {"nms_execute": "True", "nms_max_predictions": "50"}, output(1, 1, 200, 7))
    assert (found["thresholds.iou"], found["thresholds.max_predictions"]) == (0.6, 50)
    assert "thresholds.max_predictions" not in stated(SSD | {"nms_max_predictions": "0"}, output(1, 1, 200, 7))


@pytest.mark.parametrize(
    ("outputs", "normalized"),
    [
        ((output(1, 100, 5, name="boxes"), output(1, 100, name="labels")), False),
        ((output(1, 100, 4, name="bboxes"), output(1, 100, name="scores"), output(1, 100, name="labels")), True),
    ],
)
def test_lists_of_boxes_are_in_pixels_only_with_their_score(outputs: tuple[TensorInfo, ...], normalized: bool) -> None:  # noqa: FBT001 - a case
    found = stated(SSD, *outputs)
    assert (found["decoder"], found["output.normalized"]) == ("boxes", normalized)


@pytest.mark.parametrize("kind", ["YOLO", "YOLOv5", "YOLOv8", "yolo_v8", "YOLO11", "yolo26"])
@pytest.mark.parametrize(("shape", "decoder"), [((1, 6, 8400), "yolo"), ((1, 300, 6), "end2end")])
def test_a_yolo_is_told_by_its_output(kind: str, shape: tuple[int, ...], decoder: str) -> None:
    found = stated({"model_type": kind, "labels": "a b", "iou_threshold": "0.7"}, output(*shape))
    assert (found["task"], found["decoder"]) == ("detection", decoder)
    assert found.get("thresholds.iou") == (0.7 if decoder == "yolo" else None)


@pytest.mark.parametrize(
    "outputs",
    [
        (output(1, 57, 8400),),  # a pose head: 4 + 2 + 17 * 3
        (output(1, 255, 26, 26), output(1, 255, 13, 13)),  # Model API's own YOLO
        (output(1, 38, 8400), output(1, 32, 160, 160)),  # with masks
        (output(1, 2),),  # a classifier of Ultralytics
    ],
)
def test_another_yolo_is_not_taken_for_a_detector(outputs: tuple[TensorInfo, ...]) -> None:
    assert "task" not in stated({"model_type": "YOLO", "labels": "a b"}, *outputs)


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("YOLOX", ("detection", "yolox")),
        ("YOLO-seg", ("instance_segmentation", "yolo")),
        ("MaskRCNN", ("instance_segmentation", "maskrcnn")),
        ("rotated_detection", ("instance_segmentation", "maskrcnn")),
    ],
)
def test_other_families_are_told_by_their_name(kind: str, family: tuple[str, str]) -> None:
    found = stated({"model_type": kind})
    assert (found["task"], found["decoder"]) == family


def test_the_first_label_of_a_mask_rcnn_stands_for_nothing() -> None:
    found = stated({"model_type": "MaskRCNN", "labels": "otx_empty_lbl deep_scratch dent"}, output(100, 5))
    assert (found["labels"], found["output.background"]) == (("deep scratch", "dent"), "none")
    assert found["thresholds.iou"] == 1.0


@pytest.mark.parametrize(
    ("shape", "background"), [((1, 3, 64, 96), "first"), ((1, 2, 64, 96), "none"), ((1, 64, 96), "first")]
)
def test_areas_have_a_background_unless_there_is_a_label_for_each_class(
    shape: tuple[int, ...], background: str
) -> None:
    found = stated({"model_type": "Segmentation", "labels": "scratch dent", "soft_threshold": "0.5"}, output(*shape))
    assert (found["task"], found["decoder"], found["output.background"]) == (
        "semantic_segmentation",
        "argmax",
        background,
    )


def test_labels_of_keypoints_are_those_of_points() -> None:
    info = {"model_type": "keypoint_detection", "labels": "nose left_eye"}
    found = stated(info, output(1, 2, 192, name="x"), output(1, 2, 128, name="y"))
    assert (found["task"], found["decoder"], found["labels"]) == ("keypoints", "simcc", ("object",))
    assert (found["output.keypoints"], found["output.activation"]) == (("nose", "left eye"), "softmax")
    assert found["output.names"] == {"x": "x", "y": "y"}
    assert stated(info | {"apply_softmax": "False"})["output.activation"] == "none"
    assert "output.names" not in stated(info)


@pytest.mark.parametrize("kind", ["YOLOV4", "YOLOF", "DETRInstSeg", "sam_decoder", "Action Classification", ""])
def test_a_family_that_is_not_built_states_no_task(kind: str) -> None:
    found = stated({"model_type": kind, "confidence_threshold": "0.2", "iou_threshold": "0.4"})
    assert found == {"thresholds.score": 0.2, "thresholds.iou": 0.4}


ANOMALY = {
    "model_type": "AnomalyDetection",
    "labels": "Normal Anomaly",
    "image_threshold": "12.5",
    "pixel_threshold": "10",
    "normalization_scale": "40",
    "task": "segmentation",
}


def test_an_anomaly_map_is_normalised_as_model_api_does() -> None:
    found = stated(ANOMALY, output(1, 1, 64, 96))
    assert (found["task"], found["decoder"]) == ("anomaly", "anomaly_map")
    assert found["labels"] == ("Normal", "Anomaly", "anomalous region")
    assert [found[f"output.{one}"] for one in ("image_threshold", "pixel_threshold", "normalization_scale")] == [
        12.5,
        10,
        40,
    ]


def test_all_outputs_of_anomalib_are_taken_as_they_are() -> None:
    names = ("pred_score", "pred_label", "pred_mask", "anomaly_map")
    found = stated({"model_type": "AnomalyDetection"}, *(output(1, 1, name=name) for name in names))
    assert found["decoder"] == "anomalib"
    assert "labels" not in found


def test_a_decoder_of_another_family_is_refused() -> None:
    graph = Graph({f"model_info/{key}": value for key, value in CLASSIFIER.items()}, [IMAGE], [LOGITS])
    with pytest.raises(DataError, match=r"decoder 'auto' \(from model_info\) is none of task 'detection'") as caught:
        resolve(manifest(task="detection"), graph, "m.xml")
    assert caught.value.code == "model.unsupported"


def test_models_of_anomalib_2_are_told_by_the_names_of_their_outputs() -> None:
    image = TensorInfo("input", "float32", (None, 3, 64, 64))
    outputs = [output(None, 1, name="pred_score"), output(None, 1, 64, 64, name="anomaly_map")]
    spec, sources = resolve(None, Graph({}, [image], outputs), "m.xml")
    assert (spec.task, spec.decoder, spec.labels) == (
        "anomaly",
        "anomalib",
        ("normal", "anomalous", "anomalous region"),
    )
    assert (spec.input.color, spec.input.scale, spec.input.resize) == ("RGB", 255, "stretch")
    assert sources["task"].source == "Anomalib's outputs"


@pytest.mark.parametrize(
    ("image", "outputs"),
    [
        (TensorInfo("input", "float32", (1, 3, 64, 64)), [output(1, 1, name="pred_score"), output(1, 1, name="other")]),
        (TensorInfo("input", "float32", (1, 3, 64, 64)), [output(1, 1, name="pred_label")]),
        (TensorInfo("input", "uint8", (1, 3, 64, 64)), [output(1, 1, name="pred_score")]),
    ],
)
def test_other_models_are_not_taken_for_anomalibs(image: TensorInfo, outputs: list[TensorInfo]) -> None:
    with pytest.raises(DataError, match="not stated anywhere: task"):
        resolve(None, Graph({}, [image], outputs), "m.xml")
