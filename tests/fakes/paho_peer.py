"""A foreign MQTT 5 client (paho) at the other side of a broker: what we send and receive is judged by its eyes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 10.0


class PahoPeer:
    """Subscribed to one filter at QoS 1; everything that comes is in ``messages``."""

    def __init__(self, port: int, topic_filter: str) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "paho-peer", protocol=paho.MQTTv5)
        self._client.on_connect = lambda *_: self._client.subscribe(topic_filter, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def publish(self, topic: str, body: bytes, **properties: Any) -> int:
        """Send at QoS 1 and return the broker's reason code; names of properties as in the standard."""
        packed = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(packed, name, value)
        codes: list[int] = []
        self._client.on_publish = lambda _client, _data, _mid, reason, _properties: codes.append(reason.value)
        self._client.publish(topic, body, qos=1, properties=packed).wait_for_publish(PATIENCE_S)
        return codes[0]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def paho_peer(port: int, topic_filter: str) -> Iterator[PahoPeer]:
    peer = PahoPeer(port, topic_filter)
    try:
        yield peer
    finally:
        peer.close()
