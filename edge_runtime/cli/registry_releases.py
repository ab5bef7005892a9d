"""``edge-runtime registry release``: add, list and revoke releases; raise the floor of a model."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_runtime.cli.output import say
from edge_runtime.cli.registry_desk import open_desk, secrets_of, tell, verb
from edge_runtime.registry.descriptor import describe, digest_of
from edge_runtime.registry.documents import Release, stamp
from edge_runtime.registry.publisher import releases
from edge_runtime.registry.publisher.intake import take_in
from edge_runtime.registry.publisher.sigstore import attach_bundle, read_bundle_signer
from edge_runtime.registry.trust.sigstore import BUNDLE

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from edge_runtime.core.manifest import Manifest
    from edge_runtime.registry.publisher.draft import Draft

_MIB = 1 << 20
_BANNED = "boxes refuse it; one that runs it says so (model.revoked) until another is activated"
_STATES = {None: "good", "floored": "below the floor", "revoked": "revoked"}


def run_add(args: argparse.Namespace) -> int:
    """Push a package and sign it."""
    desk, settings = open_desk(args)
    incoming = take_in(args.package, args.model, args.release)
    package = incoming.package
    size_mib = incoming.artifact.size_bytes / _MIB
    say(f"{package.name} {package.release}, version {package.version}: {size_mib:.1f} MiB in {args.package}\n")
    say("".join(f"note: {note}\n" for note in incoming.notes))

    bundle = _bundle(args, incoming.manifest)

    def edit(draft: Draft) -> None:
        release = replace(_release(package, draft), bundle=None if bundle is None else describe(bundle, BUNDLE))
        releases.add_release(draft, release, incoming.manifest)

    def push() -> None:
        incoming.publish(desk.registry)
        if bundle is not None:
            attach_bundle(desk.registry, package.name, incoming.manifest, bundle)

    outcome = desk.carry_out(edit, settings.profile, push=push)
    if not outcome.changes:
        push()  # the registry may have lost what was signed before
    step = verb(args, f"rollout set --model {package.name} --release {package.release}")
    return tell(outcome, args, f"Next: {step}")


def run_list(args: argparse.Namespace) -> int:
    """Print all releases."""
    desk, _ = open_desk(args)
    repository, _ = desk.read()
    floors = repository.floors()
    rows: list[dict[str, Any]] = []
    for (model, number), (release, digest) in repository.releases().items():
        state = _STATES[floors.of(model).bans(number, digest)]
        killed = [site for site in sorted(repository.rollouts) if digest in repository.rollout(site).kill]
        rows.append(
            {
                "model": model,
                "release": number,
                "version": release.version,
                "state": state,
                "killed": killed,
                "manifest": digest,
                "digest": release.digest,
                "issued": stamp(release.issued),
            }
        )
    if args.json:
        print(json.dumps({"releases": rows}))
        return os.EX_OK
    for row in rows:
        words = (row["model"], f"{row['release']:>5}", f"{row['version']:<12}", f"{row['state']:<15}", row["manifest"])
        print("  ".join(words) + (f"  killed on {', '.join(row['killed'])}" if row["killed"] else ""))
    if not rows:
        print("no release yet: edge-runtime registry release add PACKAGE")
    return os.EX_OK


def run_revoke(args: argparse.Namespace) -> int:
    """Ban one release."""
    desk, settings = open_desk(args)
    outcome = desk.carry_out(lambda draft: releases.revoke(draft, args.model, args.release), settings.profile)
    return tell(outcome, args, _BANNED)


def run_floor(args: argparse.Namespace) -> int:
    """Ban all releases below a number."""
    desk, settings = open_desk(args)
    outcome = desk.carry_out(lambda draft: releases.raise_floor(draft, args.model, args.release), settings.profile)
    return tell(outcome, args, _BANNED)


def _bundle(args: argparse.Namespace, manifest: bytes) -> bytes | None:
    """Return a Sigstore bundle about the manifest, when the arguments name a key for it."""
    key: Path | None = args.sigstore_key
    if key is None:
        return None
    signer = read_bundle_signer(key, lambda: secrets_of(args)(f"passphrase of {key.name}"))
    return signer.sign(digest_of(manifest))


def _release(package: Manifest, draft: Draft) -> Release:
    return Release(
        model=package.name,
        release=package.release or 0,
        version=package.version,
        digest=package.digest,
        repository=package.name,
        issued=draft.now.replace(microsecond=0),
        hardware=package.hardware,
        requires={name: str(version) for name, version in package.requires.items()},
    )
