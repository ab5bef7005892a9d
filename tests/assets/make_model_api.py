"""Small models with a `model_info` section, and what OpenVINO Model API sees with them.

`python tests/assets/make_model_api.py` writes `model_api.json` beside this file; it needs `pip install
openvino-model-api` (Apache-2.0), which the tests themselves do not.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXPECTED = Path(__file__).with_name("model_api.json")
HEIGHT, WIDTH = 48, 64
SHAPES = {"same": (HEIGHT, WIDTH), "larger": (130, 150)}
"""Of the pictures: one that nobody resizes, and one that both resize in their own way."""
_IMAGENET = {"mean_values": "123.675 116.28 103.53", "scale_values": "58.395 57.12 57.375"}
_TREE = {
    "cls_heads_info": {
        "num_multiclass_heads": 2,
        "num_multilabel_classes": 2,
        "head_idx_to_logits_range": {"0": [0, 2], "1": [2, 4]},
        "num_single_label_classes": 4,
        "class_to_group_idx": {
            "good": [0, 0],
            "bad": [0, 1],
            "scratch": [1, 0],
            "dent": [1, 1],
            "wet": [2, 0],
            "dry": [3, 0],
        },
        "all_groups": [["good", "bad"], ["scratch", "dent"], ["wet"], ["dry"]],
        "label_to_idx": {"good": 0, "bad": 1, "scratch": 2, "dent": 3, "wet": 4, "dry": 5},
    },
    "label_tree_edges": [["scratch", "bad"], ["dent", "bad"], ["dry", "good"]],
}
INFO: dict[str, dict[str, str]] = {
    "logits": {"labels": "good deep_scratch dent hole", "reverse_input_channels": "True", "topk": "4", **_IMAGENET},
    "probabilities": {
        "labels": "good deep_scratch dent hole",
        "reverse_input_channels": "False",
        "scale_values": "255",
        "resize_type": "fit_to_window_letterbox",
        "pad_value": "114",
        "topk": "4",
    },
    "unit": {
        "labels": "good deep_scratch dent hole",
        "reverse_input_channels": "True",
        "intensity_mode": "scale_to_unit",
        "mean_values": "0.485 0.456 0.406",
        "scale_values": "0.229 0.224 0.225",
        "resize_type": "fit_to_window",
        "pad_value": "0",
        "topk": "4",
    },
    "multilabel": {
        "labels": "wet rust dent hole",
        "reverse_input_channels": "True",
        "multilabel": "True",
        "confidence_threshold": "0.4",
        "resize_type": "crop",
        **_IMAGENET,
    },
    "hierarchical": {
        "labels": "good bad scratch dent wet dry",
        "reverse_input_channels": "True",
        "hierarchical": "True",
        "hierarchical_config": json.dumps(_TREE),
        "confidence_threshold": "0.5",
        "resize_type": "standard",
        **_IMAGENET,
    },
    "anomaly": {
        "labels": "Normal Anomaly",
        "reverse_input_channels": "True",
        "image_threshold": "16",
        "pixel_threshold": "14.5",
        "normalization_scale": "40",
        "task": "detection",
        "resize_type": "standard",
        **_IMAGENET,
    },
}
"""Metadata by name of the model; `model_type` follows from it."""


def model(name: str) -> onnx.ModelProto:
    """A network with seeded weights that tells colours and edges apart, with the section in ONNX's form."""
    info = {
        "model_type": "AnomalyDetection" if name == "anomaly" else "Classification",
        "resize_type": "standard",
        **INFO[name],
    }
    width = HEIGHT if info["resize_type"] == "crop" else WIDTH  # Model API crops right for square models only
    random = np.random.default_rng(sum(name.encode()))
    weights = {
        "first": random.normal(0, 0.4, (8, 3, 3, 3)),
        "second": random.normal(0, 0.3, (8, 8, 3, 3)),
        "last": random.normal(0, 1.2, (1 if name == "anomaly" else len(info["labels"].split()), 8, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "last"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["soft"]),
    ]
    answer = {"anomaly": "map", "probabilities": "soft"}.get(name, "flat")
    used = {"map": 5, "flat": 7, "soft": 8}[answer]
    shape = [1, 1, HEIGHT // 2, WIDTH // 2] if answer == "map" else [1, len(info["labels"].split())]
    graph = helper.make_graph(
        nodes[:used],
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, width])],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="tests")
    helper.set_model_props(made, {f"model_info {key}": value for key, value in info.items()})
    return made


def write_ir(name: str, folder: Path) -> Path:
    """The same as an OpenVINO IR, with the section in its own form."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would call home, as in `engine.ov`
    import openvino as ov

    made = model(name)
    network = ov.Core().read_model(made.SerializeToString())
    for one in made.metadata_props:
        network.set_rt_info(one.value, one.key.split(" ", 1))
    path = folder / f"{name}.xml"
    ov.save_model(network, path, compress_to_fp16=False)
    return path


def picture(name: str) -> NDArray[np.uint8]:
    """A BGR picture without edges finer than a resize keeps: slopes, a red square and a blue disc."""
    height, width = SHAPES[name]
    y, x = np.mgrid[0:height, 0:width] / np.array((height, width))[:, None, None]
    made = np.stack((200 * x, 160 * (1 - y), 60 + 120 * x * y), axis=2)
    made += np.array((150, 0, -40)) * np.clip(8 * (0.25 - np.hypot(x - 0.3, y - 0.6)), 0, 1)[:, :, None]
    inside = np.clip(8 * (0.2 - np.maximum(abs(x - 0.75), abs(y - 0.3))), 0, 1)
    made += np.array((-100, -40, 180)) * inside[:, :, None]
    return np.clip(made, 0, 255).astype(np.uint8)


def _seen(found: Any) -> Any:
    if hasattr(found, "top_labels"):
        return [[one.name, round(float(one.confidence), 6)] for one in found.top_labels]
    boxes = [] if found.pred_boxes is None else found.pred_boxes.tolist()
    return {"label": str(found.pred_label), "score": round(float(found.pred_score), 6), "boxes": boxes}


def main() -> int:
    """Write what Model API sees."""
    from model_api.adapters import OpenvinoAdapter, create_core
    from model_api.models import Model

    expected: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in INFO:
            path = str(write_ir(name, Path(folder)))
            exact = {"INFERENCE_PRECISION_HINT": "f32"}  # processors with bfloat16 would use it
            adapter = OpenvinoAdapter(create_core(), path, device="CPU", plugin_config=exact)
            wrapper = Model.create_model(adapter)
            expected[name] = {one: _seen(wrapper(picture(one))) for one in SHAPES}
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
