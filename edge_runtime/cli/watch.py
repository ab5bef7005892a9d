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
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_INTERRUPTED, LinePrinter
from edge_runtime.cli.values import port, seconds, topic_root
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from edge_runtime.app.audience import Audience
    from edge_runtime.app.completeness import Asked
    from edge_runtime.publish.mqtt.client import MqttSettings
    from edge_runtime.publish.prover import Hole, Proof

SUBSCRIBE_S = 10.0
TURN_S = 0.1
HOLES_SHOWN = 20


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
    parser.add_argument(
        "--from",
        dest="marks",
        type=Path,
        metavar="FILE",
        help="go on where the last watch with this FILE stopped, and write there how far this one came: so what is "
        "missing is seen across its restarts, too",
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="at the end ask the boxes for what is missing (command replay), and wait for it",
    )
    parser.add_argument("--json", action="store_true", help="documents and proof as JSON lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch; 0 when nothing is missing, 1 when something is, 69 when the broker was never reached, 130 before that."""
    from edge_runtime.app.audience import Audience  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.app.completeness import ask_for_holes, load_marks, save_marks  # noqa: PLC0415
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
        marks=None if args.marks is None else load_marks(args.marks),
    )
    asked: list[Asked] = []
    with ServiceGroup() as group:
        group.start(audience)
        reached = _wait_subscribed(audience, ended)
        if reached:
            with contextlib.suppress(queue.Empty):
                ended.get(timeout=args.seconds)
            if args.replay:
                asked = ask_for_holes(
                    audience, settings, root, caller=settings.username or "watch", over=lambda: not ended.empty()
                )
    printer.raise_failure()
    if not reached and not ended.empty():
        return EXIT_INTERRUPTED
    if not reached:
        where, reason = f"{settings.host}:{settings.port}", audience.reason or "it does not answer"
        raise UnavailableError("watch.broker", f"not subscribed at the broker {where}: {reason}")
    if args.marks is not None and audience.reason is None:
        save_marks(args.marks, audience.marks())
    return _prove(audience, asked, as_json=args.json)


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


def _prove(audience: Audience, asked: Sequence[Asked], *, as_json: bool) -> int:
    proof = audience.proof()
    p50, p99 = audience.latency_ms(0.5, 0.99)
    figures: dict[str, object] = {
        **_figures(proof),
        "unreadable": audience.unreadable,
        "latency_ms": {"p50": p50 and round(p50, 1), "p99": p99 and round(p99, 1)},
    }
    streams = {name: audience.proof(name) for name in audience.streams() if "/result/" in name}
    if as_json:
        figures["streams"] = {
            name: {**_figures(one), "holes": [[h.low, h.high] for h in audience.holes() if h.stream == name]}
            for name, one in streams.items()
        }
        figures["asked"] = [
            {"stream": one.hole.stream, "from": one.hole.low, "to": one.hole.high, "status": one.status}
            | {"message": one.message}
            for one in asked
        ]
        print(json.dumps({"proof": figures}))
    else:
        _tell(figures, streams, audience.holes(), asked)
    if not proof.received:
        raise UnavailableError(
            "watch.nothing",
            "nothing arrived, so nothing is proven",
            help="does the daemon run, is the topic root right, and may this user read the results? A broker's access "
            "list can let a subscription pass and keep the messages (deploy/mosquitto.acl)",
        )
    if audience.reason is not None:
        raise UnavailableError("watch.end", f"whether that was everything was not seen: {audience.reason}")
    return 0 if proof.complete else 1


def _figures(proof: Proof) -> dict[str, object]:
    return {
        "received": proof.received,
        "missing": proof.missing,
        "declared": proof.declared,
        "duplicates": proof.duplicates,
        "conflicts": proof.conflicts,
        "inversions": proof.inversions,
    }


def _tell(figures: dict[str, object], streams: dict[str, Proof], holes: Sequence[Hole], asked: Sequence[Asked]) -> None:
    """Print the proof for people: in all, by stream where there are several, and every range that is missing."""
    for one in asked:
        said = "no answer" if one.status is None else str(one.status)
        _say(f"asked for {one.hole.stream} {one.hole.low}-{one.hole.high}: {said}, {one.message}")
    for name, proof in streams.items() if len(streams) > 1 else ():
        _say(f"{name}: {_words(_figures(proof))}")
    for hole in holes[:HOLES_SHOWN]:
        _say(f"missing {hole.stream} {hole.low}-{hole.high}")
    if len(holes) > HOLES_SHOWN:
        _say(f"missing: {len(holes) - HOLES_SHOWN} more ranges, see --json")
    _say(_words(figures))


def _words(figures: dict[str, object]) -> str:
    return "  ".join(f"{key}={value}" for key, value in figures.items())


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _result(document: dict[str, object]) -> str:
    ts, edge, inspection, seq, evaluation, reason = (
        document.get(key) for key in ("ts", "edge", "inspection", "seq", "evaluation", "reason")
    )
    late = " (late)" if document.get("historical") else ""
    return f"{ts} {edge}/{inspection} #{seq} {evaluation} {reason}{late}"


def _event(document: dict[str, object]) -> str:
    return f"{document.get('ts')} {document.get('edge')} event {document.get('kind')}: {document.get('message')}"
