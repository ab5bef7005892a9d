"""What the gate reads of an ONNX tensor: name, type, shape, and its numbers if they are few. Nothing else is copied."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Final

from edge_runtime.engine.gates.refusal import refuse
from edge_runtime.engine.gates.wire import BrokenWireError, wire_fields, wire_int, wire_numbers, wire_text

Numbers = tuple[int | float, ...]

ELEMENTS_LIMIT: Final = 1 << 31
"""Of one tensor: an input of 8192 x 8192 pixels has a tenth of it."""
VALUES_LIMIT: Final = 64
"""Numbers of a tensor that are looked at: shapes, pads and axes have fewer."""
_DTYPE_NAMES: Final = ("float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16")
_DTYPES: Final = dict(enumerate((*_DTYPE_NAMES, "float64", "uint32", "uint64"), start=1)) | {16: "bfloat16"}
STRING: Final = 8
_UNPACK: Final = {1: "f", 2: "B", 3: "b", 4: "H", 5: "h", 6: "i", 7: "q", 9: "B", 11: "d", 12: "I", 13: "Q"}
_BITS: Final = (
    {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
    | dict.fromkeys((17, 18, 19, 20, 24), 8)  # float8
    | dict.fromkeys((21, 22, 23), 4)  # int4, uint4, float4
)
_EXTERNAL: Final = (13, 14)  # external_data, data_location
_RAW, _FLOATS, _INTS32, _INTS64 = 9, 4, 5, 7
_PAYLOADS: Final = frozenset({_FLOATS, _INTS32, 6, _INTS64, _RAW, 10, 11})


@dataclass(slots=True)
class Tensor:
    """One tensor; ``values`` are its numbers, ``None`` when there are more than `VALUES_LIMIT` or they are unknown."""

    name: str = ""
    dtype: int = 0
    dims: list[int] = field(default_factory=list)
    values: Numbers | None = None


def read_tensor(view: int | memoryview, where: str) -> Tensor:
    """Return what is known of a tensor.

    Raises:
        DataError: codes ``model.external_data``, ``model.unsafe`` (a shape that no model of a camera has, text),
            ``model.unreadable`` (its numbers do not fill its shape).
        BrokenWireError: it is no tensor.
    """
    tensor = Tensor()
    payloads: list[tuple[int, int | memoryview]] = []
    for number, value in wire_fields(view):
        if number == 1:
            tensor.dims += whole_numbers(value)
        elif number == 2:  # noqa: PLR2004 - data_type
            tensor.dtype = wire_int(value)
        elif number == 8:  # noqa: PLR2004 - name
            tensor.name = wire_text(value)
        elif number in _PAYLOADS:
            payloads.append((number, value))
        elif number in _EXTERNAL and value:
            refuse("external_data", f"{where}: weights lie in another file", "save the model as one file")
    if tensor.dtype == STRING:
        refuse("unsafe", f"{where}: weight {tensor.name!r} holds text", "export it with numbers only")
    count = check_dims(tensor.dims, where, f"weight {tensor.name!r}")
    _check_size(tensor, count, payloads, where)
    if 0 < count <= VALUES_LIMIT:
        tensor.values = _values(tensor.dtype, count, payloads)
    return tensor


def check_dims(dims: list[int], where: str, what: str) -> int:
    """Return the number of elements.

    Raises:
        DataError: code ``model.unsafe``: a negative size, or more than `ELEMENTS_LIMIT` elements.
    """
    count = math.prod(dims)
    if (dims and min(dims) < 0) or max(count, *dims, 0) > ELEMENTS_LIMIT:
        shape = "x".join(map(str, dims[:8]))
        refuse("unsafe", f"{where}: {what} has the impossible shape {shape}", "export the model again")
    return count


def whole_numbers(value: int | memoryview) -> list[int]:
    """Return a repeated field of signed 64-bit numbers, packed or one of them.

    Raises:
        BrokenWireError: they do not end.
    """
    return [wire_int(one) for one in wire_numbers(value)]


def dtype_name(number: int) -> str:
    """Return the name of an element type."""
    return _DTYPES.get(number) or f"type {number}"


def _check_size(tensor: Tensor, count: int, payloads: list[tuple[int, int | memoryview]], where: str) -> None:
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        return
    if not payloads:
        found = 0
    elif len(payloads) == 1 and payloads[0][0] == _RAW and isinstance(payloads[0][1], memoryview):
        found = len(payloads[0][1])
    else:
        return
    needed = (count * bits + 7) // 8
    if found != needed:
        message = f"{where}: weight {tensor.name!r} has {found} bytes, its shape needs {needed}"
        refuse("unreadable", message, "the file was damaged; copy or export it again")


def _values(dtype: int, count: int, payloads: list[tuple[int, int | memoryview]]) -> Numbers | None:
    found: list[int | float] = []
    for number, value in payloads:
        if number == _RAW and dtype in _UNPACK and isinstance(value, memoryview):
            layout = struct.Struct("<" + _UNPACK[dtype])
            found += [one for (one,) in layout.iter_unpack(value)] if len(value) % layout.size == 0 else []
        elif number == _FLOATS and isinstance(value, memoryview) and len(value) % 4 == 0:
            found += [one for (one,) in struct.iter_unpack("<f", value)]
        elif number in (_INTS32, _INTS64):
            try:
                found += whole_numbers(value)
            except BrokenWireError:
                return None
    return tuple(found) if len(found) == count else None
