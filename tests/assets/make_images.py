"""Makes ``tests/assets/images``: one small picture for each way of being right or wrong. Run it from anywhere."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent / "images"
WIDTH, HEIGHT = 48, 32
BLUE, GREEN, RED = 30, 120, 210  # of the plain pictures


def plain(*, dtype: type = np.uint8, scale: int = 1) -> np.ndarray:
    """One colour, (32, 48, 3)."""
    image = np.empty((HEIGHT, WIDTH, 3), dtype)
    image[:] = (BLUE * scale, GREEN * scale, RED * scale)
    return image


def split() -> np.ndarray:
    """Left half white, right half black, (32, 48, 3) uint8: shows a rotation."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2] = 255
    return image


def noise() -> np.ndarray:
    """Noise, (32, 48, 3) uint8: makes long files."""
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def encode(suffix: str, image: np.ndarray, *options: int) -> bytes:
    """Encode with OpenCV."""
    return bytes(cv2.imencode(suffix, image, options)[1])


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment with this orientation (TIFF tag 274)."""
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, orientation, 0) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_zeros(width: int, height: int) -> bytes:
    """A black 1-bit PNG of any size; 30000 x 30000 pixels take 110 kB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def cmyk_jpeg(cyan: int, magenta: int, yellow: int, black: int) -> bytes:
    """A baseline CMYK JPEG (Adobe, inverted) of one 8 x 8 block, one colour; no library here writes one."""
    bits = ""
    for ink in (cyan, magenta, yellow, black):
        level = (255 - ink - 128) * 8  # DC coefficient at quantisation 1
        size = abs(level).bit_length()
        amount = level if level >= 0 else level + (1 << size) - 1
        bits += f"{size:04b}" + (f"{amount:0{size}b}" if size else "") + "0"  # category, value, end of block
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    segments = [
        (0xEE, b"Adobe\0\x64\0\0\0\0\0"),  # colour transform 0: CMYK as it is
        (0xDB, b"\0" + b"\x01" * 64),
        (0xC0, struct.pack(">BHHB", 8, 8, 8, 4) + b"".join(bytes([n, 0x11, 0]) for n in (1, 2, 3, 4))),
        (0xC4, b"\0" + bytes([0, 0, 0, 12, *[0] * 12]) + bytes(range(12))),  # DC: category n is the 4-bit code n
        (0xC4, b"\x10" + bytes([1, *[0] * 15]) + b"\0"),  # AC: only "end of block", code 0
        (0xDA, b"\x04" + b"".join(bytes([n, 0]) for n in (1, 2, 3, 4)) + b"\0\x3f\0"),
    ]
    head = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in segments)
    return b"\xff\xd8" + head + scan + b"\xff\xd9"


def tiff_directory_first() -> bytes:
    """A big-endian grey TIFF, 40 x 30, whose directory comes before its data, so that a cut leaves the header whole."""
    data = bytes([200]) * 1200
    offset = 8 + 2 + 9 * 12 + 4
    tags = [(256, 40), (257, 30), (258, 8), (259, 1), (262, 1), (273, offset), (277, 1), (278, 30), (279, len(data))]
    directory = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + directory + bytes(4) + data


def good() -> dict[str, bytes]:
    """Files that can be judged."""
    with_alpha = np.dstack([plain(), np.full((HEIGHT, WIDTH), 40, np.uint8)])
    return {
        "colour.jpg": encode(".jpg", plain(), cv2.IMWRITE_JPEG_QUALITY, 95),
        "progressive.jpg": encode(".jpg", noise(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "grey.jpg": encode(".jpg", plain()[:, :, 1]),
        "cmyk.jpg": cmyk_jpeg(0, 255, 255, 0),
        "rotated.jpg": with_orientation(encode(".jpg", split()), 6),
        "trailing-bytes.jpg": encode(".jpg", plain()) + bytes(64),
        "colour.png": encode(".png", plain()),
        "grey.png": encode(".png", plain()[:, :, 1]),
        "16-bit-grey.png": encode(".png", plain(dtype=np.uint16, scale=257)[:, :, 1]),
        "16-bit-colour.png": encode(".png", plain(dtype=np.uint16, scale=257)),
        "alpha.png": encode(".png", with_alpha),
        "one-pixel.png": encode(".png", plain()[:1, :1]),
        "wide.png": png_of_zeros(20000, 2),
        "colour.bmp": encode(".bmp", plain()),
        "colour.tiff": encode(".tiff", plain()),
        "16-bit-grey.tiff": encode(".tiff", plain(dtype=np.uint16, scale=257)[:, :, 1]),
        "big-endian.tiff": tiff_directory_first(),
        "colour.webp": encode(".webp", plain(), cv2.IMWRITE_WEBP_QUALITY, 101),
        "lossy.webp": encode(".webp", plain(), cv2.IMWRITE_WEBP_QUALITY, 90),
    }


def bad() -> dict[str, bytes]:
    """Files that must be refused, each for one reason."""
    jpeg, png = encode(".jpg", noise()), encode(".png", noise())
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    return {
        "empty.jpg": b"",
        "text.jpg": b"<html><body>404 not found</body></html>",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut-header.jpg": jpeg[:20],
        "no-frame-header.jpg": b"\xff\xd8\xff\xda\0\x08\x01\x01\0\0\x3f\0\xff\xd9",
        "cut.png": png[: len(png) // 2],
        "cut-header.png": png[:18],
        "flipped-bit.png": bytes(flipped),
        "too-many-pixels.png": png_of_zeros(30000, 30000),
        "no-pixels.png": png_of_zeros(0, 0),
        "cut.bmp": encode(".bmp", noise())[:900],
        "cut.tiff": encode(".tiff", noise(), cv2.IMWRITE_TIFF_COMPRESSION, 1)[:900],
        "cut-data-first.tiff": tiff_directory_first()[:600],
        "cut.webp": encode(".webp", noise())[:700],
        "float.tiff": encode(".tiff", plain(dtype=np.float32)),
        "animation.gif": b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    }


def main(directory: Path = HERE) -> None:
    """Write all files, ``good-*`` and ``bad-*``."""
    directory.mkdir(parents=True, exist_ok=True)
    for prefix, files in (("good", good()), ("bad", bad())):
        for name, content in files.items():
            (directory / f"{prefix}-{name}").write_bytes(content)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:2]))
