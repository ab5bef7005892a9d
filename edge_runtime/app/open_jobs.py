"""Names the triggers that were accepted and had no durable result when main itself died.

Whoever was told 202 is owed a result. The flight recorder knows frames; a trigger whose frame had not come yet is none.
So each accepted trigger stands in a small memory-mapped file until its result is committed or its loss is told; the
kernel keeps mapped pages when a process is killed, and the next boot says in an event what it finds there. (After a
power cut the file may be older.) What was found stays until a result of the new boot is committed, because then the
event is, too: a boot that dies young hides nothing.

Legal order: ``begin`` -> ``event`` -> ``enter``, ``put``, ``settled`` ... -> ``close``. Threads: any.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import PermissionDeniedError, StorageError
from edge_runtime.core.result import Event
from edge_runtime.system.files import MappedWords

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_runtime.core.result import Result
    from edge_runtime.pipeline.attempt import TriggerIds

logger = logging.getLogger(__name__)

FILE: Final = "jobs.words"
SLOTS: Final = 256  # triggers that are named; more are counted
SLOT_WORDS: Final = 64  # length in bytes, then the text
_TEXT_BYTES: Final = 8 * (SLOT_WORDS - 1)
_TEXT_MAX: Final = 64  # characters of an id that a long text is cut to
_HEAD_WORDS: Final = 1  # how many found no slot

Job = dict[str, str | None]


class OpenJobs:
    """See the module docstring. A disk that refuses costs the names, not the triggers."""

    def __init__(self, state_dir: Path) -> None:
        """Use a file in ``state_dir``; nothing is touched before ``begin``."""
        self._path = state_dir / FILE
        self._lock = threading.Lock()  # guards everything below
        self._mapped: MappedWords | None = None
        self._free: list[int] = []
        self._found: list[int] = []  # slots of earlier boots
        self._found_unnamed = 0
        self._left: list[Job] = []
        self._slots: dict[tuple[str, str], deque[int]] = {}
        self._unnamed: Counter[tuple[str, str]] = Counter()
        self._on_their_way: dict[tuple[str, int], deque[str]] = {}

    def begin(self) -> None:
        """Map the file and read what was left in it. Never raises."""
        with self._lock:
            try:
                self._mapped = mapped = MappedWords.open(self._path, _HEAD_WORDS + SLOTS * SLOT_WORDS)
            except (StorageError, PermissionDeniedError) as error:
                logger.warning("open triggers cannot be recorded: %s", error)
                return
            self._found_unnamed = mapped[0]
            for slot in range(SLOTS):
                size = mapped[_HEAD_WORDS + slot * SLOT_WORDS]
                (self._found if size else self._free).append(slot)
                if size:
                    self._left.append(self._read(mapped, slot, size))

    def event(self, utc_ns: int) -> Event | None:
        """Return what to tell about earlier boots, ``None`` when they left nothing."""
        count = len(self._left) + self._found_unnamed
        if not count:
            return None
        message = f"{count} triggers were accepted and had no durable result when the runtime ended without warning"
        return Event("system", "triggers.lost", message, utc_ns, {"jobs": self._left, "unnamed": self._found_unnamed})

    def enter(self, inspection: str, ids: TriggerIds) -> None:
        """Note a trigger that was accepted."""
        key = (inspection, ids.job_id or "")
        with self._lock:
            if self._mapped is None:
                return
            if not self._free:
                self._unnamed[key] += 1
                self._count_unnamed()
                return
            slot = self._free.pop()
            self._slots.setdefault(key, deque()).append(slot)
            self._write(self._mapped, slot, _encoded(inspection, ids))

    def put(self, result: Result) -> None:
        """Note a result that is about to be put into the spool."""
        if result.job_id is not None:
            with self._lock:
                self._on_their_way.setdefault((result.inspection, result.frame_id), deque()).append(result.job_id)

    def settled(self, frames: Sequence[tuple[str, int]]) -> None:
        """Forget the triggers of these results (inspection, frame id): they are durable, or their loss is."""
        with self._lock:
            self._forget_found()
            for frame in frames:
                waiting = self._on_their_way.get(frame)
                if waiting is None:
                    continue
                self._leave((frame[0], waiting.popleft()))
                if not waiting:
                    del self._on_their_way[frame]

    def close(self) -> None:
        """Unmap; what is still in the file the next boot will name. Idempotent."""
        with self._lock:
            if self._mapped is not None:
                self._mapped.close()
                self._mapped = None

    # --- under the lock

    def _leave(self, key: tuple[str, str]) -> None:
        if self._mapped is None:
            return
        slots = self._slots.get(key)
        if slots is not None:
            slot = slots.popleft()
            if not slots:
                del self._slots[key]
            self._clear(self._mapped, slot)
        elif self._unnamed[key] > 0:
            self._unnamed[key] -= 1
            self._count_unnamed()

    def _forget_found(self) -> None:
        if self._mapped is None or not (self._found or self._found_unnamed):
            return
        for slot in self._found:
            self._clear(self._mapped, slot)
        self._found, self._found_unnamed = [], 0
        self._count_unnamed()

    def _count_unnamed(self) -> None:
        self._unnamed += Counter()  # drops what is zero
        if self._mapped is not None:
            self._mapped[0] = self._unnamed.total() + self._found_unnamed

    def _clear(self, mapped: MappedWords, slot: int) -> None:
        mapped[_HEAD_WORDS + slot * SLOT_WORDS] = 0
        self._free.append(slot)

    def _write(self, mapped: MappedWords, slot: int, text: bytes) -> None:
        base = _HEAD_WORDS + slot * SLOT_WORDS
        for index in range(0, len(text), 8):
            mapped[base + 1 + index // 8] = int.from_bytes(text[index : index + 8].ljust(8), "little")
        mapped[base] = len(text)  # last: half a text has no length

    def _read(self, mapped: MappedWords, slot: int, size: int) -> Job:
        base = _HEAD_WORDS + slot * SLOT_WORDS
        words = range(base + 1, base + SLOT_WORDS)
        text = b"".join(mapped[index].to_bytes(8, "little") for index in words)[: min(size, _TEXT_BYTES)]
        try:
            document = json.loads(text)
            return {str(name): None if value is None else str(value) for name, value in document.items()}
        except (ValueError, AttributeError):
            return {"unreadable": text[:_TEXT_MAX].decode(errors="replace")}


def _encoded(inspection: str, ids: TriggerIds) -> bytes:
    """Return the text of a slot; an id that makes it too long is cut."""
    job: Job = {
        "inspection": inspection,
        "jobId": ids.job_id,
        "partId": ids.part_id,
        "measId": ids.meas_id,
        "correlationId": ids.correlation_id,
    }
    text = b""
    for most in (None, _TEXT_MAX, _TEXT_MAX // 4):
        told = {name: value and value[:most] for name, value in job.items() if value is not None}
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= _TEXT_BYTES:
            break
    return text[:_TEXT_BYTES]
