"""``edge-runtime audit``: what this box was asked, by whom, what became of it, and whether anybody changed that."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_FAILED
from edge_runtime.cli.status import state_dir_of
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    import argparse

    from edge_runtime.control.commands.chain import Proof

EXPORT_LIMIT_BYTES = 1 << 28  # a box keeps a seventh of it


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "audit",
        help="show, verify or export the record of what this box was asked",
        description="Reads the audit trail of the state directory; the daemon may run. verify follows the chain of "
        "hashes and names the first record that does not fit; what was cut off at the end only an anchor outside the "
        "box shows (auditSeq and auditHash of events, or the head of an export).",
    )
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    for name, what, of_file in (
        ("show", "print the records", None),
        ("verify", "follow the chain; exit 1 when it is broken", "an export, instead of the trail of this box"),
        ("export", "write the records as they are", "where to (default: stdout)"),
    ):
        action = actions.add_parser(name, help=what)
        if of_file is not None:
            action.add_argument("file", metavar="FILE", nargs="?", type=Path, help=of_file)
        action.add_argument("--config", metavar="FILE", help="configuration, to find the state directory")
        action.add_argument("--state-dir", metavar="DIR", type=Path, help="state directory, instead of --config")
        action.add_argument("--json", action="store_true", help="records or proof as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show, verify or export; 1 when the chain is broken.

    Raises:
        UnavailableError: there is no trail.
        StorageError: it cannot be read.
    """
    from edge_runtime.control.commands.audit import contents, lacks_beginning, trail  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.control.commands.chain import verify  # noqa: PLC0415
    from edge_runtime.system.files import read_limited  # noqa: PLC0415

    if args.action == "verify" and args.file is not None:
        proof = verify([read_limited(args.file, EXPORT_LIMIT_BYTES)])
        _tell(proof, [], as_json=args.json)
        return EXIT_FAILED if proof.broken else 0
    state_dir = args.state_dir or state_dir_of(args.config)
    paths = trail(state_dir)
    if not paths:
        raise UnavailableError("audit.none", f"{state_dir} has no audit trail", help="the daemon begins one")
    data = list(contents(paths))
    proof = verify(data)
    proof = replace(proof, broken=proof.broken or lacks_beginning(paths, proof))
    aside = sorted(path.name for path in state_dir.glob("audit.jsonl.broken-*"))
    if args.action == "show":
        _show(data, as_json=args.json)
    elif args.action == "export":
        _export(args.file, b"".join(data), proof, as_json=args.json)
    else:
        _tell(proof, aside, as_json=args.json)
    return EXIT_FAILED if proof.broken or aside else 0


def _show(data: list[bytes], *, as_json: bool) -> None:
    from edge_runtime.control.commands.chain import parse  # noqa: PLC0415 - as above

    for line in b"".join(data).splitlines():
        record = parse(line)
        if as_json:
            print(line.decode("utf-8", "replace"))
        elif record is None:
            print(f"      (half a line of {len(line)} bytes, as a power cut leaves it)")
        else:
            print(_sentence(record))


def _sentence(record: dict[str, object]) -> str:
    who, outcome = record.get("who"), record.get("outcome")
    name = f"{who.get('name')}{'' if who.get('proven') else ' (claimed)'}" if isinstance(who, dict) else ""
    what = " ".join(str(record[key]) for key in ("verb", "target", "id", "message", "version") if record.get(key))
    ended = f"{outcome.get('status')} {outcome.get('message')}" if isinstance(outcome, dict) else ""
    counts = json.dumps(record["counts"]) if "counts" in record else ""
    words = [f"{record.get('seq'):>6}", record.get("ts"), record.get("kind"), name, what, ended, counts]
    return "  ".join(str(word) for word in words if word)


def _figures(proof: Proof) -> dict[str, object]:
    return {
        "first": proof.first,
        "last": proof.head.seq,
        "head": proof.head.hash,
        "records": proof.records,
        "torn": proof.torn,
        "tail": len(proof.tail),
        "broken": proof.broken,
    }


def _tell(proof: Proof, aside: list[str], *, as_json: bool) -> None:
    figures = _figures(proof) | {"movedAside": aside}
    if as_json:
        print(json.dumps(figures))
        return
    print(f"records {proof.first} to {proof.head.seq}, head {proof.head.hash}")
    if proof.torn or proof.tail:
        print(f"{proof.torn + bool(proof.tail)} half line(s), as a power cut or a running daemon leaves them")
    for name in aside:
        print(f"{name} was found broken and moved aside")
    print("BROKEN: " + proof.broken if proof.broken else "every record fits the one before it")


def _export(path: Path | None, data: bytes, proof: Proof, *, as_json: bool) -> None:
    from edge_runtime.system.files import write_atomic  # noqa: PLC0415 - as above

    if path is None:
        sys.stdout.write(data.decode("utf-8", "replace"))
        return
    write_atomic(path, data)
    if as_json:
        print(json.dumps({"file": str(path)} | _figures(proof)))
    else:
        print(f"{path}: records {proof.first} to {proof.head.seq}, head {proof.head.hash}")
