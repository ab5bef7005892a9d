"""The flight recorder's files across boots: read what a dead boot left, then start anew.

Legal order: make it before the delivery whose recorder it is -> ``begin`` -> ``event`` -> ``expect`` before each line
that follows in the same delivery -> ``close`` when delivery has ended.

The index names the inspections in the order of the words, and which of two files holds these. What a dead boot left is
replaced at once, when the index names the other file; what it said goes along in the index until a result of the new
boot is in the spool, because then the event that told it is there too. So a boot that dies young hides nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.core.result import Event
from edge_runtime.pipeline.flight import FlightRecorder, leftovers, words_needed
from edge_runtime.system.files import MappedWords, read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_runtime.pipeline.flight import Leftover

    # gives (seq, frame id) of an inspection's newest committed result; ``None`` when the spool cannot tell
    LastCommitted = Callable[[str], tuple[int, int] | None] | None

logger = logging.getLogger(__name__)

INDEX_FILE = "flight.json"
WORDS_FILES = ("flight.words", "flight.2.words")
LIMIT_BYTES = 1 << 22
INSPECTIONS_MAX = 1024  # of one delivery: one that a reload renames takes room twice
EARLIER_MAX = 4  # boots that died before they could tell what the one before them had left


@dataclass(frozen=True, slots=True)
class Previous:
    """What the last boot was called, what it left in flight, and what it had to tell of boots before it."""

    boot_id: str | None = None
    left: Mapping[str, Leftover] = field(default_factory=dict)
    earlier: tuple[dict[str, object], ...] = ()
    words_file: str = WORDS_FILES[1]


class FlightFiles:
    """Keeps the recorder of one delivery; see the module docstring.

    A disk that refuses (full, read-only) costs the recorder, not the line: a killed main then cannot name what was in
    flight.
    """

    def __init__(self, state_dir: Path, boot_id: str) -> None:
        """Make a recorder without room; nothing is read or written before ``begin``."""
        self.recorder = FlightRecorder()
        self.previous = Previous()
        self._state_dir = state_dir
        self._boot_id = boot_id
        self._names: list[str] = []
        self._mapped: MappedWords | None = None

    def begin(self, inspections: Sequence[str], last_committed: LastCommitted) -> None:
        """Read what was left here, then ``expect`` the inspections of the first line."""
        try:
            self.previous = _read(self._state_dir, last_committed)
            self._words_path.unlink(missing_ok=True)
        except (StorageError, PermissionDeniedError, OSError) as error:
            logger.warning("what was in flight before cannot be read: %s", error)
        self.expect(inspections, last_committed)

    def expect(self, inspections: Sequence[str], last_committed: LastCommitted) -> None:
        """Make room for the inspections of a line that is about to start; those of lines before keep theirs."""
        names = [*self._names, *(name for name in inspections if name not in self._names)][:INSPECTIONS_MAX]
        seqs = {name: None if last_committed is None else (last_committed(name) or (0, 0))[0] for name in names}
        index = {"bootId": self._boot_id, "words": self._words_path.name, "inspections": seqs, "earlier": self._told()}
        with contextlib.ExitStack() as undo:
            try:
                mapped = MappedWords.open(self._words_path, words_needed(len(names)))  # never shorter than before
                undo.callback(mapped.close)
                write_atomic(self._state_dir / INDEX_FILE, json.dumps(index).encode())
            except (StorageError, PermissionDeniedError) as error:
                logger.warning("frames in flight cannot be recorded: %s", error)
                return
            undo.pop_all()
        self.recorder.extend(mapped, names)
        self.close()
        self._mapped, self._names = mapped, names

    def close(self) -> None:
        """Unmap, after delivery has committed what it could; what is left in the file the next boot will name."""
        if self._mapped is not None:
            self._mapped.close()

    def event(self, utc_ns: int, version: str) -> Event | None:
        """Return the first event of this delivery, which names the frames that those before it took with them.

        ``None`` when the last one was of this boot, too, and left nothing.
        """
        previous = self.previous
        count = sum(len(item.frame_ids) + item.unnamed for item in previous.left.values())
        fields: dict[str, object] = {"previousBootId": previous.boot_id, "framesInFlight": _named(previous.left)}
        if previous.earlier:
            fields["earlier"] = list(previous.earlier)
        if previous.boot_id == self._boot_id:
            message = f"{count} frames were lost: the disk refused their results until the delivery ended"
            return Event("system", "frames.lost", message, utc_ns, fields) if count else None
        message = f"edge-runtime {version} started"
        if count:
            message += f"; {count} frames were in flight when the previous boot ended without warning"
        return Event("system", "runtime.started", message, utc_ns, fields)

    @property
    def _words_path(self) -> Path:
        """The file of the two that does not hold what was left."""
        return self._state_dir / WORDS_FILES[self.previous.words_file == WORDS_FILES[0]]

    def _told(self) -> list[dict[str, object]]:
        """What our first event says, for the next one to say again in case ours never reaches the disk."""
        own: dict[str, object] = {"bootId": self.previous.boot_id, "framesInFlight": _named(self.previous.left)}
        return [*self.previous.earlier, *([own] if self.previous.left else [])][-EARLIER_MAX:]


def _named(left: Mapping[str, Leftover]) -> dict[str, object]:
    return {name: {"frameIds": list(item.frame_ids), "unnamed": item.unnamed} for name, item in left.items()}


def _read(state_dir: Path, last_committed: LastCommitted) -> Previous:
    index = state_dir / INDEX_FILE
    try:
        document = json.loads(read_limited(index, LIMIT_BYTES))
        boot_id, earlier = str(document["bootId"]), tuple(dict(told) for told in document.get("earlier", ()))
        seqs = {str(k): None if v is None else int(v) for k, v in document["inspections"].items()}
        words_file = WORDS_FILES[WORDS_FILES.index(document.get("words", WORDS_FILES[0]))]
        words_path = state_dir / words_file
        content = read_limited(words_path, LIMIT_BYTES) if words_path.exists() else b""
    except FileNotFoundError:
        return Previous()
    except (ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        logger.warning("%s is damaged and tells nothing about the last boot: %s", index, error)
        return Previous()
    size = 8 * words_needed(len(seqs))
    words = memoryview(content[:size].ljust(size, b"\0")).cast("Q").tolist()
    committed = {}
    for name, seq_at_start in seqs.items():
        last = None if last_committed is None else last_committed(name)
        if last is not None and seq_at_start is not None and last[0] > seq_at_start:
            committed[name] = last[1]
    return Previous(boot_id, leftovers(words, list(seqs), committed), () if committed else earlier, words_file)
