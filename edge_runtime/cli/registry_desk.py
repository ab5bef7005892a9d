"""What all actions of ``edge-runtime registry`` share: the desk, questions at the terminal, how an outcome is told."""

from __future__ import annotations

import getpass
import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import say
from edge_runtime.core.errors import ConfigError, DataError, EdgeError
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.open import open_publication
from edge_runtime.registry.publisher.desk import Desk
from edge_runtime.registry.publisher.home import Home
from edge_runtime.registry.publisher.keys import Keyring
from edge_runtime.system.files import read_limited
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from edge_runtime.registry.carriers.carrier import Publication
    from edge_runtime.registry.publisher.desk import Outcome, Preview
    from edge_runtime.registry.publisher.home import Settings

LAYOUT = "oci-layout:"
USUAL_HOME = Path("registry")
_SECRET_BYTES_MAX = 4096
_FIRST_LINE = "write the secret into the first line, and nothing else"


def open_desk(args: argparse.Namespace) -> tuple[Desk, Settings]:
    """Return the desk of the home that the arguments name; its connections are closed when the action ends.

    Raises:
        ConfigError: it is no publisher's directory.
        EdgeError: a key or the registry cannot be used.
    """
    home = Home(args.home)
    settings = home.settings()
    keyring = Keyring(home.keys, secrets_of(args), getattr(args, "key", ()))
    registry = open_registry(settings)
    args.closing.callback(registry.close)
    desk = Desk(home, registry, keyring, now=utc_now, confirm=confirmer(args), tree=tree_of(settings))
    return desk, settings


def open_registry(settings: Settings) -> Publication:
    """Return the registry of the settings; nothing is connected yet.

    Raises:
        ConfigError: the address or a file of credentials is wrong.
    """
    configure(style="text", level="warning", journal=False)
    logging.getLogger("edge_runtime.registry.carriers").setLevel(logging.INFO)  # who is waited for, and since when
    given = settings.access
    hosts = given.get("realm_hosts")
    access = Access(
        username=_text(given, "username"),
        password=None if (password := _path(given, "password_file")) is None else read_secret(password),
        proxy=_text(given, "proxy"),
        realm_hosts=tuple(map(str, hosts)) if isinstance(hosts, list | tuple) else (),
        allow_http=given.get("allow_http") is True,
        ca_file=_path(given, "ca_file"),
        cert_file=_path(given, "cert_file"),
        key_file=_path(given, "key_file"),
    )
    return open_publication(settings.url, access)


def tree_of(settings: Settings) -> Path | None:
    """Return where the plain TUF tree lies: in the directory of a layout."""
    return Path(settings.url.removeprefix(LAYOUT)) if settings.url.startswith(LAYOUT) else None


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def read_secret(path: Path) -> str:
    """Return the first line of a file.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    try:
        secret = read_limited(path, _SECRET_BYTES_MAX).decode().partition("\n")[0].rstrip("\r")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        message = f"{path} is no file with a secret in its first line"
        raise ConfigError("publisher.secret", message, help=_FIRST_LINE) from error
    if not secret:
        raise ConfigError("publisher.secret", f"the first line of {path} is empty", help=_FIRST_LINE)
    return secret


def secrets_of(args: argparse.Namespace) -> Callable[[str], str]:
    """Return what asks for passphrases and PINs: the file of the arguments, or the terminal, once for each secret."""
    known: dict[str, str] = vars(args).setdefault("secrets", {})  # a desk that is opened again asks for nothing again

    def ask(what: str) -> str:
        path: Path | None = getattr(args, "passphrase_file", None)
        if path is not None:
            return read_secret(path)
        if not sys.stdin.isatty():
            raise DataError(
                "key.passphrase", f"{what} is needed, and there is no terminal", help="--passphrase-file FILE"
            )
        if what not in known:
            known[what] = getpass.getpass(f"{what}: ", sys.stderr)
        return known[what]

    return ask


def new_passphrase(of: str) -> str | None:
    """Ask at the terminal, twice, for the passphrase of what is about to be made; ``None`` = without one."""
    while True:
        first = getpass.getpass(f"passphrase of {of} (empty: none): ", sys.stderr)
        if first == getpass.getpass("again: ", sys.stderr):
            return first or None
        say("these were two different ones\n")


def site_of(args: argparse.Namespace, desk: Desk) -> str:
    """Return the site that the arguments name, or the only one there is.

    Raises:
        ConfigError: there is not one.
        EdgeError: the registry cannot be read.
    """
    if args.site is not None:
        return str(args.site)
    sites = sorted(desk.read()[0].rollouts)
    if len(sites) != 1:
        message = f"this registry has {len(sites)} sites: {', '.join(sites)}"
        raise ConfigError("registry.site", message, help="--site says for which")
    return sites[0]


def confirmer(args: argparse.Namespace) -> Callable[[Preview], None]:
    """Return what shows a change and asks; with ``--yes`` it only shows."""

    def confirm(preview: Preview) -> None:
        say("".join(f"{line}\n" for line in _preview(preview)))
        agree(args, "Go on?")

    return confirm


def agree(args: argparse.Namespace, question: str) -> None:
    """Ask, unless ``--yes`` was given.

    Raises:
        DataError: there is nobody to ask.
        EdgeError: the answer was no.
    """
    if getattr(args, "yes", False):
        return
    if not sys.stdin.isatty():
        message = "nothing was signed: there is no terminal to ask at"
        raise DataError("publisher.unconfirmed", message, help="--yes signs without asking")
    say(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise EdgeError("publisher.declined", "nothing was signed, nothing was published")


def _preview(preview: Preview) -> Iterator[str]:
    signs = bool(preview.signers or preview.lacking)
    yield "This will be signed:" if signs else "This will be published, as it was signed before:"
    yield from (f"  {line}" for line in preview.changes or ("nothing new, only that it is still true",))
    if signs:
        yield "by:"
    yield from (f"  {role}: {', '.join(names)}" for role, names in preview.signers.items())
    for role, count in preview.lacking.items():
        yield f"  {role}: {count} more needed from somebody else, so a file to hand on is written"


def verb(args: argparse.Namespace, words: str) -> str:
    """Return an action of ``registry`` as it has to be typed here, with the directory that is not the usual one."""
    home: Path = args.home
    return f"edge-runtime registry {words}" + ("" if home == USUAL_HOME else f" --home {home}")


def tell(outcome: Outcome, args: argparse.Namespace, *next_steps: str) -> int:
    """Print what became of a change, and return the exit code 0."""
    if args.json:
        print(json.dumps(as_fields(outcome)))
        return os.EX_OK
    if outcome.pending is not None:
        lacking = ", ".join(f"{count} for {role}" for role, count in outcome.lacking.items())
        print(f"not published yet: signatures are missing ({lacking})\nhand on {outcome.pending}, then:")
        print(f"  edge-runtime registry sign {outcome.pending.name} --key THEIR-KEY.pem --home DIR")
        print("    (there, in a DIR that has a copy of root.json and needs nothing else)")
        print(f"  {verb(args, f'publish {outcome.pending}')}")
    elif not outcome.versions:
        print("nothing to do: it is so already")
    else:
        print("published: " + ", ".join(f"{role} {version}" for role, version in outcome.versions.items()))
        for step in next_steps:
            print(step)
    return os.EX_OK


def as_fields(outcome: Outcome) -> dict[str, object]:
    """Return an outcome as JSON fields."""
    return {
        "published": bool(outcome.versions),
        "changes": list(outcome.changes),
        "versions": dict(outcome.versions),
        "pending": None if outcome.pending is None else str(outcome.pending),
        "lacking": dict(outcome.lacking),
    }


def _text(given: Mapping[str, object], key: str) -> str | None:
    value = given.get(key)
    return value if isinstance(value, str) else None


def _path(given: Mapping[str, object], key: str) -> Path | None:
    text = _text(given, key)
    return None if text is None else Path(text)
