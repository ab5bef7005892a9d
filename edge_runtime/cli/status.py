"""``edge-runtime status``: what the daemon on this box is doing, read from its status file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.system.files import is_locked, read_limited

if TYPE_CHECKING:
    import argparse

    from edge_runtime.cli.deployed import Deployed

STATUS_FILE = "status.json"
LOCK_FILE = "lock"
LIMIT_BYTES = 1 << 20
FRESH_S = 5.0
_APART = ("slots", "picture", "deployment", "deployments")  # said in words of their own


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "status",
        help="what the daemon on this box is doing",
        description="What the daemon last said of itself: cameras, models, inspections, spool, broker, registry, and "
        "how deployments stand. Exit 0 when it is ready, 1 when it is not (the reasons come first), 69 when none runs.",
    )
    parser.add_argument("--config", metavar="FILE", help="configuration, to find the state directory")
    parser.add_argument("--state-dir", metavar="DIR", type=Path, help="state directory, instead of --config")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the status; exit 0 when ready, 69 when no daemon runs, 1 when it is not ready.

    Raises:
        UnavailableError: no daemon runs on this state directory.
        DataError: the status file is damaged.
    """
    state_dir = args.state_dir or state_dir_of(args.config)
    if not is_locked(state_dir / LOCK_FILE):
        raise UnavailableError(
            "daemon.absent",
            f"no daemon runs on {state_dir}",
            help="start it: edge-runtime run --config FILE, or systemctl start edge-runtime",
        )
    path = state_dir / STATUS_FILE
    try:
        document = json.loads(read_limited(path, LIMIT_BYTES))
    except FileNotFoundError as error:
        raise UnavailableError("daemon.starting", "the daemon is starting; it has no status yet") from error
    except ValueError as error:
        raise DataError("status.damaged", f"{path} is not JSON: {error}") from error
    age_s = (time.monotonic_ns() - int(document.get("mono_ns", 0))) / 1e9
    document["age_s"] = round(age_s, 1)
    if not 0 <= age_s <= FRESH_S:
        document["live"] = document["ready"] = False
        document["reasons"] = [f"the status is {age_s:.0f} s old", *document.get("reasons", [])]
    deployments = _deployments(state_dir)
    if args.json:
        print(json.dumps({**document, "deployments": {name: one.as_fields() for name, one in deployments.items()}}))
    else:
        _print(document)
        for name, one in deployments.items():
            for line in one.lines(_live(document, name)):
                print(f"{'deployment':11} {name:24} {line}")
    return 0 if document["ready"] else 1


def state_dir_of(config: str | None) -> Path:
    """Return the state directory that the configuration names.

    Raises:
        ConfigError: it cannot be read.
    """
    from edge_runtime.config.loader import find_config, load_part  # noqa: PLC0415 - slow, and --state-dir needs none

    return load_part(find_config(config, os.environ), environ=os.environ, wanted=[("state_dir",)]).state_dir


def _deployments(state_dir: Path) -> dict[str, Deployed]:
    """Return the slots that releases are deployed to; none on a box without a registry, at no cost."""
    root = state_dir / "models"
    if not root.is_dir():
        return {}
    from edge_runtime.cli.deployed import deployed  # noqa: PLC0415 - as it says above
    from edge_runtime.registry.store.slots import Slots  # noqa: PLC0415

    return {name: deployed(state_dir, root, name) for name in Slots(root).names()}


def _live(document: dict[str, object], slot: str) -> dict[str, object] | None:
    """Return what the daemon says of the deployment of a slot; a disk that refuses is told later, or not at all."""
    registry = document.get("registry")
    slots = registry.get("slots") if isinstance(registry, dict) else None
    facts = slots.get(slot) if isinstance(slots, dict) else None
    deployment = facts.get("deployment") if isinstance(facts, dict) else None
    return deployment if isinstance(deployment, dict) and document.get("live") else None


def _print(document: dict[str, object]) -> None:
    print("ready" if document["ready"] else "NOT READY")
    for reason in document.get("reasons") or ():  # type: ignore[attr-defined]  # a list in JSON
        print(f"  - {reason}")
    for title in ("cameras", "models", "inspections"):
        section = document.get(title)
        if isinstance(section, dict):
            for name, facts in section.items():
                print(f"{title[:-1]:11} {name:24} {_line(facts)}{_picture(facts)}")
    for title in ("spool", "broker", "sparkplug", "registry"):
        if document.get(title) is not None:
            print(f"{title:11} {'':24} {_line(document[title])}")
    registry = document.get("registry")
    slots = registry.get("slots") if isinstance(registry, dict) else None
    for name, facts in slots.items() if isinstance(slots, dict) else ():
        why = "  (edge-runtime models list says more)" if facts.get("reason") else ""
        print(f"{'release':11} {name:24} {_line(facts)}{why}")


def _picture(facts: object) -> str:
    """Say how the pictures of a camera are, where they are looked at; with the numbers there are in --json."""
    found = facts.get("picture") if isinstance(facts, dict) else None
    return f"  picture={found.get('why') or found.get('state')}" if isinstance(found, dict) else ""


def _line(facts: object) -> str:
    if not isinstance(facts, dict):
        return str(facts)
    shown = {key: value for key, value in facts.items() if key not in _APART and value not in (None, "", {})}
    return "  ".join(f"{key}={_words(value)}" for key, value in shown.items())


def _words(value: object) -> object:
    if isinstance(value, dict):
        return ",".join(f"{key}:{_words(one)}" for key, one in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else value
