"""``edge-runtime command``: ask a box for something over its broker and print the answer; make keys to sign with."""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_FAILED, say
from edge_runtime.cli.values import port, seconds, topic_root
from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from edge_runtime.app.asker import Wish
    from edge_runtime.publish.mqtt.link import MqttSettings

KEYGEN = "keygen"
COMMANDS = (
    "VERBs of inspections: trigger, pause, resume, recipe.select, snapshot, reset, replay; of the box: config.get, "
    "spool.requeue; of model slots: model.check, lot (--arg state=between), and with --sign model.update, "
    "model.rollback, model.approve, model.hold (--arg hold=true). docs/scada-integrator.md explains them, "
    "docs/updates.md those of model slots."
)
_OK = 300
_NO_LEVEL = re.compile(r"[/+#\0]")
_LEVEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "command",
        help="ask a box for something over its broker, or make a key to sign with",
        description="Sends one command and prints the answer. Exit 0 when it was carried out or accepted (status below "
        "300), 1 when it was refused or failed, 69 when nobody answered. 'command keygen FILE' makes FILE (private, "
        "keep it) and FILE.pub (for commands.keys of the box).",
        epilog=COMMANDS,
    )
    parser.add_argument("command", metavar="VERB", help="for example trigger, pause, recipe.select; or keygen")
    parser.add_argument("target", metavar="TARGET", nargs="?", help="inspection, camera or model slot; of keygen: FILE")
    parser.add_argument("--config", metavar="FILE", help="take broker and box from a configuration")
    parser.add_argument("--host", help="broker, instead of --config")
    parser.add_argument("--port", type=port, default=1883, help="its port (default: 1883)")
    parser.add_argument("--box", type=_box, metavar="SITE/LINE/EDGE", help="which box; by default that of --config")
    parser.add_argument(
        "--topic-root", type=topic_root, default="vision", help="first level of the topics (default: vision)"
    )
    parser.add_argument(
        "--arg",
        dest="arguments",
        metavar="NAME=VALUE",
        action="append",
        type=_argument,
        default=[],
        help="an argument; a VALUE that is JSON is taken as such, except of a field that is always text",
    )
    parser.add_argument("--as", dest="caller", type=_level, metavar="NAME", help="who asks: user name at the broker")
    parser.add_argument("--id", type=_level, metavar="ID", help="correlation id; the same again repeats nothing")
    parser.add_argument("--sign", type=Path, metavar="KEYFILE", help="sign with this private key")
    parser.add_argument("--key", type=_level, metavar="NAME", help="the box's name for it (default: that of the file)")
    parser.add_argument("--timeout", type=seconds, default=10.0, metavar="S", help="wait so long (default: 10)")
    parser.add_argument("--json", action="store_true", help="the whole answer")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask, or make a key.

    Raises:
        UnavailableError: nobody answers.
        DataError: the key cannot be used.
    """
    if args.command == KEYGEN:
        return _keygen(args)
    from edge_runtime.app.asker import ask  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.publish.mqtt.client import MqttDial  # noqa: PLC0415

    settings, wish = _wish(args)
    document = ask(MqttDial(settings), wish, args.timeout)
    if args.json:
        print(json.dumps(document))
    else:
        details = {k: v for k, v in document.items() if k not in _PLAIN}
        print(f"{document.get('status')} {document.get('statusText')}: {document.get('message')}")
        for name, value in details.items():
            print(f"{name}: {json.dumps(value)}")
    status = document.get("status")
    return 0 if isinstance(status, int) and status < _OK else EXIT_FAILED


_PLAIN = frozenset(
    "schema id correlationId verb target status statusText message ts site line edge bootId".split()  # noqa: SIM905 - words
)


def _wish(args: argparse.Namespace) -> tuple[MqttSettings, Wish]:
    from edge_runtime.app.asker import Wish  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.app.delivery import mqtt_settings  # noqa: PLC0415
    from edge_runtime.config.loader import find_config, load_part  # noqa: PLC0415
    from edge_runtime.control.commands.verbs import takes_only_text  # noqa: PLC0415
    from edge_runtime.publish.mqtt.client import MqttSettings  # noqa: PLC0415
    from edge_runtime.publish.payload import Identity  # noqa: PLC0415

    arguments = {
        name: words if takes_only_text(args.command, name) else _value(words) for name, words in args.arguments
    }
    for words in (args.command, args.target or ""):
        if _NO_LEVEL.search(words):
            raise DataError("command.topic", f"expected one level of a topic, without / + and #, found {words!r}")
    name = f"command-{socket.gethostname()}-{os.getpid()}"
    if args.host is not None:
        if args.box is None:
            raise DataError("command.box", "--host needs --box", help="--box SITE/LINE/EDGE names the box to ask")
        settings, root, box, user = MqttSettings(args.host, args.port, client_id=name), args.topic_root, args.box, None
    else:
        part = load_part(
            find_config(args.config, os.environ),
            environ=os.environ,
            wanted=[("mqtt",), ("site",), ("line",), ("edge",)],
        )
        settings, root, user = mqtt_settings(part.mqtt, name), part.mqtt.topic_root, part.mqtt.username or part.box[2]
        box = args.box or part.box
    key = None if args.sign is None else (args.sign, args.key or args.sign.stem)
    caller = args.caller or user or "command"
    site, line, edge = box
    identity = Identity(site, line, edge, root)
    return settings, Wish(identity, args.command, args.target, args.id or uuid.uuid4().hex, caller, arguments, key)


def _keygen(args: argparse.Namespace) -> int:
    from edge_runtime.control.commands.ed25519 import generate  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.system.files import write_atomic  # noqa: PLC0415

    if not args.target:
        raise DataError("key.file", "keygen needs the name of a file", help="edge-runtime command keygen FILE")
    private, public = Path(args.target), Path(f"{args.target}.pub")
    taken = [path for path in (private, public) if path.exists()]
    if taken:
        say(f"error: {taken[0]} exists; a key is never written over\n")
        return EXIT_FAILED
    secret, shown = generate()
    write_atomic(private, secret, mode=0o600)
    write_atomic(public, shown, mode=0o644)
    say(f"{private}: keep it secret\n{public}: copy it to the box and name it in commands.keys\n")
    return 0


def _argument(words: str) -> tuple[str, str]:
    name, equals, value = words.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {words!r}")
    return name, value


def _value(words: str) -> object:
    try:
        return json.loads(words)
    except ValueError:
        return words


def _level(words: str) -> str:
    if _LEVEL.fullmatch(words) is None:
        raise argparse.ArgumentTypeError(f"expected 1 to 64 letters, digits, '_', '.' and '-', found {words!r}")
    return words


def _box(words: str) -> tuple[str, str, str]:
    parts = words.split("/")
    if len(parts) != 3 or not all(_LEVEL.fullmatch(part) for part in parts):  # noqa: PLR2004 - site, line, edge
        raise argparse.ArgumentTypeError(f"expected SITE/LINE/EDGE, found {words!r}")
    return parts[0], parts[1], parts[2]
