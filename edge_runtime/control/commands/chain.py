"""The form of the audit trail, and its proof: lines of JSON, each with the SHA-256 of the line before it. Pure.

``prev`` of a line is the SHA-256 (hex) of the bytes of the line before, without its line feed; of the very first line
it is 64 zeros. A line that a power cut tore stays as it is, and the line after it (kind ``audit.torn``) names its
length and hash and goes on from the last whole one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.publish.payload import dumps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

START = "0" * 64
TORN = "audit.torn"
BROKEN = "audit.broken"


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: number and hash of its last line (seq 0: it has none)."""

    seq: int = 0
    hash: str = START


@dataclass(frozen=True, slots=True)
class Proof:
    """What a look at a trail found.

    Attributes:
        first: number of its first record; above 1 when older files were rotated away.
        head: its last good record.
        records: how many are good.
        torn: half lines that are declared, as a power cut leaves them.
        tail: bytes of a half line at the end that no record declares yet.
        broken: what is wrong with the first line that does not fit, ``None`` when all do.
        begins_anew: its first record says that the trail before it was broken and moved aside.
    """

    first: int
    head: Head
    records: int
    torn: int
    tail: bytes
    broken: str | None
    begins_anew: bool = False


def line_hash(line: bytes) -> str:
    """Return the hash that the next line carries."""
    return hashlib.sha256(line).hexdigest()


def encode(head: Head, fields: Mapping[str, object]) -> tuple[bytes, Head]:
    """Return the line (without line feed) that follows ``head``, and the head after it.

    A field of the name ``seq`` or ``prev`` is left out: whatever a record tells, it does not break the chain.
    """
    number = head.seq + 1
    line = dumps({"seq": number, **fields} | {"seq": number, "prev": head.hash})
    return line, Head(number, line_hash(line))


def torn_fields(tail: bytes) -> dict[str, object]:
    """Return the fields by which a record declares the half line before it."""
    return {"bytes": len(tail), "sha256": line_hash(tail)}


def parse(line: bytes) -> dict[str, object] | None:
    """Return the record of a line, ``None`` when it is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and isinstance(document.get("seq"), int) else None


def verify(data: Iterable[bytes], *, start: Head | None = None) -> Proof:
    """Follow a chain through the contents of its files, oldest first.

    With ``start`` the first record must follow it; otherwise any number may come first, because older files are
    rotated away, but number 1 must carry the zeros.
    """
    head, first, records, torn = start, 0, 0, 0
    tail, begins_anew = b"", False
    for content in data:
        *lines, tail = (tail + content).split(b"\n")
        waiting: bytes | None = None
        for line in lines:
            record = parse(line)
            if record is None:
                if waiting is not None:
                    return _broken(head, first, records, torn, "two lines in a row are no records")
                waiting = line
                continue
            why = _misfit(record, head, waiting)
            if why is not None:
                return _broken(head, first, records, torn, why)
            torn += waiting is not None
            waiting = None
            head = Head(int(str(record["seq"])), line_hash(line))
            begins_anew = record.get("kind") == BROKEN if not records else begins_anew
            first, records = first or head.seq, records + 1
        if waiting is not None:
            return _broken(head, first, records, torn, "a line is no record and nothing after it declares it")
    return Proof(first, head or Head(), records, torn, tail, None, begins_anew)


def _misfit(record: Mapping[str, object], head: Head | None, torn: bytes | None) -> str | None:
    """Say why ``record`` cannot follow ``head`` with the half line ``torn`` between them."""
    seq, prev = record["seq"], record.get("prev")
    if head is not None and seq != head.seq + 1:
        return f"record {head.seq + 1} is missing: the next one has number {seq}"
    if (head is not None and prev != head.hash) or (head is None and seq == 1 and prev != START):
        return f"record {seq} does not carry the hash of the one before it: one of the two was changed"
    declared = {key: record.get(key) for key in ("bytes", "sha256")} if record.get("kind") == TORN else None
    if torn is not None and declared != torn_fields(torn):
        return f"before record {seq} stands a line that is no record and that it does not declare"
    if declared is not None and torn is None:
        return f"record {seq} declares a half line that is not there"
    return None


def _broken(head: Head | None, first: int, records: int, torn: int, why: str) -> Proof:
    return Proof(first, head or Head(), records, torn, b"", why)
