"""Small blobs, read whole or not at all."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import EdgeError
from edge_runtime.registry.carriers import whole
from edge_runtime.registry.carriers.listing import Listing
from edge_runtime.registry.carriers.whole import check_blob, fetch_from, read_blob
from edge_runtime.registry.descriptor import describe
from tests.fakes.carriers import FakeCarrier, FakeStream, honest

if TYPE_CHECKING:
    from collections.abc import Callable

RAW = bytes(range(200))
BLOB = describe(RAW, "x/y")
NOTHING = describe(b"", "x/y")


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(EdgeError) as caught:
        work()
    return caught.value.code


def test_what_was_named_is_read_and_the_stream_closed() -> None:
    carrier = FakeCarrier(RAW, b"", piece=7)
    assert read_blob(carrier, "weld", BLOB) == RAW
    assert read_blob(carrier, "weld", NOTHING) == b""
    check_blob(carrier, "weld", BLOB)
    check_blob(carrier, "weld", NOTHING)
    assert [stream.closed for stream in carrier.streams if isinstance(stream, FakeStream)] == [True, True]


@pytest.mark.parametrize("bad", [RAW[:-1], RAW + b"x", RAW[:-1] + b"x"], ids=["short", "long", "other"])
def test_other_bytes_are_not_handed_out(bad: bytes) -> None:
    carrier = FakeCarrier(RAW, attack=lambda _, start: honest(bad, start))
    assert refusal(lambda: read_blob(carrier, "weld", BLOB)) == "registry.digest_mismatch"
    assert refusal(lambda: check_blob(carrier, "weld", BLOB)) == "registry.digest"


def test_attack_30_metadata_that_come_one_byte_now_and_then_keep_nobody_from_the_next_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = itertools.count(step=14)  # below any limit between two pieces
    monkeypatch.setattr(whole.time, "monotonic", lambda: next(seconds))
    carrier = FakeCarrier(RAW, piece=1)
    assert refusal(lambda: read_blob(carrier, "tuf", BLOB)) == "registry.timeout"
    assert carrier.given < 10


def test_only_what_is_listed_and_small_enough_is_fetched() -> None:
    fetch = fetch_from(FakeCarrier(RAW), Listing("token", {"timestamp.json": BLOB}))
    assert fetch("timestamp.json", len(RAW)) == RAW
    assert fetch("2.root.json", len(RAW)) is None
    assert refusal(lambda: fetch("timestamp.json", len(RAW) - 1)) == "registry.too_large"


def test_bytes_without_end_are_not_read_to_their_end() -> None:
    stream = FakeStream(0, (b"x" * 1000 for _ in iter(int, 1)))
    carrier = FakeCarrier(RAW, attack=lambda *_: stream)
    assert refusal(lambda: read_blob(carrier, "tuf", BLOB)) == "registry.digest_mismatch"
    assert (stream.given, stream.closed) == (len(RAW) + 1, True)
