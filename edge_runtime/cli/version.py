"""``edge-runtime version``: what is installed, without importing it."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import TYPE_CHECKING

from edge_runtime import __version__

if TYPE_CHECKING:
    import argparse

PARTS = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "PyYAML", "pydantic")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("version", help="versions of the product and of what it stands on")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the versions."""
    found = {"edge-runtime": __version__, "python": platform.python_version()} | {p: _version(p) for p in PARTS}
    if args.json:
        print(json.dumps(found))
    else:
        for name, version in found.items():
            print(f"{name:24} {version or 'not installed'}")
    return 0


def _version(part: str) -> str | None:
    try:
        return metadata.version(part)
    except metadata.PackageNotFoundError:
        return None
