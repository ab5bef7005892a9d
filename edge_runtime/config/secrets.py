"""Looks up ``!secret NAME`` and ``password_file``; the only place that reads secrets from disk."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.config.yaml12 import LIMIT_BYTES, parse
from edge_runtime.system.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN_SECRETS: Final = Path("/run/secrets")  # where container engines put them
LIMIT_SECRET_BYTES: Final = 64 * 1024

_LOOK: Final = "check its path and its owner"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


class SecretError(Exception):
    """A secret could not be had; ``message`` and ``help`` never hold one."""

    def __init__(self, message: str, way_out: str) -> None:
        """Keep both parts."""
        super().__init__(message)
        self.message = message
        self.help = way_out


class SecretStore:
    """Secrets by name: ``$CREDENTIALS_DIRECTORY`` (systemd), then ``/run/secrets``, then ``secrets.yaml``."""

    def __init__(self, environ: Mapping[str, str], directory: Path, *, run_secrets: Path = RUN_SECRETS) -> None:
        """Look beside the configuration in ``directory`` last; nothing is read before it is asked for."""
        credentials = environ.get("CREDENTIALS_DIRECTORY")
        self._directories = ([Path(credentials)] if credentials else []) + [run_secrets]
        self._file = directory / "secrets.yaml"
        self._from_file: Mapping[str, str] | None = None

    def get(self, name: str) -> str:
        """Return the secret ``name``, without the newline at its end.

        Raises:
            SecretError: there is none, or it cannot be read or trusted.
        """
        if not _NAME.fullmatch(name):
            raise SecretError(
                "a secret's name is made of letters, digits, dots, - and _", "write  !secret mqtt-password"
            )
        for directory in self._directories:
            path = directory / name
            try:
                mode = path.stat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise SecretError(f"cannot read {path}: {error.strerror}", _LOOK) from error
            if not stat.S_ISDIR(mode):
                return read_secret(path)
        if self._from_file is None:
            self._from_file = _read_secrets_file(self._file)
        if name not in self._from_file:
            places = ", ".join(str(place) for place in (*self._directories, self._file))
            raise SecretError(f'there is no secret "{name}"', f"looked in {places}")
        return self._from_file[name]


def read_secret(path: Path) -> str:
    """Return the text of a file that holds one secret, without the newline at its end.

    Raises:
        SecretError: it cannot be read, is empty, too large, or not text.
    """
    raw = _read(path, LIMIT_SECRET_BYTES)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise SecretError(f"{path} is not UTF-8 text", "it must hold the secret and nothing else") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\0" in text:
        raise SecretError(f"{path} holds no secret", "it must hold the secret and nothing else")
    return text


def _read(path: Path, limit: int) -> bytes:
    try:
        with open_regular(path) as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "no such path"
        raise SecretError(f"cannot read {path}: {reason}", _LOOK) from error
    if len(raw) > limit:
        raise SecretError(f"{path} is larger than {limit // 1024} KiB", "it must hold secrets and nothing else")
    return raw


def _read_secrets_file(path: Path) -> Mapping[str, str]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SecretError(f"cannot read {path}: {error.strerror}", _LOOK) from error
    if not stat.S_ISREG(status.st_mode):
        raise SecretError(f"cannot read {path}: not a file", 'it is a file with a map of "name: secret"')
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise SecretError(f"{path} can be read by other users (mode {mode:04o})", f"chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise SecretError(f"{path} belongs to another user (uid {status.st_uid})", f"chown it to uid {os.geteuid()}")
    try:
        text = _read(path, LIMIT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SecretError(f"{path} is not UTF-8 text", "save it as UTF-8") from error
    document = parse(text, str(path))
    if document.problems or document.root is None or not isinstance(document.root.value, dict):
        first = document.problems[0]
        raise SecretError(f"{path}: {first.message} ({first.origin})", 'it is a map of "name: secret"')
    secrets: dict[str, str] = {}
    for name, entry in document.root.value.items():
        value = entry.node.raw if entry.node.raw is not None else entry.node.value
        if not isinstance(value, str) or not value or entry.node.secret:
            raise SecretError(f'{path}: "{name}" is not text ({entry.key})', 'it is a map of "name: secret"')
        secrets[name] = value
    return secrets
