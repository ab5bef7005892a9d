"""One scalar of one datatype: from Python to a field of the wire and back (Sparkplug 3.0, 6.4.16 and 6.4.17).

Signed integers travel in unsigned fields as two's complement of the field's width: 32 bits in ``int_value``, 64 in
``long_value``. What is read is wider than what is written, because hosts differ: 8 and 16 bit values in two's
complement of their own width, 32 bit values in ``long_value``, floats in ``double_value`` are understood.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from edge_runtime.core.errors import DataError
from edge_runtime.publish.sparkplug.values import DataType

if TYPE_CHECKING:
    from edge_runtime.publish.sparkplug.values import Scalar

_Text = TypeVar("_Text")
_FLOAT_MAX = (2.0 - 2.0**-23) * 2.0**127  # of 32 bits
_SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_UNSIGNED = {
    DataType.UINT8: 8,
    DataType.UINT16: 16,
    DataType.UINT32: 32,
    DataType.UINT64: 64,
    DataType.DATETIME: 64,
}
_WIDTHS = {"int_value": 32, "long_value": 64}
_PYTHON = {"boolean_value": bool, "string_value": str, "bytes_value": bytes}
# Fields in which a value may arrive; it is sent in the first.
_FIELDS: dict[DataType, tuple[str, ...]] = {
    **dict.fromkeys((*_SIGNED, *_UNSIGNED), ("int_value", "long_value")),
    **dict.fromkeys((DataType.INT64, DataType.UINT64, DataType.DATETIME), ("long_value", "int_value")),
    DataType.FLOAT: ("float_value", "double_value"),
    DataType.DOUBLE: ("double_value", "float_value"),
    DataType.BOOLEAN: ("boolean_value",),
    **dict.fromkeys((DataType.STRING, DataType.TEXT, DataType.UUID), ("string_value",)),
    **dict.fromkeys((DataType.BYTES, DataType.FILE), ("bytes_value",)),
    **{kind: ("bytes_value",) for kind in DataType if kind >= DataType.INT8_ARRAY},
}


def to_wire(kind: DataType, value: object, where: str) -> tuple[str, Scalar | bytes]:
    """Return the field and the value in it; ``where`` names the metric in errors.

    Raises:
        DataError: the value does not fit the datatype, or the datatype has no scalars.
    """
    fields = _FIELDS.get(kind)
    if fields is None:
        raise _misfit(kind, value, where)
    field = fields[0]
    if field in _WIDTHS:
        return field, _int_to_wire(kind, value, where) % (1 << _WIDTHS[field])
    if field not in _PYTHON:
        return field, _float(kind, value, where)
    if not isinstance(value, bool | str | bytes) or type(value) is not _PYTHON[field]:
        raise _misfit(kind, value, where)
    return field, _encodable(value, where) if isinstance(value, str) else value


def from_wire(kind: DataType, field: str, value: Scalar | bytes, where: str) -> Scalar | bytes:
    """Return the Python value of what stood in ``field``.

    Raises:
        DataError: another field than the datatype's, or a number outside its range.
    """
    if field not in _FIELDS.get(kind, ()):
        raise DataError("sparkplug.value", f"{where}: {kind.name} in {field}, which is for another datatype")
    if field in _WIDTHS and isinstance(value, int):
        return _int_from_wire(kind, value, where)
    return checked_text(value, where) if field == "string_value" else value


def checked_text(value: _Text, where: str) -> _Text:
    """Return ``value``; protobuf hands out text of proto2 that is no UTF-8 as bytes.

    Raises:
        DataError: it is bytes.
    """
    if isinstance(value, bytes):
        raise DataError("sparkplug.text", f"{where}: text that is no UTF-8")
    return value


def _int_to_wire(kind: DataType, value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit(kind, value, where)
    bits = _SIGNED.get(kind)
    low, high = (-(1 << bits - 1), 1 << bits - 1) if bits else (0, 1 << _UNSIGNED[kind])
    if not low <= value < high:
        raise DataError("sparkplug.range", f"{where}: {value} is no {kind.name}, expected {low} to {high - 1}")
    return value


def _int_from_wire(kind: DataType, value: int, where: str) -> int:
    bits = _SIGNED.get(kind)
    if bits is None:
        if value < 1 << _UNSIGNED[kind]:
            return value
    else:
        # the sender's two's complement may be of the type's own width or of either field's
        width = next(width for width in (bits, 32, 64) if value < 1 << width)
        signed = value - (1 << width) if value >> (width - 1) else value
        if -(1 << bits - 1) <= signed < 1 << bits - 1:
            return signed
    raise DataError("sparkplug.range", f"{where}: {value} on the wire is no {kind.name}")


def _float(kind: DataType, value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _misfit(kind, value, where)
    try:
        number = float(value)
    except OverflowError as error:
        raise DataError("sparkplug.range", f"{where}: an integer too large for {kind.name}") from error
    if kind is DataType.FLOAT and math.isfinite(number) and abs(number) > _FLOAT_MAX:
        raise DataError("sparkplug.range", f"{where}: {number} is no FLOAT, expected at most {_FLOAT_MAX}")
    return number


def _encodable(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError("sparkplug.text", f"{where}: text with a lone surrogate has no UTF-8 form") from error
    return text


def _misfit(kind: DataType, value: object, where: str) -> DataError:
    return DataError("sparkplug.value", f"{where}: {type(value).__name__} is no value of {kind.name}")
