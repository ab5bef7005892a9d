"""The flight recorder's files across boots: read what a dead boot left, then start anew."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.errors import PermissionDeniedError, StorageError
from edge_runtime.core.result import Event
from edge_runtime.pipeline.flight import FlightRecorder, leftovers, words_needed
from edge_runtime.system.files import MappedWords, read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_runtime.pipeline.flight import Leftover, Words

logger = logging.getLogger(__name__)

INDEX_FILE = "flight.json"
WORDS_FILE = "flight.words"
LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Previous:
    """What the last boot was called and what it left in flight."""

    boot_id: str | None
    left: Mapping[str, Leftover]


class FlightFiles:
    """Opens the recorder of this boot; ``close`` it after the line ended."""

    def __init__(
        self,
        state_dir: Path,
        inspections: Sequence[str],
        boot_id: str,
        last_committed: Callable[[str], tuple[int, int] | None] | None,
    ) -> None:
        """Read the files of the last boot, then begin those of this one.

        ``last_committed`` gives (seq, frame id) of the newest committed result of an inspection; ``None`` when the
        spool cannot tell because its disk refuses.

        A disk that refuses (full, read-only) costs the recorder, not the line: what is in flight is then kept in
        memory only, and a killed main cannot name it.
        """
        index, size = state_dir / INDEX_FILE, words_needed(len(inspections))
        self.previous = Previous(None, {})
        self._mapped: MappedWords | None = None
        words: Words = [0] * size
        try:
            self.previous = _read(index, state_dir / WORDS_FILE, last_committed)
            words = self._mapped = MappedWords.open(state_dir / WORDS_FILE, size)
            _clear(self._mapped)
            seqs = {
                name: None if last_committed is None else (last_committed(name) or (0, 0))[0] for name in inspections
            }
            write_atomic(index, json.dumps({"bootId": boot_id, "inspections": seqs}).encode())
        except (StorageError, PermissionDeniedError) as error:
            logger.warning("frames in flight cannot be recorded: %s", error)
        self.recorder = FlightRecorder(words, inspections)

    def close(self) -> None:
        """Unmap, after delivery has committed what it could; what is left in the file the next boot will name."""
        if self._mapped is not None:
            self._mapped.close()

    def event(self, utc_ns: int, version: str) -> Event:
        """The first event of this boot: it names the frames that the last boot took with it."""
        left = self.previous.left
        count = sum(len(item.frame_ids) + item.unnamed for item in left.values())
        message = f"edge-runtime {version} started"
        if count:
            message += f"; {count} frames were in flight when the previous boot ended without warning"
        fields: dict[str, object] = {
            "previousBootId": self.previous.boot_id,
            "framesInFlight": {
                name: {"frameIds": list(item.frame_ids), "unnamed": item.unnamed} for name, item in left.items()
            },
        }
        return Event("system", "runtime.started", message, utc_ns, fields)


def _clear(words: MappedWords) -> None:
    for place in range(len(words)):
        words[place] = 0


def _read(index: Path, words_file: Path, last_committed: Callable[[str], tuple[int, int] | None] | None) -> Previous:
    try:
        document = json.loads(read_limited(index, LIMIT_BYTES))
        boot_id, seqs = (
            str(document["bootId"]),
            {str(k): None if v is None else int(v) for k, v in document["inspections"].items()},
        )
    except FileNotFoundError:
        return Previous(None, {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is damaged and tells nothing about the last boot: %s", index, error)
        return Previous(None, {})
    words = MappedWords.open(words_file, words_needed(len(seqs)))
    content = [words[place] for place in range(len(words))]
    words.close()
    committed = {}
    for name, seq_at_boot in seqs.items():
        last = None if last_committed is None else last_committed(name)
        if last is not None and seq_at_boot is not None and last[0] > seq_at_boot:
            committed[name] = last[1]
    return Previous(boot_id, leftovers(content, list(seqs), committed))
