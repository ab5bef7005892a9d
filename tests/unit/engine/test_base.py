from __future__ import annotations

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import DeviceChoice, TensorInfo, parse_device, threads_per_model


@pytest.mark.parametrize(
    ("device", "backend", "expected"),
    [
        ("auto", "auto", DeviceChoice(None, "CPU")),
        ("cpu", "auto", DeviceChoice(None, "CPU")),
        ("GPU", "auto", DeviceChoice(None, "GPU")),
        ("gpu.1", "openvino", DeviceChoice("openvino", "GPU.1")),
        ("openvino:NPU", "auto", DeviceChoice("openvino", "NPU")),
        ("OpenVINO: auto", "openvino", DeviceChoice("openvino", "CPU")),
        ("auto", "onnxruntime", DeviceChoice("onnxruntime", "CPU")),
    ],
)
def test_devices_are_read_as_people_write_them(device: str, backend: str, expected: DeviceChoice) -> None:
    assert parse_device(device, backend) == expected


@pytest.mark.parametrize(
    ("device", "backend", "expected"),
    [
        ("tpu", "auto", "device 'tpu' is not known"),
        ("", "auto", "device '' is not known"),
        ("cpu", "tensorrt", "backend 'tensorrt' is not known"),
        ("torch:cpu", "auto", "backend 'torch' is not known"),
        ("openvino:cpu", "onnxruntime", "names the backend 'openvino', backend says 'onnxruntime'"),
    ],
)
def test_devices_that_do_not_exist_are_refused(device: str, backend: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as caught:
        parse_device(device, backend)
    assert caught.value.code == "device.unknown"
    assert caught.value.help is not None


@pytest.mark.parametrize(
    ("cores", "models", "threads"), [(2, 1, 2), (2, 2, 1), (8, 3, 2), (2, 5, 1), (1, 1, 1), (4, 0, 4)]
)
def test_models_share_the_cores_without_overlap(cores: int, models: int, threads: int) -> None:
    assert threads_per_model(cores, models) == threads


def test_a_tensor_of_unknown_shape_prints() -> None:
    assert str(TensorInfo("x", "float32", None)) == "x float32 [?]"
