"""``edge-runtime models list``: what the disk says about slots and releases; no registry is asked."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_runtime.app.registry_order import MODELS_DIR
from edge_runtime.cli.deployed import deployed
from edge_runtime.cli.models_asked import order_and_factories
from edge_runtime.cli.models_pull import held_text, slot_lines, take_it
from edge_runtime.cli.status import LOCK_FILE
from edge_runtime.registry.box.memory import recall
from edge_runtime.registry.box.shelf import held_as, survey
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.files import is_locked

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from edge_runtime.cli.deployed import Deployed
    from edge_runtime.registry.box.report import SlotReport
    from edge_runtime.registry.trust.floors import Floors


def run_list(args: argparse.Namespace) -> int:
    """Print what is on the box.

    Raises:
        ConfigError: there is no configuration, or no model in it comes from a registry.
        EdgeError: the state directory cannot be read.
    """
    order, factories = (None, {}) if args.state_dir is not None else order_and_factories(args.config)
    wants = () if order is None else order.wants
    root: Path = args.state_dir / MODELS_DIR if order is None else order.root
    store = ModelStore(root)
    last = recall(root)
    slots = survey(store, wants, last)
    deployments = {one.slot: deployed(root.parent, root, one.slot) for one in slots}
    releases = [
        {"model": stored.facts.get("model"), **asdict(held), "size_bytes": stored.artifact.size_bytes}
        for stored in store.releases.all()
        if (held := held_as(stored)) is not None
    ]
    floors = _floors(TrustStore(root).read().floors)
    registry = None if last is None else {"state": last.report.contact.value, "checkedAt": last.at.isoformat()}
    if args.json:
        document = {
            "slots": [
                {
                    **asdict(one),
                    "standing": one.standing.value,
                    "factory": factories.get(one.slot),
                    **deployments[one.slot].as_fields(),
                }
                for one in slots
            ],
            "releases": releases,
            "floors": floors,
            "registry": registry,
        }
        print(json.dumps(document))
        return os.EX_OK
    is_running = is_locked(root.parent / LOCK_FILE)
    for slot in slots:
        _print_slot(slot, deployments[slot.slot], factories.get(slot.slot), is_running=is_running)
    used = {held.manifest for one in slots for held in (one.current, one.staged, one.previous) if held is not None}
    used |= {one.trial.manifest for one in deployments.values() if one.trial is not None}
    others = [stored for stored in store.releases.all() if stored.digest not in used]
    for stored in others:
        held = held_as(stored)
        if held is not None:
            print(f"also here  {held_text(str(stored.facts.get('model')), held)}")
    if not slots and not others:
        print("no releases are on this box")
    if not is_running:
        print("no daemon runs here: nothing is judged, and this is what is on the disk")
    if last is not None:
        # what is unchanged is not written again, so this says nothing about whether the registry answers now
        asks = "the daemon asks again by itself" if is_running else "models pull asks again"
        print(f"what the registry says was taken in at {last.at:%Y-%m-%d %H:%M:%S} UTC; {asks}")
    return os.EX_OK


def _print_slot(slot: SlotReport, known: Deployed, factory: str | None, *, is_running: bool) -> None:
    """Print one slot, and what somebody can do about it: without a daemon what waits is taken by hand."""
    one = known.known.deployment
    lines = slot_lines(slot)
    if not is_running and slot.staged is not None and (one is None or one.candidate != slot.staged):
        lines.append(take_it(slot.slot))
    if known.trial is not None:
        lines.append(f"  trial     {held_text(slot.model, known.trial)}")
    if factory is not None:
        lines.append(f"  factory   {factory}")
    lines += [f"  {line}" for line in known.lines()]
    if not is_running and one is not None and not one.state.is_over:
        lines.append("  the next daemon goes on with it")
    print("\n".join(lines))


def _floors(floors: Floors | None) -> dict[str, object] | None:
    """Return what can never be undercut."""
    if floors is None:
        return None
    return {
        "roles": {name: one.version for name, one in floors.roles.items()},
        "seq": {site: one.seq for site, one in floors.rollouts.items()},
        "models": {
            name: {"min_release": one.min_release, "revoked": sorted(one.revoked)}
            for name, one in floors.models.models.items()
        },
        "time": None if floors.time is None else floors.time.at.isoformat(),
    }
