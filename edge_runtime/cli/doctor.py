"""``edge-runtime doctor``: what this box has and lacks, each line with the command that mends it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("doctor", help="say what this box has and lacks, and how to mend it")
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="look also at a configuration, its broker and its state directory"
    )
    parser.add_argument("--json", action="store_true", help="a list of JSON objects")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine the box; 1 when something fails, 0 with warnings only."""
    from edge_runtime.app.doctor import examine  # noqa: PLC0415 - --help needs none of it

    findings = examine(args.config, os.environ)
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(finding)
    return 1 if any(finding.level == "fail" for finding in findings) else 0
