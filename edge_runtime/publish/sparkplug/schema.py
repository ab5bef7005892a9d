"""The protobuf messages of Sparkplug B, built at run time from the field numbers of Sparkplug 3.0 chapter 6.

Home of google.protobuf. Nothing here is generated: no code to be regenerated when the library moves, no ``.proto``
file of others in the package. The messages are proto2: every scalar knows whether it was present.
Extension fields, which need an agreement of both sides, have no place here; they arrive as unknown fields.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PACKAGE = "edge.sparkplug"
_FILE = "edge/sparkplug.proto"
_VALUE = "value"  # the name of every oneof

# Message -> (field, number, type, repeated, part of the oneof). Types that are not scalars name a message below.
_OPTIONAL, _REPEATED, _ONE_OF = "optional", "repeated", "oneof"
_SCALAR_VALUES = (
    ("int_value", "uint32"),
    ("long_value", "uint64"),
    ("float_value", "float"),
    ("double_value", "double"),
    ("boolean_value", "bool"),
    ("string_value", "string"),
)


def _values(first: int, *more: tuple[str, str]) -> tuple[tuple[str, int, str, str], ...]:
    """Return the oneof that begins at field number ``first``: the six scalars in their fixed order, then ``more``."""
    return tuple((name, first + at, kind, _ONE_OF) for at, (name, kind) in enumerate((*_SCALAR_VALUES, *more)))


_MESSAGES: dict[str, tuple[tuple[str, int, str, str], ...]] = {
    "Payload": (
        ("timestamp", 1, "uint64", _OPTIONAL),
        ("metrics", 2, "Metric", _REPEATED),
        ("seq", 3, "uint64", _OPTIONAL),
        ("uuid", 4, "string", _OPTIONAL),
        ("body", 5, "bytes", _OPTIONAL),
    ),
    "Metric": (
        ("name", 1, "string", _OPTIONAL),
        ("alias", 2, "uint64", _OPTIONAL),
        ("timestamp", 3, "uint64", _OPTIONAL),
        ("datatype", 4, "uint32", _OPTIONAL),
        ("is_historical", 5, "bool", _OPTIONAL),
        ("is_transient", 6, "bool", _OPTIONAL),
        ("is_null", 7, "bool", _OPTIONAL),
        ("metadata", 8, "MetaData", _OPTIONAL),
        ("properties", 9, "PropertySet", _OPTIONAL),
        *_values(10, ("bytes_value", "bytes"), ("dataset_value", "DataSet"), ("template_value", "Template")),
    ),
    "MetaData": (
        ("is_multi_part", 1, "bool", _OPTIONAL),
        ("content_type", 2, "string", _OPTIONAL),
        ("size", 3, "uint64", _OPTIONAL),
        ("seq", 4, "uint64", _OPTIONAL),
        ("file_name", 5, "string", _OPTIONAL),
        ("file_type", 6, "string", _OPTIONAL),
        ("md5", 7, "string", _OPTIONAL),
        ("description", 8, "string", _OPTIONAL),
    ),
    "PropertySet": (("keys", 1, "string", _REPEATED), ("values", 2, "PropertyValue", _REPEATED)),
    "PropertySetList": (("propertyset", 1, "PropertySet", _REPEATED),),
    "PropertyValue": (
        ("type", 1, "uint32", _OPTIONAL),
        ("is_null", 2, "bool", _OPTIONAL),
        *_values(3, ("propertyset_value", "PropertySet"), ("propertysets_value", "PropertySetList")),
    ),
    "DataSet": (
        ("num_of_columns", 1, "uint64", _OPTIONAL),
        ("columns", 2, "string", _REPEATED),
        ("types", 3, "uint32", _REPEATED),
        ("rows", 4, "Row", _REPEATED),
    ),
    "Row": (("elements", 1, "DataSetValue", _REPEATED),),
    "DataSetValue": _values(1),
    "Template": (
        ("version", 1, "string", _OPTIONAL),
        ("metrics", 2, "Metric", _REPEATED),
        ("parameters", 3, "Parameter", _REPEATED),
        ("template_ref", 4, "string", _OPTIONAL),
        ("is_definition", 5, "bool", _OPTIONAL),
    ),
    "Parameter": (("name", 1, "string", _OPTIONAL), ("type", 2, "uint32", _OPTIONAL), *_values(3)),
}


@cache
def payload_class() -> type[Any]:
    """Return the class of the outermost message; the others are reached through its fields.

    ``Any`` because its attributes exist only at run time; ``payload`` is the one module that touches them.
    """
    pool = descriptor_pool.DescriptorPool()  # ours alone: no clash with whoever else loads Sparkplug messages
    pool.Add(_file())
    made: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))
    return made


def _file() -> descriptor_pb2.FileDescriptorProto:
    described = descriptor_pb2.FileDescriptorProto(name=_FILE, package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = described.message_type.add(name=name)
        if any(label == _ONE_OF for *_, label in fields):
            message.oneof_decl.add(name=_VALUE)
        for field_name, number, kind, label in fields:
            _describe(message.field.add(name=field_name, number=number), kind, label)
    return described


def _describe(field: descriptor_pb2.FieldDescriptorProto, kind: str, label: str) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    field.label = proto.LABEL_REPEATED if label == _REPEATED else proto.LABEL_OPTIONAL
    if label == _ONE_OF:
        field.oneof_index = 0
    if kind in _MESSAGES:
        field.type = proto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
    else:
        field.type = proto.Type.Value(f"TYPE_{kind.upper()}")
