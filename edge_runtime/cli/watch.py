"""``edge-runtime watch``: results as they arrive at the broker, and the proof that none is missing."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import queue
import signal
import socket
import sys
from typing import TYPE_CHECKING

from edge_runtime.cli.values import port, seconds, topic_root
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    import argparse

    from edge_runtime.app.audience import Audience


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "watch",
        help="print results as they arrive at the broker, and prove that none is missing",
        description="Subscribes like any reader would. At the end (Ctrl-C or --seconds) it says what is missing, came "
        "twice or out of order. Exit 1 when something is missing.",
    )
    parser.add_argument("--config", metavar="FILE", help="take broker and topics from a configuration")
    parser.add_argument("--host", default=None, help="broker, instead of --config")
    parser.add_argument("--port", type=port, default=1883, help="its port (default: 1883)")
    parser.add_argument(
        "--topic-root", type=topic_root, default="vision", help="first level of the topics (default: vision)"
    )
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end by itself")
    parser.add_argument("--prove", action="store_true", help="print only the proof at the end")
    parser.add_argument("--json", action="store_true", help="documents and proof as JSON lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch; 0 when nothing is missing, 1 when something is, 69 when the broker was never reached."""
    from edge_runtime.app.audience import Audience  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.app.delivery import mqtt_settings  # noqa: PLC0415
    from edge_runtime.publish.mqtt import MqttSettings  # noqa: PLC0415
    from edge_runtime.system.service import ServiceGroup  # noqa: PLC0415

    name = f"watch-{getpass.getuser()}-{socket.gethostname()}-{os.getpid()}"
    if args.host is not None:
        settings, root = (
            MqttSettings(host=args.host, port=args.port, client_id=name, session_expiry_s=60),
            args.topic_root,
        )
    else:
        from edge_runtime.config.loader import find_config, load  # noqa: PLC0415

        loaded = load(find_config(args.config, os.environ), environ=os.environ).settings
        settings, root = mqtt_settings(loaded.mqtt, name), loaded.mqtt.topic_root
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()  # see Stop.set for why it is no Event
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.put(None))
    show = _show_json if args.json else _show
    audience = Audience(
        settings,
        [f"{root}/+/+/+/result/+", f"{root}/+/+/+/event/+"],
        on_result=None if args.prove else show,
        on_event=None if args.prove else _show_json if args.json else _show_event,
    )
    with ServiceGroup() as group:
        group.start(audience)
        reached = audience.wait_subscribed(10.0)
        if reached:
            with contextlib.suppress(queue.Empty):
                ended.get(timeout=args.seconds)
    if not reached:
        raise UnavailableError(
            "watch.broker", f"the broker at {settings.host}:{settings.port} does not answer: {audience.reason}"
        )
    return _prove(audience, as_json=args.json)


def _prove(audience: Audience, *, as_json: bool) -> int:
    proof = audience.proof()
    p50, p99 = audience.latency_ms(0.5, 0.99)
    figures: dict[str, object] = {
        "received": proof.received,
        "missing": proof.missing,
        "declared": proof.declared,
        "duplicates": proof.duplicates,
        "conflicts": proof.conflicts,
        "inversions": proof.inversions,
        "unreadable": audience.unreadable,
        "latency_ms": {"p50": p50 and round(p50, 1), "p99": p99 and round(p99, 1)},
    }
    if as_json:
        print(json.dumps({"proof": figures}))
    else:
        print("  ".join(f"{key}={value}" for key, value in figures.items()), file=sys.stderr)
    if not proof.received:
        raise UnavailableError(
            "watch.nothing",
            "nothing arrived, so nothing is proven",
            help="does the daemon run, is the topic root right?",
        )
    if audience.reason is not None:
        raise UnavailableError("watch.end", f"whether that was everything was not seen: {audience.reason}")
    return 0 if proof.complete else 1


def _show(document: dict[str, object]) -> None:
    late = " (late)" if document.get("historical") else ""
    place = f"{document['edge']}/{document['inspection']}"
    print(
        f"{document['ts']} {place} #{document['seq']} {document['evaluation']} {document['reason']}{late}", flush=True
    )


def _show_event(document: dict[str, object]) -> None:
    print(
        f"{document.get('ts')} {document.get('edge')} event {document.get('kind')}: {document.get('message')}",
        flush=True,
    )


def _show_json(document: dict[str, object]) -> None:
    print(json.dumps(document), flush=True)
