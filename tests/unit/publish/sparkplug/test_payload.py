"""The codec against itself, against what the specification says of the bytes, and against bytes of others."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.publish.sparkplug.payload import (
    MAX_BYTES,
    MAX_DEPTH,
    DataSet,
    DataType,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Quality,
    Template,
    decode,
    encode,
    quality,
)
from edge_runtime.publish.sparkplug.schema import payload_class

INTS = {
    DataType.INT8: (-(2**7), 2**7 - 1),
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT8: (0, 2**8 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.UINT64: (0, 2**64 - 1),
    DataType.DATETIME: (0, 2**64 - 1),
}
ARRAYS = [kind for kind in DataType if kind >= DataType.INT8_ARRAY]
SIGNED = [DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
stamps = st.none() | st.integers(0, 2**64 - 1)


def scalars_of(kind: DataType) -> st.SearchStrategy[Any]:
    if kind in INTS:
        return st.integers(*INTS[kind])
    if kind in {DataType.FLOAT, DataType.DOUBLE}:
        return st.floats(allow_nan=False, width=32 if kind is DataType.FLOAT else 64)
    if kind is DataType.BOOLEAN:
        return st.booleans()
    if kind in {DataType.STRING, DataType.TEXT, DataType.UUID}:
        return texts
    return st.binary(max_size=30)


basic_types = st.sampled_from([kind for kind in DataType if kind.basic])


@st.composite
def datasets(draw: Any) -> DataSet:
    types = tuple(draw(st.lists(basic_types, max_size=4)))
    columns = tuple(draw(texts) for _ in types)
    rows = draw(st.lists(st.tuples(*(st.none() | scalars_of(kind) for kind in types)), max_size=3))
    return DataSet(columns, types, tuple(rows))


basic_properties = basic_types.flatmap(lambda kind: st.builds(Property, st.just(kind), st.none() | scalars_of(kind)))
property_sets = st.recursive(
    st.dictionaries(texts, basic_properties, max_size=3),
    lambda inner: st.dictionaries(
        texts,
        st.builds(Property, st.just(DataType.PROPERTY_SET), st.none() | inner)
        | st.builds(Property, st.just(DataType.PROPERTY_SET_LIST), st.lists(inner, max_size=3).map(tuple)),
        max_size=3,
    ),
    max_leaves=4,
)
metas = st.builds(
    MetaData, st.none() | st.booleans(), texts, stamps, stamps, st.none() | texts, st.none() | texts, texts, texts
)
parameters = basic_types.flatmap(lambda kind: st.builds(Parameter, names, st.just(kind), st.none() | scalars_of(kind)))


@st.composite
def metrics(draw: Any, depth: int = 0) -> Metric:
    kinds = set(DataType) - {DataType.UNKNOWN, DataType.PROPERTY_SET, DataType.PROPERTY_SET_LIST}
    if depth > 1:
        kinds -= {DataType.TEMPLATE}
    kind = draw(st.sampled_from(sorted(kinds)))
    if kind is DataType.DATASET:
        values: Any = datasets()
    elif kind is DataType.TEMPLATE:
        values = st.builds(
            Template,
            st.lists(metrics(depth + 1), max_size=2).map(tuple),
            st.none() | texts,
            st.none() | texts,
            st.lists(parameters, max_size=2).map(tuple),
        )
    else:
        values = scalars_of(kind)
    return draw(
        st.builds(
            Metric,
            name=names,
            datatype=st.just(kind),
            value=st.none() | values,
            timestamp_ms=stamps,
            is_historical=st.booleans(),
            properties=property_sets,
            alias=stamps,
            is_transient=st.booleans(),
            metadata=st.none() | metas,
        )
    )


payloads = st.builds(
    Payload,
    timestamp_ms=stamps,
    metrics=st.lists(metrics(), max_size=4).map(tuple),
    seq=st.none() | st.integers(0, 255),
    uuid=st.none() | texts,
    body=st.none() | st.binary(max_size=20),
)


def raw(data: bytes) -> Any:
    return payload_class().FromString(data)


def one(kind: DataType | None, value: Any) -> Metric:
    (metric,) = decode(encode(Payload(None, (Metric("m", kind, value),)))).metrics
    return metric


def wire(**fields: Any) -> bytes:
    """Return a payload with one metric of these fields, as another encoder might have written it."""
    message = payload_class()()
    metric = message.metrics.add(name="m")
    for name, value in fields.items():
        setattr(metric, name, value)
    data: bytes = message.SerializeToString()
    return data


@settings(max_examples=60)  # payloads are large
@given(payloads)
def test_what_is_encoded_is_decoded(payload: Payload) -> None:
    assert decode(encode(payload)) == payload


@given(st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_a_data_error(data: bytes) -> None:
    try:
        decode(data)
    except DataError:
        return


@settings(max_examples=60)
@given(payloads, st.data())
def test_a_damaged_payload_is_a_payload_or_a_data_error(payload: Payload, data: st.DataObject) -> None:
    damaged = bytearray(encode(payload) or b"\0")
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(damaged))
    except DataError:
        return


@pytest.mark.parametrize("kind", INTS)
def test_the_ends_of_every_integer_come_back_and_one_more_is_refused(kind: DataType) -> None:
    low, high = INTS[kind]
    assert one(kind, low).value == low
    assert one(kind, high).value == high
    for beyond in (low - 1, high + 1):
        with pytest.raises(DataError, match="expected"):
            one(kind, beyond)


@pytest.mark.parametrize("kind", SIGNED)
def test_minus_one_travels_as_the_fields_twos_complement(kind: DataType) -> None:
    (metric,) = raw(encode(Payload(None, (Metric("m", kind, -1),)))).metrics
    if kind is DataType.INT64:
        assert metric.long_value == 2**64 - 1
    else:
        assert metric.int_value == 2**32 - 1


@pytest.mark.parametrize(
    ("kind", "field", "number", "value"),
    [
        (DataType.INT8, "int_value", 0xFF, -1),
        (DataType.INT8, "int_value", 0x80, -128),
        (DataType.INT16, "int_value", 0xFFFE, -2),
        (DataType.INT32, "long_value", 2**64 - 3, -3),
        (DataType.INT32, "long_value", 2**32 - 3, -3),
        (DataType.INT64, "int_value", 7, 7),
        (DataType.UINT32, "long_value", 2**32 - 1, 2**32 - 1),
        (DataType.UINT64, "int_value", 5, 5),
    ],
)
def test_integers_of_other_encoders_are_understood(kind: DataType, field: str, number: int, value: int) -> None:
    assert decode(wire(datatype=kind, **{field: number})).metrics[0].value == value


@pytest.mark.parametrize(
    ("kind", "field", "number"),
    [
        (DataType.INT8, "int_value", 0x100),
        (DataType.INT8, "int_value", 0x80000000),
        (DataType.UINT8, "int_value", 0x100),
        (DataType.UINT32, "long_value", 2**32),
    ],
)
def test_a_number_out_of_range_on_the_wire_is_refused(kind: DataType, field: str, number: int) -> None:
    with pytest.raises(DataError, match="on the wire is no"):
        decode(wire(datatype=kind, **{field: number}))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (DataType.BOOLEAN, "int_value", 1),
        (DataType.INT32, "boolean_value", True),
        (DataType.INT32, "double_value", 1.0),
        (DataType.STRING, "bytes_value", b"x"),
        (DataType.BYTES, "string_value", "x"),
        (DataType.DOUBLE, "int_value", 1),
        (DataType.DATASET, "string_value", "x"),
        (DataType.PROPERTY_SET, "string_value", "x"),
    ],
)
def test_a_value_in_the_field_of_another_datatype_is_refused(kind: DataType, field: str, value: Any) -> None:
    with pytest.raises(DataError, match="which is for another datatype"):
        decode(wire(datatype=kind, **{field: value}))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DataType.INT32, True),
        (DataType.INT32, 1.0),
        (DataType.DOUBLE, True),
        (DataType.DOUBLE, "1"),
        (DataType.BOOLEAN, 1),
        (DataType.STRING, b"x"),
        (DataType.BYTES, "x"),
        (DataType.DATASET, "x"),
        (DataType.TEMPLATE, "x"),
        (DataType.UNKNOWN, 1),
        (DataType.PROPERTY_SET, {}),
    ],
)
def test_a_value_of_another_python_type_is_not_encoded(kind: DataType, value: Any) -> None:
    with pytest.raises(DataError, match="is no value of"):
        one(kind, value)


def test_floats_keep_infinities_and_nan_but_not_a_double_in_a_float() -> None:
    assert one(DataType.FLOAT, math.inf).value == math.inf
    assert one(DataType.DOUBLE, -math.inf).value == -math.inf
    for kind in (DataType.FLOAT, DataType.DOUBLE):
        assert math.isnan(float(str(one(kind, math.nan).value)))
    assert one(DataType.DOUBLE, 3).value == 3.0
    assert decode(wire(datatype=9, double_value=0.5)).metrics[0].value == 0.5
    with pytest.raises(DataError, match="expected at most"):
        one(DataType.FLOAT, 1e39)
    with pytest.raises(DataError, match="too large"):
        one(DataType.DOUBLE, 10**400)


def test_a_null_says_so_and_has_no_value() -> None:
    metric = raw(encode(Payload(None, (Metric("m", DataType.STRING, None),)))).metrics[0]
    assert metric.is_null
    assert metric.WhichOneof("value") is None
    assert one(DataType.STRING, None).is_null
    assert not one(DataType.STRING, "").is_null
    assert decode(wire(datatype=12, is_null=True, string_value="left over")).metrics[0].value is None


def test_what_is_absent_stays_absent_on_the_wire() -> None:
    message = raw(encode(Payload(None, (Metric("m", DataType.INT32, 0),))))
    assert [field.name for field, _ in message.ListFields()] == ["metrics"]
    assert {field.name for field, _ in message.metrics[0].ListFields()} == {"name", "datatype", "int_value"}


def test_data_messages_may_leave_the_datatype_out_and_be_read_by_the_births_declaration() -> None:
    data = encode(Payload(1, (Metric("m", DataType.INT16, -5), Metric("n", DataType.TEXT, "x"))), datatypes=False)
    assert not any(metric.HasField("datatype") for metric in raw(data).metrics)
    first, second = decode(data, {"m": DataType.INT16}).metrics
    assert (first.datatype, first.value) == (DataType.INT16, -5)
    assert (second.datatype, second.value) == (None, "x")
    assert decode(wire(datatype=0, string_value="x"), {"m": DataType.TEXT}).metrics[0].datatype is DataType.TEXT


def test_a_rebirth_command_without_timestamps_is_read() -> None:
    """tck-id-payloads-name-cmd-requirement: a command may come without timestamps."""
    metric = decode(wire(datatype=11, boolean_value=True)).metrics[0]
    assert (metric.name, metric.value, metric.timestamp_ms) == ("m", True, None)


def test_a_value_without_a_datatype_is_not_encoded() -> None:
    with pytest.raises(DataError, match="needs a datatype"):
        one(None, 1)
    assert one(None, None).datatype is None


def test_a_metric_needs_a_name_or_an_alias() -> None:
    for name in (None, ""):
        with pytest.raises(DataError, match="neither name nor alias"):
            encode(Payload(None, (Metric(name, DataType.INT32, 1),)))
    assert decode(encode(Payload(None, (Metric(None, DataType.INT32, 1, alias=4),)))).metrics[0].alias == 4


@pytest.mark.parametrize("seq", [-1, 256])
def test_seq_beyond_255_is_not_encoded(seq: int) -> None:
    with pytest.raises(DataError, match="expected 0 to 255"):
        encode(Payload(None, (), seq))


def test_a_timestamp_before_1970_is_not_encoded() -> None:
    with pytest.raises(DataError, match="does not fit timestamp"):
        encode(Payload(-1))


@pytest.mark.parametrize(
    "metric",
    [
        Metric("\ud800", DataType.INT32, 1),
        Metric("m", DataType.STRING, "\ud800"),
        Metric("m", DataType.DATASET, DataSet(("\ud800",), (DataType.INT8,))),
        Metric("m", DataType.INT32, 1, properties={"\ud800": Property(DataType.INT32, 1)}),
    ],
)
def test_a_lone_surrogate_is_not_encoded(metric: Metric) -> None:
    with pytest.raises(DataError):
        encode(Payload(None, (metric,)))


@pytest.mark.parametrize(
    "metric",
    [
        Metric("abc", DataType.INT32, 1),
        Metric("m", DataType.STRING, "abc"),
        Metric("m", DataType.INT32, 1, properties={"abc": Property(DataType.INT32, 1)}),
        Metric("m", DataType.INT32, 1, properties={"p": Property(DataType.TEXT, "abc")}),
        Metric("m", DataType.FILE, b"", metadata=MetaData(file_name="abc")),
        Metric("m", DataType.DATASET, DataSet(("abc",), (DataType.INT8,))),
        Metric("m", DataType.TEMPLATE, Template((), "abc")),
        Metric("m", DataType.TEMPLATE, Template((), None, None, (Parameter("abc", DataType.INT8, 1),))),
    ],
)
@pytest.mark.parametrize("datatypes", [True, False])
def test_text_that_is_no_utf8_is_refused(metric: Metric, datatypes: bool) -> None:  # noqa: FBT001
    data = encode(Payload(None, (metric,)), datatypes=datatypes)
    decode(data)
    with pytest.raises(DataError):
        decode(data.replace(b"abc", b"\xff\xfe\xfd"))


def test_bytes_that_are_no_protobuf_are_refused() -> None:
    with pytest.raises(DataError, match="not a Sparkplug B payload"):
        decode(b"\xff\xff\xff")


def test_a_payload_beyond_the_bound_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(DataError, match="expected at most 65536"):
        decode(b"\xff" * (MAX_BYTES + 1))
    with pytest.raises(DataError, match="expected at most 3"):
        decode(b"\xff" * 4, max_bytes=3)


def test_an_unknown_datatype_is_refused() -> None:
    with pytest.raises(DataError, match="datatype 35, expected 1 to 34"):
        decode(wire(datatype=35, int_value=1))


def test_a_metric_of_an_extension_has_no_value() -> None:
    message = payload_class()()
    message.metrics.add(name="m", datatype=3)
    data = message.SerializeToString()
    extended = data[:1] + bytes([data[1] + 3]) + data[2:] + b"\x9a\x01\x00"  # field 19, extension_value, empty
    assert decode(extended).metrics[0].value is None


def nested(levels: int) -> Metric:
    metric = Metric("leaf", DataType.INT32, 1)
    for _ in range(levels):
        metric = Metric("t", DataType.TEMPLATE, Template((metric,), ref="r"))
    return metric


def nested_properties(levels: int) -> Metric:
    item = Property(DataType.INT32, 1)
    for _ in range(levels):
        item = Property(DataType.PROPERTY_SET, {"p": item})
    return Metric("m", DataType.INT32, 1, properties={"p": item})


@pytest.mark.parametrize("make", [nested, nested_properties])
def test_nesting_beyond_the_bound_is_neither_encoded_nor_decoded(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(Payload(None, (make(MAX_DEPTH),)))
    too_deep = Payload(None, (make(MAX_DEPTH + 1),))
    with pytest.raises(DataError, match="nested deeper"):
        encode(too_deep)
    monkeypatch.setattr("edge_runtime.publish.sparkplug.payload.MAX_DEPTH", 1000)
    data = encode(too_deep)
    hopeless = encode(Payload(None, (make(200),)))
    monkeypatch.undo()
    with pytest.raises(DataError, match="nested deeper"):
        decode(data)
    with pytest.raises(DataError):
        decode(hopeless)


@pytest.mark.parametrize("code", Quality)
def test_quality_is_an_int32_property(code: Quality) -> None:
    """tck-id-payloads-propertyset-quality-value-type and tck-id-payloads-propertyset-quality-value-value."""
    data = encode(Payload(None, (Metric("m", DataType.INT32, 1, properties=quality(code)),)))
    properties = raw(data).metrics[0].properties
    assert list(properties.keys) == ["Quality"]
    assert (properties.values[0].type, properties.values[0].int_value) == (3, code)
    assert decode(data).metrics[0].properties == {"Quality": Property(DataType.INT32, code)}


def test_keys_and_values_of_a_property_set_are_as_many() -> None:
    """tck-id-payloads-propertyset-keys-array-size and tck-id-payloads-propertyset-values-array-size."""
    message = payload_class()()
    metric = message.metrics.add(name="m")
    metric.properties.keys.extend(["a", "b"])
    metric.properties.values.add(type=3, int_value=1)
    with pytest.raises(DataError, match="2 property keys and 1 values"):
        decode(message.SerializeToString())


def property_on_the_wire(**fields: Any) -> bytes:
    message = payload_class()()
    metric = message.metrics.add(name="m")
    metric.properties.keys.append("p")
    metric.properties.values.add(**fields)
    data: bytes = message.SerializeToString()
    return data


@pytest.mark.parametrize(
    "fields",
    [
        {"int_value": 1},
        {"type": 17, "string_value": "x"},
        {"type": 20, "string_value": "x"},
        {"type": 3, "string_value": "x"},
    ],
)
def test_a_property_without_a_type_or_of_another_is_refused(fields: dict[str, Any]) -> None:
    """Whatever the message.

    tck-id-payloads-metric-propertyvalue-type-type, tck-id-payloads-metric-propertyvalue-type-value,
    tck-id-payloads-metric-propertyvalue-type-req.
    """
    with pytest.raises(DataError, match="property 'p'"):
        decode(property_on_the_wire(**fields))


@pytest.mark.parametrize(
    "item",
    [
        Property(DataType.PROPERTY_SET, 1),
        Property(DataType.PROPERTY_SET_LIST, 1),
        Property(DataType.BYTES, "x"),
        Property(DataType.INT32, "x"),
    ],
)
def test_a_property_of_another_python_type_is_not_encoded(item: Property) -> None:
    with pytest.raises(DataError, match="property 'p'"):
        encode(Payload(None, (Metric("m", DataType.INT32, 1, properties={"p": item}),)))


def dataset_on_the_wire(**changes: Any) -> bytes:
    message = payload_class()()
    dataset = message.metrics.add(name="m", datatype=16).dataset_value
    dataset.num_of_columns = changes.get("columns", 1)
    dataset.columns.append("c")
    dataset.types.extend(changes.get("types", [3]))
    elements = dataset.rows.add().elements
    for _ in range(changes.get("elements", 1)):
        elements.add(int_value=1)
    data: bytes = message.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"columns": 2}, "announces 2 columns and names 1"),
        ({"types": [3, 3]}, "1 column names and 2 types"),
        ({"types": []}, "1 column names and 0 types"),
        ({"types": [0]}, "without a type"),
        ({"types": [15]}, "expected a basic type"),
        ({"types": [99]}, "datatype 99"),
        ({"types": [11]}, "which is for another datatype"),
        ({"elements": 2}, "row with 2 values"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(changes: dict[str, Any], says: str) -> None:
    """Column names, types and rows are as many as announced, and types are basic.

    tck-id-payloads-dataset-column-size, tck-id-payloads-dataset-column-num-headers, tck-id-payloads-dataset-types-def,
    tck-id-payloads-dataset-types-num, tck-id-payloads-dataset-types-type, tck-id-payloads-dataset-types-value,
    tck-id-payloads-dataset-parameter-type-req.
    """
    decode(dataset_on_the_wire())
    with pytest.raises(DataError, match=says):
        decode(dataset_on_the_wire(**changes))


def test_a_data_set_row_must_fit_the_columns() -> None:
    with pytest.raises(DataError, match="row with 2 values, expected 1"):
        DataSet(("a",), (DataType.INT8,), ((1, 2),))


def test_a_data_set_says_how_many_columns_it_has() -> None:
    """tck-id-payloads-dataset-column-size and tck-id-payloads-template-dataset-value."""
    sent = DataSet(("a", "b"), (DataType.INT8, DataType.STRING), ((-1, "x"), (None, None)))
    message = raw(encode(Payload(None, (Metric("m", DataType.DATASET, sent),)))).metrics[0].dataset_value
    assert message.num_of_columns == 2
    assert [element.WhichOneof("value") for row in message.rows for element in row.elements] == [
        "int_value",
        "string_value",
        None,
        None,
    ]


def test_a_template_says_whether_it_is_a_definition() -> None:
    """It always says so; a definition has no template_ref, an instance has the name of its definition.

    tck-id-payloads-template-is-definition, tck-id-payloads-template-is-definition-definition,
    tck-id-payloads-template-is-definition-instance, tck-id-payloads-template-definition-is-definition,
    tck-id-payloads-template-instance-is-definition, tck-id-payloads-template-definition-ref,
    tck-id-payloads-template-instance-ref, tck-id-payloads-template-ref-definition,
    tck-id-payloads-template-ref-instance.
    """
    for ref in (None, "type"):
        data = encode(Payload(None, (Metric("m", DataType.TEMPLATE, Template((), ref)),)))
        template = raw(data).metrics[0].template_value
        assert template.HasField("is_definition")
        assert template.is_definition is (ref is None)
        assert template.HasField("template_ref") is (ref is not None)


@pytest.mark.parametrize(("is_definition", "ref"), [(True, "type"), (False, None)])
def test_a_template_that_contradicts_itself_is_refused(is_definition: bool, ref: str | None) -> None:  # noqa: FBT001
    message = payload_class()()
    template = message.metrics.add(name="m", datatype=19).template_value
    template.is_definition = is_definition
    if ref is not None:
        template.template_ref = ref
    with pytest.raises(DataError, match="a definition has no template_ref"):
        decode(message.SerializeToString())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"type": 3}, "without a name"),
        ({"name": "p"}, "without a type"),
        ({"name": "p", "type": 17}, "expected a basic type"),
        ({"name": "p", "type": 3, "string_value": "x"}, "which is for another datatype"),
    ],
)
def test_a_template_parameter_has_a_name_and_a_basic_type(fields: dict[str, Any], says: str) -> None:
    """A parameter without a name or a basic type, or with a value of another type, is refused.

    tck-id-payloads-template-parameter-name-required, tck-id-payloads-template-parameter-name-type,
    tck-id-payloads-template-parameter-type-req, tck-id-payloads-template-parameter-type-value,
    tck-id-payloads-template-parameter-value, tck-id-payloads-template-parameter-value-type.
    """
    message = payload_class()()
    template = message.metrics.add(name="m", datatype=19).template_value
    template.is_definition = True
    template.parameters.add(**fields)
    with pytest.raises(DataError, match=says):
        decode(message.SerializeToString())


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_pass_as_their_packed_bytes(kind: DataType) -> None:
    assert one(kind, b"\x01\x02").value == b"\x01\x02"


def test_a_parameter_may_have_no_default() -> None:
    """tck-id-payloads-template-definition-parameters-default and tck-id-payloads-template-version."""
    sent = Template((), None, "1", (Parameter("p", DataType.INT8, None), Parameter("q", DataType.INT8, -1)))
    assert one(DataType.TEMPLATE, sent).value == sent


def test_composite_values_are_read_even_without_a_datatype() -> None:
    sent = DataSet(("a",), (DataType.INT8,), ((1,),))
    data = encode(
        Payload(None, (Metric("m", DataType.DATASET, sent), Metric("t", DataType.TEMPLATE, Template((), "r")))),
        datatypes=False,
    )
    assert [metric.value for metric in decode(data).metrics] == [sent, Template((), "r")]
