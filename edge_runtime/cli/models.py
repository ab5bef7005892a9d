"""``edge-runtime models``: what a model says about itself, whether it may be used on this box, and how to pack one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.models_box import add_actions
from edge_runtime.cli.values import MODEL_HELP, seconds, whole

if TYPE_CHECKING:
    import argparse

    from edge_runtime.engine.package import Package

_WIDTH = 60
BACKENDS = ("openvino", "onnxruntime")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("models", help="inspect, validate, pack, push, pull, list or activate models")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    inspect = actions.add_parser(
        "inspect",
        help="verify a model and print how it will be used",
        description="Reads and verifies the files without running the model; of an OCI image layout, its releases. "
        "Exit 65 when it cannot be used as it is.",
    )
    inspect.add_argument("model", metavar="MODEL", type=Path, help=MODEL_HELP)
    inspect.add_argument("--backend", choices=BACKENDS, help="show the form meant for this engine")
    inspect.add_argument("--json", action="store_true", help="one JSON object")
    inspect.set_defaults(run=run)
    _add_validate(actions)
    _add_pack(actions)
    add_actions(actions)


def _add_validate(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "validate",
        help="try a model on this box, in a process that may die of it",
        description="Looks at the files, loads the model in ONNX Runtime and in the engine that shall run it, judges "
        "the golden frames of the package and holds speed and memory against its gates, all in a confined process "
        "that is ended at the deadline. Exit 65 when the model must not be used on this box.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help=MODEL_HELP)
    _add_engine(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run_validate)


def _add_pack(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "pack",
        help="make a package of a bare model, or the golden answers of a package",
        description="With a package directory: runs its model over the pictures in its folder golden, writes their "
        "answers to golden/expected.json and adds the hashes that its manifest lacks. With a bare model: makes a whole "
        "package of it in --out. Do it where the model is known to see what it should: other boxes are held to that. "
        "With --oci the package is written as a release, too; boxes take it once it is signed (registry release).",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help=MODEL_HELP)
    parser.add_argument("--out", metavar="DIR", type=Path, help="where the package of a bare model is made")
    parser.add_argument(
        "--golden", metavar="DIR", type=Path, help="pictures (jpg, png) for the package of a bare model"
    )
    parser.add_argument(
        "--reference",
        metavar="DIR",
        type=Path,
        help="pictures of a normal day: what the model sees in them is written into the package, and boxes tell when "
        "what it sees on the line is something else",
    )
    parser.add_argument("--version", default="1.0.0", metavar="V", help="of the package of a bare model (1.0.0)")
    _add_engine(parser)
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.add_argument(
        "--release",
        type=whole(0, 999_999_999),
        metavar="N",
        help="number that orders the releases of a model; written into the package",
    )
    parser.add_argument(
        "--oci",
        metavar="DEST",
        help="also write it as a release into this directory (an OCI image layout), or registry",
    )
    parser.add_argument("--json", action="store_true", help="with --oci: one JSON object about the release")
    parser.set_defaults(run=run_pack)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, gpu or npu (default: auto)")
    parser.add_argument("--backend", default="auto", choices=("auto", *BACKENDS), help="inference engine")
    parser.add_argument(
        "--deadline", type=seconds, default=120.0, metavar="S", help="seconds after which it is ended (default: 120)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the description of the model.

    Raises:
        DataError: it cannot be used as it is.
    """
    from edge_runtime.cli import models_oci  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.engine.package import open_package  # noqa: PLC0415

    layout = models_oci.layout_at(args.model)
    if layout is not None:
        return models_oci.inspect(layout, as_json=args.json)
    package = open_package(args.model, () if args.backend is None else (args.backend,))
    print(json.dumps(describe(package), indent=1) if args.json else as_text(package))
    return os.EX_OK


def run_validate(args: argparse.Namespace) -> int:
    """Try the model; see `cli.models_validate`."""
    from edge_runtime.cli import models_validate  # noqa: PLC0415 - --help needs none of it

    return models_validate.run(args)


def run_pack(args: argparse.Namespace) -> int:
    """Make a package; see `cli.models_pack`."""
    from edge_runtime.cli import models_pack  # noqa: PLC0415 - --help needs none of it

    return models_pack.run(args)


def describe(package: Package) -> dict[str, object]:
    """Return the description as JSON fields: ``values`` maps dotted names to ``{"value", "source"}``."""
    return {
        "model": {"name": package.ref.name, "version": package.ref.version, "digest": package.ref.digest},
        "format": package.format,
        "precision": package.precision,
        "backends": list(package.backends),
        "size_bytes": package.size_bytes,
        "values": {key: {"value": one.value, "source": one.source} for key, one in sorted(package.sources.items())},
        "notes": list(package.notes),
    }


def as_text(package: Package) -> str:
    """Return the description as a table for people."""
    size_mib = package.size_bytes / (1 << 20)
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
