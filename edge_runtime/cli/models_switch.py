"""``edge-runtime models activate | rollback``: another release for a slot, from those that are on the box.

While a daemon runs it is asked to (`cli.models_follow`): the release is tried, comes in between two frames, and is
taken back when it does worse. Without one the links of the slot are moved, and the next daemon begins with them; a
trial that was judging when the daemon ended is what ``rollback`` takes back then, as it would have with the daemon.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_runtime.app.deployment_commands import BY_HAND
from edge_runtime.app.deployment_store import DeploymentStore
from edge_runtime.cli.deployed import deployed
from edge_runtime.cli.models_asked import order_of_config
from edge_runtime.control.deployment import machine
from edge_runtime.control.deployment.commands import Store
from edge_runtime.control.deployment.deployment import Now
from edge_runtime.control.deployment.events import Withdrawn
from edge_runtime.registry.box.switch import Switched, activate, choose, roll_back, want_of
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse

    from edge_runtime.control.deployment.deployment import Deployment
    from edge_runtime.registry.box.order import Order


def run_activate(args: argparse.Namespace) -> int:
    """Move a slot forward.

    Raises:
        EdgeError: there is no such release here, it must not run, or it did not stand its trial.
    """
    from edge_runtime.cli import models_follow  # noqa: PLC0415 - --help needs none of it

    configure(style="text", level="error", journal=False)
    order = order_of_config(args.config)
    models_follow.refuse_root(order)
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
    models_follow.refuse_root(order)
    if models_follow.daemon_runs(order):
        want_of(order, args.slot)
        return models_follow.ask(order, args.slot, "rollback", None, args)
    want_of(order, args.slot)
    ended = _take_back(order, args.slot, models_follow.who())
    if ended is not None:
        return _told_end(args.slot, ended, as_json=args.json)
    return _told(roll_back(order, args.slot), as_json=args.json)


def _take_back(order: Order, slot: str, name: str) -> Deployment | None:
    """End what was judging on trial when the daemon ended; ``None`` = nothing was."""
    one = deployed(order.root.parent, order.root, slot)
    deployment = one.known.deployment
    if deployment is None or deployment.state.is_over or not (deployment.judged or deployment.state.is_judging):
        return None
    store, clock = DeploymentStore(order.root), SystemClock()
    if one.trial is None or one.trial.manifest != deployment.candidate.manifest:
        return None  # it was ended or committed already, and only the record does not know
    now = Now(clock.mono_ns(), datetime.fromtimestamp(clock.utc_ns() // 1_000_000_000, UTC))
    event = Withdrawn(BY_HAND, f"{name} took it back", quarantine=True)
    _, wanted = machine.step(deployment, event, now)
    for command in wanted:
        if isinstance(command, Store):
            store.save(slot, one.known.with_deployment(command.deployment), command.deployment)
            deployment = command.deployment
    return deployment


def _told_end(slot: str, ended: Deployment, *, as_json: bool) -> int:
    now = ended.previous
    if as_json:
        print(
            json.dumps({"slot": slot, "before": asdict(ended.candidate), "now": None if now is None else asdict(now)})
        )
        return os.EX_OK
    stays = "the slot has none" if now is None else f"release {now.release} ({now.version}) is current as before"
    print(f"{slot}: the trial of release {ended.candidate.release} ({ended.candidate.version}) is taken back; {stays}")
    print("no daemon runs here; the next one begins with it")
    return os.EX_OK


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
