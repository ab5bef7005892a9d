"""``edge-runtime registry status``, ``refresh``, ``sign`` and ``publish``: what is signed, and keeping it so."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_FAILED, say
from edge_runtime.cli.registry_desk import as_fields, confirmer, open_desk, secrets_of, tell, utc_now, verb
from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import stamp
from edge_runtime.registry.publisher import rollouts
from edge_runtime.registry.publisher.desk import Outcome, Preview
from edge_runtime.registry.publisher.explain import explain
from edge_runtime.registry.publisher.home import Home
from edge_runtime.registry.publisher.keys import Keyring
from edge_runtime.registry.publisher.pending import read_pending, rebased, write_pending
from edge_runtime.registry.publisher.repository import SNAPSHOT, TIMESTAMP, site_of
from edge_runtime.registry.publisher.restore import restore

if TYPE_CHECKING:
    import argparse
    from datetime import datetime
    from pathlib import Path

    from edge_runtime.registry.publisher.desk import Desk
    from edge_runtime.registry.publisher.draft import Draft
    from edge_runtime.registry.publisher.home import Profile
    from edge_runtime.registry.publisher.repository import Repository

_ONLINE = (SNAPSHOT, TIMESTAMP)


def run_status(args: argparse.Namespace) -> int:
    """Print what is signed; 1 when something has expired."""
    desk, settings = open_desk(args)
    repository, token = desk.read()
    now = utc_now()
    roles = [_role_fields(repository, desk, role, settings.profile, now) for role in repository.roles()]
    waiting = sorted(desk.home.pending.glob("*.json"))
    warnings = [str(row["warning"]) for row in roles if row["warning"]]
    releases = repository.releases()
    fields = {
        "url": settings.url,
        "profile": settings.profile.name,
        "token": token,
        "roles": roles,
        "releases": len(releases),
        "models": sorted({model for model, _ in releases}),
        "sites": {site: _site_fields(repository, site) for site in sorted(repository.rollouts)},
        "pending": [str(path) for path in waiting],
        "warnings": warnings,
    }
    if args.json:
        print(json.dumps(fields))
    else:
        _print(fields, roles, repository)
        for path in waiting:
            print(f"  {_pending_text(path, desk, repository, args)}")
    return EXIT_FAILED if any(row["expired"] for row in roles) else os.EX_OK


def run_refresh(args: argparse.Namespace) -> int:
    """Sign again what would expire."""
    desk, settings = open_desk(args)

    def edit(draft: Draft) -> None:
        for role in _due(draft, desk, args.role):
            site = site_of(role)
            if site is None:
                draft.renew(role)
            else:
                rollouts.renew_rollout(draft, site)

    outcome = desk.carry_out(edit, settings.profile, renew=True)
    for line in _warnings(desk, settings.profile):
        say(f"warning: {line}\n")
    return tell(outcome, args)


def run_restore(args: argparse.Namespace) -> int:
    """Put back what was published last."""
    desk, _ = open_desk(args)
    outcome, lost = restore(desk)
    for one in lost:
        say(f"note: the registry has no blobs of {one} any more: edge-runtime registry release add its package again\n")
    return tell(outcome, args)


def run_sign(args: argparse.Namespace) -> int:
    """Add signatures to a change."""
    home = Home(args.home)
    keyring = Keyring(home.keys, secrets_of(args), args.key)
    draft = read_pending(args.file, home.root(), utc_now())
    signers: dict[str, tuple[str, ...]] = {}
    for need in draft.needs():
        names = (keyring.find(keyid) for keyid in need.signers(keyring))
        signers[need.role] = (*signers.get(need.role, ()), *(key.name for key in names if key))
    if not draft.missing():
        message = f"{args.file} has all signatures already"
        raise DataError("pending.signed", message, help=f"edge-runtime registry publish {args.file}, at its publisher")
    if not any(signers.values()):
        lacking = {need.role: ", ".join(need.wanted(keyring)) for need in draft.missing()}
        words = "; ".join(f"{role} by one of {names}" for role, names in lacking.items()) or "none"
        message = f"no key here can add a signature that {args.file} needs; it needs: {words}"
        raise DataError("pending.no_key", message, help="--key FILE names a private key")
    changes = tuple(explain(draft, lambda keyid: key.name if (key := keyring.find(keyid)) else keyid[:12]))
    confirmer(args)(
        Preview(changes, {role: tuple(dict.fromkeys(names)) for role, names in signers.items() if names}, {})
    )
    draft.sign(keyring)
    write_pending(args.file, draft)
    lacking_now = draft.lacking()
    if args.json:
        print(json.dumps(as_fields(Outcome(changes, {}, args.file, lacking_now))))
    elif lacking_now:
        words = ", ".join(f"{count} for {role}" for role, count in lacking_now.items())
        print(f"signed; {args.file} still needs signatures: {words}")
    else:
        print(f"signed; it has all signatures now: edge-runtime registry publish {args.file}")
    return os.EX_OK


def run_publish(args: argparse.Namespace) -> int:
    """Publish a change that has all signatures; its file is removed then."""
    desk, _ = open_desk(args)
    outcome = desk.publish_pending(read_pending(args.file, desk.home.root(), utc_now()))
    if outcome.versions and args.file.absolute().parent == desk.home.pending.absolute():
        args.file.unlink(missing_ok=True)
    return tell(outcome, args)


def _role_fields(repository: Repository, desk: Desk, role: str, profile: Profile, now: datetime) -> dict[str, object]:
    one = repository.roles()[role]
    left = one.expires - now
    return {
        "role": role,
        "version": one.version,
        "expires": stamp(one.expires),
        "expired": left <= timedelta(0),
        "signed_by": [_name(desk, keyid) for keyid in repository.signers(role)],
        "threshold": repository.threshold(role),
        "keys": len(repository.keyids(role)),
        "warning": _warning(role, left, profile),
    }


def _warning(role: str, left: timedelta, profile: Profile) -> str | None:
    way_out = "edge-runtime registry refresh" + ("" if role in _ONLINE else f" --role {role}")
    if left <= timedelta(0):
        return f"{role} has EXPIRED: boxes take nothing new; {way_out}"
    if left < timedelta(days=profile.days(role)) / 4:
        return f"{role} expires in {left.days} days and {left.seconds // 3600} hours; {way_out}"
    return None


def _warnings(desk: Desk, profile: Profile) -> list[str]:
    repository, _ = desk.read()
    now = utc_now()
    found = (_warning(role, one.expires - now, profile) for role, one in repository.roles().items())
    return [line for line in found if line]


def _due(draft: Draft, desk: Desk, asked: list[str]) -> list[str]:
    """Return what to renew: what was asked for, and what lost half of its life if no person has to be there for it."""
    base = draft.base
    if base is None:
        return []
    signed = {role: one for role, one in base.roles().items() if role not in _ONLINE}
    unknown = [role for role in asked if role not in {*signed, *_ONLINE}]
    if unknown:
        message = f"there is no role {unknown[0][:80]!r}; roles: {', '.join((*signed, *_ONLINE))}"
        raise DataError("registry.role", message, help="edge-runtime registry key list")
    due = [role for role in asked if role in signed]
    for role, one in signed.items():
        old = one.expires - draft.now < timedelta(days=draft.profile.days(role)) / 2
        ready = [
            key for keyid in base.keyids(role) if (key := desk.keyring.find(keyid)) and key.file and not key.encrypted
        ]
        if old and role not in due and len(ready) >= base.threshold(role):
            due.append(role)
    return due


def _name(desk: Desk, keyid: str) -> str:
    key = desk.keyring.find(keyid)
    return key.name if key is not None else keyid[:12]


def _site_fields(repository: Repository, site: str) -> dict[str, object]:
    rollout = repository.rollout(site)
    return {
        "seq": rollout.seq,
        "pause": rollout.pause,
        "assignments": [rollouts.describe(one) for one in rollout.assignments],
        "kill": list(rollout.kill),
    }


def _print(fields: dict[str, object], roles: list[dict[str, object]], repository: Repository) -> None:
    print(f"{fields['url']}  (profile {fields['profile']})")
    for row in roles:
        names = row["signed_by"]
        by = ", ".join(map(str, names)) if isinstance(names, list) else ""
        print(f"  {row['role']!s:<20} version {row['version']!s:<5} until {row['expires']}  signed by {by}")
    floors = repository.floors()
    for model in sorted({name for name, _ in repository.releases()}):
        numbers = [str(number) for name, number in repository.releases() if name == model]
        floor = floors.of(model)
        banned = f", {len(floor.revoked)} revoked" if floor.revoked else ""
        print(f"  {model}: releases {', '.join(numbers)}; floor {floor.min_release}{banned}")
    for site in sorted(repository.rollouts):
        rollout = repository.rollout(site)
        print(f"  site {site}: rollout {rollout.seq}" + (", PAUSED" if rollout.pause else ""))
        for one in rollout.assignments:
            print(f"    {rollouts.describe(one)}")
    warnings = fields["warnings"]
    for line in warnings if isinstance(warnings, list) else []:
        print(f"  WARNING: {line}")


def _pending_text(path: Path, desk: Desk, repository: Repository, args: argparse.Namespace) -> str:
    """Return what becomes of a change that was put aside."""
    try:
        draft = read_pending(path, desk.home.root(), utc_now())
        lacking = {need.role: need.threshold - len(need.keyids()[0]) for need in draft.missing()}
        if draft.base is not None:
            rebased(draft, repository)
    except DataError as error:
        if error.code != "pending.outdated":
            return f"cannot be used: {error}"
        return f"not needed any more, the registry went on without it: rm {path}"
    if lacking:
        words = ", ".join(f"{count} for {role}" for role, count in lacking.items())
        return f"waits for signatures ({words}): {path}"
    return f"has all signatures: {verb(args, f'publish {path}')}"
