"""Sends single messages to a real broker with mosquitto's own client: a second implementation of MQTT 5."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.publish.mqtt.link import Outgoing


def send(port: int, message: Outgoing) -> None:
    """Publish one message at QoS 1 and wait until the broker has it."""
    command = ["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-t", message.topic, "-s"]
    subprocess.run([*command, *(["-r"] if message.retain else [])], input=message.body, timeout=10, check=True)
