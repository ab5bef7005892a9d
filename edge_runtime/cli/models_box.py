"""``edge-runtime models pull | list | activate | rollback | push``: releases on this box, and on their way.

The parsers only; what does the work is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.values import seconds, whole

if TYPE_CHECKING:
    import argparse

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - the type has no public name

CONFIG_HELP = "default: $EDGE_CONFIG, ./edge.yaml, /etc/edge-runtime/config.yaml"
_EXITS = (
    "Exit 0: done; 65: refused or taken back, and the reason is printed; 69: the daemon does not answer; 75: not over "
    "yet, it goes on."
)
PLACES = "oci://HOST/NAME, https://HOST/DIR, oci-layout:DIR or oci-archive:FILE.tar"


def add_actions(actions: Actions) -> None:
    """Add the actions to the verb ``models``."""
    _add_pull(actions)
    listing = _action(
        actions, "list", "list", "which release each slot has, which one waits, and what else is on this box"
    )
    listing.add_argument("--state-dir", metavar="DIR", type=Path, help="state directory, instead of that of --config")
    activate = _action(actions, "activate", "switch", "make a release that is on this box the model of a slot")
    activate.epilog = (
        "A daemon that runs tries the release beside the one that works and switches to it between two pictures; it "
        "becomes the model of the slot once it has judged well for a while, else the old one judges again. This "
        "command shows that until it is over; ending it early (Ctrl-C, --no-wait) ends nothing else. " + _EXITS
    )
    activate.add_argument("slot", metavar="SLOT", help="name below models: in the configuration")
    activate.add_argument("--release", metavar="N|DIGEST", help="number or digest; default: the one that waits")
    _add_wait(activate)
    rollback = _action(actions, "rollback", "switch", "go back to the release before")
    rollback.epilog = (
        "While a new release is on probation the old one judges again from the next picture on. Later it is tried "
        "first, like any other. " + _EXITS
    )
    rollback.add_argument("slot", metavar="SLOT", help="name below models: in the configuration")
    _add_wait(rollback)
    _add_push(actions)


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-wait", dest="wait", action="store_false", help="do not wait for what becomes of it")
    parser.add_argument("--timeout", type=seconds, default=900.0, metavar="S", help="longest wait in seconds (900)")


def _action(actions: Actions, name: str, module: str, what: str) -> argparse.ArgumentParser:
    def work(args: argparse.Namespace) -> int:
        return int(getattr(importlib.import_module(f"edge_runtime.cli.models_{module}"), f"run_{name}")(args))

    parser = actions.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=work)
    return parser


def _add_pull(actions: Actions) -> None:
    pull = _action(
        actions, "pull", "pull", "look at the registry now, and fetch and verify what is rolled out to slots"
    )
    pull.epilog = (
        "Without a configuration: models pull URL MODEL[@CHANNEL]... --root FILE --site SITE --state-dir DIR With one, "
        "URL is another place with the same content, for example oci-layout:/media/usb. Exit 0: every slot has what it "
        "should, or it waits to be activated; 65: something must not be used; 69: the registry does not answer or "
        "what it says is too old; 75: try again; 77: it refuses the credentials."
    )
    pull.add_argument("what", metavar="URL|SLOT", nargs="*", help=f"{PLACES}; and slots, by default all")
    pull.add_argument("--root", metavar="FILE", type=Path, help="root of trust, without a configuration")
    pull.add_argument("--site", help="of this box; --line and --edge as well")
    pull.add_argument("--line", default="line", help="(line)")
    pull.add_argument("--edge", default="edge", help="(edge)")
    pull.add_argument("--label", dest="labels", metavar="KEY=VALUE", action="append", default=[], help="repeatable")
    pull.add_argument("--state-dir", metavar="DIR", type=Path, help="releases are kept in DIR/models")
    pull.add_argument("--quota-mb", metavar="N", type=whole(16, 1_000_000), default=4096, help="on disk (4096)")
    _add_access(pull)


def _add_push(actions: Actions) -> None:
    push = actions.add_parser(
        "push",
        help="copy a release that was packed to a registry, without signing it",
        description="Copy a release that was packed, with all its files, to a registry. Boxes take it only when it is "
        "signed: edge-runtime registry release add.",
    )
    push.add_argument(
        "source", metavar="PATH", help="package directory, or an image layout that models pack --oci made"
    )
    push.add_argument("url", metavar="URL", help="oci://HOST/NAME or oci-layout:DIR")
    push.add_argument("--model", help="which one of several in a layout")
    push.add_argument("--release", type=whole(0, 10**9 - 1), metavar="N", help="the same")
    push.add_argument("--json", action="store_true", help="one JSON object")
    _add_access(push)

    def work(args: argparse.Namespace) -> int:
        return int(importlib.import_module("edge_runtime.cli.models_push").run_push(args))

    push.set_defaults(run=work)


def _add_access(parser: argparse.ArgumentParser) -> None:
    """Add what says how a registry that stands on the command line may be reached."""
    group = parser.add_argument_group("how URL may be reached")
    group.add_argument("--username", metavar="NAME", help="user name at the registry")
    group.add_argument("--password-file", metavar="FILE", type=Path, help="file that holds the password")
    group.add_argument("--ca-file", metavar="FILE", type=Path, help="PEM file of the authorities to trust")
    group.add_argument("--cert-file", metavar="FILE", type=Path, help="PEM file of a certificate of one's own")
    group.add_argument("--key-file", metavar="FILE", type=Path, help="PEM file of its private key")
    group.add_argument("--allow-http", action="store_true", help="HTTP without TLS, also from other machines")
