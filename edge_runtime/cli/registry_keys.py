"""``edge-runtime registry key`` and ``site``: make, list, rotate, grant and revoke keys."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from edge_runtime.cli.output import say
from edge_runtime.cli.registry_desk import new_passphrase, open_desk, read_secret, secrets_of, tell
from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.registry.documents import rollout_role, stamp
from edge_runtime.registry.publisher import roots
from edge_runtime.registry.publisher.home import Home
from edge_runtime.registry.publisher.keys import checked_name, make_key, make_reference
from edge_runtime.registry.publisher.repository import SNAPSHOT, TIMESTAMP, delegated
from edge_runtime.registry.publisher.sigstore import make_bundle_key
from edge_runtime.system.files import make_directory

if TYPE_CHECKING:
    import argparse

    from edge_runtime.registry.publisher.desk import Desk
    from edge_runtime.registry.publisher.draft import Draft
    from edge_runtime.registry.publisher.keys import PublisherKey

_ID_MIN = 8  # hex digits that still name one key


def run_new(args: argparse.Namespace) -> int:
    """Make a key."""
    if args.type == "ecdsa":
        return _new_bundle_key(args)
    key = make_key(Home(args.home).keys, args.name, _passphrase(args))
    return _tell_key(args, key, f"{key.file}: keep it secret\n{key.name}.pub.json: give it to whoever grants it a role")


def _new_bundle_key(args: argparse.Namespace) -> int:
    folder = Home(args.home).path / "sigstore"
    make_directory(folder, mode=0o700)
    path = folder / f"{checked_name(args.name)}.pem"
    hint = make_bundle_key(path, _passphrase(args)).public.hint
    public = path.with_suffix(".pub")
    if args.json:
        print(json.dumps({"name": args.name, "hint": hint, "file": str(path), "public": str(public)}))
    else:
        print(f"{path}: keep it secret; registry release add --sigstore-key signs with it")
        print(f"{public}: give it to boxes (registry: {{publisher_keys: [...]}}) and to cosign verify --key")
    return os.EX_OK


def run_import(args: argparse.Namespace) -> int:
    """Take up a public key."""
    key = make_reference(Home(args.home).keys, args.name, args.uri, args.public)
    return _tell_key(args, key, f"{key.name}: key {key.keyid[:12]}" + (f" at {key.uri}" if key.uri else ""))


def run_list(args: argparse.Namespace) -> int:
    """Print which key may sign what."""
    desk, _ = open_desk(args)
    repository, _ = desk.read(recover=True)  # whatever a thief of the online keys did: their ids are needed then
    rows = []
    signed = repository.roles()
    for role in (*roots.TOP, *delegated(repository.targets.signed)):
        until = stamp(signed[role].expires) if role in signed else None
        for keyid in repository.keyids(role):
            key = desk.keyring.find(keyid)
            row: dict[str, object] = {"role": role, "keyid": keyid, "name": key.name if key else None}
            held = desk.keyring.holds(keyid)
            rows.append(row | {"threshold": repository.threshold(role), "here": held, "expires": until})
    used = {row["keyid"] for row in rows}
    unused = [key.name for key in desk.keyring.keys if key.keyid not in used]
    if args.json:
        print(json.dumps({"keys": rows, "unused": unused}))
        return os.EX_OK
    for row in rows:
        here = "here" if row["here"] else "elsewhere"
        words = f"{row['role']!s:<20} {row['name'] or '-'!s:<20} {str(row['keyid'])[:12]}"
        print(f"{words}  {row['threshold']} must sign  {here:<9}  until {row['expires'] or '?'}")
    if unused:
        print(f"without any role: {', '.join(unused)}")
    return os.EX_OK


def run_rotate(args: argparse.Namespace) -> int:
    """Replace keys of roles, all in one change."""
    if len(args.what) % 3:
        message = f"expected ROLE OLD NEW, once or more often; found {' '.join(args.what)}"
        raise ConfigError("key.rotate", message, help="edge-runtime registry key list")
    wishes = [tuple(args.what[at : at + 3]) for at in range(0, len(args.what), 3)]
    desk, settings = open_desk(args)
    repository, _ = desk.read(recover=True)
    known = (*roots.TOP, *delegated(repository.targets.signed))
    for role, _, _ in wishes:  # all looked up before a key is made for any
        if role not in known:
            raise DataError("registry.role", f"there is no role {role[:80]!r}; roles: {', '.join(known)}")
    olds = [_keyid(desk, old) for _, old, _ in wishes]
    for _, _, new in wishes:
        desk = _with_key(args, new, desk)
    moves = [(role, keyid, desk.keyring.named(new)) for (role, _, new), keyid in zip(wishes, olds, strict=True)]

    def edit(draft: Draft) -> None:
        for role, old, new in moves:
            roots.rotate(draft, role, old, new)

    recover = any(
        role in (SNAPSHOT, TIMESTAMP) for role, _, _ in moves
    )  # who has stolen these may have signed anything
    outcome = desk.carry_out(edit, settings.profile, recover=recover)
    return tell(outcome, args, *(f"key {old} may be destroyed now" for _, old, _ in wishes))


def run_grant(args: argparse.Namespace) -> int:
    """Let one more key sign a role."""
    desk, settings = open_desk(args)
    key = desk.keyring.named(args.name)
    return tell(
        desk.carry_out(lambda draft: roots.grant(draft, args.role, key, args.threshold), settings.profile), args
    )


def run_revoke(args: argparse.Namespace) -> int:
    """Take all rights from a key."""
    desk, settings = open_desk(args)
    keyid = _keyid(desk, args.name)
    return tell(desk.carry_out(lambda draft: roots.revoke(draft, keyid, args.name), settings.profile), args)


def run_site(args: argparse.Namespace) -> int:
    """Add a site."""
    desk, settings = open_desk(args)
    name = args.rollout_key or rollout_role(args.site)
    desk = _with_key(args, name, desk)
    key = desk.keyring.named(name)
    return tell(desk.carry_out(lambda draft: roots.add_site(draft, args.site, [key]), settings.profile), args)


def _with_key(args: argparse.Namespace, name: str, desk: Desk) -> Desk:
    """Return a desk that knows the key ``name``, which is made when there is none."""
    if any(key.name == name for key in desk.keyring.keys):
        return desk
    key = make_key(desk.home.keys, name, read_secret(args.passphrase_file) if args.passphrase_file else None)
    say(f"made {key.file}\n")
    return open_desk(args)[0]


def _keyid(desk: Desk, word: str) -> str:
    """Return the id of the key called ``word``, or whose id begins so: a lost key may have no file any more."""
    for key in desk.keyring.keys:
        if key.name == word:
            return key.keyid
    repository, _ = desk.read(recover=True)
    ids = {keyid for role in repository.roles() for keyid in repository.keyids(role)}
    ids |= {keyid for role in (SNAPSHOT, TIMESTAMP) for keyid in repository.keyids(role)}
    found = [keyid for keyid in ids if len(word) >= _ID_MIN and keyid.startswith(word)]
    if len(found) != 1:
        message = f"{word[:80]!r} is neither the name of a key here nor the beginning of one key's id"
        raise DataError("key.missing", message, help="edge-runtime registry key list")
    return found[0]


def _passphrase(args: argparse.Namespace) -> str | None:
    if args.no_passphrase:
        return None
    if args.passphrase_file is not None or not sys.stdin.isatty():
        return secrets_of(args)("a passphrase (or --no-passphrase)")
    return new_passphrase(args.name)


def _tell_key(args: argparse.Namespace, key: PublisherKey, words: str) -> int:
    if args.json:
        print(
            json.dumps(
                {"name": key.name, "keyid": key.keyid, "file": str(key.file) if key.file else None, "uri": key.uri}
            )
        )
    else:
        print(words)
    return os.EX_OK
