"""``edge-runtime models activate | rollback``: another release for a slot, from those that are on the box."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_runtime.cli.models_asked import order_of_config
from edge_runtime.registry.box.switch import Switched, activate, roll_back
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse


def run_activate(args: argparse.Namespace) -> int:
    """Move a slot forward.

    Raises:
        EdgeError: there is no such release here, or it must not run.
    """
    configure(style="text", level="error", journal=False)
    return _told(activate(order_of_config(args.config), args.slot, args.release), as_json=args.json)


def run_rollback(args: argparse.Namespace) -> int:
    """Move a slot back.

    Raises:
        EdgeError: there is nothing to go back to, or it must not run.
    """
    configure(style="text", level="error", journal=False)
    return _told(roll_back(order_of_config(args.config), args.slot), as_json=args.json)


def _told(switched: Switched, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(asdict(switched)))
        return os.EX_OK
    before = "nothing" if switched.before is None else f"release {switched.before.release}"
    print(
        f"{switched.slot}: release {switched.now.release} ({switched.now.version}) is current, before it was {before}"
    )
    print("a daemon that runs takes it when its configuration is read again: systemctl reload edge-runtime")
    return os.EX_OK
