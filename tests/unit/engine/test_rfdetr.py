from __future__ import annotations

import json

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import parse_manifest
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata import Graph, resolve
from edge_runtime.engine.metadata.rfdetr import stated

IMAGE = TensorInfo("input", "float32", (1, 3, 384, 384))
DETS = TensorInfo("dets", "float32", (1, 300, 4))
LABELS = TensorInfo("0", "float32", (1, 300, 3), frozenset({"0", "labels"}))


def test_rf_detr_needs_its_labels_only() -> None:
    weights = {"file": "m.onnx", "sha256": "ab" * 32}
    data = {"schema": "edge-model/1", "name": "m", "version": "1", "weights": weights, "labels": ["a", "b", "c"]}
    spec, sources = resolve(parse_manifest(json.dumps(data).encode()), Graph({}, [IMAGE], [DETS, LABELS]), "m.onnx")
    assert (spec.task, spec.decoder, spec.input.size) == ("detection", "detr", (384, 384))
    assert (spec.input.color, spec.input.resize, spec.input.interpolation) == ("RGB", "stretch", "linear")
    assert spec.input.pixel_mean == pytest.approx((123.675, 116.28, 103.53))
    assert spec.input.pixel_std == pytest.approx((58.395, 57.12, 57.375))
    assert (spec.output.activation, spec.output.background) == ("sigmoid", "none")
    assert (spec.output.boxes, spec.output.normalized) == ("cxcywh", True)
    assert spec.output.names == {"boxes": "dets", "scores": "labels"}
    assert (spec.thresholds.score, spec.thresholds.iou) == (0.5, 1.0)
    assert sources["decoder"].source == "RF-DETR's outputs"


def test_labels_are_not_invented() -> None:
    with pytest.raises(DataError, match="not stated anywhere: labels;"):
        resolve(None, Graph({}, [IMAGE], [DETS, LABELS]), "m.onnx")


@pytest.mark.parametrize(
    "outputs",
    [
        [DETS],
        [LABELS],
        [TensorInfo("dets", "float32", (1, 300, 5)), LABELS],
        [TensorInfo("dets", "float32", None), LABELS],
        [DETS, TensorInfo("labels", "int64", (300,))],
    ],
)
def test_outputs_that_only_sound_alike_are_something_else(outputs: list[TensorInfo]) -> None:
    assert stated(Graph({}, [IMAGE], outputs)) == {}


def test_masks_beside_the_boxes_are_another_task() -> None:
    masks = TensorInfo("masks", "float32", (1, 300, 96, 96))
    values = stated(Graph({}, [IMAGE], [DETS, LABELS, masks]))
    assert values["input.resize"] == "stretch"
    assert "task" not in values
