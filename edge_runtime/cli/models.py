"""``edge-runtime models``: what a model says about itself, each value with its source."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edge_runtime.engine.package import Package

_WIDTH = 60


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("models", help="inspect a model: every value with its source")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    inspect = actions.add_parser(
        "inspect",
        help="verify a model and print how it will be used",
        description="Reads and verifies the files without running the model. Exit 65 when it cannot be used as it is.",
    )
    inspect.add_argument("model", metavar="MODEL", type=Path, help="package directory, or a bare .onnx or .xml file")
    inspect.add_argument("--backend", choices=("openvino", "onnxruntime"), help="show the form meant for this engine")
    inspect.add_argument("--json", action="store_true", help="one JSON object")
    inspect.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the description of the model.

    Raises:
        DataError: it cannot be used as it is.
    """
    from edge_runtime.engine.package import open_package  # noqa: PLC0415 - --help needs none of it

    package = open_package(args.model, () if args.backend is None else (args.backend,))
    print(json.dumps(describe(package), indent=1) if args.json else as_text(package))
    return os.EX_OK


def describe(package: Package) -> dict[str, object]:
    """Return the description as JSON fields: ``values`` maps dotted names to ``{"value", "source"}``."""
    return {
        "model": {"name": package.ref.name, "version": package.ref.version, "digest": package.ref.digest},
        "format": package.format,
        "precision": package.precision,
        "backends": list(package.backends),
        "size_bytes": len(package.model) + len(package.parts),
        "values": {key: {"value": one.value, "source": one.source} for key, one in sorted(package.sources.items())},
        "notes": list(package.notes),
    }


def as_text(package: Package) -> str:
    """Return the description as a table for people."""
    size_mib = (len(package.model) + len(package.parts)) / (1 << 20)
    form = f"{package.format}, {size_mib:.1f} MiB, {package.precision or 'precision not stated'}"
    lines = [
        f"{package.ref.name} {package.ref.version}",
        f"  digest    {package.ref.digest}",
        f"  weights   {form}; for {' or '.join(package.backends)}",
        "",
    ]
    rows = [(key, _short(one.value), one.source) for key, one in sorted(package.sources.items())]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines += [f"  {key:<{widths[0]}}  {value:<{widths[1]}}  from {source}" for key, value, source in rows]
    lines += [f"  note: {note}" for note in package.notes]
    return "\n".join(lines)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _WIDTH:
        return text
    count = f" ... ({len(value)})" if isinstance(value, list | tuple | dict) else " ..."
    return text[: _WIDTH - len(count)] + count
