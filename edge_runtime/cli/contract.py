"""``edge-runtime contract list | schema | asyncapi``: what the box says over MQTT, for programs and for people."""

from __future__ import annotations

import difflib
import json
import os
import sys
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_USAGE, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from edge_runtime.publish.contract.asyncapi import Known
    from edge_runtime.publish.contract.topics import Topic

CONFIG_HELP = "fill in broker and topics from this configuration; no model file or camera of it is needed here"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its three parts."""
    parser = subparsers.add_parser("contract", help="topics, JSON Schemas and AsyncAPI of what is published")
    parts = parser.add_subparsers(metavar="PART", required=True)
    listing = parts.add_parser("list", help="print every topic: QoS, retained, expiry, document")
    listing.add_argument("--json", action="store_true", help="one JSON array")
    listing.set_defaults(run=run, part=_list)
    one = parts.add_parser(
        "schema",
        help="print the JSON Schema (draft 2020-12) of a document",
        description="Prints the JSON Schema (draft 2020-12) of a document; `contract list` shows their names.",
    )
    one.add_argument("name", metavar="NAME", help="for example result")
    one.set_defaults(run=run, part=_schema)
    whole = parts.add_parser("asyncapi", help="print the AsyncAPI 3.0 document")
    whole.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    whole.set_defaults(run=run, part=_asyncapi)


def run(args: argparse.Namespace) -> int:
    """Do the part that was asked for; 2 for a document that does not exist.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    part: Callable[[argparse.Namespace], int] = args.part
    return part(args)


def _list(args: argparse.Namespace) -> int:
    from edge_runtime.publish.contract.topics import TOPICS  # noqa: PLC0415 - --help needs none of it

    if args.json:
        print(json.dumps([_row(topic) for topic in TOPICS]))
        return 0
    print("{:38} {:4} {:3} {:8} {:8} {}".format("topic", "who", "QoS", "retained", "expiry", "document"))
    for topic in TOPICS:
        who, retained = "box" if topic.sent else "you", "yes" if topic.retain else "no"
        expiry = "varies" if isinstance(topic.expiry_s, str) else f"{topic.expiry_s} s" if topic.expiry_s else "-"
        body = topic.document or topic.content_type or "Protocol Buffers"
        print(f"{topic.address:38} {who:4} {topic.qos:<3} {retained:8} {expiry:8} {body}")
    return 0


def _row(topic: Topic) -> dict[str, object]:
    return {
        "name": topic.name,
        "address": topic.address,
        "belowRoot": topic.rooted,
        "sentBy": "box" if topic.sent else "you",
        "qos": topic.qos,
        "retain": topic.retain,
        "expiry": topic.expiry_s,
        "contentType": topic.content_type,
        "document": topic.document,
        "optional": topic.optional,
        "about": topic.about,
    }


def _schema(args: argparse.Namespace) -> int:
    from edge_runtime.publish.contract.catalogue import DOCUMENTS, schema  # noqa: PLC0415 - as above

    if args.name not in DOCUMENTS:
        near = difflib.get_close_matches(args.name, DOCUMENTS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(DOCUMENTS)}"
        say(f"error: there is no document {args.name!r}\n   = help: {hint}\n")
        return EXIT_USAGE
    json.dump(schema(args.name), sys.stdout, indent=2)
    print()
    return 0


def _asyncapi(args: argparse.Namespace) -> int:
    from edge_runtime import __version__  # noqa: PLC0415 - as above
    from edge_runtime.publish.contract.asyncapi import document  # noqa: PLC0415 - as above

    json.dump(document(__version__, None if args.config is None else _known(args.config)), sys.stdout, indent=2)
    print()
    return 0


def _known(path: str) -> Known:
    from edge_runtime.config.loader import find_config, load_part  # noqa: PLC0415 - pydantic costs 0.1 s
    from edge_runtime.publish.contract.asyncapi import Known  # noqa: PLC0415 - as above

    broker = ("host", "port", "tls", "client_id", "topic_root", "keepalive_s", "session_expiry_s")
    rest = ("site", "line", "edge", "defaults", "cameras", "models", "recipes", "inspections")
    wanted = [*(("mqtt", name) for name in broker), *((name,) for name in rest)]
    settings = load_part(find_config(path, os.environ), environ=os.environ, wanted=wanted).settings
    mqtt = settings.mqtt
    return Known(
        levels={"topicRoot": mqtt.topic_root, "site": settings.site, "line": settings.line, "edge": settings.edge},
        values={
            "inspection": list(settings.inspections),
            "scope": [*dict.fromkeys([*settings.inspections, *settings.cameras]), "system"],
        },
        host=mqtt.host,
        port=mqtt.port,
        client_id=settings.client_id,
        tls=mqtt.tls is not None,
        keepalive_s=mqtt.keepalive_s,
        session_expiry_s=mqtt.session_expiry_s,
    )
