from __future__ import annotations

import contextlib
import gc
import os
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_runtime.core.errors import DataError, InvariantError
from edge_runtime.core.frame import SlotRef
from edge_runtime.system.ring import SLOTS_DEFAULT, SLOTS_MAX, Ring, StaleSlot, WriteSlot

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20


@pytest.fixture
def ring() -> Iterator[Ring]:
    it = Ring.create("top", slots=3, slot_bytes=1000)
    yield it
    it.close()


def attach(ring: Ring) -> Ring:
    """The same ring as another process sees it, with a mapping of its own."""
    return Ring.attach(os.dup(ring.fd), name=ring.name)


def publish(ring: Ring, content: bytes = b"") -> SlotRef:
    slot = ring.acquire(ring.next_frame_id())
    assert slot is not None
    slot.buffer[: len(content)] = content
    return slot.publish()


def test_what_the_writer_publishes_the_reader_sees(ring: Ring) -> None:
    writer, reader = attach(ring), Ring.attach(ring.reader_fd())
    ref = publish(writer, b"pixels")
    assert bytes(reader.view(ref, 6)) == b"pixels"
    assert reader.is_current(ref)
    writer.close()
    reader.close()


def test_attaching_reads_the_geometry(ring: Ring) -> None:
    other = attach(ring)
    assert (other.slots, other.slot_bytes, other.writable) == (3, 1000, True)
    other.close()


def test_numpy_wraps_a_slot_without_a_copy(ring: Ring) -> None:
    slot = ring.acquire(1)
    assert slot is not None
    image = np.frombuffer(slot.buffer, np.uint8, 10 * 10 * 3).reshape(10, 10, 3)
    image[:] = 7
    ref = slot.publish()
    seen = np.frombuffer(ring.view(ref, 300), np.uint8).reshape(10, 10, 3)
    assert np.shares_memory(image, seen)
    assert not seen.flags.writeable
    assert seen.sum() == 7 * 300


def test_frame_ids_count_on_across_writers(ring: Ring) -> None:
    first = attach(ring)
    assert [first.next_frame_id() for _ in range(3)] == [1, 2, 3]
    first.close()
    second = attach(ring)
    assert second.next_frame_id() == 4
    assert ring.frames_begun == 4
    second.close()


def test_a_published_slot_is_held_until_the_owner_releases_it(ring: Ring) -> None:
    refs = [publish(ring) for _ in range(3)]
    assert ring.held == 3
    assert ring.acquire(4) is None
    ring.release(refs[1])
    assert ring.held == 2
    slot = ring.acquire(4)
    assert slot is not None
    assert slot.index == refs[1].index


def test_the_lowest_free_slot_is_taken_so_that_untouched_memory_stays_untouched(ring: Ring) -> None:
    for _ in range(10):
        ref = publish(ring)
        assert ref.index == 0
        ring.release(ref)


def test_a_released_frame_can_be_read_until_the_writer_takes_its_slot(ring: Ring) -> None:
    ref = publish(ring, b"a")
    ring.release(ref)
    assert ring.is_current(ref)
    slot = ring.acquire(2)
    assert slot is not None
    assert not ring.is_current(ref)
    with pytest.raises(StaleSlot) as caught:
        ring.view(ref, 1)
    assert caught.value.code == "system.stale_slot"


def test_an_abandoned_slot_is_free_again_and_its_frame_nowhere(ring: Ring) -> None:
    slot = ring.acquire(1)
    assert slot is not None
    slot.abandon()
    assert ring.held == 0
    assert publish(ring).index == slot.index


def test_a_slot_is_finished_only_once(ring: Ring) -> None:
    slot = ring.acquire(1)
    assert slot is not None
    slot.publish()
    with pytest.raises(InvariantError):
        slot.publish()
    with pytest.raises(InvariantError):
        slot.abandon()


def test_a_second_release_does_not_free_the_next_frame(ring: Ring) -> None:
    old = publish(ring)
    ring.release(old)
    new = publish(ring)
    ring.release(old)
    assert ring.held == 1
    assert ring.is_current(new)


def test_a_second_release_cannot_race_with_a_writer_that_is_about_to_publish(ring: Ring) -> None:
    """The release looks at the generation, the writer publishes, the release frees: must not happen."""
    writer = attach(ring)
    old = publish(writer)
    ring.release(old)
    current = ring.is_current
    ring.is_current = lambda ref: current(ref) and publish(writer) is not None  # type: ignore[method-assign]  # the writer comes in between
    ring.release(old)
    assert ring.held == 1
    writer.close()


def test_the_slots_of_a_dead_writer_are_reclaimed(ring: Ring) -> None:
    writer = attach(ring)
    announced, unannounced = publish(writer), publish(writer)
    assert writer.acquire(writer.next_frame_id()) is not None  # dies here, in the middle of frame 3
    writer.close()
    assert ring.reclaim([announced]) == [2, 3]
    assert ring.held == 1
    assert ring.is_current(announced)
    assert not ring.is_current(unannounced)
    assert ring.reclaim([announced]) == []


def test_a_generation_that_begins_anew_is_none_that_somebody_still_works_on(ring: Ring) -> None:
    working_on = publish(ring)
    ring._words[16] = 1 << 63
    ring.reclaim([working_on], frames_begun=1)
    assert not ring.is_current(working_on)
    again = publish(ring)
    assert again.index == working_on.index
    assert again.generation > working_on.generation


def test_reclaiming_without_knowing_what_is_in_use_frees_only_torn_slots(ring: Ring) -> None:
    published = publish(ring)
    assert ring.acquire(ring.next_frame_id()) is not None
    assert ring.reclaim() == [2]
    assert ring.is_current(published)
    assert ring.held == 1


@pytest.mark.parametrize(
    "ref", [SlotRef(-1, 0), SlotRef(3, 0), SlotRef(1 << 40, 2), SlotRef(0, 1), SlotRef(0, -2), SlotRef(0, 1 << 70)]
)
def test_an_absurd_reference_is_stale_and_harmless(ring: Ring, ref: SlotRef) -> None:
    assert not ring.is_current(ref)
    ring.release(ref)
    with pytest.raises(StaleSlot):
        ring.view(ref, 1)


@pytest.mark.parametrize("nbytes", [0, -1, 1001, 1 << 70])
def test_a_frame_larger_than_the_slot_is_refused(ring: Ring, nbytes: int) -> None:
    ref = publish(ring)
    with pytest.raises(DataError) as caught:
        ring.view(ref, nbytes)
    assert caught.value.code == "system.frame_size"


def test_no_process_can_shrink_or_grow_the_memory_of_the_others(ring: Ring) -> None:
    for size in (0, 100 * MIB):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.fd, size)


def test_a_reader_cannot_change_a_frame(ring: Ring) -> None:
    reader = Ring.attach(ring.reader_fd())
    ref = publish(ring, b"abc")
    assert not reader.writable
    with pytest.raises(TypeError):
        reader.view(ref, 3)[0] = 0
    with pytest.raises(TypeError):
        reader.next_frame_id()
    reader.close()


def test_memory_is_only_used_for_what_was_touched() -> None:
    ring = Ring.create("large", slots=SLOTS_DEFAULT, slot_bytes=120 * MIB)
    before = os.fstat(ring.fd).st_blocks * 512
    for _ in range(10):
        slot = ring.acquire(ring.next_frame_id())
        assert slot is not None
        np.frombuffer(slot.buffer, np.uint8, 6 * MIB)[:] = 1
        ring.release(slot.publish())
    used = os.fstat(ring.fd).st_blocks * 512
    ring.close()
    assert before <= MIB
    assert 6 * MIB <= used <= 8 * MIB


def test_every_slot_can_be_filled_to_its_last_byte_without_touching_its_neighbours() -> None:
    ring = Ring.create("full", slots=4, slot_bytes=5000)
    refs = [publish(ring, bytes([number]) * 5000) for number in range(1, 5)]
    for number, ref in enumerate(refs, 1):
        assert set(ring.view(ref, 5000)) == {number}
    ring.close()


def test_closing_leaves_views_valid_that_somebody_still_holds() -> None:
    ring = Ring.create("held", slots=1, slot_bytes=100)
    ref = publish(ring, b"still here")
    array = np.frombuffer(ring.view(ref, 10), np.uint8)
    ring.close()
    ring.close()
    assert bytes(array) == b"still here"
    del array
    gc.collect()  # the fixture for leaks sees whether the mapping's descriptor goes with it


@pytest.mark.parametrize(("slots", "slot_bytes"), [(0, 1), (SLOTS_MAX + 1, 1), (1, 0), (1, (1 << 32) + 1)])
def test_a_ring_of_absurd_size_is_not_made(slots: int, slot_bytes: int) -> None:
    with pytest.raises(InvariantError):
        Ring.create("absurd", slots=slots, slot_bytes=slot_bytes)


def test_the_largest_number_of_slots_works() -> None:
    ring = Ring.create("many", slots=SLOTS_MAX, slot_bytes=1)
    refs = {publish(ring) for _ in range(SLOTS_MAX)}
    assert len(refs) == SLOTS_MAX
    assert ring.acquire(0) is None
    ring.close()


def forged(content: bytes, size: int | None = None) -> int:
    fd = os.memfd_create("forged")
    os.write(fd, content)
    if size is not None:
        os.ftruncate(fd, size)
    return fd


def header(*words: int) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


MAGIC = int.from_bytes(b"EDGERING", "little")


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"", None),
        (b"short", None),
        (header(1, 1, 3, 1000), 20_480),
        (header(MAGIC, 2, 3, 1000), 20_480),
        (header(MAGIC, 1, 0, 1000), 20_480),
        (header(MAGIC, 1, 1 << 63, 1000), 20_480),
        (header(MAGIC, 1, 3, 1 << 63), 20_480),
        (header(MAGIC, 1, 3, 1000), 8192),
    ],
)
def test_something_that_is_no_ring_is_refused(content: bytes, size: int | None) -> None:
    fd = forged(content, size)
    with pytest.raises(DataError) as caught:
        Ring.attach(fd)
    assert caught.value.code == "system.ring_invalid"
    os.close(fd)


def test_a_descriptor_that_cannot_be_read_is_refused() -> None:
    reading, writing = os.pipe()
    with pytest.raises(DataError):
        Ring.attach(reading)
    os.close(reading)
    os.close(writing)
    with pytest.raises(DataError):
        Ring.attach(reading)


@settings(max_examples=50, deadline=None)
@given(
    st.binary(min_size=320, max_size=320), st.lists(st.tuples(st.integers(-2, 5), st.integers(0, 1 << 64)), max_size=5)
)
def test_a_shared_header_full_of_garbage_never_leads_outside(garbage: bytes, refs: list[tuple[int, int]]) -> None:
    ring = Ring.create("garbage", slots=3, slot_bytes=1000)
    os.pwrite(ring.fd, garbage, 0)
    try:
        for index, generation in refs:
            ref = SlotRef(index, generation)
            ring.release(ref)
            if ring.is_current(ref):
                assert len(ring.view(ref, 1000)) == 1000
        assert len(ring.reclaim([])) <= 3
        assert ring.held == 0
        assert ring.frames_begun >= 0
        publish(ring, b"works again")
    finally:
        ring.close()


class RingMachine(RuleBasedStateMachine):
    """Writer, owner and death in any order: no frame is lost, changed or freed under a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.owner = Ring.create("machine", slots=3, slot_bytes=16)
        self.writer = attach(self.owner)
        self.open: list[WriteSlot] = []
        self.live: dict[SlotRef, bytes] = {}
        self.released: list[SlotRef] = []

    def teardown(self) -> None:
        self.writer.close()
        self.owner.close()

    @rule()
    def acquire(self) -> None:
        slot = self.writer.acquire(self.writer.next_frame_id())
        assert (slot is None) == (len(self.open) + len(self.live) == 3)
        if slot is not None:
            self.open.append(slot)

    @rule(content=st.binary(min_size=16, max_size=16))
    def publish(self, content: bytes) -> None:
        if self.open:
            slot = self.open.pop()
            slot.buffer[:] = content
            self.live[slot.publish()] = content

    @rule()
    def abandon(self) -> None:
        if self.open:
            self.open.pop(0).abandon()

    @rule(seed=st.integers())
    def release(self, seed: int) -> None:
        if self.live:
            ref = random.Random(seed).choice(list(self.live))
            self.owner.release(ref)
            del self.live[ref]
            self.released.append(ref)

    @rule()
    def release_everything_old_again(self) -> None:
        for ref in self.released:
            self.owner.release(ref)

    @rule()
    def writer_dies(self) -> None:
        torn = [slot.frame_id for slot in self.open]
        self.open.clear()
        self.writer.close()
        assert self.owner.reclaim(self.live) == sorted(torn)
        self.writer = attach(self.owner)

    @invariant()
    def live_frames_are_untouched(self) -> None:
        for ref, content in self.live.items():
            assert bytes(self.owner.view(ref, 16)) == content
        assert self.owner.held == len(self.live) + len(self.open)


RingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRingMachine = RingMachine.TestCase


def test_a_ring_that_replaces_another_counts_its_own_frames_apart() -> None:
    with contextlib.closing(Ring.create("test", slots=1, slot_bytes=100, frames_begun=40)) as ring:
        assert (ring.frames_begun, ring.frames_begun_here) == (40, 0)
        assert ring.next_frame_id() == 41
        assert (ring.frames_begun, ring.frames_begun_here) == (41, 1)
