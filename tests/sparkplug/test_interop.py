"""The codec against two foreign ones: npm sparkplug-payload and PyPI pysparkplug read ours, and we read theirs."""

from __future__ import annotations

import math
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.publish.sparkplug.payload import (
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
from edge_runtime.publish.sparkplug.topics import State, decode_state
from tests.brokers import Broker
from tests.sparkplug.hosts import npm_host, pysparkplug_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sparkplug.hosts import Host

BOTH = pytest.mark.parametrize("make", [npm_host, pysparkplug_host])
NAMES = {DataType.DATETIME: "DateTime"}

# Every scalar on which the specification, both libraries and we agree; JSON stands for 64 bits and bytes as text.
AGREED: list[tuple[DataType, Any]] = [
    *((DataType.INT32, number) for number in (0, -1, 2**31 - 1, -(2**31))),
    *((DataType.INT64, number) for number in (0, -1, 2**63 - 1, -(2**63))),
    *((DataType.INT8, number) for number in (0, 127)),
    *((DataType.INT16, number) for number in (0, 32767)),
    *((DataType.UINT8, number) for number in (0, 255)),
    *((DataType.UINT16, number) for number in (0, 65535)),
    *((DataType.UINT64, number) for number in (0, 2**64 - 1)),
    *((DataType.DATETIME, number) for number in (0, 1_764_174_000_123)),
    *((DataType.BOOLEAN, truth) for truth in (True, False)),
    *(
        (kind, text)
        for kind in (DataType.STRING, DataType.TEXT, DataType.UUID)
        for text in ("", "ü€😀\n\0", "x" * 5000)
    ),
    *((kind, data) for kind in (DataType.BYTES, DataType.FILE) for data in (b"", b"\0\xff" * 100)),
    *((kind, x) for kind in (DataType.FLOAT, DataType.DOUBLE) for x in (0.0, -1.5, math.inf, -math.inf, math.nan)),
    (DataType.DOUBLE, 1e300),
    (DataType.DOUBLE, 5e-324),
    *((kind, None) for kind in (DataType.INT32, DataType.INT64, DataType.DOUBLE, DataType.BOOLEAN, DataType.STRING)),
]


def said(value: Any) -> Any:
    """Return the form in which a host's JSON says a value."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def same(found: Any, expected: Any) -> bool:
    """Compare, where 64 bit integers may be told as text."""
    if isinstance(expected, int) and not isinstance(expected, bool) and isinstance(found, str):
        found = int(found)
    return bool(type(found) is type(expected) or isinstance(expected, float)) and found == expected


@BOTH
def test_a_host_reads_every_scalar_that_we_write(make: Callable[[int], Host]) -> None:
    metrics = tuple(Metric(f"m{at}", kind, value, 1000 + at) for at, (kind, value) in enumerate(AGREED))
    with make(0) as host:
        answer = host.ask("decode", hex=encode(Payload(77, metrics, 0)).hex())
    assert same(answer["timestamp"], 77)
    wrong = [
        (kind.name, value, found)
        for at, ((kind, value), found) in enumerate(zip(AGREED, answer["metrics"], strict=True))
        if not (same(found["value"], said(value)) and found["name"] == f"m{at}" and same(found["timestamp"], 1000 + at))
    ]
    assert wrong == []


@BOTH
def test_we_read_every_scalar_that_a_host_writes(make: Callable[[int], Host]) -> None:
    exact = [one for one in AGREED if one[1] is not None and not (isinstance(one[1], float) and one[1] - one[1] != 0)]
    if make is npm_host:  # its encoder goes through JavaScript numbers
        exact = [(kind, value) for kind, value in exact if not isinstance(value, int) or abs(value) < 2**53]
    metrics = [
        {"name": f"m{at}", "type": NAMES.get(kind, js(kind)), "value": said(value), "timestamp": 5}
        for at, (kind, value) in enumerate(exact)
    ]
    with make(0) as host:
        answer = host.ask("encode", payload={"timestamp": 77, "seq": 0, "metrics": metrics})
    payload = decode(bytes.fromhex(answer["hex"]))
    assert (payload.timestamp_ms, payload.seq) == (77, 0)
    assert [(metric.datatype, metric.value) for metric in payload.metrics] == exact


def js(kind: DataType) -> str:
    """Return the name that the npm library has for a type; the other one ignores case."""
    return {"UUID": "UUID", "UINT8": "UInt8", "UINT16": "UInt16", "UINT64": "UInt64"}.get(kind.name, kind.name.title())


def test_small_negative_integers_are_written_differently_by_hosts_and_read_either_way() -> None:
    """We write 32 bits as npm and Java do, which pysparkplug refuses for Int8 and Int16: the product uses Int32."""
    ours = encode(Payload(1, (Metric("m", DataType.INT8, -1), Metric("n", DataType.INT16, -300)), 0))
    with npm_host(0) as host:
        assert [one["value"] for one in host.ask("decode", hex=ours.hex())["metrics"]] == [-1, -300]
        metrics = [{"name": "m", "type": "Int8", "value": -1}, {"name": "n", "type": "Int16", "value": -300}]
        theirs = bytes.fromhex(host.ask("encode", payload={"timestamp": 1, "seq": 0, "metrics": metrics})["hex"])
    assert [one.value for one in decode(theirs).metrics] == [-1, -300]
    with pysparkplug_host(0) as host:
        with pytest.raises(AssertionError, match="overflow"):
            host.ask("decode", hex=ours.hex())
        theirs = bytes.fromhex(host.ask("encode", payload={"timestamp": 1, "seq": 0, "metrics": metrics})["hex"])
    assert [one.value for one in decode(theirs).metrics] == [-1, -300]


def test_uint32_is_in_another_field_at_npm_and_read_either_way() -> None:
    """The specification says int_value, npm looks into long_value: the product does not use UInt32."""
    with npm_host(0) as host:
        payload = {"timestamp": 1, "seq": 0, "metrics": [{"name": "m", "type": "UInt32", "value": 4294967295}]}
        theirs = bytes.fromhex(host.ask("encode", payload=payload)["hex"])
    assert decode(theirs).metrics[0].value == 4294967295


def test_npm_reads_properties_data_sets_templates_and_metadata_that_we_write() -> None:
    # npm refuses every integer in a data set and in a template parameter
    dataset = DataSet(("a", "b"), (DataType.DOUBLE, DataType.STRING), ((-1.5, "x"), (2.0, "")))
    template = Template(
        (Metric("speed", DataType.DOUBLE, 1.5),), "motor", "v1", (Parameter("maker", DataType.STRING, "x"),)
    )
    nested = {"inner": Property(DataType.PROPERTY_SET, {"unit": Property(DataType.STRING, "mm")})}
    metrics = (
        Metric("q", DataType.INT32, 1, properties={**quality(Quality.STALE), **nested}),
        Metric("d", DataType.DATASET, dataset),
        Metric("t", DataType.TEMPLATE, template),
        Metric("f", DataType.FILE, b"abc", metadata=MetaData(size=3, file_name="a.txt"), is_historical=True),
    )
    with npm_host(0) as host:
        read = host.ask("decode", hex=encode(Payload(1, metrics, 0)).hex())["metrics"]
    assert read[0]["properties"] == {
        "Quality": {"value": 500, "type": "Int32"},
        "inner": {"value": {"unit": {"value": "mm", "type": "String"}}, "type": "PropertySet"},
    }
    assert (read[1]["value"]["columns"], read[1]["value"]["rows"]) == (["a", "b"], [[-1.5, "x"], [2, ""]])
    assert (read[2]["value"]["templateRef"], read[2]["value"]["isDefinition"]) == ("motor", False)
    assert read[2]["value"]["metrics"][0]["value"] == 1.5
    assert read[2]["value"]["parameters"][0]["value"] == "x"
    assert (read[3]["isHistorical"], read[3]["metadata"]["fileName"]) == (True, "a.txt")


def test_we_read_properties_data_sets_and_templates_that_npm_writes() -> None:
    metrics = [
        {"name": "q", "type": "Int32", "value": 1, "properties": {"Quality": {"type": "Int32", "value": 0}}},
        {
            "name": "d",
            "type": "DataSet",
            "value": {"numOfColumns": 2, "columns": ["a", "b"], "types": ["Int32", "String"], "rows": [[-1, "x"]]},
        },
        {
            "name": "t",
            "type": "Template",
            "value": {
                "templateRef": "motor",
                "isDefinition": False,
                "version": "v1",
                "metrics": [{"name": "speed", "type": "Double", "value": 1.5}],
                "parameters": [{"name": "poles", "type": "Int32", "value": 4}],
            },
        },
    ]
    with npm_host(0) as host:
        data = bytes.fromhex(host.ask("encode", payload={"timestamp": 1, "seq": 0, "metrics": metrics})["hex"])
    first, second, third = decode(data).metrics
    assert first.properties == quality(Quality.BAD)
    assert second.value == DataSet(("a", "b"), (DataType.INT32, DataType.STRING), ((-1, "x"),))
    assert third.value == Template(
        (Metric("speed", DataType.DOUBLE, 1.5),), "motor", "v1", (Parameter("poles", DataType.INT32, 4),)
    )


@BOTH
def test_a_host_counts_what_a_broker_delivers(make: Callable[[int], Host]) -> None:
    """Whatever the tests of the node build on: counting, seq gaps, bdSeq, undeclared metrics, historical ones."""
    bd = Metric("bdSeq", DataType.INT64, 7, 1)
    value = Metric("a", DataType.INT32, -1, 1)
    late = Metric("b", DataType.INT32, -1, 1, is_historical=True)
    sent = [
        ("NBIRTH/n", Payload(1, (bd,), 0)),
        ("DBIRTH/n/d", Payload(1, (value,), 1)),
        ("DDATA/n/d", Payload(1, (value, late), 2)),
        ("DDATA/n/d", Payload(1, (value,), 4)),  # 3 is missing
        ("DDEATH/n/d", Payload(1, (), 5)),
        ("NDEATH/n", Payload(1, (Metric("bdSeq", DataType.INT64, 6, 1),))),
    ]
    with Broker() as broker, make(broker.port) as host:
        for end, payload in sent:
            topic = f"spBv1.0/g/{end}"
            command = ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "-t", topic, "-s"]
            subprocess.run(command, input=encode(payload), check=True, timeout=20)
        report = host.wait(lambda seen: "NDEATH" in seen["counts"])
    assert report["counts"] == {"NBIRTH": 1, "DBIRTH": 1, "DDATA": 2, "DDEATH": 1, "NDEATH": 1}
    assert (report["seq_gaps"], report["bdseq_mismatches"], report["undeclared"]) == (1, 1, 1)
    assert (report["historical"], report["errors"]) == (1, [])
    assert report["births"] == [{"node": "g/n", "bdSeq": 7}]
    assert report["values"]["g/n/d/a"] == -1


@BOTH
def test_what_a_host_says_reaches_the_broker(make: Callable[[int], Host]) -> None:
    with Broker() as broker, make(broker.port) as host:
        command = [
            "mosquitto_sub",
            "-h",
            broker.host,
            "-p",
            str(broker.port),
            "-V",
            "5",
            "-t",
            "spBv1.0/#",
            "-i",
            "listener",
        ]
        with subprocess.Popen([*command, "-C", "4", "-F", "%t %r %x"], stdout=subprocess.PIPE, text=True) as listener:
            host.wait(lambda _: "Sending SUBACK to listener" in broker.log())
            host.state("scada", online=True, timestamp_ms=5)
            host.rebirth("g", "n", timestamp=False)
            host.rebirth("g", "n")
            host.ask("command", group="g", node="n", device="d", metrics=[{"name": "a", "type": "Int32", "value": -3}])
            heard, _ = listener.communicate(timeout=20)
    state, bare, full, command_line = (line.split() for line in heard.splitlines())
    assert (state[0], decode_state(bytes.fromhex(state[2]))) == ("spBv1.0/STATE/scada", State(True, 5))  # noqa: FBT003
    assert (bare[0], decode(bytes.fromhex(bare[2])).timestamp_ms) == ("spBv1.0/g/NCMD/n", None)
    assert decode(bytes.fromhex(full[2])).timestamp_ms is not None
    assert decode(bytes.fromhex(full[2])).metrics[0].value is True
    assert (command_line[0], decode(bytes.fromhex(command_line[2])).metrics[0].value) == ("spBv1.0/g/DCMD/n/d", -3)
