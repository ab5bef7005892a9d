"""Models that judge the whole picture, in both engines: one of Anomalib's form, and measures."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.core.result import Prediction
from edge_runtime.engine.loader import load_engine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIDE = 32
BACKENDS = ("openvino", "onnxruntime")
BOOL = TensorProto.BOOL


def model(
    nodes: Sequence[onnx.NodeProto], outputs: dict[str, tuple[list[Any], int]], **constants: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch_size", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in outputs.items()],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def anomalib() -> onnx.ModelProto:
    """What Anomalib 2.7 exports: names, types and axes; a place is as anomalous as it is red, in 0..1."""
    nodes = [
        helper.make_node("Slice", ["input", "zero", "one", "one"], ["red"]),
        helper.make_node("AveragePool", ["red"], ["anomaly_map"], kernel_shape=[1, 1]),
        helper.make_node("ReduceMax", ["anomaly_map", "axes"], ["pred_score"], keepdims=0),
        helper.make_node("Greater", ["pred_score", "half"], ["pred_label"]),
        helper.make_node("Greater", ["anomaly_map", "half"], ["pred_mask"]),
    ]
    outputs = {
        "pred_score": (["batch_size", 1], TensorProto.FLOAT),
        "pred_label": (["batch_size", 1], BOOL),
        "anomaly_map": (["batch_size", 1, SIDE, SIDE], TensorProto.FLOAT),
        "pred_mask": (["batch_size", 1, SIDE, SIDE], BOOL),
    }
    return model(nodes, outputs, zero=[0], one=[1], axes=[2, 3], half=np.float32(0.5))


def means() -> onnx.ModelProto:
    """The mean of each colour of the picture, and its largest number."""
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["means"], keepdims=0),
        helper.make_node("ReduceMax", ["input"], ["peak"], keepdims=0),
    ]
    return model(nodes, {"means": (["batch_size", 3], TensorProto.FLOAT), "peak": ([], TensorProto.FLOAT)}, axes=[2, 3])


def package(folder: Path, made: onnx.ModelProto, **values: Any) -> Path:
    raw = made.SerializeToString()
    (folder / "m.onnx").write_bytes(raw)
    weights = {"file": "m.onnx", "sha256": hashlib.sha256(raw).hexdigest()}
    usual = {"schema": "edge-model/1", "name": "m", "version": "1", "weights": weights}
    picture = {"color": "RGB", "resize": "stretch", "scale": 1}
    (folder / "edge-model.json").write_text(json.dumps({**usual, "input": picture, **values}))
    return folder


def seen(path: Path, backend: str, frame: np.ndarray) -> tuple[Prediction, ...]:
    loaded = load_engine(path, backend=backend)
    found = loaded.lanes[0].predict(frame).predictions
    loaded.close()
    return found


def grey(*, spot: bool = False) -> np.ndarray:
    """A frame of 128 x 96 that is 0.2 in all colours, with a red rectangle of 24 x 12 at 40, 30 when ``spot``."""
    frame = np.full((96, 128, 3), 51, np.uint8)
    if spot:
        frame[30:42, 40:64] = (0, 0, 204)
    return frame


@pytest.fixture(params=["onnxruntime", "openvino", "ir"])
def anomaly_model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """The bare file as each engine takes it; nothing lies beside it that describes it."""
    path = tmp_path / "m.onnx"
    path.write_bytes(anomalib().SerializeToString())
    if request.param != "ir":
        return path, request.param
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would call home, as in `engine.ov`
    import openvino as ov

    ov.save_model(ov.Core().read_model(path), tmp_path / "ir.xml")
    return tmp_path / "ir.xml", "openvino"


def test_a_picture_like_all_others_is_normal(anomaly_model: tuple[Path, str]) -> None:
    assert seen(*anomaly_model, grey()) == (
        Prediction("normal", pytest.approx(0.8, abs=1e-3), id=0),  # type: ignore[arg-type]  # compares as one
        Prediction("anomalous", pytest.approx(0.2, abs=1e-3), id=1, alternative=True),  # type: ignore[arg-type]
    )


def test_a_spot_is_anomalous_and_found_in_the_frame(anomaly_model: tuple[Path, str]) -> None:
    verdict, other, region = seen(*anomaly_model, grey(spot=True))
    assert (verdict.label, verdict.score, other.label, other.alternative) == (
        "anomalous",
        pytest.approx(0.8, abs=2e-3),
        "normal",
        True,
    )
    assert (region.label, region.score) == ("anomalous region", pytest.approx(0.8, abs=2e-3))
    assert region.box == pytest.approx((40, 30, 24, 12), abs=4)  # a cell of the map is 4 x 3 pixels


@pytest.mark.parametrize("backend", BACKENDS)
def test_measures_have_names_and_values(tmp_path: Path, backend: str) -> None:
    stated = {"task": "regression", "decoder": "values", "labels": ["red", "green", "blue"]}
    found = seen(package(tmp_path, means(), **stated), backend, np.full((40, 40, 3), (10, 20, 30), np.uint8))
    assert [(one.label, one.value, one.score, one.id) for one in found] == [
        ("red", 30.0, 1.0, 0),
        ("green", 20.0, 1.0, 1),
        ("blue", 10.0, 1.0, 2),
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_raw_numbers_are_called_by_their_outputs_in_both_engines(tmp_path: Path, backend: str) -> None:
    path = package(tmp_path, means(), task="raw", decoder="tensors")
    found = seen(path, backend, np.full((40, 40, 3), (10, 20, 30), np.uint8))
    assert [(one.label, one.value) for one in found] == [
        ("means[0]", 30.0),
        ("means[1]", 20.0),
        ("means[2]", 10.0),
        ("peak", 30.0),
    ]
