"""``edge-runtime demo``: the whole product on this machine."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from edge_runtime.cli.output import LinePrinter, say
from edge_runtime.cli.values import port, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from edge_runtime.app.daemon import Control
    from edge_runtime.app.demo_packages import Kind

HEADLESS_S: Final = 20.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "demo",
        help="show the whole product on this machine, without camera or broker",
        description="Starts a broker on loopback and a registry in a directory, plays a clip of a conveyor, judges it "
        "with the model that ships with the product, and checks on the other side of the broker that every result "
        "arrived. On a terminal, u rolls out a good release while the line runs, b one that is wrong and is rolled "
        "back, q ends the demo.",
    )
    parser.add_argument(
        "--headless",
        action="store_true",
        help="print only the summary; shows both updates by itself, if there are 12 s or more; ends after --seconds "
        "(20), or when an update that has begun is over, 60 s later at most",
    )
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end by itself after N seconds")
    parser.add_argument("--port", type=port, metavar="P", help="port of the broker on 127.0.0.1 (default: a free one)")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show it; 0 only when it showed what it promises, see `app.demo.worked`."""
    from edge_runtime.app.daemon import Control  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.app.demo import DemoOptions, run_demo, worked  # noqa: PLC0415
    from edge_runtime.system.logs import configure  # noqa: PLC0415

    sys.setswitchinterval(0.0005)
    configure(style="text", level="warning", journal="JOURNAL_STREAM" in os.environ)
    control = Control()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: control.stop())
    printer = LinePrinter(control.stop)
    quiet = args.headless or args.json
    with ExitStack() as stack:

        def on_start(broker: str, port: int, ask: Callable[[Kind], None]) -> None:
            keys = not args.headless and sys.stdin.isatty()
            if not args.headless:
                _print_start(broker, port, keys=keys)
            if keys:
                _listen(stack, control, ask)

        options = DemoOptions(
            started_s=args.started_s,
            seconds=HEADLESS_S if args.headless and args.seconds is None else args.seconds,
            port=args.port,
            on_result=None if quiet else lambda document: printer(_line(document)),
            on_start=on_start,
            updates=args.headless,
            say=(lambda line: say(f"{line}\n")) if quiet else printer,
        )
        summary = run_demo(options, control)
    printer.raise_failure()
    if args.json:
        print(json.dumps(summary))
    else:
        for key, value in summary.items():
            print(f"{key:20} {json.dumps(value)}")
    return 0 if worked(summary) else 1


def _listen(stack: ExitStack, control: Control, ask: Callable[[Kind], None]) -> None:
    """Obey the keys of the terminal from now on."""
    from edge_runtime.app.demo_packages import Kind  # noqa: PLC0415 - as above
    from edge_runtime.cli.keys import Keys  # noqa: PLC0415
    from edge_runtime.system.service import ServiceGroup  # noqa: PLC0415

    wishes = {"u": lambda: ask(Kind.GOOD), "b": lambda: ask(Kind.BLIND), "q": control.stop}

    def on_key(key: str) -> None:
        wish = wishes.get(key.lower())
        if wish is not None:
            wish()

    keys = stack.enter_context(Keys(sys.stdin.fileno(), on_key))
    stack.enter_context(ServiceGroup()).start(keys)


def _print_start(broker: str, port: int, *, keys: bool) -> None:
    print(f"broker: {broker} on 127.0.0.1:{port}", file=sys.stderr)
    print(f"  see for yourself: mosquitto_sub -V 5 -p {port} -t 'vision/#' -v", file=sys.stderr)
    if keys:
        print("  u  roll out a good release    b  a bad one    q  end the demo", file=sys.stderr)
    else:
        print("  Ctrl-C ends the demo", file=sys.stderr)


def _line(document: dict[str, object]) -> str:
    timings, model = document.get("timings_ms"), document.get("model")
    total = timings.get("total") if isinstance(timings, dict) else None
    release = model.get("release") if isinstance(model, dict) else None
    judged = f"#{document['seq']:<6} {document['evaluation']!s:13} {document['reason']!s:40.40} {total:>7} ms"
    return judged if release is None else f"{judged}  release {release}"
