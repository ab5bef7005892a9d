"""Parts of a multipart stream, whatever way the bytes come."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.camera.mjpeg import PART_BYTES_MAX, Dechunker, PartParser
from edge_runtime.core.errors import UnavailableError

BODIES = [b"\xff\xd8first\xff\xd9", b"\xff\xd8\r\n\r\nsecond\xff\xd9", b"\xff\xd8third" * 50]


def stream(*, length: bool, newline: bytes = b"\r\n") -> bytes:
    parts = []
    for body in BODIES:
        head = [b"--frame", b"Content-Type: image/jpeg"] + ([b"content-length: %d" % len(body)] if length else [])
        parts.append(newline.join([*head, b"", b""]) + body + newline)
    return b"".join(parts) + b"--frame"


def parts(parser: PartParser) -> list[bytes]:
    found = []
    while (part := parser.next_part()) is not None:
        found.append(part)
    return found


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.booleans())
def test_parts_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int], length: bool) -> None:  # noqa: FBT001 - drawn
    data, parser, found = stream(length=length), PartParser("frame"), []
    for cut in cuts:
        parser.feed(data[:cut])
        data = data[cut:]
        found += parts(parser)
    parser.feed(data)
    assert found + parts(parser) == BODIES


def test_bare_line_feeds_and_dashes_in_the_header_are_understood() -> None:
    parser = PartParser("--frame")
    parser.feed(stream(length=True, newline=b"\n"))
    assert parts(parser) == BODIES


def test_bytes_before_the_first_boundary_are_skipped() -> None:
    parser = PartParser("frame")
    parser.feed(b"welcome\r\n" + stream(length=True))
    assert parts(parser) == BODIES


def test_a_part_that_claims_too_much_is_refused_at_once() -> None:
    parser = PartParser("frame")
    parser.feed(b"--frame\r\nContent-Length: 999999999\r\n\r\n")
    with pytest.raises(UnavailableError, match="claims 999999999 bytes"):
        parser.next_part()


def test_a_stream_without_boundaries_is_refused_and_does_not_fill_the_memory() -> None:
    parser = PartParser("frame")
    parser.feed(bytes(70_000))
    with pytest.raises(UnavailableError, match="no end within 65536 bytes"):
        parser.next_part()


def test_a_part_without_end_is_refused() -> None:
    parser = PartParser("frame")
    parser.feed(b"--frame\r\n\r\n" + bytes(PART_BYTES_MAX + 1))
    with pytest.raises(UnavailableError, match="no end within"):
        parser.next_part()


JPEG = (Path(__file__).parents[2] / "assets" / "images" / "good-colour.jpg").read_bytes()


def test_a_whole_picture_without_a_length_does_not_wait_for_the_next_boundary() -> None:
    parser = PartParser("frame")
    for end in (b"", b"\r\n", b"\r\n"):
        parser.feed(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG[:-1])
        assert parser.next_part() is None
        parser.feed(JPEG[-1:] + end)
        assert parser.next_part() == JPEG
    parser.feed(b"--frame--\r\n")
    assert parser.next_part() is None


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(1, 9)))
def test_chunks_are_joined_however_the_bytes_are_cut(chunks: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"%X;name=value\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    dechunker, content = Dechunker(), b""
    for cut in cuts:
        content += dechunker.feed(data[:cut])
        data = data[cut:]
    assert content + dechunker.feed(data) == b"".join(chunks)


@pytest.mark.parametrize("data", [b"--frame\r\n", bytes(5000)])
def test_what_is_not_chunked_is_refused(data: bytes) -> None:
    with pytest.raises(UnavailableError, match="a chunk has no size"):
        Dechunker().feed(data)
