"""``edge-runtime registry bundle``: carry what one site needs through an air gap, and look at what was carried."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_FAILED, say
from edge_runtime.cli.registry_desk import open_desk, site_of, utc_now
from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.open import open_carrier
from edge_runtime.registry.documents import rollout_role, stamp
from edge_runtime.registry.publisher import rollouts
from edge_runtime.registry.publisher.bundle import collect
from edge_runtime.registry.publisher.bundle_check import check_bundle
from edge_runtime.registry.publisher.bundle_file import check_place, refuse_layout, write_archive, write_directory
from edge_runtime.registry.publisher.desk import Outcome
from edge_runtime.registry.publisher.home import Home
from edge_runtime.registry.publisher.repository import SNAPSHOT, TIMESTAMP
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    import argparse

    from edge_runtime.registry.publisher.bundle import Bundle
    from edge_runtime.registry.publisher.desk import Desk
    from edge_runtime.registry.publisher.home import Profile
    from edge_runtime.registry.publisher.repository import Repository

_ROOT_BYTES_MAX = 4 << 20
_MIB = 1 << 20
ARCHIVE = ".tar"


def run_export(args: argparse.Namespace) -> int:
    """Write the bundle of a site."""
    desk, settings = open_desk(args)
    repository, _ = desk.read()
    site, wanted = site_of(args, desk), [_wanted(one) for one in args.model]
    is_archive = args.out.name.endswith(ARCHIVE)
    check_place(args.out)
    if not is_archive:
        refuse_layout(args.out)
    bundle = collect(desk.registry, repository, site, wanted)  # before anything is signed for it
    if args.valid_days is not None:
        bundle = collect(desk.registry, _renewed(desk, settings.profile, site, args.valid_days), site, wanted)
    write = write_archive if is_archive else write_directory
    write(args.out, bundle, desk.registry)
    for note in bundle.notes:
        say(f"note: {note}\n")
    _tell_export(args, bundle)
    return os.EX_OK


def run_verify(args: argparse.Namespace) -> int:
    """Read a bundle as a box would; 1 when a release is missing."""
    kind = "oci-archive:" if args.path.is_file() else "oci-layout:"
    carrier = open_carrier(f"{kind}{args.path}", Access())
    try:
        checked = check_bundle(carrier, _root(args), args.site, utc_now())
    except DataError as error:
        if error.code not in ("registry.digest", "registry.digest_mismatch"):
            raise
        message = f"{args.path}: {error.message}"
        raise DataError(error.code, message, help="it was damaged on the way: export it again") from error
    finally:
        carrier.close()
    trusted = checked.trusted
    seq = trusted.rollout.seq if trusted.rollout is not None else 0
    fields = {
        "site": trusted.site,
        "seq": seq,
        "expires": stamp(checked.expires),
        "releases": [{"model": model, "release": number} for model, number in checked.releases],
        "missing": list(checked.missing),
        "size_bytes": checked.size_bytes,
    }
    if args.json:
        print(json.dumps(fields))
    else:
        named = ", ".join(f"{model} {number}" for model, number in checked.releases) or "none"
        print(f"{args.path}: signed for {trusted.site} (rollout {seq}), good until {fields['expires']}")
        print(f"releases: {named}; {checked.size_bytes / _MIB:.1f} MiB read, every digest is right")
        for one in checked.missing:
            print(f"missing: {one}")
    return EXIT_FAILED if checked.missing else os.EX_OK


def _renewed(desk: Desk, profile: Profile, site: str, days: int) -> Repository:
    """Return what is signed, with signatures that live for ``days`` where the keys are here; say what is not."""
    repository, _ = desk.read()
    longer = replace(profile, rollout_d=days, snapshot_d=days, timestamp_d=days)
    role = rollout_role(site)
    if not all(any(map(desk.keyring.holds, repository.keyids(one))) for one in (SNAPSHOT, TIMESTAMP)):
        say("note: the keys of snapshot and timestamp are not here, so all is carried as it is\n")
        return repository
    if repository.rollout(site).expires < utc_now() + timedelta(days=days - 1):
        outcome = Outcome()
        if any(map(desk.keyring.holds, repository.keyids(role))):
            outcome = desk.carry_out(lambda draft: rollouts.renew_rollout(draft, site), longer)
        if not outcome.versions:
            say(f"note: the keys of {role} are not all here, so its rollout is carried as it is\n")
    return desk.lend(profile, longer)


def _wanted(text: str) -> tuple[str, int | None]:
    model, _, number = text.partition(":")
    if number and not (number.isascii() and number.isdecimal()):
        raise DataError("release.missing", f"{text[:80]!r} names no release", help="--model MODEL or --model MODEL:N")
    return model, int(number) if number else None


def _root(args: argparse.Namespace) -> bytes:
    if args.root is None:
        root = Home(args.home).root()
        if root is None:
            message = f"{args.home} has no root.json, so nothing could be believed"
            raise ConfigError("publisher.no_root", message, help="--root FILE names the one that boxes are given")
        return root
    try:
        return read_limited(args.root, _ROOT_BYTES_MAX)
    except FileNotFoundError as error:
        help_ = "name the root.json that boxes are given"
        raise ConfigError("publisher.no_root", f"{args.root}: there is no such file", help=help_) from error


def _tell_export(args: argparse.Namespace, bundle: Bundle) -> None:
    expires = stamp(bundle.expires)
    if args.json:
        fields = {
            "site": bundle.site,
            "path": str(args.out),
            "expires": expires,
            "limit": bundle.limit,
            "releases": [{"model": model, "release": number} for model, number in bundle.releases],
            "size_bytes": bundle.size_bytes,
            "notes": list(bundle.notes),
        }
        print(json.dumps(fields))
        return
    named = ", ".join(f"{model} {number}" for model, number in bundle.releases) or "no release"
    kind = "oci-archive" if args.out.name.endswith(ARCHIVE) else "oci-layout"
    print(f"wrote {args.out}: {named} for {bundle.site}, {bundle.size_bytes / _MIB:.1f} MiB")
    print(f"good until {expires}, when {bundle.limit} expires")
    print(f"on a box of {bundle.site}:  registry: {{url: '{kind}:{args.out.absolute()}', root: root.json}}")
