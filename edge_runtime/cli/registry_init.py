"""``edge-runtime registry init``: found a registry, and say what must go offline and what boxes need."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.cli.output import say
from edge_runtime.cli.registry_desk import (
    LAYOUT,
    agree,
    as_fields,
    new_passphrase,
    open_registry,
    read_secret,
    secrets_of,
    tell,
    tree_of,
    utc_now,
    verb,
)
from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.registry.documents import is_name, rollout_role
from edge_runtime.registry.publisher.desk import Desk
from edge_runtime.registry.publisher.draft import Draft
from edge_runtime.registry.publisher.home import PROFILES, Home, Settings
from edge_runtime.registry.publisher.keys import Keyring, make_key, recover_public
from edge_runtime.registry.publisher.roots import found

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from edge_runtime.registry.carriers.carrier import Publication
    from edge_runtime.registry.publisher.desk import Outcome
    from edge_runtime.registry.publisher.home import Profile
    from edge_runtime.registry.publisher.keys import PublisherKey

ONLINE: Final = ("snapshot", "timestamp")
_FILES: Final = ("password_file", "ca_file", "cert_file", "key_file")


def run_init(args: argparse.Namespace) -> int:
    """Found the registry; when it was founded half before, go on.

    Raises:
        ConfigError: the arguments contradict what is there.
        EdgeError: it could not be done.
    """
    home, settings = Home(args.home), _settings(args)
    if not args.sites or not all(map(is_name, args.sites)):
        message = (
            f"expected --site SITE, lower-case letters, digits, '.', '_', '-'; found {', '.join(args.sites) or 'none'}"
        )
        raise ConfigError("registry.site", message, help="use the name of `site:` in the configuration of the boxes")
    registry = open_registry(settings)
    args.closing.callback(registry.close)
    _demand_free(home, settings, registry)
    names = _names(args, settings.profile)
    keyring = Keyring(home.keys, secrets_of(args), args.key)
    there = {key.name for key in keyring.keys}
    missing = [name for role in names for name in names[role] if name not in there]
    say("".join(f"{line}\n" for line in _plan(home, settings, names, missing)))
    agree(args, "Found this registry?")
    home.keep_settings(settings)
    recover_public(home.keys, secrets_of(args))
    passphrase = _passphrase(args, settings.profile, [name for name in missing if not _is_online(name, names)])
    for name in missing:
        if not (home.keys / f"{name}.pub.json").exists():
            make_key(home.keys, name, None if _is_online(name, names) else passphrase)
    keyring = Keyring(home.keys, (lambda _: passphrase) if passphrase else secrets_of(args), args.key)
    draft = _draft(
        home, settings.profile, {role: [keyring.named(one) for one in names[role]] for role in names}, args.sites
    )
    desk = Desk(home, registry, keyring, now=utc_now, confirm=lambda _: None, tree=tree_of(settings))
    outcome = desk.found(draft)
    return _tell(args, home, settings, names, outcome)


def _settings(args: argparse.Namespace) -> Settings:
    url = args.url
    if url.startswith(LAYOUT):
        url = LAYOUT + str(Path(url.removeprefix(LAYOUT)).absolute())
    access: dict[str, object] = {name: str(path.absolute()) for name in _FILES if (path := getattr(args, name))}
    access |= {name: value for name in ("username", "proxy") if (value := getattr(args, name))}
    if args.realm_hosts:
        access["realm_hosts"] = args.realm_hosts
    if args.allow_http:
        access["allow_http"] = True
    return Settings(url, PROFILES[args.profile], access)


def _demand_free(home: Home, settings: Settings, registry: Publication) -> None:
    """Refuse to found what exists.

    Raises:
        ConfigError: the home belongs to another registry, or the registry is there.
    """
    founded = home.root() is not None  # else an init failed before anything was signed: its address may be corrected
    if founded and (home.path / "publisher.json").exists() and (before := home.settings()).url != settings.url:
        message = f"{home.path} is the publisher's directory of {before.url}"
        raise ConfigError("publisher.other", message, help="--home DIR names another directory")
    directory = tree_of(settings)
    try:
        listing = None if directory is not None and not directory.exists() else registry.listing()
    except DataError as error:
        if error.code != "registry.missing":
            raise
        listing = None
    if listing is None and (home.path / "seen.json").exists():
        message = f"{settings.url} was founded from {home.path} before, and has lost everything since"
        raise ConfigError("registry.lost", message, help="edge-runtime registry restore puts it back")
    if listing is None:
        return
    if home.root() is not None and (home.path / "seen.json").exists():
        raise ConfigError("registry.exists", f"{settings.url} is founded already", help="edge-runtime registry status")
    if home.root() is not None:
        message = f"{settings.url} is founded already, perhaps by an init that was interrupted"
        raise ConfigError("registry.exists", message, help="edge-runtime registry status shows whether it is yours")
    message = f"there is a registry at {settings.url}"
    help_ = "to join it, copy publisher.json and root.json of another publisher into this directory"
    raise ConfigError("registry.exists", message, help=help_)


def _names(args: argparse.Namespace, profile: Profile) -> dict[str, list[str]]:
    """Return the names of the keys by role."""
    names = {}
    for role, count in (("root", profile.root_keys[0]), ("targets", profile.targets_keys[0])):
        names[role] = [role] if count == 1 else [f"{role}-{n}" for n in range(1, count + 1)]
    names |= {role: [role] for role in (*ONLINE, *map(rollout_role, dict.fromkeys(args.sites)))}
    for one in args.use:
        role, _, keys = one.partition("=")
        if role not in names or not keys:
            message = f"--use {one}: expected ROLE=KEY[,KEY...] with a role of {', '.join(names)}"
            raise ConfigError("publisher.use", message)
        names[role] = keys.split(",")
    return names


def _is_online(name: str, names: Mapping[str, Sequence[str]]) -> bool:
    return any(name in names[role] for role in ONLINE)


def _plan(home: Home, settings: Settings, names: Mapping[str, Sequence[str]], missing: Sequence[str]) -> list[str]:
    thresholds = {"root": settings.profile.root_keys[1], "targets": settings.profile.targets_keys[1]}
    lines = [f"A registry will be founded at {settings.url} (profile {settings.profile.name}):"]
    for role, keys in names.items():
        days = settings.profile.days(role)
        lines.append(
            f"  {role:<20} {thresholds.get(role, 1)} of {len(keys)} keys sign it, for {days} days: {', '.join(keys)}"
        )
    if missing:
        lines.append(f"New keys in {home.keys}: {', '.join(missing)}")
    if settings.profile.name == "dev":
        lines.append("WARNING: profile dev: one stolen key is enough to release anything; not for production")
    return lines


def _passphrase(args: argparse.Namespace, profile: Profile, names: Sequence[str]) -> str | None:
    if not names or profile.name == "dev":
        return read_secret(args.passphrase_file) if names and args.passphrase_file else None
    if args.passphrase_file is not None:
        return read_secret(args.passphrase_file)
    if args.yes or not sys.stdin.isatty():
        say("note: the keys are made without a passphrase; --passphrase-file FILE gives them one\n")
        return None
    return new_passphrase(", ".join(names))


def _draft(home: Home, profile: Profile, keys: Mapping[str, Sequence[PublisherKey]], sites: Sequence[str]) -> Draft:
    draft = Draft(None, utc_now(), profile)
    found(draft, keys, list(dict.fromkeys(sites)))
    raw = home.root()
    if raw is not None:  # an earlier init was interrupted: boxes may have this root already
        draft.take_root(raw)
    return draft


def _tell(
    args: argparse.Namespace, home: Home, settings: Settings, names: Mapping[str, Sequence[str]], outcome: Outcome
) -> int:
    root = home.path / "root.json"
    offline = [str(home.keys / f"{name}.pem") for name in names["root"]]
    people = [str(home.keys / f"{name}.pem") for name in names["targets"]]
    operators = {
        role: [str(home.keys / f"{one}.pem") for one in names[role]] for role in names if role.startswith("rollout-")
    }
    online = [str(home.keys / f"{name}.pem") for role in ONLINE for name in names[role]]
    if args.json:
        keys = {"offline": offline, "release": people, "operators": operators, "online": online}
        print(json.dumps({"url": settings.url, "root": str(root), "keys": keys, **as_fields(outcome)}))
        return os.EX_OK
    if outcome.pending is not None:
        return tell(outcome, args)
    print(f"The registry is founded: {settings.url}\n")
    if settings.profile.name == "dev":
        print(f"All keys are in {home.keys}. Before a plant depends on it: found one with --profile production.\n")
    else:
        _print_keys(offline, people, operators, online)
    print(f"Copy {root} to every box, and write into its configuration:")
    print(f"  registry: {{url: {settings.url!r}, root: root.json}}\n")
    print(f"Next: {verb(args, 'release add PACKAGE')}")
    return os.EX_OK


def _print_keys(
    offline: Sequence[str], people: Sequence[str], operators: Mapping[str, Sequence[str]], online: Sequence[str]
) -> None:
    groups = [
        (
            "Take OFFLINE now, each to a medium and a place of its own; needed once a year, and when a key is lost:",
            offline,
        ),
        ("Give to the people who release models; two of them sign each release:", people),
        *(
            (f"Give to the operators of site {role.removeprefix('rollout-')}:", keys)
            for role, keys in operators.items()
        ),
        ("Leave on the machine that runs `edge-runtime registry refresh --yes` every day:", online),
    ]
    for what, keys in groups:
        print(what)
        for key in keys:
            print(f"  {key}")
        print()
    print("All signatures end some day; edge-runtime registry status says which, a quarter of their life before.\n")
