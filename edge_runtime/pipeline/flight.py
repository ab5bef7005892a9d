"""Names the frames that were in flight when main itself died.

A small memory-mapped file holds, for each inspection, the ids of frames that were captured but whose fate is not yet
durable. The kernel keeps mapped pages when a process is killed, so the next boot can read them and publish them in
its first event. (After a power cut the file may be older; the sequence numbers of the spool still show the gap.)

One recorder outlives the lines of its delivery: results of a line that a reload ended may be committed much later, so
inspections only ever get room, they never lose it.

Threads: every method may be called from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


ENTRIES = 256  # ids per inspection; more than waiting + in flight + uncommitted at any time
_HEADER_WORDS = 1  # how many frames did not fit


class Words(Protocol):
    """Unsigned 64-bit words that survive the process (``system.files.MappedWords``)."""

    def __getitem__(self, index: int, /) -> int:
        """Read one."""
        ...

    def __setitem__(self, index: int, value: int, /) -> None:
        """Write one."""
        ...


def words_needed(inspections: int) -> int:
    """Return the size of the file in 64-bit words for that many inspections."""
    return inspections * (_HEADER_WORDS + ENTRIES)


@dataclass(frozen=True, slots=True)
class Leftover:
    """Frames of a dead boot: their ids, and how many more did not fit into the file."""

    frame_ids: tuple[int, ...]
    unnamed: int


class FlightRecorder:
    """See the module docstring. Frames of an inspection without room are not recorded."""

    def __init__(self) -> None:
        """Begin without room for anything; see ``extend``."""
        self._words: Words = []
        self._base: dict[str, int] = {}
        self._places: dict[tuple[str, int], int] = {}
        self._free: dict[str, list[int]] = {}
        self._lock = threading.Lock()  # guards everything above

    def extend(self, words: Words, inspections: Sequence[str]) -> None:
        """Go on in ``words``, which hold what the present ones do and zeros after it: room for ``inspections``.

        Those that have room already come first, in the same order. ``leftovers`` reads old content.
        """
        with self._lock:
            self._words = words
            for index, name in enumerate(inspections):
                if name not in self._base:
                    self._base[name] = index * (_HEADER_WORDS + ENTRIES)
                    self._free[name] = list(range(ENTRIES - 1, -1, -1))

    def enter(self, inspection: str, frame_id: int) -> None:
        """Note a captured frame; ``frame_id`` >= 1."""
        with self._lock:
            base = self._base.get(inspection)
            if base is None or (inspection, frame_id) in self._places:  # it may have had another camera before a reload
                return
            free = self._free[inspection]
            if not free:
                self._words[base] += 1
                return
            place = base + _HEADER_WORDS + free.pop()
            self._places[inspection, frame_id] = place
            self._words[place] = frame_id

    def leave(self, inspection: str, frame_id: int) -> None:
        """Forget a frame whose fate is durable or counted; unknown frames are those that did not fit.

        Nothing happens for 0, the frame id of a result without a frame.
        """
        if frame_id == 0:
            return
        with self._lock:
            base = self._base.get(inspection)
            if base is None:
                return
            place = self._places.pop((inspection, frame_id), None)
            if place is not None:
                self._words[place] = 0
                self._free[inspection].append(place - base - _HEADER_WORDS)
            elif self._words[base]:
                self._words[base] -= 1


def leftovers(words: Sequence[int], inspections: Sequence[str], committed: Mapping[str, int]) -> dict[str, Leftover]:
    """Return what a dead boot left, per inspection that left something.

    Args:
        words: content of its file.
        inspections: its inspections in the order of its file.
        committed: the last frame id of each whose result is in the spool; results are committed in order of
            capture, so everything up to it is accounted for.
    """
    found: dict[str, Leftover] = {}
    for index, name in enumerate(inspections):
        base = index * (_HEADER_WORDS + ENTRIES)
        entries = words[base + _HEADER_WORDS : base + _HEADER_WORDS + ENTRIES]
        ids = tuple(sorted(frame_id for frame_id in entries if frame_id > committed.get(name, 0)))
        if ids or words[base]:
            found[name] = Leftover(ids, words[base])
    return found
