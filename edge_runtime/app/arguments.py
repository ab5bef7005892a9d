"""Reads the arguments of a command once more, with the bounds of this box: pure.

Whoever makes a ``Command`` (MQTT, Sparkplug, the PLC hand-shake) has checked names and types; what stands here holds
whoever made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from edge_runtime.core.command import Command

TEXT_MAX: Final = 256
WIDTHS: Final = (16, 16_384)  # pixels of a snapshot
TIMEOUT_MS: Final = (1, 60_000)  # like deadline_ms in the configuration


def text(command: Command, name: str, *, required: bool = False) -> str | None:
    """Return a text of 1 to ``TEXT_MAX`` characters; a whole number counts as one, for PLCs write ids so.

    Raises:
        DataError: it is none, or it is required and missing.
    """
    value = command.arguments.get(name)
    if value is None and not required:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not 0 < len(str(value)) <= TEXT_MAX:
        raise _wrong(command, name, f"a text of 1 to {TEXT_MAX} characters")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:  # JSON can name half a surrogate pair; no result that carries it can be sent
        raise _wrong(command, name, "Unicode text") from error
    return str(value)


def whole(command: Command, name: str, low: int, high: int) -> int | None:
    """Return a whole number from ``low`` to ``high``, ``None`` when there is none.

    Raises:
        DataError: it is something else.
    """
    value = command.arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(command, name, f"a whole number from {low} to {high}")
    return value


def flag(command: Command, name: str) -> bool:
    """Return true or false; left out it is false.

    Raises:
        DataError: it is neither.
    """
    value = command.arguments.get(name)
    if not isinstance(value, bool | None):
        raise _wrong(command, name, "true or false")
    return bool(value)


def _wrong(command: Command, name: str, expected: str) -> DataError:
    return DataError("command.field", f"{command.verb}: {name} must be {expected}")
