"""``edge-runtime spool``: what waits for the broker, what is kept and what was refused; take it out or try it again.

``export`` and ``requeue`` need the file for themselves: while the daemon runs, it has commands for the same
(``replay``, ``spool.requeue``).
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from edge_runtime.cli.output import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from edge_runtime.config.delivery import Spool
    from edge_runtime.publish.spool.depot import Depot, Document

SPOOL_FILE = "spool.db"
STATUS_FILE = "status.json"
LIMIT_BYTES = 1 << 20
MB = 1 << 20


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("spool", help="status, export or requeue of results")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser("status", help="what is in the spool; works while the daemon runs, too")
    status.set_defaults(run=run_status)
    export = actions.add_parser(
        "export",
        help="write documents as JSON lines",
        description="One JSON object a line: topic, seq, state (owed, kept, dead), reason and document. The daemon "
        "must not run. With --file: whatever can be read from a damaged file that was put aside "
        "(spool.db.corrupt-...), which is not changed; exit 1 when some of it could not be read.",
    )
    export.add_argument("--out", metavar="FILE", type=Path, help="where to; default: standard output")
    export.add_argument("--file", metavar="DAMAGED", type=Path, help="a spool file that was put aside")
    which = export.add_mutually_exclusive_group()
    for name, text in (
        ("owed", "what the broker has not taken yet"),
        ("kept", "what it has taken"),
        ("dead", "what it refused"),
        ("all", "all of these (default)"),
    ):
        which.add_argument(f"--{name}", dest="which", action="store_const", const=name, help=text)
    export.set_defaults(run=run_export, which="all")
    requeue = actions.add_parser(
        "requeue",
        help="send what was refused again, with its old number and id",
        description="Makes dead letters owed again; the daemon sends them when it runs next. It must not run "
        "meanwhile: a daemon that runs does the same when it is asked with edge-runtime command spool.requeue.",
    )
    requeue.add_argument("--reason", metavar="REASON", help="only what was refused for exactly this reason")
    requeue.add_argument("--stream", metavar="TOPIC", help="only of this topic below the box, for example result/top")
    requeue.set_defaults(run=run_requeue)
    for action in (status, export, requeue):
        action.add_argument(
            "--config", metavar="FILE", help="configuration file (default: $EDGE_CONFIG, ./edge.yaml, ...)"
        )
        action.add_argument("--json", action="store_true", help="one JSON object")


def _settings(config: str | None) -> tuple[Path, Spool]:
    from edge_runtime.config.loader import find_config, load_part  # noqa: PLC0415 - slow, and --help needs none of it

    part = load_part(find_config(config, os.environ), environ=os.environ, wanted=[("state_dir",), ("spool",)])
    return part.state_dir, part.settings.spool


def run_status(args: argparse.Namespace) -> int:
    """Print what is in the spool, from the file or, while a daemon has it, from the daemon's status file.

    Raises:
        UnavailableError: there is no spool, or the daemon is just starting.
        StorageError: it cannot be read.
    """
    from edge_runtime.core.errors import BusyError, UnavailableError  # noqa: PLC0415 - see above
    from edge_runtime.system.files import read_limited  # noqa: PLC0415

    state_dir, spool = _settings(args.config)
    path = state_dir / SPOOL_FILE
    document: dict[str, object] = {
        "file": str(path),
        "durability": spool.durability,
        "limits": {"maxBytes": spool.max_mb * MB, "maxAge_h": spool.max_age_h, "retention_min": spool.retention_min},
        "evict": spool.evict,
    }
    try:
        document |= _figures(path)
    except BusyError as busy:
        try:
            told = json.loads(read_limited(state_dir / STATUS_FILE, LIMIT_BYTES))
        except (FileNotFoundError, ValueError) as error:
            raise UnavailableError("daemon.starting", f"{busy.message} and it has told no status yet") from error
        age_s = round((time.monotonic_ns() - int(told.get("mono_ns", 0))) / 1e9, 1)
        document |= {"daemon": busy.message, "age_s": age_s, **told.get("spool", {})}
    if args.json:
        print(json.dumps(document))
    else:
        for key, value in document.items():
            print(f"{key:14} {json.dumps(value) if isinstance(value, dict) else value}")
    return 0


def _figures(path: Path) -> dict[str, object]:
    from edge_runtime.publish.spool.depot import opened  # noqa: PLC0415 - see above

    with opened(path) as depot:
        found, reasons = depot.found(), depot.reasons()
    age_s = None if found.oldest_utc_ns is None else round(max(0, time.time_ns() - found.oldest_utc_ns) / 1e9, 1)
    return {
        "depth": found.pending,
        "bytes": found.pending_bytes,
        "oldest_age_s": age_s,
        "kept": found.kept,
        "kept_bytes": found.kept_bytes,
        "dead": found.dead,
        "deadByReason": reasons,
        "streams": {name: state.seq for name, state in sorted(found.streams.items())},
        "followers": found.positions,
    }


def run_export(args: argparse.Namespace) -> int:
    """Write documents; exit 1 when a damaged file had some that could not be read.

    Raises:
        BusyError: the daemon runs; the message names its process.
        UnavailableError: there is no spool.
        DataError: nothing can be read from the damaged file.
        StorageError: the spool cannot be read.
    """
    from edge_runtime.publish.spool.depot import STATES  # noqa: PLC0415 - see above
    from edge_runtime.publish.spool.salvage import salvage  # noqa: PLC0415

    states = STATES if args.which == "all" else (args.which,)
    written = unreadable = 0

    def line(document: Document) -> str:
        row = document.row
        fields = {"topic": row.stream, "seq": row.seq, "state": document.state, "reason": document.reason}
        return json.dumps({**fields, "document": json.loads(row.body)}, ensure_ascii=False) + "\n"

    with _output(args.out) as write:

        def take(document: Document) -> None:
            nonlocal written
            if document.state in states:
                write(line(document))
                written += 1

        if args.file is not None:
            unreadable = salvage(args.file, take).unreadable
        else:
            with _depot(args.config, "edge-runtime command replay has it send kept results again") as depot:
                for document in depot.documents(states):
                    take(document)
    if args.json and args.out is not None:
        print(json.dumps({"written": written, "unreadable": unreadable}))
    else:
        say(f"{written} documents written" + (f", {unreadable} could not be read\n" if unreadable else "\n"))
    return 1 if unreadable else 0


@contextmanager
def _output(path: Path | None) -> Iterator[Callable[[str], int]]:
    """Open ``path`` at the first line, or at a good end: where nothing can be read, an older export stays as it is."""
    if path is None:
        yield sys.stdout.write
        return
    with ExitStack() as opened:
        file: TextIO | None = None

        def ready() -> TextIO:
            nonlocal file
            file = file or opened.enter_context(path.open("w", encoding="utf-8"))
            return file

        yield lambda line: ready().write(line)
        ready().flush()
        os.fsync(ready().fileno())


@contextmanager
def _depot(config: str | None, while_it_runs: str) -> Iterator[Depot]:
    """Open the spool; where the daemon has it, say ``while_it_runs``, what to do instead."""
    from edge_runtime.core.errors import BusyError  # noqa: PLC0415 - see above
    from edge_runtime.publish.spool.depot import opened  # noqa: PLC0415

    try:
        with opened(_settings(config)[0] / SPOOL_FILE) as depot:
            yield depot
    except BusyError as busy:
        help_ = f"stop the daemon for as long (systemctl stop edge-runtime); while it runs, {while_it_runs}"
        raise BusyError(busy.code, busy.message, help=help_) from busy


def run_requeue(args: argparse.Namespace) -> int:
    """Make dead letters owed again; the daemon sends them when it runs.

    Raises:
        BusyError: the daemon runs; the message names its process.
        UnavailableError: there is no spool.
        StorageError: it cannot be written.
    """
    with _depot(args.config, "ask it: edge-runtime command spool.requeue") as depot:
        count = depot.requeue(stream=args.stream, reason=args.reason)
    print(json.dumps({"requeued": count}) if args.json else f"{count} dead letters will be sent again")
    return 0
