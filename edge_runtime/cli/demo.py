"""``edge-runtime demo``: the whole product on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from edge_runtime.cli.output import LinePrinter
from edge_runtime.cli.values import port, seconds

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "demo",
        help="show the whole product on this machine, without camera or broker",
        description="Starts a broker on loopback, plays a clip of a conveyor, judges it with the model that ships with "
        "the product, and checks on the other side of the broker that every result arrived.",
    )
    parser.add_argument("--headless", action="store_true", help="print only the summary; ends after --seconds (20)")
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end by itself after N seconds")
    parser.add_argument("--port", type=port, metavar="P", help="port of the broker on 127.0.0.1 (default: a free one)")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show it; 0 only when verdicts arrived, none is missing and every frame is accounted for."""
    from edge_runtime.app.daemon import Control  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.app.demo import DemoOptions, run_demo, worked  # noqa: PLC0415
    from edge_runtime.system.logs import configure  # noqa: PLC0415

    sys.setswitchinterval(0.0005)
    configure(style="text", level="warning" if args.headless else "info", journal="JOURNAL_STREAM" in os.environ)
    duration_s = 20.0 if args.headless and args.seconds is None else args.seconds
    control = Control()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: control.stop())
    printer = LinePrinter(control.stop)
    options = DemoOptions(
        started_s=args.started_s,
        seconds=duration_s,
        port=args.port,
        on_result=None if args.headless or args.json else lambda document: printer(_line(document)),
        on_start=None if args.headless else _print_start,
    )
    summary = run_demo(options, control)
    printer.raise_failure()
    if args.json:
        print(json.dumps(summary))
    else:
        for key, value in summary.items():
            print(f"{key:20} {json.dumps(value)}")
    return 0 if worked(summary) else 1


def _print_start(broker: str, port: int) -> None:
    print(f"broker: {broker} on 127.0.0.1:{port}", file=sys.stderr)
    print(f"  see for yourself: mosquitto_sub -V 5 -p {port} -t 'vision/#' -v", file=sys.stderr)
    print("  Ctrl-C ends the demo", file=sys.stderr)


def _line(document: dict[str, object]) -> str:
    timings = document.get("timings_ms")
    total = timings.get("total") if isinstance(timings, dict) else None
    return f"#{document['seq']:<6} {document['evaluation']!s:13} {document['reason']!s:40.40} {total} ms"
