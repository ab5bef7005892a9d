"""An independent Sparkplug B host: PyPI pysparkplug on its own paho, none of our code.

    python pysp_host.py PORT      PORT 0: no broker, only the codec

Understands the same orders on stdin and answers the same reports as ``npm_host/host.js``. Started by ``hosts.py`` with
nothing but pysparkplug and what it needs on the module path.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
import time
from typing import Any

import pysparkplug as sp
from pysparkplug import _protobuf

REBIRTH = "Node Control/Rebirth"
KINDS = {
    sp.MessageType.NBIRTH: False,
    sp.MessageType.NDATA: False,
    sp.MessageType.NDEATH: False,
    sp.MessageType.DBIRTH: True,
    sp.MessageType.DDATA: True,
    sp.MessageType.DDEATH: True,
}


def plain(value: Any) -> Any:
    """Return what JSON can say of a value."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dt.datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, float) and value - value != 0:
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    return value


class Host(sp.Client):
    """What it saw, kept by the thread of its client and read under ``lock``."""

    def __init__(self) -> None:
        super().__init__(client_id="pysp-host")
        self.lock = threading.Lock()
        self.nodes: dict[str, dict[str, Any]] = {}
        self.seen: dict[str, Any] = {
            "counts": {},
            "seq_gaps": 0,
            "bdseq_mismatches": 0,
            "births": [],
            "deaths": [],
            "undeclared": 0,
            "historical": 0,
            "values": {},
            "errors": [],
        }

    def _handle_message(self, mqtt_message: Any) -> Any:
        kind = mqtt_message.topic.split("/")[2]
        with self.lock:
            self.seen["counts"][kind] = self.seen["counts"].get(kind, 0) + 1
        try:
            return super()._handle_message(mqtt_message)
        except Exception as error:  # noqa: BLE001 - what the library cannot read must be seen, not end its thread
            with self.lock:
                self.seen["errors"].append(f"{kind}: {error!r}")
            return None

    def on_message(self, _client: sp.Client, message: Any) -> None:
        """Follow one message that the library has decoded."""
        if message is None:
            return
        with self.lock:
            self._follow(message.topic, message.payload)

    def _follow(self, topic: sp.Topic, payload: Any) -> None:
        key = f"{topic.group_id}/{topic.edge_node_id}"
        kind = topic.message_type.value
        if kind == "NBIRTH":
            self.seen["seq_gaps"] += payload.seq != 0
            self.nodes[key] = {"seq": 0, "bdSeq": bd_seq(payload.metrics), "declared": set()}
            self.seen["births"].append({"node": key, "bdSeq": bd_seq(payload.metrics)})
        node = self.nodes.get(key)
        if kind == "NDEATH":
            number = bd_seq([payload.bd_seq_metric])
            self.seen["deaths"].append({"node": key, "bdSeq": number})
            self.seen["bdseq_mismatches"] += node is not None and node["bdSeq"] != number
            return
        if node is None:
            self.seen["seq_gaps"] += 1
            return
        if kind != "NBIRTH":
            self.seen["seq_gaps"] += payload.seq != (node["seq"] + 1) % 256
            node["seq"] = payload.seq
        place = key if topic.device_id is None else f"{key}/{topic.device_id}"
        for metric in getattr(payload, "metrics", ()):
            if kind.endswith("BIRTH"):
                node["declared"].add(f"{place}/{metric.name}")
            self.seen["undeclared"] += f"{place}/{metric.name}" not in node["declared"]
            self.seen["historical"] += metric.is_historical
            self.seen["values"][f"{place}/{metric.name}"] = plain(metric.value)


def bd_seq(metrics: Any) -> int | None:
    """Return the bdSeq among ``metrics``."""
    return next((metric.value for metric in metrics if metric.name == "bdSeq"), None)


def metric_of(order: dict[str, Any], now: int | None) -> sp.Metric:
    """Return the library's metric for one of an order."""
    kind = sp.DataType[order["type"].upper()]
    value = order["value"]
    if kind in {sp.DataType.BYTES, sp.DataType.FILE}:
        value = bytes.fromhex(value)
    elif kind is sp.DataType.DATETIME:
        value = dt.datetime.fromtimestamp(int(value) / 1000, tz=dt.UTC)
    elif kind in {sp.DataType.FLOAT, sp.DataType.DOUBLE}:
        value = float(value)
    elif kind is not sp.DataType.BOOLEAN and "INT" in kind.name:
        value = int(value)
    return sp.Metric(timestamp=order.get("timestamp", now), name=order["name"], datatype=kind, value=value)


def decode(data: bytes) -> dict[str, Any]:
    """Return what the library makes of a birth."""
    payload = sp.NBirth.decode(data)
    metrics = [
        {
            "name": metric.name,
            "type": metric.datatype.name,
            "value": plain(metric.value),
            "timestamp": metric.timestamp,
            "isHistorical": metric.is_historical,
            "isNull": metric.is_null,
        }
        for metric in payload.metrics
    ]
    return {"timestamp": payload.timestamp, "seq": payload.seq, "metrics": metrics}


def encode(payload: dict[str, Any]) -> str:
    """Return the library's bytes of a birth, as hex."""
    metrics = tuple(metric_of(metric, payload["timestamp"]) for metric in payload["metrics"])
    return sp.NBirth(timestamp=payload["timestamp"], seq=payload["seq"], metrics=metrics).encode().hex()


def command_body(order: dict[str, Any]) -> bytes:
    """Return the payload of a command; without ``timestamp`` as hosts write it that leave it out."""
    now = int(time.time() * 1000)
    if order["do"] == "rebirth":
        if order.get("timestamp") is False:
            payload = _protobuf.Payload()
            payload.metrics.add(name=REBIRTH, datatype=11, boolean_value=True)
            return bytes(payload.SerializeToString())
        order = {"metrics": [{"name": REBIRTH, "type": "Boolean", "value": True}]}
    metrics = tuple(metric_of(metric, now) for metric in order["metrics"])
    return bytes(sp.NCmd(timestamp=now, metrics=metrics).encode(include_dtypes=True))


def obey(host: Host, order: dict[str, Any]) -> Any:
    """Do one order and return its answer."""
    mqtt = host._client  # the library's public publish() insists on timestamps
    if order["do"] == "report":
        with host.lock:
            return json.loads(json.dumps(host.seen))
    if order["do"] in {"rebirth", "command"}:
        kind = "DCMD" if "device" in order else "NCMD"
        levels = ["spBv1.0", order["group"], kind, order["node"], *([order["device"]] if "device" in order else [])]
        mqtt.publish("/".join(levels), command_body(order), qos=0).wait_for_publish(10)
        return {"done": "/".join(levels)}
    if order["do"] == "state":
        stamp = order.get("timestamp", int(time.time() * 1000))
        topic = f"spBv1.0/STATE/{order['host']}"
        body = sp.State(timestamp=stamp, online=order["online"]).encode()
        mqtt.publish(topic, body, qos=1, retain=True).wait_for_publish(10)
        return {"done": topic}
    if order["do"] == "decode":
        return decode(bytes.fromhex(order["hex"]))
    if order["do"] == "encode":
        return {"hex": encode(order["payload"])}
    return {"error": "unknown order"}


def say(document: Any) -> None:
    """Print one line."""
    print(json.dumps(document), flush=True)


def main(port: int) -> None:
    """Listen until stdin ends or says stop."""
    host = Host()
    if port:
        connected = threading.Event()
        for kind, of_device in KINDS.items():
            device = {"device_id": "+"} if of_device else {}
            topic = sp.Topic(group_id="+", message_type=kind, edge_node_id="+", **device)
            host.subscribe(topic, sp.QoS.AT_LEAST_ONCE, host.on_message)
        host.connect("127.0.0.1", port=port, callback=lambda _client: connected.set())
        connected.wait(10)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "stop":
            break
        try:
            say(obey(host, order))
        except Exception as error:  # noqa: BLE001 - the answer says it
            say({"error": repr(error)})
    with host.lock:
        say(host.seen)
    if port:
        host.disconnect()


if __name__ == "__main__":
    main(int(sys.argv[1]))
