"""``edge-runtime models list``: what the disk says about slots and releases; no registry is asked."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_runtime.app.registry_order import MODELS_DIR
from edge_runtime.cli.deployed import deployed
from edge_runtime.cli.models_asked import order_and_factories
from edge_runtime.cli.models_pull import held_text, slot_lines
from edge_runtime.registry.box.memory import recall
from edge_runtime.registry.box.shelf import held_as, survey
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.store.store import ModelStore

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

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
    for slot in slots:
        print("\n".join(slot_lines(slot)))
        trial, factory = deployments[slot.slot].trial, factories.get(slot.slot)
        if trial is not None:
            print(f"  trial     {held_text(slot.model, trial)}")
        if factory is not None:
            print(f"  factory   {factory}")
        for line in deployments[slot.slot].lines():
            print(f"  {line}")
    used = {held.manifest for one in slots for held in (one.current, one.staged, one.previous) if held is not None}
    others = [stored for stored in store.releases.all() if stored.digest not in used]
    for stored in others:
        held = held_as(stored)
        if held is not None:
            print(f"also here  {held_text(str(stored.facts.get('model')), held)}")
    if not slots and not others:
        print("no releases are on this box")
    if last is not None:
        # what is unchanged is not written again, so this says nothing about whether the registry answers now
        print(f"what the registry says was taken in at {last.at:%Y-%m-%d %H:%M:%S} UTC; it is asked by models pull")
    return os.EX_OK


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
