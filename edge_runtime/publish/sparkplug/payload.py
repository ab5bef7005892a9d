"""The payload of a Sparkplug B message: bytes from values and values from bytes (Sparkplug 3.0, chapter 6).

Pure. Written is exactly what the specification says. Read is more: hosts leave out timestamps and datatypes. Refused
is what would be dangerous to guess: too many bytes, too deep a nesting, a value in the field of another datatype, a
number out of range, text that is no UTF-8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from google.protobuf.message import DecodeError

from edge_runtime.core.errors import DataError
from edge_runtime.publish.sparkplug import scalars
from edge_runtime.publish.sparkplug.schema import payload_class
from edge_runtime.publish.sparkplug.values import (
    DataSet,
    DataType,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Quality,
    Template,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.sparkplug.values import PropertySet, PropertyValue, Scalar, Value

__all__ = [
    "MAX_BYTES",
    "DataSet",
    "DataType",
    "MetaData",
    "Metric",
    "Parameter",
    "Payload",
    "Property",
    "Quality",
    "Template",
    "decode",
    "encode",
    "quality",
]

MAX_BYTES = 64 * 1024  # more than any command needs; made of empty metrics, which cost most, it is decoded in 0.8 s
MAX_DEPTH = 8  # of templates in templates and property sets in property sets
SEQ_END = 256

_META_FIELDS = ("is_multi_part", "content_type", "size", "seq", "file_name", "file_type", "md5", "description")


def quality(code: Quality) -> dict[str, Property]:
    """Return the property set that says ``code``; a metric without one is good (Sparkplug 3.0, 6.4.9)."""
    return {"Quality": Property(DataType.INT32, int(code))}


def encode(payload: Payload, *, datatypes: bool = True) -> bytes:
    """Return the bytes of a message.

    Args:
        payload: what to say.
        datatypes: put the datatype of every metric in. Births need it (tck-id-payloads-metric-datatype-req), data
            messages should not carry it (tck-id-payloads-metric-datatype-not-req) but some hosts want it.

    Raises:
        DataError: a value does not fit its datatype, seq is not 0 to 255, or a metric has neither name nor alias.
    """
    message = payload_class()()
    _put(message, "timestamp", payload.timestamp_ms, "payload")
    if payload.seq is not None and not 0 <= payload.seq < SEQ_END:
        raise DataError("sparkplug.seq", f"seq {payload.seq}, expected 0 to {SEQ_END - 1}")
    _put(message, "seq", payload.seq, "payload")
    _put(message, "uuid", payload.uuid, "payload")
    _put(message, "body", payload.body, "payload")
    for metric in payload.metrics:
        _encode_metric(message.metrics.add(), metric, datatypes=datatypes, depth=0)
    encoded: bytes = message.SerializeToString()
    return encoded


def decode(data: bytes, declared: Mapping[str, DataType] | None = None, *, max_bytes: int = MAX_BYTES) -> Payload:
    """Return what a message says.

    Args:
        data: the bytes of the MQTT message.
        declared: datatypes by metric name, for metrics that come without one; others of these keep the value as it
            came (integers unsigned) and ``datatype`` None.
        max_bytes: longer messages are refused before they are parsed.

    Raises:
        DataError: not a Sparkplug B payload, or one of what the module refuses.
    """
    if len(data) > max_bytes:
        raise DataError("sparkplug.size", f"payload of {len(data)} bytes, expected at most {max_bytes}")
    try:
        message = payload_class().FromString(data)
        return Payload(
            timestamp_ms=_get(message, "timestamp"),
            metrics=tuple(_decode_metric(metric, declared or {}, 0) for metric in message.metrics),
            seq=_get(message, "seq"),
            uuid=_get(message, "uuid"),
            body=_get(message, "body"),
        )
    except (DecodeError, UnicodeDecodeError) as error:
        raise DataError("sparkplug.payload", f"not a Sparkplug B payload: {error}") from error


def _put(message: Any, field: str, value: object, where: str) -> None:  # noqa: ANN401 - see schema.payload_class
    if value is None:
        return
    try:
        setattr(message, field, value)
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise DataError("sparkplug.value", f"{where}: {type(value).__name__} does not fit {field}: {error}") from error


def _get(message: Any, field: str) -> Any:  # noqa: ANN401 - see schema.payload_class
    if not message.HasField(field):
        return None
    value = getattr(message, field)
    return value if field == "body" else scalars.checked_text(value, field)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DataError("sparkplug.depth", f"templates or property sets nested deeper than {MAX_DEPTH}")


def _encode_metric(message: Any, metric: Metric, *, datatypes: bool, depth: int) -> None:  # noqa: ANN401
    where = f"metric {metric.name!r}" if metric.name is not None else f"metric with alias {metric.alias}"
    if not metric.name and metric.alias is None:
        raise DataError("sparkplug.name", "metric with neither name nor alias")
    _put(message, "name", metric.name, where)
    _put(message, "alias", metric.alias, where)
    _put(message, "timestamp", metric.timestamp_ms, where)
    if datatypes and metric.datatype is not None:
        message.datatype = metric.datatype
    if metric.is_historical:
        message.is_historical = True
    if metric.is_transient:
        message.is_transient = True
    if metric.metadata is not None:
        message.metadata.SetInParent()
        for field in _META_FIELDS:
            _put(message.metadata, field, getattr(metric.metadata, field), where)
    if metric.properties:
        _encode_properties(message.properties, metric.properties, where, depth)
    if metric.value is None:
        message.is_null = True
    else:
        _encode_value(message, metric.datatype, metric.value, where, depth)


def _encode_value(message: Any, kind: DataType | None, value: Value, where: str, depth: int) -> None:  # noqa: ANN401
    _check_depth(depth)
    if kind is DataType.DATASET and isinstance(value, DataSet):
        _encode_dataset(message.dataset_value, value, where)
    elif kind is DataType.TEMPLATE and isinstance(value, Template):
        _encode_template(message.template_value, value, depth)
    elif kind is None:
        raise DataError("sparkplug.datatype", f"{where}: a value needs a datatype to be encoded")
    else:
        _encode_scalar(message, kind, value, where)


def _encode_scalar(message: Any, kind: DataType, value: object, where: str) -> None:  # noqa: ANN401
    field, wire = scalars.to_wire(kind, value, where)
    setattr(message, field, wire)


def _encode_properties(message: Any, properties: PropertySet, where: str, depth: int) -> None:  # noqa: ANN401
    _check_depth(depth)
    for key, item in properties.items():
        inside = f"{where}, property {key!r}"
        _append_text(message.keys, key, inside)
        value = message.values.add(type=item.type)
        if item.value is None:
            value.is_null = True
        elif item.type is DataType.PROPERTY_SET and not isinstance(item.value, bool | int | float | str | tuple):
            value.propertyset_value.SetInParent()
            _encode_properties(value.propertyset_value, item.value, inside, depth + 1)
        elif item.type is DataType.PROPERTY_SET_LIST and isinstance(item.value, tuple):
            value.propertysets_value.SetInParent()
            for one in item.value:
                _encode_properties(value.propertysets_value.propertyset.add(), one, inside, depth + 1)
        elif item.type.basic:
            _encode_scalar(value, item.type, item.value, inside)
        else:
            message_text = f"{inside}: {type(item.value).__name__} is no value of {item.type.name}"
            raise DataError("sparkplug.property", message_text)


def _append_text(texts: Any, text: str, where: str) -> None:  # noqa: ANN401 - a repeated string field
    try:
        texts.append(text)
    except ValueError as error:  # UnicodeEncodeError or, from the protobuf that is all Python, its parent
        raise DataError("sparkplug.text", f"{where}: text with a lone surrogate has no UTF-8 form") from error


def _encode_dataset(message: Any, dataset: DataSet, where: str) -> None:  # noqa: ANN401
    message.num_of_columns = len(dataset.columns)
    for column in dataset.columns:
        _append_text(message.columns, column, where)
    message.types.extend(dataset.types)
    for row in dataset.rows:
        elements = message.rows.add().elements
        for kind, value in zip(dataset.types, row, strict=True):
            element = elements.add()
            if value is not None:
                _encode_scalar(element, kind, value, where)


def _encode_template(message: Any, template: Template, depth: int) -> None:  # noqa: ANN401
    where = f"template {template.ref!r}"
    message.is_definition = template.is_definition
    _put(message, "template_ref", template.ref, where)
    _put(message, "version", template.version, where)
    for parameter in template.parameters:
        made = message.parameters.add(type=parameter.type)
        _put(made, "name", parameter.name, where)
        if parameter.value is not None:
            _encode_scalar(made, parameter.type, parameter.value, f"{where}, parameter {parameter.name!r}")
    for metric in template.metrics:
        _encode_metric(message.metrics.add(), metric, datatypes=True, depth=depth + 1)


def _decode_metric(message: Any, declared: Mapping[str, DataType], depth: int) -> Metric:  # noqa: ANN401
    _check_depth(depth)
    name = _get(message, "name")
    where = f"metric {name!r}"
    kind = _datatype(message.datatype, where) or declared.get(name)
    return Metric(
        name=name,
        datatype=kind,
        value=_decode_value(message, kind, where, depth),
        timestamp_ms=_get(message, "timestamp"),
        is_historical=message.is_historical,
        properties=_decode_properties(message.properties, where, depth),
        alias=_get(message, "alias"),
        is_transient=message.is_transient,
        metadata=_decode_metadata(message.metadata) if message.HasField("metadata") else None,
    )


def _datatype(number: int, where: str) -> DataType | None:
    """Return the type, ``None`` for absent and for Unknown, which say the same."""
    try:
        return DataType(number) or None
    except ValueError as error:
        raise DataError("sparkplug.datatype", f"{where}: datatype {number}, expected 1 to 34") from error


def _decode_value(message: Any, kind: DataType | None, where: str, depth: int) -> Value:  # noqa: ANN401
    field = message.WhichOneof("value")
    if message.is_null or field is None:
        return None
    value = getattr(message, field)
    if field == "dataset_value" and kind in {None, DataType.DATASET}:
        return _decode_dataset(value, where)
    if field == "template_value" and kind in {None, DataType.TEMPLATE}:
        return _decode_template(value, depth)
    if kind is None:
        raw: Scalar | bytes = scalars.checked_text(value, where) if field == "string_value" else value
        return raw
    return scalars.from_wire(kind, field, value, where)


def _decode_metadata(message: Any) -> MetaData:  # noqa: ANN401
    return MetaData(**{field: _get(message, field) for field in _META_FIELDS})


def _decode_properties(message: Any, where: str, depth: int) -> PropertySet:  # noqa: ANN401
    _check_depth(depth)
    if len(message.keys) != len(message.values):
        found = f"{where}: {len(message.keys)} property keys and {len(message.values)} values, expected as many"
        raise DataError("sparkplug.property", found)
    return {
        scalars.checked_text(key, where): _decode_property(value, f"{where}, property {key!r}", depth)
        for key, value in zip(message.keys, message.values, strict=True)
    }


def _decode_property(message: Any, where: str, depth: int) -> Property:  # noqa: ANN401
    kind = _datatype(message.type, where)
    field = message.WhichOneof("value")
    if kind is None:
        raise DataError("sparkplug.property", f"{where}: no type")
    value: PropertyValue
    if message.is_null or field is None:
        value = None
    elif kind is DataType.PROPERTY_SET and field == "propertyset_value":
        value = _decode_properties(message.propertyset_value, where, depth + 1)
    elif kind is DataType.PROPERTY_SET_LIST and field == "propertysets_value":
        sets = message.propertysets_value.propertyset
        value = tuple(_decode_properties(one, where, depth + 1) for one in sets)
    elif kind.basic:
        value = _basic(kind, field, message, where)
    else:
        raise DataError("sparkplug.property", f"{where}: {kind.name} in {field}, which is for another type")
    return Property(kind, value)


def _basic(kind: DataType, field: str, message: Any, where: str) -> Scalar:  # noqa: ANN401
    return cast("Scalar", scalars.from_wire(kind, field, getattr(message, field), where))  # no basic type is bytes


def _decode_dataset(message: Any, where: str) -> DataSet:  # noqa: ANN401
    columns = tuple(scalars.checked_text(column, where) for column in message.columns)
    if message.HasField("num_of_columns") and message.num_of_columns != len(columns):
        found = f"{where}: data set that announces {message.num_of_columns} columns and names {len(columns)}"
        raise DataError("sparkplug.dataset", found)
    types = tuple(_column_type(number, where) for number in message.types)
    made = DataSet(columns, types)
    rows = tuple(_decode_row(row.elements, made, where) for row in message.rows)
    return DataSet(columns, types, rows)


def _column_type(number: int, where: str) -> DataType:
    kind = _datatype(number, where)
    if kind is None:
        raise DataError("sparkplug.dataset", f"{where}: data set column without a type")
    return kind


def _decode_row(elements: Any, shape: DataSet, where: str) -> tuple[Scalar | None, ...]:  # noqa: ANN401
    if len(elements) != len(shape.types):
        found = f"{where}: data set row with {len(elements)} values, expected {len(shape.types)}"
        raise DataError("sparkplug.dataset", found)
    return tuple(
        None if (field := element.WhichOneof("value")) is None else _basic(kind, field, element, where)
        for kind, element in zip(shape.types, elements, strict=True)
    )


def _decode_template(message: Any, depth: int) -> Template:  # noqa: ANN401
    ref = _get(message, "template_ref")
    where = f"template {ref!r}"
    if message.is_definition is (ref is not None):
        found = (
            f"{where}: is_definition is {message.is_definition}; a definition has no template_ref, an instance has one"
        )
        raise DataError("sparkplug.template", found)
    return Template(
        metrics=tuple(_decode_metric(metric, {}, depth + 1) for metric in message.metrics),
        ref=ref,
        version=_get(message, "version"),
        parameters=tuple(_decode_parameter(parameter, where) for parameter in message.parameters),
    )


def _decode_parameter(message: Any, where: str) -> Parameter:  # noqa: ANN401
    name = _get(message, "name") or ""
    kind = _datatype(message.type, where)
    if kind is None:
        raise DataError("sparkplug.template", f"{where}: parameter {name!r} without a type")
    field = message.WhichOneof("value")
    value = None if field is None else _basic(kind, field, message, f"{where}, parameter {name!r}")
    return Parameter(name, kind, value)
