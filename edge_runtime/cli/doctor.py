"""``edge-runtime doctor``: what this box has and lacks, each line with the command that mends it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("doctor", help="say what this box has and lacks, and how to mend it")
    parser.add_argument("--config", metavar="FILE", help="look also at broker and state directory of a configuration")
    parser.add_argument("--json", action="store_true", help="a list of JSON objects")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine the box; 1 when something fails, 0 with warnings only."""
    from edge_runtime.app.doctor import examine  # noqa: PLC0415 - --help needs none of it

    settings = None
    if args.config is not None:
        from pathlib import Path  # noqa: PLC0415

        from edge_runtime.config.loader import load  # noqa: PLC0415

        settings = load(Path(args.config), environ=os.environ).settings
    findings = examine(settings)
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{finding.level:5} {finding.what}" + (f"  -> {finding.mend}" if finding.mend else ""))
    return 1 if any(finding.level == "fail" for finding in findings) else 0
