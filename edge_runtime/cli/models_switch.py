"""``edge-runtime models activate | rollback``: another release for a slot, from those that are on the box.

While a daemon runs it is asked to (`cli.models_follow`): the release is tried, comes in between two frames, and is
taken back when it does worse. Without one the links of the slot are moved, and the next daemon begins with them.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_runtime.cli.models_asked import order_of_config
from edge_runtime.registry.box.switch import Switched, activate, choose, roll_back, want_of
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse


def run_activate(args: argparse.Namespace) -> int:
    """Move a slot forward.

    Raises:
        EdgeError: there is no such release here, it must not run, or it did not stand its trial.
    """
    from edge_runtime.cli import models_follow  # noqa: PLC0415 - --help needs none of it

    configure(style="text", level="error", journal=False)
    order = order_of_config(args.config)
    if models_follow.daemon_runs(order):
        return models_follow.ask(order, args.slot, "activate", choose(order, args.slot, args.release), args)
    return _told(activate(order, args.slot, args.release), as_json=args.json)


def run_rollback(args: argparse.Namespace) -> int:
    """Move a slot back.

    Raises:
        EdgeError: there is nothing to go back to, or it must not run.
    """
    from edge_runtime.cli import models_follow  # noqa: PLC0415 - as above

    configure(style="text", level="error", journal=False)
    order = order_of_config(args.config)
    if models_follow.daemon_runs(order):
        want_of(order, args.slot)
        return models_follow.ask(order, args.slot, "rollback", None, args)
    return _told(roll_back(order, args.slot), as_json=args.json)


def _told(switched: Switched, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(asdict(switched)))
        return os.EX_OK
    before = "nothing" if switched.before is None else f"release {switched.before.release}"
    print(
        f"{switched.slot}: release {switched.now.release} ({switched.now.version}) is current, before it was {before}"
    )
    print("no daemon runs here; the next one begins with it")
    return os.EX_OK
