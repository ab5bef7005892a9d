"""The AsyncAPI 3.0 document: which topics there are, who says what on them, and how. Pure.

Made of the table of topics and the types of the documents; bindings are those of MQTT, version 0.2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_runtime.publish.contract.catalogue import DOCUMENTS, schema
from edge_runtime.publish.contract.generate import READERS, schema_of
from edge_runtime.publish.contract.topics import JSON, PLACES, STATUS, TOPICS, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BINDING = "0.2.0"
ROOT = "{topicRoot}/{site}/{line}/{edge}/"
_ROOT_PLACES = {
    "topicRoot": "mqtt.topic_root: one level or several",
    "site": "plant",
    "line": "production line",
    "edge": "the box",
}
_SECURITY = {
    "user": {"type": "userPassword", "description": "mqtt.username with mqtt.password_file"},
    "certificate": {"type": "X509", "description": "mqtt.tls with cert_file and key_file"},
}
_KEEPALIVE_S, _SESSION_S, _WILL_DELAY_S = 15, 2, 2


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one box; nothing of it stands in for its place in the addresses.

    Attributes:
        levels: value by place of the root: topicRoot, site, line, edge.
        values: the possible values of other places, for example those of ``inspection``.
        host, port, tls: the broker.
        client_id: at the broker.
    """

    levels: Mapping[str, str]
    values: Mapping[str, Sequence[str]]
    host: str
    port: int
    client_id: str
    tls: bool = False
    keepalive_s: int = _KEEPALIVE_S
    session_expiry_s: int = _SESSION_S


def document(version: str, known: Known | None = None) -> dict[str, object]:
    """Return the document of this version of the runtime; with ``known`` it is about one box."""
    levels: Mapping[str, str] = {} if known is None else known.levels
    values: Mapping[str, Sequence[str]] = {} if known is None else known.values
    return {
        "asyncapi": "3.0.0",
        "id": "urn:edge-runtime:contract",
        "info": {
            "title": "Edge inference runtime",
            "version": version,
            "description": f"What the box says over MQTT 5.0, and what may be asked of it. {READERS}",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "servers": {"broker": _server(known)},
        "channels": {topic.name: _channel(topic, levels, values) for topic in TOPICS},
        "operations": {topic.name: _operation(topic) for topic in TOPICS},
        "components": {
            "schemas": {name: _embedded(schema(name)) for name in DOCUMENTS},
            "messages": {topic.name: _message(topic) for topic in TOPICS},
            "securitySchemes": _SECURITY,
        },
    }


def address(topic: Topic, levels: Mapping[str, str]) -> str:
    """Return the whole address of a topic, with the levels that are known filled in."""
    whole = (ROOT if topic.rooted else "") + topic.address
    for place, value in levels.items():
        whole = whole.replace(f"{{{place}}}", value)
    return whole


def _server(known: Known | None) -> dict[str, object]:
    host = "broker.example:8883" if known is None else f"{known.host}:{known.port}"
    tls = True if known is None else known.tls
    levels: Mapping[str, str] = {} if known is None else known.levels
    return {
        "host": host,
        "protocol": "secure-mqtt" if tls else "mqtt",
        "protocolVersion": "5.0",
        "description": "the plant's broker; TLS 1.2 or newer, with the plant's own authority where it has one",
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY],
        "bindings": {
            "mqtt": {
                "clientId": "{site}-{line}-{edge}" if known is None else known.client_id,
                "cleanSession": True,
                "lastWill": {
                    "topic": address(STATUS, levels),
                    "qos": STATUS.qos,
                    "retain": STATUS.retain,
                    "message": "vision.status/1 with state offline and reason connection-lost, "
                    f"{_WILL_DELAY_S} s after the connection was lost",
                },
                "keepAlive": _KEEPALIVE_S if known is None else known.keepalive_s,
                "sessionExpiryInterval": _SESSION_S if known is None else known.session_expiry_s,
                "bindingVersion": BINDING,
            }
        },
    }


def _channel(topic: Topic, levels: Mapping[str, str], values: Mapping[str, Sequence[str]]) -> dict[str, object]:
    parameters: dict[str, Any] = {}
    for place, about in (_ROOT_PLACES if topic.rooted else {}).items():
        if place not in levels:
            parameters[place] = {"description": about}
    for place in topic.places:
        parameters[place] = {"description": PLACES[place]}
        if values.get(place):
            parameters[place]["enum"] = list(values[place])
    channel: dict[str, object] = {
        "address": address(topic, levels),
        "description": topic.about,
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
    }
    return channel | ({"parameters": parameters} if parameters else {})


def _operation(topic: Topic) -> dict[str, object]:
    binding: dict[str, object] = {"qos": topic.qos, "retain": topic.retain, "bindingVersion": BINDING}
    if isinstance(topic.expiry_s, int):
        binding["messageExpiryInterval"] = topic.expiry_s
    elif topic.expiry_s is not None:
        binding["messageExpiryInterval"] = {"type": "integer", "description": f"seconds: {topic.expiry_s}"}
    operation: dict[str, object] = {
        "action": "send" if topic.sent else "receive",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "summary": topic.about,
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{topic.name}"}],
        "bindings": {"mqtt": binding},
    }
    if _is_command(topic):
        operation["reply"] = {
            "channel": {"$ref": "#/channels/reply"},
            "messages": [{"$ref": "#/channels/reply/messages/reply"}],
        }
    return operation


def _message(topic: Topic) -> dict[str, object]:
    binding: dict[str, object] = {"bindingVersion": BINDING}
    if topic.content_type is not None:
        binding |= {"payloadFormatIndicator": 1, "contentType": topic.content_type}
    if _is_command(topic):
        binding["responseTopic"] = {"type": "string", "description": "below reply/ of the box; may be left out"}
        binding["correlationData"] = {"type": "string", "description": "the same for every repeat of a command"}
    if topic.name == "reply":
        binding["correlationData"] = {"type": "string", "description": "that of the command"}
    message: dict[str, object] = {"name": topic.name, "title": topic.about, "bindings": {"mqtt": binding}}
    if topic.document is None:
        return message | {"contentType": topic.content_type or "application/x-protobuf"}
    message["contentType"] = topic.content_type
    message["payload"] = {"$ref": f"#/components/schemas/{topic.document}"}
    if topic.sent:
        message["headers"] = _embedded(schema_of(topic.headers, "headers"))
    return message


def _is_command(topic: Topic) -> bool:
    return not topic.sent and topic.rooted


def _embedded(whole: Mapping[str, object]) -> dict[str, object]:
    """Return a JSON Schema as a part of this document: an ``$id`` would change what references mean."""
    return {key: value for key, value in whole.items() if key not in ("$schema", "$id")}
