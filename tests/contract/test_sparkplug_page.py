"""What docs/sparkplug.md says is what the node does: its metrics and its example configuration."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from edge_runtime.app.sparkplug import BACKLOG, DEPTH, connections, make_node
from edge_runtime.config.schema import Settings
from edge_runtime.publish.sparkplug.payload import DataType, Metric, decode
from edge_runtime.publish.sparkplug.spoken import Now, Send
from edge_runtime.publish.sparkplug.topics import Kind

PAGE = Path(__file__).parents[2] / "docs" / "sparkplug.md"
TEXT = PAGE.read_text()


def settings() -> Settings:
    block = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    document = yaml.safe_load(block[1].replace("!secret ", "").replace("result_json: false", "result_json: true"))
    document["sparkplug"]["servers"] = tuple(document["sparkplug"]["servers"])
    more = {
        "version": 1,
        "cameras": {"top": {"source": "sim:conveyor"}},
        "models": {"defects": {"path": "x.onnx"}},
        "inspections": {"top": {"trigger": "mqtt"}},
    }
    return Settings.model_validate(document | more)


def born(kind: Kind) -> dict[str | None, Metric]:
    node = make_node(settings(), "boot", (DEPTH, BACKLOG))
    now = Now(0, 1)
    node.will(0, now)
    node.accepted(None, now)
    node.subscribed((1,), now)
    actions = node.received("spBv1.0/STATE/scada", b'{"online": true, "timestamp": 1}', now, retained=True)
    message = next(one for one in actions if isinstance(one, Send) and one.kind is kind)
    return {metric.name: metric for metric in decode(message.body).metrics}


def told(heading: str) -> dict[str, DataType]:
    """Return name and type of every metric in one of the tables."""
    table = TEXT.partition(f"| {heading} | type |")[2].partition("\n\n")[0]
    found = {}
    for line in table.splitlines()[2:]:
        names, types = (re.findall(r"`([^`]+)`|(\w[\w, ]*)", cell) for cell in line.split("|")[1:3])
        kinds = re.split(r",\s*", types[0][1].strip())
        folder = ""
        for index, (name, _) in enumerate(one for one in names if one[0]):
            folder = name.rpartition("/")[0] if "/" in name else folder
            whole = name if "/" in name or not folder else f"{folder}/{name}"
            found[whole] = DataType[kinds[min(index, len(kinds) - 1)].upper()]
    return found


def test_the_page_names_every_metric_of_the_node_with_its_type() -> None:
    assert told("node metric") == {name: metric.datatype for name, metric in born(Kind.NBIRTH).items()}


def test_the_page_names_every_metric_of_a_device_with_its_type() -> None:
    assert told("device metric") == {name: metric.datatype for name, metric in born(Kind.DBIRTH).items()}


def test_the_example_of_the_page_is_a_configuration_with_two_brokers() -> None:
    first, second = connections(settings())
    assert (first.host, first.port, second.host) == ("10.0.0.5", 1883, "10.0.0.6")
    assert (first.client_id, first.username, first.password) == ("box-17-spb", "box-17", "sparkplug-password")
    assert (first.session_expiry_s, first.will_delay_s) == (0, 0)
    assert first.tls is not None
