"""What a box remembers of its last look, so that the next one is short when nothing changed.

A cache: losing it costs a few requests. So it is not written durably, and what cannot be read counts as nothing.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import EdgeError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.registry.box.report import LIMIT_BYTES, Report, report_of
from edge_runtime.system.files import read_limited, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

NAME: Final = "last-look.json"
SCHEMA: Final = "edge-look/1"


@dataclass(frozen=True, slots=True)
class Look:
    """The last look that was carried through.

    Attributes:
        token: of the listing that was believed; ``None`` when none was.
        order: fingerprint of what was asked.
        at: wall clock then.
        until: when the first thing that was believed expires.
        report: what became of it.
    """

    token: str | None
    order: str
    at: datetime
    until: datetime
    report: Report


def recall(root: Path) -> Look | None:
    """Return the last look, ``None`` when nothing is remembered."""
    path = root / NAME
    try:
        fields = load_object(read_limited(path, LIMIT_BYTES), str(path), limit_bytes=LIMIT_BYTES)
        top = Section(fields, "", [], [])
        at, until = (datetime.fromisoformat(top.text(name) or "") for name in ("at", "until"))
        report = report_of(top.section("report").data, str(path))
        known = top.text("schema") == SCHEMA and at.tzinfo is not None and until.tzinfo is not None
    except FileNotFoundError:
        return None
    except (EdgeError, ValueError) as error:
        logger.warning("what was remembered of the registry cannot be read: %s", error)
        return None
    return Look(top.text("token"), top.text("order") or "", at, until, report) if known else None


def remember(root: Path, look: Look) -> None:
    """Keep ``look`` for the next one; a disk that takes nothing costs only that."""
    document = {
        "schema": SCHEMA,
        "token": look.token,
        "order": look.order,
        "at": look.at.isoformat(),
        "until": look.until.isoformat(),
        "report": look.report.as_fields(),
    }
    try:
        write_atomic(root / NAME, json.dumps(document).encode(), durable=False)
    except EdgeError as error:
        logger.warning("the look at the registry is not remembered: %s", error)
