"""UUIDv7 (RFC 9562 5.7), from time and randomness that the caller passes in."""

from __future__ import annotations

RANDOM_BYTES = 10


def uuid7(unix_ms: int, random: bytes) -> str:
    """Return a UUIDv7 in text form: sortable by time, unique by 74 random bits.

    Args:
        unix_ms: milliseconds since 1970 UTC, 0 <= unix_ms < 2**48.
        random: ``RANDOM_BYTES`` random bytes.

    Raises:
        ValueError: an argument is out of range.
    """
    if len(random) != RANDOM_BYTES or not 0 <= unix_ms < 1 << 48:
        msg = f"uuid7 needs 10 random bytes and 48 bits of milliseconds, got {len(random)} bytes and {unix_ms}"
        raise ValueError(msg)
    raw = bytearray(unix_ms.to_bytes(6, "big") + random)
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
