"""``edge-runtime registry rollout``: which boxes should run which release."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from edge_runtime.cli.registry_desk import open_desk, site_of, tell, verb
from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.registry.descriptor import checked_digest
from edge_runtime.registry.documents import KEYS_OF_MATCH, Assignment, Match, rollout_path
from edge_runtime.registry.publisher import rollouts
from edge_runtime.registry.publisher.releases import find

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edge_runtime.registry.publisher.draft import Draft

_LABEL = re.compile(r"([^=\x00-\x1f]{1,256})=([^\x00-\x1f]{1,256})")
_DIGEST = "sha256:"


def run_set(args: argparse.Namespace) -> int:
    """Assign a release."""
    desk, settings = open_desk(args)
    site = site_of(args, desk)
    wanted = Assignment(
        model=args.model,
        release=args.release,
        match=_match(args),
        ring=args.ring,
        percent=args.percent,
        salt=args.salt or "",
        window=args.window,
        mode=args.mode,
        bake_s=args.bake,
        gates=_gates(args),
        approve=args.approve,
        on_regression=args.on_regression,
    )
    outcome = desk.carry_out(lambda draft: rollouts.assign(draft, site, wanted), settings.profile)
    return tell(outcome, args, f"boxes of {site} see it at their next look; {verb(args, 'rollout show')}")


def run_unset(args: argparse.Namespace) -> int:
    """Take back assignments."""
    desk, settings = open_desk(args)
    site, match = site_of(args, desk), _match(args)
    return tell(desk.carry_out(lambda draft: rollouts.unassign(draft, site, args.model, match), settings.profile), args)


def run_pause(args: argparse.Namespace) -> int:
    """Pause a site, or let it go on."""
    desk, settings = open_desk(args)
    site = site_of(args, desk)
    return tell(
        desk.carry_out(lambda draft: rollouts.pause(draft, site, paused=not args.resume), settings.profile), args
    )


def run_kill(args: argparse.Namespace) -> int:
    """Forbid a manifest on one site or on all."""
    desk, settings = open_desk(args)
    if args.what.startswith(_DIGEST) == (args.release is not None):
        message = f"expected the digest of a manifest, or a model and the number of a release; found {args.what[:80]!r}"
        raise ConfigError("rollout.kill", message, help="edge-runtime registry release list shows both")
    if args.release is None:
        checked_digest(args.what, "kill")
    sites = [args.site] if args.site else sorted(desk.read()[0].rollouts)

    def edit(draft: Draft) -> None:
        digest = args.what if args.release is None else find(draft, args.what, args.release)[1]
        for site in sites:
            rollouts.kill(draft, site, digest)

    return tell(desk.carry_out(edit, settings.profile), args)


def run_show(args: argparse.Namespace) -> int:
    """Print what sites want."""
    desk, _ = open_desk(args)
    repository, _ = desk.read()
    sites = sorted(repository.rollouts) if args.site is None else [args.site]
    found = {site: repository.rollout(site) for site in sites}
    if args.json:
        print(json.dumps({site: json.loads(repository.documents[rollout_path(site)]) for site in sites}))
        return os.EX_OK
    releases, floors = repository.releases(), repository.floors()
    for site, rollout in found.items():
        state = "PAUSED: boxes begin nothing new" if rollout.pause else "running"
        times = f"of {rollout.issued:%Y-%m-%d %H:%M}, good until {rollout.expires:%Y-%m-%d}"
        print(f"{site}: rollout {rollout.seq} {times}, {state}")
        for number, one in enumerate(rollout.assignments, 1):
            _, digest = releases.get((one.model, one.release), (None, ""))
            banned = digest in rollout.kill or floors.of(one.model).bans(one.release, digest) is not None
            print(f"  {number}. {rollouts.describe(one)}" + ("  BANNED: no box takes it" if banned else ""))
        if not rollout.assignments:
            print("  nothing is assigned: boxes keep what they run")
        for digest in rollout.kill:
            name = next((f"{model} {number} " for (model, number), one in releases.items() if one[1] == digest), "")
            print(f"  killed: {name}{digest}")
    return os.EX_OK


def _match(args: argparse.Namespace) -> Match:
    labels: dict[str, tuple[str, ...]] = {}
    for one in args.label:
        found = _LABEL.fullmatch(one)
        if found is None:
            help_ = "for example --label hall=north"
            raise ConfigError("rollout.label", f"expected --label KEY=VALUE, found {one[:80]!r}", help=help_)
        labels[found[1]] = (*labels.get(found[1], ()), found[2])
    parts = {part: tuple(getattr(args, part)) for part in KEYS_OF_MATCH}
    return Match(**parts, labels=labels)


def _gates(args: argparse.Namespace) -> Mapping[str, object]:
    """Return the gates as numbers; `rollouts.assign` refuses those that no box would understand."""
    gates: dict[str, object] = {}
    for one in args.gate:
        name, equals, value = one.partition("=")
        try:
            number = json.loads(value) if equals else None
        except ValueError:
            number = None
        if isinstance(number, bool) or not isinstance(number, int | float):
            message = f"--gate {one[:80]}: expected NAME=NUMBER"
            raise DataError("rollout.gates", message, help="for example --gate shadow_frames=500")
        gates[name] = number
    return gates
