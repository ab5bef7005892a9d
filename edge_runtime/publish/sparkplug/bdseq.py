"""The birth-death sequence number: one more with every CONNECT, over restarts of the process (Sparkplug 3.0, 6.4.19).

On disk before it is used, so that no two connections share one whatever kills us in between.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.system.files import move_aside, read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

NUMBERS = 256  # 0 to 255, then 0 again
_FILE_BYTES_MAX = 256


class BdSeq:
    """Hands out numbers, one thread. What cannot be written is told once and counted on in memory."""

    def __init__(self, path: Path) -> None:
        """Keep the last number in ``path``; nothing is read before the first one is wanted."""
        self._path = path
        self._last: int | None = None
        self._unused = False
        self._failed = False

    def take(self) -> int:
        """Return the number of the next CONNECT; it is on disk now, if the disk lets us."""
        if self._last is None:
            self._last = self._read()
        if not self._unused:
            self._last = (self._last + 1) % NUMBERS
            self._write(self._last)
        self._unused = False
        return self._last

    def give_back(self) -> None:
        """Say that no CONNECT was sent with the number taken last: the next one gets it."""
        self._unused = True

    def _read(self) -> int:
        """Return the last number that was used, or the one before the first."""
        try:
            return _number(json.loads(read_limited(self._path, _FILE_BYTES_MAX)))
        except FileNotFoundError:
            logger.info("no Sparkplug bdSeq in %s yet, starting with 0", self._path)
        except (DataError, ValueError, KeyError, TypeError, RecursionError) as error:
            logger.warning("the Sparkplug bdSeq in %s cannot be read, starting with 0: %s", self._path, error)
            self._put_aside()
        except (PermissionDeniedError, StorageError) as error:
            logger.warning("starting with Sparkplug bdSeq 0: %s", error)
        return -1

    def _put_aside(self) -> None:
        try:
            move_aside(self._path, "damaged")
        except (PermissionDeniedError, StorageError) as error:
            logger.warning("the damaged file stays where it is: %s", error)

    def _write(self, number: int) -> None:
        try:
            write_atomic(self._path, json.dumps({"bdSeq": number}).encode())
        except (PermissionDeniedError, StorageError) as error:
            if not self._failed:
                logger.error("the Sparkplug bdSeq is not on disk, a restart may repeat it: %s", error)  # noqa: TRY400
            self._failed = True
        else:
            self._failed = False


def _number(document: Mapping[str, object]) -> int:
    number = document["bdSeq"]
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < NUMBERS:
        raise DataError("sparkplug.bdseq", f"bdSeq {number!r:.40}, expected 0 to {NUMBERS - 1}")
    return number
