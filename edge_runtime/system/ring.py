"""Frames in memory that processes share: a ring of slots in a memfd, without a name and without a copy.

One camera process writes, any number of processes read, main owns. The legal order for a slot:

    free -> acquire (generation odd) -> publish (even, held) -> readers view -> owner releases -> free
                                    `-> abandon -> free
    writer dies while the generation is odd -> owner reclaims -> free

A slot stays held from ``publish`` until the owner's ``release``, so a reader never races with the writer; the
generation is the safety net (a reader checks it again after reading). A reader has no state in the ring, so a dead
one cannot wedge it.

The memory is sealed: nobody can shrink it, which would be a SIGBUS for everybody else. The geometry is read once
and then kept in private memory, so whatever a process that was taken over writes into the shared header, no index
leaves the mapping. Pages exist once touched: a slot costs what its largest frame needed, not its capacity.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING, NoReturn

from edge_runtime.core.errors import DataError, InvariantError
from edge_runtime.core.frame import SlotRef

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

SLOTS_DEFAULT = 6
SLOTS_MAX = 64
SLOT_BYTES_MAX = 1 << 32

_MAGIC = int.from_bytes(b"EDGERING", "little")
_VERSION = 1
_PAGE_BYTES = 4096
_WORD_BYTES = 8
_LINE_WORDS = 8  # one 64-byte cache line for each thing that is written by itself
# words of the header: magic, version, slots, slot_bytes; line 1: frame counter and what it began with; from line 2: one
# line per slot
_COUNTER = _LINE_WORDS
_COUNTER_START = _COUNTER + 1
_GENERATION, _FRAME_ID, _HELD = range(3)
_WRAP = (1 << 64) - 1
_GENERATION_END = 1 << 62  # a frame each nanosecond for 70 years
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class StaleSlot(DataError):  # noqa: N818 - the word of the design
    """The slot does not hold the frame of the reference (any more)."""


class WriteSlot:
    """A slot that is being written. Call ``publish`` or ``abandon`` once, and do not touch ``buffer`` afterwards.

    Attributes:
        index: place in the ring.
        frame_id: the id given to ``Ring.acquire``.
        buffer: writable bytes of the whole slot; ``numpy.frombuffer`` wraps it without a copy.
    """

    def __init__(self, ring: Ring, index: int, frame_id: int) -> None:
        """Made by ``Ring.acquire`` only."""
        self.index = index
        self.frame_id = frame_id
        self.buffer = ring._data(index, ring.slot_bytes)  # noqa: SLF001 - the ring's other half
        self._ring = ring
        self._open = True

    def publish(self) -> SlotRef:
        """Make the content visible to readers and hold it until the owner releases it."""
        return self._finish(held=1)

    def abandon(self) -> None:
        """Free the slot; its content was not worth publishing."""
        self._finish(held=0)

    def _finish(self, *, held: int) -> SlotRef:
        if not self._open:
            msg = f"slot {self.index} of ring {self._ring.name} was published or abandoned before"
            raise InvariantError("system.ring_order", msg)
        self._open = False
        return self._ring._finish(self.index, held=held)  # noqa: SLF001 - the ring's other half


class Ring:
    """See the module docstring. One thread per process uses it; processes need no lock."""

    def __init__(self, fd: int, *, name: str, slots: int, slot_bytes: int, writable: bool) -> None:
        """Map ``fd``, which the ring owns from now on; made by ``create`` and ``attach`` only."""
        self.fd = fd
        self.name = name
        self.slots = slots
        self.slot_bytes = slot_bytes
        self.writable = writable
        self._data_offset, self._stride, size = _layout(slots, slot_bytes)
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(fd, size, access=access)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[: self._data_offset].cast("Q")
        self._counter_start = self._words[_COUNTER_START]
        self._released: dict[int, int] = {}  # slot -> generation that the owner freed last

    @classmethod
    def create(cls, name: str, *, slots: int = SLOTS_DEFAULT, slot_bytes: int, frames_begun: int = 0) -> Ring:
        """Make a ring of ``slots`` (1..64) slots of ``slot_bytes`` (1..2**32) bytes each; the caller owns it.

        Frame ids go on after ``frames_begun``, so that a ring which replaces another one uses no id again.

        Raises:
            InvariantError: a number is out of range.
            OSError: the kernel gives no memfd or address space.
        """
        if not (1 <= slots <= SLOTS_MAX and 1 <= slot_bytes <= SLOT_BYTES_MAX):
            msg = f"ring {name} needs 1..{SLOTS_MAX} slots of 1..{SLOT_BYTES_MAX} bytes, got {slots} of {slot_bytes}"
            raise InvariantError("system.ring_geometry", msg)
        fd = os.memfd_create(f"edge-ring-{name}"[:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _layout(slots, slot_bytes)[2])
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            ring = cls(fd, name=name, slots=slots, slot_bytes=slot_bytes, writable=True)
        except OSError:
            os.close(fd)
            raise
        ring._counter_start = frames_begun
        ring._write_header(frames_begun)
        return ring

    @classmethod
    def attach(cls, fd: int, *, name: str = "ring") -> Ring:
        """Map the ring behind ``fd``, which the ring owns from now on (not if this raises).

        A descriptor made by ``reader_fd`` gives a read-only ring: a bug in this process, also in its native code,
        cannot change a frame.

        Raises:
            DataError: ``fd`` is not a ring of this version, or its size does not fit its geometry.
        """
        try:
            mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
            size = os.fstat(fd).st_size
            header = os.pread(fd, 4 * _WORD_BYTES, 0)
        except OSError as error:
            _refuse(f"descriptor {fd} of ring {name} cannot be read ({error.strerror})", error)
        if len(header) != 4 * _WORD_BYTES:
            _refuse(f"descriptor {fd} of ring {name} has {size} bytes, too few for a header")
        magic, version, slots, slot_bytes = memoryview(header).cast("Q")
        if magic != _MAGIC or version != _VERSION:
            _refuse(f"descriptor {fd} of ring {name} is not a frame ring of version {_VERSION}")
        if not (1 <= slots <= SLOTS_MAX and 1 <= slot_bytes <= SLOT_BYTES_MAX):
            _refuse(f"ring {name} claims {slots} slots of {slot_bytes} bytes")
        expected = _layout(slots, slot_bytes)[2]
        if size != expected:
            _refuse(f"ring {name} has {size} bytes, expected {expected} for {slots} slots of {slot_bytes} bytes")
        return cls(fd, name=name, slots=slots, slot_bytes=slot_bytes, writable=mode == os.O_RDWR)

    def reader_fd(self) -> int:
        """Return a new descriptor of the same memory that can only be mapped for reading; the caller closes it.

        This is a guard against mistakes, not against malice: the kernel lets a process of the same user open the
        memory again for writing, through ``/proc/self/fd``, and Landlock does not know of memory without a path.
        """
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)

    # writer side

    def next_frame_id(self) -> int:
        """Begin a frame: 1, 2, 3 ... for as long as the ring lives, also across restarts of the writer."""
        frame_id = (self._words[_COUNTER] + 1) & _WRAP
        self._words[_COUNTER] = frame_id
        return frame_id

    def acquire(self, frame_id: int) -> WriteSlot | None:
        """Return a free slot to write frame ``frame_id`` into, or ``None`` when every slot is held.

        The lowest free slot is taken, so that no more memory is touched than frames are in flight.
        """
        for index in range(self.slots):
            line = _line(index)
            generation = self._words[line + _GENERATION]
            if generation % 2 == 0 and not self._words[line + _HELD]:
                self._words[line + _GENERATION] = generation + 1
                self._words[line + _FRAME_ID] = frame_id
                return WriteSlot(self, index, frame_id)
        return None

    def _finish(self, index: int, *, held: int) -> SlotRef:
        line = _line(index)
        generation = (self._words[line + _GENERATION] + 1) & _WRAP & ~1
        self._words[line + _HELD] = held  # before the generation: whoever sees it even must see it held
        self._words[line + _GENERATION] = generation
        return SlotRef(index, generation)

    # reader side

    def view(self, ref: SlotRef, nbytes: int) -> memoryview:
        """Return the first ``nbytes`` bytes of the referenced frame, read-only, without a copy.

        Raises:
            StaleSlot: the slot holds something else, is being written, or does not exist.
            DataError: ``nbytes`` is not in 1..``slot_bytes``.
        """
        if not self.is_current(ref):
            msg = f"slot {ref.index} of ring {self.name} does not hold generation {ref.generation} (any more)"
            raise StaleSlot("system.stale_slot", msg)
        if not 1 <= nbytes <= self.slot_bytes:
            msg = f"a frame of {nbytes} bytes does not fit a slot of {self.slot_bytes} bytes in ring {self.name}"
            raise DataError("system.frame_size", msg)
        return self._data(ref.index, nbytes).toreadonly()

    def is_current(self, ref: SlotRef) -> bool:
        """Tell whether the slot still holds the referenced frame; ask again after reading the bytes."""
        if not 0 <= ref.index < self.slots or ref.generation % 2:
            return False
        return self._words[_line(ref.index) + _GENERATION] == ref.generation

    # owner side

    def release(self, ref: SlotRef) -> None:
        """Free the slot if it still holds the referenced frame. Idempotent; stale and absurd references do nothing."""
        # The second release of a generation must not even look: the writer may be about to publish the next one.
        if not self.is_current(ref) or self._released.get(ref.index) == ref.generation:
            return
        self._released[ref.index] = ref.generation
        self._words[_line(ref.index) + _HELD] = 0

    def reclaim(self, in_use: Iterable[SlotRef] | None = None, *, frames_begun: int | None = None) -> list[int]:
        """Free what a dead writer left behind and return the ids of its torn frames, ascending.

        Call it only after the writer is known to be dead. Slots that were being written are always freed. With
        ``in_use`` (the references that main still works on), held slots whose frame was published but never
        announced are freed too; without it they stay as they are.

        The dead process could write anything into the header, and its successor goes on from there. So the geometry is
        written again, a generation that counting cannot have reached begins anew, and the frame counter goes on after
        ``frames_begun`` when the caller gives what it believes of it.
        """
        keep = None if in_use is None else {(ref.index, ref.generation) for ref in in_use}
        torn = []
        for index in range(self.slots):
            line = _line(index)
            generation = self._words[line + _GENERATION]
            unannounced = keep is not None and bool(self._words[line + _HELD]) and (index, generation) not in keep
            if generation % 2 or unannounced:
                torn.append(self._words[line + _FRAME_ID])
                self._words[line + _HELD] = 0
                generation = generation + 2 & ~1
            if generation >= _GENERATION_END and (index, generation) not in (keep or ()):
                self._words[line + _HELD] = 0
                generation = self._first_generation(index, keep or ())
            self._words[line + _GENERATION] = generation
        self._write_header(self._words[_COUNTER] if frames_begun is None else frames_begun)
        return sorted(torn)

    def _write_header(self, frames_begun: int) -> None:
        self._words[:4] = memoryview(_header(self.slots, self.slot_bytes)).cast("Q")
        self._words[_COUNTER], self._words[_COUNTER_START] = frames_begun, self._counter_start

    def _first_generation(self, index: int, keep: Collection[tuple[int, int]]) -> int:
        """Return where a slot's generations begin anew: above those that somebody still works on."""
        self._released.pop(index, None)
        return 2 + max((old for slot, old in keep if slot == index and old < _GENERATION_END), default=0)

    @property
    def frames_begun(self) -> int:
        """The last frame id that the writer took. It is the writer's word: do not loop up to it."""
        return self._words[_COUNTER]

    @property
    def frames_begun_here(self) -> int:
        """Frames begun in this ring, also by earlier writers; those of a ring that it replaces are not counted."""
        return (self._words[_COUNTER] - self._words[_COUNTER_START]) & _WRAP

    @property
    def held(self) -> int:
        """Slots that are not free now."""
        lines = [_line(index) for index in range(self.slots)]
        return sum(1 for line in lines if self._words[line + _HELD] or self._words[line + _GENERATION] % 2)

    def close(self) -> None:
        """Close the descriptor and unmap. Idempotent.

        Views that somebody still holds stay valid: the memory goes with the last of them.
        """
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        self._words.release()
        self._bytes.release()
        try:
            self._map.close()
        except BufferError:
            del self._map  # the remaining views own it now

    def _data(self, index: int, nbytes: int) -> memoryview:
        start = self._data_offset + index * self._stride
        return self._bytes[start : start + nbytes]


def _layout(slots: int, slot_bytes: int) -> tuple[int, int, int]:
    """Return offset of the first slot's data, distance between slots, and size of it all; whole pages."""
    offset = _pages(_line(slots) * _WORD_BYTES)
    stride = _pages(slot_bytes)
    return offset, stride, offset + slots * stride


def _pages(size: int) -> int:
    return -(-size // _PAGE_BYTES) * _PAGE_BYTES


def _line(index: int) -> int:
    return (2 + index) * _LINE_WORDS


def _header(slots: int, slot_bytes: int) -> bytes:
    return b"".join(word.to_bytes(_WORD_BYTES, "little") for word in (_MAGIC, _VERSION, slots, slot_bytes))


def _refuse(message: str, error: OSError | None = None) -> NoReturn:
    raise DataError("system.ring_invalid", message) from error
