"""UUIDv7 as RFC 9562 writes it."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.ids import RANDOM_BYTES, uuid7

MILLISECONDS = st.integers(0, (1 << 48) - 1)


def test_the_example_of_the_rfc() -> None:
    """RFC 9562 A.6: unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F."""
    assert uuid7(0x017F22E279B0, bytes.fromhex("0CC318C4DC0C0C07398F")) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(unix_ms=MILLISECONDS, random=st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_every_id_has_version_7_and_the_rfc_variant_and_holds_its_time(unix_ms: int, random: bytes) -> None:
    text = uuid7(unix_ms, random)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == unix_ms


@given(times=st.tuples(MILLISECONDS, MILLISECONDS), random=st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_ids_sort_by_time(times: tuple[int, int], random: bytes) -> None:
    first, second = (uuid7(t, random) for t in times)
    assert (first < second) == (times[0] < times[1])


def test_all_random_bits_are_used() -> None:
    ids = {uuid7(0, (1 << bit).to_bytes(RANDOM_BYTES, "big")) for bit in range(8 * RANDOM_BYTES)}
    assert len(ids) == 74 + 1  # each of the 74 random bits of the layout, and the id in which the other 6 get lost


@pytest.mark.parametrize(("unix_ms", "random"), [(-1, b"0" * 10), (1 << 48, b"0" * 10), (0, b"0" * 9), (0, b"0" * 11)])
def test_what_does_not_fit_is_refused(unix_ms: int, random: bytes) -> None:
    with pytest.raises(ValueError, match="10 random bytes and 48 bits"):
        uuid7(unix_ms, random)
