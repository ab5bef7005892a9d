"""A machine-readable stamp in the top row of a test picture: frame number and time, which prove age and gaps.

72 squares, white = 1, most significant bit first: 32 bit frame number, 32 bit UTC milliseconds (modulo 2**32), 8 bit
check: the sum of the eight bytes, exclusive-or 0xA5 so that plain black and plain white are no stamps. Squares of 4
pixels or more survive H.264 and JPEG. Needs no numpy of its own: test cameras that run in a bare interpreter import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Image = npt.NDArray[np.uint8]
else:
    Image = Any

BITS: Final = 72
BLOCK_PX: Final = 8
BLOCK_MIN_PX: Final = 4
_MASK: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a picture says of itself; ``unix_ms`` is modulo 2**32."""

    number: int
    unix_ms: int

    def age_ms(self, now_unix_ms: int) -> int:
        """Return how old the picture is at ``now_unix_ms``, right for ages below 24 days."""
        age = (now_unix_ms - self.unix_ms) & _MASK
        return age if age < 1 << 31 else age - (1 << 32)


def stamp_bits(number: int, unix_ms: int) -> list[int]:
    """Return the 72 bits of a stamp; both numbers are taken modulo 2**32."""
    raw = (number & _MASK).to_bytes(4, "big") + (unix_ms & _MASK).to_bytes(4, "big")
    raw += bytes([_check(raw)])
    return [(byte >> (7 - bit)) & 1 for byte in raw for bit in range(8)]


def block_px(width: int, height: int) -> int | None:
    """Return the side of the squares for a picture of this size, ``None`` when a stamp does not fit."""
    block = min(BLOCK_PX, width // BITS, height)
    return block if block >= BLOCK_MIN_PX else None


def read_stamp(image: Image) -> Stamp | None:
    """Return the stamp of a picture, (h, w) or (h, w, 3) uint8; ``None`` when there is none or it is damaged."""
    block = block_px(image.shape[1], image.shape[0])
    if block is None:
        return None
    edge = block // 4
    row = image[edge : block - edge, : BITS * block]
    if row.ndim == 3:  # noqa: PLR2004 - rows, columns, channels
        row = row.mean(axis=2)
    raw = bytearray()
    for first in range(0, BITS, 8):
        byte = 0
        for bit in range(first, first + 8):
            square = row[:, bit * block + edge : (bit + 1) * block - edge]
            byte = byte << 1 | int(square.mean() > 127)  # noqa: PLR2004 - half way from black to white
        raw.append(byte)
    if _check(raw[:8]) != raw[8]:
        return None
    return Stamp(int.from_bytes(raw[:4], "big"), int.from_bytes(raw[4:8], "big"))


def _check(raw: bytes | bytearray) -> int:
    return sum(raw) & 0xFF ^ 0xA5
