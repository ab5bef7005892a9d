"""What only one of the two engines does: IR files, precisions, and failures while running."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.engine.base import EngineOptions
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.ort import OrtEngine
from edge_runtime.engine.ov import (
    OpenVinoEngine,
    _core,
    _info,
    _shape,
    ov,
    reason,
    refuse_open_shapes,
    refuse_other_device,
    refuse_streams,
)  # never openvino itself: it would phone home
from edge_runtime.engine.preprocess import Preprocessor
from tests.assets.make_models import COLOURS, SIDE, colours, write_bare, write_package
from tests.unit.engine.specs import input_spec

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

GREEN = np.full((48, 64, 3), (10, 250, 20), np.uint8)


def write_ir(folder: Path, name: str = "colours", **info: str) -> Path:
    """Write `name` as an OpenVINO IR with `model_info` keys and return the path of its XML."""
    network = _core().read_model(str(write_bare(folder, name)))
    for key, value in info.items():
        network.set_rt_info(value, ["model_info", key])
    ov.save_model(network, str(folder / "model.xml"), compress_to_fp16=False)
    return folder / "model.xml"


def test_an_ir_in_a_package_is_verified_in_both_parts_and_runs(tmp_path: Path) -> None:
    write_ir(tmp_path)
    files = [
        {"file": name, "sha256": hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}
        for name in ("model.xml", "model.bin")
    ]
    manifest = {
        "schema": "edge-model/1",
        "name": "ir",
        "version": "1",
        "task": "classification",
        "decoder": "probabilities",
        "labels": COLOURS,
        "weights": {**files[0], "parts": files[1:], "precision": "fp32"},
        "input": {"color": "RGB", "resize": "stretch", "scale": 255},
    }
    (tmp_path / "edge-model.json").write_text(json.dumps(manifest))
    model = load_engine(tmp_path)
    assert model.lanes[0].predict(GREEN).predictions[0].label == "green"
    model.close()
    with pytest.raises(DataError, match="no weights for backend onnxruntime"):
        load_engine(tmp_path, backend="onnxruntime")
    load_engine(tmp_path, digest=model.ref.digest).close()
    with pytest.raises(DataError, match=r"released was sha256:a{64}; its files changed") as refused:
        load_engine(tmp_path, digest="sha256:" + "a" * 64)
    assert refused.value.code == "model.changed"
    (tmp_path / "model.bin").write_bytes(b"\0" * 4)
    with pytest.raises(DataError, match=r"model\.bin: expected sha256"):
        load_engine(tmp_path)


def test_a_bare_ir_that_describes_itself_runs(tmp_path: Path) -> None:
    path = write_ir(
        tmp_path,
        "yolo",
        model_type="YOLO",
        labels="scratch dent",
        reverse_input_channels="True",
        scale_values="255.0",
        resize_type="fit_to_window_letterbox",
    )
    model = load_engine(path)
    assert [one.label for one in model.lanes[0].predict(GREEN).predictions] == ["scratch", "dent"]
    model.close()


def test_bfloat16_is_used_only_when_the_package_asks_for_it(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    plain = OpenVinoEngine((root / "colours.onnx").read_bytes(), b"", input_spec(), "fp32", _options())
    asked = OpenVinoEngine((root / "colours.onnx").read_bytes(), b"", input_spec(), "bf16", _options())
    name = "INFERENCE_PRECISION_HINT"
    assert plain._compiled.get_property(name) == ov.Type.f32
    capable = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert asked._compiled.get_property(name) == (ov.Type.bf16 if capable else ov.Type.f32)


SIGNAL_AFTER_ENGINES = """
import os, signal, sys
from edge_runtime.engine.base import EngineOptions
from edge_runtime.engine.ov import OpenVinoEngine
from tests.unit.engine.specs import input_spec

signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
content = open(sys.argv[1], "rb").read()
engines = [OpenVinoEngine(content, b"", input_spec(), None, EngineOptions(threads=1)) for _ in range(2)]
while engines:
    engines.pop(0).close()
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_thread_that_has_loaded_and_closed_models_survives_its_next_signal(tmp_path: Path) -> None:
    model = write_package(tmp_path, "colours") / "colours.onnx"
    command = [sys.executable, "-c", SIGNAL_AFTER_ENGINES, str(model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


def _options() -> EngineOptions:
    return EngineOptions(threads=1)


def test_models_share_the_cores_that_they_are_given(tmp_path: Path) -> None:
    content = (write_package(tmp_path, "colours") / "colours.onnx").read_bytes()
    compiled = OpenVinoEngine(content, b"", input_spec(), None, _options())._compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False
    session = OrtEngine(content, input_spec(), _options())._session
    options = session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_quantized_model_is_reported_as_what_runs() -> None:
    """A convolution between QuantizeLinear and DequantizeLinear is fused to integers by both engines."""
    content = _quantized_convolution().SerializeToString()
    spec = input_spec(size=(SIDE, SIDE))
    assert OpenVinoEngine(content, b"", spec, "int8", _options()).info.precision == "int8"
    assert OrtEngine(content, spec, _options()).info.precision == "int8"


def _quantized_convolution() -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    lot = np.random.default_rng(3)
    weights = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "wide": np.float32(0.05),
        "kernel": lot.integers(-60, 60, (8, 3, 3, 3)).astype(np.int8),
        "kernel_scale": np.float32(0.01),
        "kernel_zero": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["kernel", "kernel_scale", "kernel_zero"], ["kd"]),
        helper.make_node("Conv", ["xd", "kd"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "wide", "zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "wide", "zero"], ["y"]),
    ]
    shape = [1, 3, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, SIDE, SIDE])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("device", ["GPU", "GPU.1", "NPU"])
def test_a_device_that_is_not_there_is_an_error_and_never_the_cpu(tmp_path: Path, device: str) -> None:
    if device in _core().available_devices or f"{device}.0" in _core().available_devices:
        pytest.skip(f"this box has {device}")
    package = write_package(tmp_path, "colours")
    for backend in ("auto", "openvino", "onnxruntime"):
        with pytest.raises(UnavailableError, match=f"device {device} is not ") as caught:
            load_engine(package, device=device.lower(), backend=backend)
        assert caught.value.code == "device.missing"


@pytest.mark.parametrize(("asked", "executes"), [("GPU", "GPU.0"), ("CPU", "CPU"), ("GPU.1", "GPU.1"), ("NPU", "NPU")])
def test_a_model_may_execute_where_it_was_asked_to(asked: str, executes: str) -> None:
    refuse_other_device(asked, executes)


@pytest.mark.parametrize(
    ("asked", "executes"), [("GPU", "CPU"), ("NPU", "CPU"), ("GPU", "GPU.0,CPU"), ("GPU.1", "GPU.0"), ("CPU", "(CPU)")]
)
def test_a_model_that_executes_elsewhere_is_an_error(asked: str, executes: str) -> None:
    with pytest.raises(UnavailableError, match=f"device {asked} was asked for") as caught:
        refuse_other_device(asked, executes)
    assert caught.value.code == "device.missing"


def test_the_npu_is_not_asked_to_run_sizes_that_change() -> None:
    network = _core().read_model(colours(shape=("n", 3, "h", "w")).SerializeToString())
    with pytest.raises(DataError, match=r"x \[\?,3,\?,\?\].*\"size\": \[height, width\].*batch 1") as caught:
        refuse_open_shapes(network)
    assert caught.value.code == "model.open_shape"
    network.reshape({"x": [1, 3, SIDE, SIDE]})
    refuse_open_shapes(network)


def test_the_npu_is_not_asked_to_run_a_model_whose_answer_changes_its_size() -> None:
    """How much NonZero finds is not known before."""
    picture = ov.opset13.parameter([1, 4], np.float32)
    with pytest.raises(DataError, match="the NPU takes no sizes that change"):
        refuse_open_shapes(ov.Model([ov.opset13.non_zero(picture)], [picture], "finder"))


@pytest.mark.parametrize(("hints", "precision"), [({"INFERENCE_PRECISION_HINT": ov.Type.f16}, "fp16"), ({}, "unknown")])
def test_a_device_that_tells_nothing_of_its_layers_is_taken_at_its_word_for_the_precision(
    hints: dict[str, object], precision: str
) -> None:
    """The runtime model of an NPU consists of parameters and results without any facts."""
    picture = ov.opset13.parameter([1, 4], np.float32)
    properties = {"EXECUTION_DEVICES": ["NPU"], "SUPPORTED_PROPERTIES": hints} | hints
    silent = SimpleNamespace(
        get_runtime_model=lambda: ov.Model([ov.opset13.relu(picture)], [picture], "silent"),
        get_property=properties.__getitem__,
        outputs=[],
    )
    info = _info(silent, [], EngineOptions(device="NPU"))
    assert (info.device, info.precision, info.streams, info.threads) == ("NPU", precision, 1, 0)
    assert "NPU does not tell" in info.notes[0]


def test_the_npu_has_one_stream() -> None:
    with pytest.raises(DataError, match="streams: 1"):
        refuse_streams(EngineOptions(device="NPU", streams=2))
    refuse_streams(EngineOptions(device="NPU"))
    refuse_streams(EngineOptions(device="GPU", streams=2))


class Broken:
    """A request of a device that went away."""

    cancelled = False

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs

    def start_async(self) -> None:
        if not self._hangs:
            message = "Exception from src/x.cpp:1:\ndevice lost\n"
            raise RuntimeError(message)

    def wait_for(self, _: int) -> bool:
        return False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.mark.parametrize(("hangs", "words"), [(False, "openvino: device lost"), (True, "did not finish a frame")])
def test_an_openvino_run_that_fails_or_hangs_is_an_error(tmp_path: Path, hangs: bool, words: str) -> None:  # noqa: FBT001 - a parameter of the test
    model = load_engine(write_package(tmp_path, "colours"), backend="openvino")
    request = model._model._engine.open_request()
    request._request = broken = Broken(hangs=hangs)
    request.canvas()
    with pytest.raises(DataError, match=words) as caught:
        request.infer()
    assert caught.value.code == "model.run_failed"
    assert broken.cancelled is hangs
    model.close()


def test_a_run_that_onnxruntime_refuses_is_an_error() -> None:
    from onnx import TensorProto, helper, numpy_helper

    # the mean of the picture is used as a position in a table of three
    model = colours()
    nodes = [
        *model.graph.node[:2],
        helper.make_node("ReduceMax", ["mean"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["row"], axis=0),
        helper.make_node("Unsqueeze", ["row", "axis"], ["y"]),
    ]
    table = numpy_helper.from_array(np.eye(3, dtype=np.float32), "table")
    axis = numpy_helper.from_array(np.array([0]), "axis")
    graph = helper.make_graph(nodes, "g", list(model.graph.input), list(model.graph.output), [table, axis])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    request = OrtEngine(content, input_spec(scale=1.0), _options()).open_request()
    request.canvas()[:] = 99
    with pytest.raises(DataError, match=r"onnxruntime: .*Gather") as caught:
        request.infer()
    assert caught.value.code == "model.run_failed"


def test_a_model_whose_first_run_fails_in_onnxruntime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"onnxruntime: .*Gather") as caught:
        load_engine(write_package(tmp_path, "fails_when_run"), backend="onnxruntime")
    assert caught.value.code == "model.run_failed"


def test_a_first_run_that_never_ends_in_onnxruntime_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.engine.ort.RUN_TIMEOUT_S", 0.2)
    with pytest.raises(DataError, match="onnxruntime did not finish a frame within") as caught:
        load_engine(write_package(tmp_path, "endless_loop"), backend="onnxruntime")
    assert caught.value.code == "model.run_failed"


def test_a_model_that_cannot_be_compiled_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.engine.ov._properties", lambda *_: {"INFERENCE_NUM_THREADS": "many"})
    with pytest.raises(DataError, match="openvino cannot compile the model for CPU") as caught:
        load_engine(write_package(tmp_path, "colours"), backend="openvino")
    assert caught.value.code == "model.not_compiled"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Exception from a.cpp:1:\nCheck 'rank != 0' failed at b.hpp:2:\n", "rank != 0 does not hold"),
        ("Check 'false' failed at c.cpp\n-- Pad-13 with a message:\nCheck 'n > 1' failed", "Pad: n > 1 does not hold"),
        ("No conversion rule found for operations: Magic\n", "no conversion for the operators Magic"),
        ("", "RuntimeError"),
    ],
)
def test_openvinos_reasons_are_freed_of_its_source_files(text: str, expected: str) -> None:
    assert reason(RuntimeError(text)) == expected


@pytest.mark.parametrize(
    ("shape", "expected"), [(ov.PartialShape.dynamic(), None), (ov.PartialShape([1, -1, 6]), (1, None, 6))]
)
def test_what_openvino_does_not_know_of_a_shape_is_unknown(
    shape: ov.PartialShape, expected: tuple[int | None, ...] | None
) -> None:
    assert _shape(SimpleNamespace(get_partial_shape=lambda: shape)) == expected


def test_a_new_array_from_opencv_is_copied_into_the_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.engine.preprocess.cv2.resize", lambda *_, **__: np.full((32, 32, 3), 9, np.uint8))
    canvas = np.zeros((32, 32, 3), np.uint8)
    Preprocessor(input_spec()).fill(np.zeros((8, 8, 3), np.uint8), canvas)
    assert (canvas == 9).all()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_slices_of_one_tensor_are_not_taken_for_the_whole(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "finished_turned"), backend=backend)
    found = model.lanes[0].predict(np.zeros((SIDE, SIDE, 3), np.uint8)).predictions
    model.close()
    assert [(one.label, one.score) for one in found] == [("scratch", pytest.approx(0.9)), ("dent", pytest.approx(0.8))]
    bounds = 12 * np.cos(0.25) + 4 * np.sin(0.25), 12 * np.sin(0.25) + 4 * np.cos(0.25)
    assert found[0].box == pytest.approx((16 - bounds[0] / 2, 16 - bounds[1] / 2, *bounds), abs=0.01)
