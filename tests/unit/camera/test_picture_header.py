"""Sizes and ends of picture files, read without a decoder."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.camera.picture_header import PictureHeader, check_complete, is_whole_jpeg, read_header
from edge_runtime.core.errors import DataError

IMAGES = Path(__file__).parents[2] / "assets" / "images"
GOOD = sorted(path.name for path in IMAGES.glob("good-*"))
ODD_SIZES = {
    "good-cmyk.jpg": (8, 8),
    "good-one-pixel.png": (1, 1),
    "good-wide.png": (20000, 2),
    "good-big-endian.tiff": (40, 30),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_header_tells_the_size_of_every_accepted_format(name: str) -> None:
    data = (IMAGES / name).read_bytes()
    header = read_header(data)
    assert (header.width, header.height) == ODD_SIZES.get(name, (48, 32))
    check_complete(data, header)


@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_ends_in_its_header_is_refused_without_a_crash(name: str) -> None:
    data = (IMAGES / name).read_bytes()
    for length in range(min(len(data) - 1, 37)):
        with pytest.raises(DataError, match=r"cut off|empty|not a picture"):
            check_complete(data[:length], read_header(data[:length]))


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0+"])
)
def test_no_bytes_can_cause_anything_but_a_refusal(tail: bytes, head: bytes) -> None:
    data = head + tail
    with contextlib.suppress(DataError):
        check_complete(data, read_header(data))


def test_a_picture_bomb_is_measured_in_no_time() -> None:
    data = (IMAGES / "bad-too-many-pixels.png").read_bytes()
    started = time.perf_counter()
    assert read_header(data) == PictureHeader("png", 30000, 30000)
    assert time.perf_counter() - started < 0.1


def test_an_end_marker_inside_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    jpeg = (IMAGES / "good-colour.jpg").read_bytes()
    thumbnail = b"Exif\0\0" + jpeg
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_thumbnail = jpeg[:2] + segment + jpeg[2:]
    check_complete(with_thumbnail, read_header(with_thumbnail))
    cut = with_thumbnail[:-2]
    with pytest.raises(DataError, match="end-of-image"):
        check_complete(cut, read_header(cut))


def test_a_tiff_with_an_absurd_directory_is_refused() -> None:
    with pytest.raises(DataError, match="claims 65535 entries"):
        read_header(b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(100))


def test_big_tiff_sizes_are_read() -> None:
    entries = [(256, 48), (257, 32)]
    body = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in entries)
    header = read_header(b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + body)
    assert (header.width, header.height) == (48, 32)


def test_an_old_bitmap_header_is_read() -> None:
    core = b"BM" + bytes(8) + struct.pack("<IIHHHH", 26, 12, 48, 32, 1, 24)
    header = read_header(core + bytes(48 * 3 * 32))
    assert (header.width, header.height) == (48, 32)


def test_extended_webp_sizes_are_read() -> None:
    data = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0)
    data += (47).to_bytes(3, "little") + (31).to_bytes(3, "little")
    assert read_header(data) == PictureHeader("webp", 48, 32)


def test_a_jpeg_of_very_many_scans_is_refused_before_a_decoder_goes_through_it_as_often() -> None:
    jpeg = (IMAGES / "good-progressive.jpg").read_bytes()
    last = jpeg.rindex(b"\xff\xda")
    check_complete(jpeg[:-2] + jpeg[last:-2] * 20 + jpeg[-2:], PictureHeader("jpeg", 48, 32))
    with pytest.raises(DataError, match="more than 32 scans"):
        check_complete(jpeg[:-2] + jpeg[last:-2] * 1000 + jpeg[-2:], PictureHeader("jpeg", 48, 32))


def test_half_a_jpeg_with_another_behind_it_is_no_picture() -> None:
    jpeg = (IMAGES / "good-colour.jpg").read_bytes()
    with pytest.raises(DataError, match="another picture starts inside it"):
        check_complete(jpeg[:-20] + jpeg, PictureHeader("jpeg", 48, 32))


def test_a_jpeg_is_whole_with_its_last_byte() -> None:
    jpeg = (IMAGES / "good-colour.jpg").read_bytes()
    assert [is_whole_jpeg(jpeg[:length]) for length in range(len(jpeg) + 1)] == [False] * len(jpeg) + [True]
    assert is_whole_jpeg(jpeg + b"\r\n")
    assert not is_whole_jpeg(b"\x89PNG" + jpeg)
    assert is_whole_jpeg(jpeg[:2] + b"\xff\x01" + jpeg[2:])  # a marker that stands alone
    assert not is_whole_jpeg(jpeg[:2] + b"\xff\x01damage" + jpeg[2:])
