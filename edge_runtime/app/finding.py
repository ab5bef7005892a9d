"""One line of what ``doctor`` and ``check --online`` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: ``mend`` is the command or step that helps, empty when nothing is wrong."""

    level: Level
    what: str
    mend: str = ""

    def __str__(self) -> str:
        """The line for people."""
        return f"{self.level:5} {self.what}" + (f"  -> {self.mend}" if self.mend else "")
