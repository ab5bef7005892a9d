"""Small files of a listing: whole, with the listed digest, and never more of them than allowed."""

from __future__ import annotations

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.listing import Listing
from edge_runtime.registry.carriers.whole import fetch_from, read_blob
from edge_runtime.registry.descriptor import describe
from tests.fakes.carriers import FakeCarrier, FakeStream

RAW = b'{"signed": {}}' * 500
LISTING = Listing("sha256:" + "a" * 64, {"timestamp.json": describe(RAW, "x")})


def test_a_file_is_fetched_by_its_name() -> None:
    fetch = fetch_from(FakeCarrier(RAW), LISTING)
    assert fetch("timestamp.json", len(RAW)) == RAW
    assert fetch("2.root.json", 1000) is None


def test_one_that_is_larger_than_it_may_be_is_not_asked_for() -> None:
    carrier = FakeCarrier(RAW)
    with pytest.raises(DataError) as caught:
        fetch_from(carrier, LISTING)("timestamp.json", len(RAW) - 1)
    assert (caught.value.code, carrier.asked) == ("registry.too_large", [])


@pytest.mark.parametrize("sent", [b"", RAW[:-1], RAW[:-1] + b"X", RAW + b"X"], ids=["none", "cut", "other", "more"])
def test_other_bytes_than_listed_are_refused(sent: bytes) -> None:
    stream = FakeStream(0, [sent])
    carrier = FakeCarrier(RAW, attack=lambda *_: stream)
    with pytest.raises(DataError) as caught:
        read_blob(carrier, "tuf", describe(RAW, "x"))
    assert caught.value.code == "registry.digest_mismatch"
    assert stream.closed


def test_bytes_without_end_are_not_read_to_their_end() -> None:
    stream = FakeStream(0, (b"x" * 1000 for _ in iter(int, 1)))
    with pytest.raises(DataError):
        read_blob(FakeCarrier(RAW, attack=lambda *_: stream), "tuf", describe(RAW, "x"))
    assert stream.given == len(RAW) + 1
