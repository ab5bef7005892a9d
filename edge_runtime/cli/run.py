"""``edge-runtime run``: the daemon. SIGTERM and SIGINT end it, SIGHUP reloads the configuration."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_runtime.config.schema import Settings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "run", help="the daemon", description="Run until SIGTERM or SIGINT; SIGHUP reads the configuration again."
    )
    parser.add_argument("--config", metavar="FILE", help="configuration file (default: $EDGE_CONFIG, ./edge.yaml, ...)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the daemon in this process; return 0 after a clean end and 1 after a failure inside."""
    from edge_runtime.app.daemon import Control, Daemon, Environment  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.config.loader import find_config, load  # noqa: PLC0415
    from edge_runtime.system.logs import configure  # noqa: PLC0415
    from edge_runtime.system.redact import Redactor  # noqa: PLC0415

    sys.setswitchinterval(0.0005)  # the default of 5 ms is what a waiting thread can lose to a busy one (engine.md 4)
    path = find_config(args.config, os.environ)
    redactor = Redactor()

    def read() -> Settings:
        loaded = load(path, environ=os.environ)
        for secret in loaded.secrets:
            redactor.register(secret)
        log = loaded.settings.log
        journal = "JOURNAL_STREAM" in os.environ
        configure(style=log.format, level=log.level, journal=journal, secrets=loaded.secrets)
        return loaded.settings

    control = Control()
    signal.signal(signal.SIGTERM, lambda *_: control.stop())
    signal.signal(signal.SIGINT, lambda *_: control.stop())
    signal.signal(signal.SIGHUP, lambda *_: control.reload())
    environment = Environment.of(os.environ)
    daemon = Daemon(read(), control, reload=read, environment=environment, mask=redactor.redact)
    try:
        daemon.run()
    except ExceptionGroup as failures:
        for failure in failures.exceptions:
            notes = "; ".join(getattr(failure, "__notes__", []))
            print(f"error: {str(failure).partition(chr(10))[0]}" + (f" ({notes})" if notes else ""), file=sys.stderr)
        return 1
    return 0
