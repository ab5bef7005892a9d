"""``edge-runtime check``: every mistake of a configuration at once, with file, line, column and the way out.

Imports neither OpenCV nor an engine, so that it answers in a fraction of a second and on a box without them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "check",
        help="validate a configuration: every mistake at once, with its place",
        description="Validate a configuration without starting anything. Exit code 0: valid, 78: not.",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="default: $EDGE_CONFIG, ./edge.yaml, /etc/edge-runtime/config.yaml"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check and report; returns 0 or 78.

    Raises:
        ConfigError: there is no configuration to check.
    """
    from edge_runtime.config.loader import find_config, load  # noqa: PLC0415 - pydantic costs 0.1 s; --help needs none
    from edge_runtime.config.report import InvalidConfigError, as_json, render  # noqa: PLC0415 - as above

    path = find_config(args.config, os.environ)
    try:
        loaded = load(path, environ=os.environ)
    except InvalidConfigError as error:
        if args.json:
            _print_json({"file": str(path), "valid": False, "problems": [as_json(one) for one in error.problems]})
        else:
            print(error.report(), end="")
        return error.exit_code
    if args.json:
        _print_json({"file": str(path), "valid": True, "problems": [as_json(one) for one in loaded.warnings]})
        return 0
    if loaded.warnings:
        print(render(loaded.warnings))
    counted = ", ".join(
        f"{len(found)} {kind}{'' if len(found) == 1 else 's'}"
        for kind, found in (
            ("camera", loaded.settings.cameras),
            ("model", loaded.settings.models),
            ("inspection", loaded.settings.inspections),
        )
    )
    print(f"{path} is valid: {counted}")
    return 0


def _print_json(document: object) -> None:
    import json  # noqa: PLC0415 - text output does without

    print(json.dumps(document))
