"""How a verb that has looked at a registry lets the running daemon know: by a file that is new.

    models pull oci-layout:/media/usb -> looked-at -> the daemon looks, too, and takes what is there now

It says nothing but that; the daemon believes what it finds in the store, not whoever wrote this.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import EdgeError
from edge_runtime.system.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

NAME: Final = "looked-at"


def nudge(root: Path) -> None:
    """Let who watches the store ``root`` know; a disk that refuses costs only that it is known later."""
    try:
        write_atomic(root / NAME, b"", durable=False)
    except EdgeError as error:
        logger.warning("the daemon does not know yet that there may be something new: %s", error)


def last_nudge(root: Path) -> tuple[int, int] | None:
    """Return what is another value after each `nudge`, ``None`` when there was none or it cannot be told."""
    try:
        found = (root / NAME).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
