"""What a Sparkplug B payload says: metrics, their datatypes, properties, data sets, templates (Sparkplug 3.0, ch. 6).

Plain frozen values. A null is ``value=None``; the wire's ``is_null`` follows from it. What the specification demands
of a composite value is checked when it is made: an encoder cannot send and a decoder cannot return a bad one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Scalar: TypeAlias = bool | int | float | str
    PropertySet: TypeAlias = Mapping[str, "Property"]
    PropertyValue: TypeAlias = Scalar | PropertySet | tuple[PropertySet, ...] | None
    Value: TypeAlias = "Scalar | bytes | DataSet | Template | None"


class DataType(IntEnum):
    """Number of a type on the wire (Sparkplug 3.0, 6.4.16); the comment is the Python value."""

    UNKNOWN = 0  # treated as if no datatype was sent
    INT8 = 1  # int
    INT16 = 2  # int
    INT32 = 3  # int
    INT64 = 4  # int
    UINT8 = 5  # int
    UINT16 = 6  # int
    UINT32 = 7  # int
    UINT64 = 8  # int
    FLOAT = 9  # float; precision of 32 bits on the wire
    DOUBLE = 10  # float
    BOOLEAN = 11  # bool
    STRING = 12  # str
    DATETIME = 13  # int, milliseconds since 1970 UTC
    TEXT = 14  # str
    UUID = 15  # str
    DATASET = 16  # DataSet
    BYTES = 17  # bytes
    FILE = 18  # bytes, described by MetaData
    TEMPLATE = 19  # Template
    PROPERTY_SET = 20  # mapping of Property; properties only
    PROPERTY_SET_LIST = 21  # tuple of such mappings; properties only
    INT8_ARRAY = 22  # bytes, as packed on the wire; so are all arrays
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34

    @property
    def basic(self) -> bool:
        """Whether it is one of the basic types, the only ones of data set columns and template parameters."""
        return DataType.INT8 <= self <= DataType.TEXT


class Quality(IntEnum):
    """Value of the property ``Quality`` (Sparkplug 3.0, 6.4.9)."""

    BAD = 0
    GOOD = 192
    STALE = 500


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a metric; ``value`` fits ``type``, which is a basic one or a property set, ``None`` is null."""

    type: DataType
    value: PropertyValue


@dataclass(frozen=True, slots=True)
class DataSet:
    """A matrix: ``rows`` of values (``None`` is null), as many as there are ``columns`` with ``types``.

    Raises:
        DataError: sizes differ or a type is not basic (tck-id-payloads-dataset-column-num-headers and -types-value).
    """

    columns: tuple[str, ...]
    types: tuple[DataType, ...]
    rows: tuple[tuple[Scalar | None, ...], ...] = ()

    def __post_init__(self) -> None:
        """Check the sizes and types."""
        if len(self.columns) != len(self.types):
            message = f"data set with {len(self.columns)} column names and {len(self.types)} types"
            raise DataError("sparkplug.dataset", message)
        for kind in self.types:
            if not kind.basic:
                raise DataError("sparkplug.dataset", f"data set column of type {kind.name}, expected a basic type")
        for row in self.rows:
            if len(row) != len(self.columns):
                message = f"data set row with {len(row)} values, expected {len(self.columns)}"
                raise DataError("sparkplug.dataset", message)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a template; its type is basic.

    Raises:
        DataError: no name, or a type that is not basic (tck-id-payloads-template-parameter-type-value).
    """

    name: str
    type: DataType
    value: Scalar | None

    def __post_init__(self) -> None:
        """Check the name and the type."""
        if not self.name:
            raise DataError("sparkplug.template", "template parameter without a name")
        if not self.type.basic:
            message = f"template parameter {self.name!r} of type {self.type.name}, expected a basic type"
            raise DataError("sparkplug.template", message)


@dataclass(frozen=True, slots=True)
class Template:
    """A definition (``ref`` is None) or an instance of the definition named ``ref`` (Sparkplug 3.0, 6.4.14).

    Whether it is a definition follows from ``ref``, because the specification allows no other combination.
    """

    metrics: tuple[Metric, ...]
    ref: str | None = None
    version: str | None = None
    parameters: tuple[Parameter, ...] = ()

    @property
    def is_definition(self) -> bool:
        """Whether it defines a type rather than fills one."""
        return self.ref is None


@dataclass(frozen=True, slots=True)
class MetaData:
    """What describes a file or a part of one; all optional (Sparkplug 3.0, 6.4.7)."""

    is_multi_part: bool | None = None
    content_type: str | None = None
    size: int | None = None
    seq: int | None = None
    file_name: str | None = None
    file_type: str | None = None
    md5: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """One named value at one time.

    Attributes:
        name: slash-separated; ``None`` only when the sender names it by ``alias``.
        datatype: ``None`` when the sender left it out and nobody declared it; the value is then as it came.
        value: fits ``datatype``; ``None`` is null.
        timestamp_ms: when the value was captured, UTC milliseconds since 1970.
        is_historical: true when it must not replace the current value.
        is_transient: true when a historian must not store it.
    """

    name: str | None
    datatype: DataType | None
    value: Value
    timestamp_ms: int | None = None
    is_historical: bool = False
    properties: Mapping[str, Property] = field(default_factory=dict)
    alias: int | None = None
    is_transient: bool = False
    metadata: MetaData | None = None

    @property
    def is_null(self) -> bool:
        """Whether the metric says explicitly that it has no value."""
        return self.value is None


@dataclass(frozen=True, slots=True)
class Payload:
    """The content of one message.

    Attributes:
        timestamp_ms: when it was sent, UTC milliseconds since 1970; some hosts leave it out.
        seq: 0 to 255 in all messages of an edge node but NDEATH; ``None`` in commands.
        uuid, body: for payloads of another form; not used by the edge.
    """

    timestamp_ms: int | None
    metrics: tuple[Metric, ...] = ()
    seq: int | None = None
    uuid: str | None = None
    body: bytes | None = None
