"""``edge-runtime watch``: results as they arrive at the broker, and the proof that none is missing."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_INTERRUPTED, LinePrinter
from edge_runtime.cli.values import port, seconds, topic_root
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    import argparse

    from edge_runtime.app.audience import Audience
    from edge_runtime.publish.mqtt.client import MqttSettings

SUBSCRIBE_S = 10.0
TURN_S = 0.1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "watch",
        help="print results as they arrive at the broker, and prove that none is missing",
        description="Subscribes like any reader would. At the end (Ctrl-C or --seconds) it says what is missing, came "
        "twice or out of order. Exit 1 when something is missing, 69 when the broker was not reached or nothing "
        "arrived.",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="take broker and topics from a configuration; no model or camera of it is needed here",
    )
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
    """Watch; 0 when nothing is missing, 1 when something is, 69 when the broker was never reached, 130 before that."""
    from edge_runtime.app.audience import Audience  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.system.service import ServiceGroup  # noqa: PLC0415

    settings, root = _broker(args)
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()  # see Stop.set for why it is no Event
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.put(None))
    printer = LinePrinter(lambda: ended.put(None))
    as_text = json.dumps if args.json else None
    audience = Audience(
        settings,
        [f"{root}/+/+/+/result/+", f"{root}/+/+/+/event/+"],
        on_result=None if args.prove else lambda document: printer((as_text or _result)(document)),
        on_event=None if args.prove else lambda document: printer((as_text or _event)(document)),
    )
    with ServiceGroup() as group:
        group.start(audience)
        reached = _wait_subscribed(audience, ended)
        if reached:
            with contextlib.suppress(queue.Empty):
                ended.get(timeout=args.seconds)
    printer.raise_failure()
    if not reached and not ended.empty():
        return EXIT_INTERRUPTED
    if not reached:
        where, reason = f"{settings.host}:{settings.port}", audience.reason or "it does not answer"
        raise UnavailableError("watch.broker", f"not subscribed at the broker {where}: {reason}")
    return _prove(audience, as_json=args.json)


def _broker(args: argparse.Namespace) -> tuple[MqttSettings, str]:
    """Return how to reach the broker, and the first levels of the topics."""
    from edge_runtime.publish.mqtt.client import MqttSettings  # noqa: PLC0415 - --help needs none of it

    name = f"watch-{socket.gethostname()}-{os.getpid()}"
    if args.host is not None:
        return MqttSettings(host=args.host, port=args.port, client_id=name, session_expiry_s=60), args.topic_root
    from edge_runtime.app.delivery import mqtt_settings  # noqa: PLC0415
    from edge_runtime.config.loader import find_config, load_part  # noqa: PLC0415

    mqtt = load_part(find_config(args.config, os.environ), environ=os.environ, wanted=[("mqtt",)]).mqtt
    return mqtt_settings(mqtt, name), mqtt.topic_root


def _wait_subscribed(audience: Audience, ended: queue.SimpleQueue[None]) -> bool:
    """Wait until the broker confirmed the subscription, but no longer than anybody wants to."""
    deadline = time.monotonic() + SUBSCRIBE_S
    while ended.empty() and time.monotonic() < deadline:
        if audience.wait_subscribed(TURN_S):
            return True
    return False


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


def _result(document: dict[str, object]) -> str:
    ts, edge, inspection, seq, evaluation, reason = (
        document.get(key) for key in ("ts", "edge", "inspection", "seq", "evaluation", "reason")
    )
    late = " (late)" if document.get("historical") else ""
    return f"{ts} {edge}/{inspection} #{seq} {evaluation} {reason}{late}"


def _event(document: dict[str, object]) -> str:
    return f"{document.get('ts')} {document.get('edge')} event {document.get('kind')}: {document.get('message')}"
