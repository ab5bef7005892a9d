"""``edge-runtime config init | show | schema``: a file to start from, the merged view, the JSON Schema for editors."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from edge_runtime.config.tree import Origin

INITIAL: Final = """\
# Configuration of edge-runtime.   Validate: edge-runtime check   Run: edge-runtime run
# Completion in editors: edge-runtime config schema > edge.schema.json, and as the first line of this file
#   # yaml-language-server: $schema=edge.schema.json
version: 1
mqtt: {{host: 127.0.0.1}}             # the broker; results go to vision/SITE/LINE/EDGE/result/...
cameras:
  top:
    source: sim:conveyor            # made-up pictures; put yours here: rtsp://10.0.0.5/stream, v4l2:/dev/video0,
                                    # http://... (MJPEG), file:clip.mp4?loop=1, images:DIR
models:
  defects:
    # the model that ships with the product; put yours here: a package directory, or an .onnx or .xml file
    path: {model}
"""
COLUMN: Final = 40  # where origins start, if the value leaves room
CONFIG_HELP: Final = "default: $EDGE_CONFIG, ./edge.yaml, /etc/edge-runtime/config.yaml"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its three parts."""
    parser = subparsers.add_parser("config", help="init, show or schema of the configuration")
    parts = parser.add_subparsers(metavar="PART", required=True)
    init = parts.add_parser("init", help="print a small file that works here, to start from")
    init.set_defaults(run=run, part=_init)
    show = parts.add_parser("show", help="print what is in force, and where each value comes from; secrets are masked")
    show.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=run, part=_show)
    schema = parts.add_parser("schema", help="print the JSON Schema, for completion in editors")
    schema.set_defaults(run=run, part=_schema)


def run(args: argparse.Namespace) -> int:
    """Do the part that was asked for.

    Raises:
        ConfigError: there is no configuration to show.
        DataError: the installation lacks the model that the first file names.
    """
    part: Callable[[argparse.Namespace], int] = args.part
    return part(args)


def _init(_args: argparse.Namespace) -> int:
    from edge_runtime.app.assets import model_package  # noqa: PLC0415 - the others need none of it

    print(INITIAL.format(model=json.dumps(str(model_package()), ensure_ascii=False)), end="")
    return 0


def _schema(_args: argparse.Namespace) -> int:
    from edge_runtime.config.reference import json_schema  # noqa: PLC0415 - pydantic costs 0.1 s; --help needs none

    print(json.dumps(json_schema(), indent=2))
    return 0


def _show(args: argparse.Namespace) -> int:
    import sys  # noqa: PLC0415 - the way out only

    from edge_runtime.config.loader import find_config, load  # noqa: PLC0415 - as above
    from edge_runtime.config.report import InvalidConfigError  # noqa: PLC0415 - as above
    from edge_runtime.config.shown import shown  # noqa: PLC0415 - as above
    from edge_runtime.system.redact import redact  # noqa: PLC0415 - as above

    try:
        loaded = load(find_config(args.config, os.environ), environ=os.environ)
    except InvalidConfigError as error:
        print(error.report(), end="", file=sys.stderr)
        return error.exit_code
    secrets = sorted(loaded.secrets, key=len, reverse=True)
    values = shown(loaded.settings, lambda text: redact(text, secrets))
    if args.json:
        origins = {path: str(origin) for path, origin in loaded.origins.items()}
        print(json.dumps({"settings": values, "origins": origins}))
    else:
        for line in _lines(values, loaded.origins, "", ""):
            print(line)
    return 0


def _lines(values: Mapping[str, object], origins: Mapping[str, Origin], path: str, indent: str) -> list[str]:
    lines = []
    for name, value in values.items():
        here = f"{path}.{name}" if path else name
        name = json.dumps(name) if name == "*" else name  # noqa: PLW2901 - to YAML a bare * is an alias
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", *_lines(value, origins, here, indent + "  ")]
        else:
            text = f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"
            lines.append(f"{text:{COLUMN}} # {origins.get(here, 'default')}")
    return lines
