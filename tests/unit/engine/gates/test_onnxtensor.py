from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.core.errors import DataError
from edge_runtime.engine.gates.onnxtensor import read_tensor


def read(tensor: TensorProto) -> object:
    return read_tensor(memoryview(tensor.SerializeToString()), "m.onnx").values


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, -2, 2**62], np.int64),
        np.array([1, -2], np.int32),
        np.array([0.5, -1.5], np.float32),
        np.array([0.5], np.float64),
        np.array([True, False]),
        np.array(7, np.int64),
        np.array([200, 3], np.uint8),
    ],
)
def test_few_numbers_are_read_from_their_bytes(array: np.ndarray) -> None:
    assert read(numpy_helper.from_array(array, "w")) == tuple(array.ravel().tolist())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.INT64, [3, -4]),
        (TensorProto.INT32, [5, -6]),
        (TensorProto.BOOL, [1, 0]),
        (TensorProto.FLOAT, [0.5, 2.0]),
    ],
)
def test_few_numbers_are_read_from_their_lists(kind: int, values: list[float]) -> None:
    assert read(helper.make_tensor("w", kind, [2], values)) == tuple(values)


def test_many_numbers_and_other_kinds_are_not_looked_at() -> None:
    assert read(numpy_helper.from_array(np.zeros(65, np.int64), "w")) is None
    assert read(numpy_helper.from_array(np.zeros(2, np.float16), "w")) is None
    assert read(numpy_helper.from_array(np.zeros(0, np.int64), "w")) is None


def test_numbers_that_do_not_fill_their_shape_are_unknown() -> None:
    tensor = helper.make_tensor("w", TensorProto.INT64, [2], [1, 2])
    tensor.dims[0] = 3
    assert read(tensor) is None
    broken = TensorProto(data_type=TensorProto.INT64, dims=[1]).SerializeToString() + b"\x3a\x01\x80"
    assert read_tensor(memoryview(broken), "m.onnx").values is None


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_two_numbers_of_four_bits_share_a_byte(kind: int) -> None:
    good = TensorProto(data_type=kind, dims=[3], raw_data=b"\x21\x03")
    read(good)
    good.raw_data = b"\x21\x03\x04"
    with pytest.raises(DataError, match="has 3 bytes, its shape needs 2"):
        read(good)
