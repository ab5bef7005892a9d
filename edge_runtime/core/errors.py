"""Every error we raise on purpose, one tree.

The tree splits by whose fault it is, because that is what a caller does differently:

    EdgeError
    |-- ConfigError     the operator's configuration      exit 78
    |-- DataError       a model, image or package         exit 65
    |-- UnavailableError  a camera, broker or device      exit 69, usually retryable
    |-- BusyError       a resource someone else holds     exit 75, retryable
    |-- PermissionDeniedError  the operating system says no  exit 77
    |-- StorageError    our disk                          exit 1
    `-- InvariantError  a bug of ours                     exit 1

Exit codes are those of BSD sysexits.h (os.EX_*), as contracts.md lists them.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

_INVISIBLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class EdgeError(Exception):
    """Base of all errors of this package.

    Attributes:
        code: stable identifier that programs may match, for example ``model.unreadable``.
        message: what happened, where, expected against found; never holds a secret, nor what a terminal obeys:
            some words in it are chosen by strangers, and it is shown in terminals, logs and pages.
        help: what the reader can do about it, or ``None``.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, code: str, message: str, *, help: str | None = None) -> None:  # noqa: A002 - the field's word
        """Keep the parts apart; ``str()`` joins them for people."""
        message = _INVISIBLE.sub(lambda found: ascii(found[0])[1:-1], message)
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.help = help

    def __str__(self) -> str:
        """Message and, after a semicolon, the way out."""
        return self.message if self.help is None else f"{self.message}; {self.help}"

    def report(self) -> str:
        """The form for a terminal: what, and below it the way out; ends with a newline."""
        return f"error: {self.message}\n" + (f"   = help: {self.help}\n" if self.help else "")


class ConfigError(EdgeError):
    """The configuration is wrong; nothing was started or changed."""

    exit_code = 78


class DataError(EdgeError):
    """A model, package or image is not usable as it is; retrying will not help."""

    exit_code = 65


class UnavailableError(EdgeError):
    """Something outside this process does not answer now."""

    exit_code = 69
    retryable = True


class BusyError(EdgeError):
    """Another process holds what we need, for example a second daemon the state directory."""

    exit_code = 75
    retryable = True


class PermissionDeniedError(EdgeError):
    """The operating system refuses; the message names the path and the right that is missing."""

    exit_code = 77


class StorageError(EdgeError):
    """Our own durable state could not be written or read."""


class InvariantError(EdgeError):
    """A state that our own code promised cannot happen: crash and restart rather than go on."""
