"""What exporters write as text, read back as values; what is something else is ``None``."""

from __future__ import annotations

import ast
from dataclasses import fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.core.description import Description

_LITERAL_LIMIT: Final = 1 << 20


class UnusableMetadataError(Exception):
    """A model says about itself what cannot be followed; the text goes on after the name of the source."""

    def __init__(self, text: str, help_: str) -> None:
        """``help_`` says what to do."""
        super().__init__(text)
        self.help = help_


def literal(text: str | None) -> object:
    """Return the Python literal in ``text``."""
    try:
        return ast.literal_eval(text) if text is not None and len(text) < _LITERAL_LIMIT else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def floats(text: str | None) -> tuple[float, ...] | None:
    """Return the numbers in ``text``, at least one, separated by blanks or commas, in brackets or not."""
    try:
        numbers = tuple(
            float(one) for one in (text or "").replace(",", " ").replace("[", " ").replace("]", " ").split()
        )
    except ValueError:
        return None
    return numbers or None


def first(text: str | None) -> float | None:
    """Return the first number in ``text``."""
    numbers = floats(text)
    return numbers[0] if numbers else None


def dotted(description: Description) -> dict[str, object]:
    """Return what ``description`` states by dotted name: `task`, `input.color` ...; ``None`` = not stated."""
    values: dict[str, object] = {
        "task": description.task,
        "decoder": description.decoder,
        "labels": description.labels,
    }
    for section in ("input", "output", "thresholds"):
        part = getattr(description, section)
        values |= {f"{section}.{one.name}": getattr(part, one.name) for one in fields(part)}
    return values | {"thresholds.by_label": description.thresholds.by_label or None}
