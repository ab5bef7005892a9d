"""What verbs write goes to a terminal, a file, a pipe that closes early or a full disk; none of them shows a traceback.

Python itself writes what is left in its buffers when it ends, and where that fails it says "Exception ignored" and
exits with 120. So ``finish`` writes it first and afterwards gives the interpreter nothing to complain about.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def prepare() -> None:
    """Make the standard streams fit for anything.

    What of 0, 1 and 2 is closed is opened on the null device, so that no camera or broker connection gets the number.
    Signs that the terminal's encoding does not have are escaped, and so are names of files that are no text.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Write ``text`` to standard error, if there is anybody to read it."""
    with contextlib.suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def words(error: OSError) -> str:
    """Return the kernel's answer as one sentence with what it is about; what has no path and no room is our output."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}"
    return f"the output cannot be written: {reason}" if error.errno in _NO_ROOM else reason


def finish(code: int | str | None) -> int | str | None:
    """Write what is left of the output and return the exit code, which is not 0 when the output could not be written.

    A reader that went away is no failure: ``head`` wants no more.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                say(f"error: {words(error)}\n")
                code = code or EXIT_FAILED
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
    return code


class LinePrinter:
    """Prints lines as they come, from any thread, until nobody reads them; then says so once, and keeps why.

    ``raise_failure`` passes on what ended it, unless that is a reader who went away.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        """Call ``on_end`` when a line could not be written."""
        self._on_end = on_end
        self._lock = threading.Lock()  # guards _failure and the order of lines
        self._failure: OSError | None = None

    def __call__(self, line: str) -> None:
        """Print ``line`` at once."""
        with self._lock:
            if self._failure is not None:
                return
            try:
                print(line, flush=True)
            except OSError as error:
                self._failure = error
        if self._failure is not None:
            self._on_end()

    def raise_failure(self) -> None:
        """Pass on why lines could not be written.

        Raises:
            OSError: the disk is full, for example.
        """
        if self._failure is not None and not isinstance(self._failure, BrokenPipeError):
            raise self._failure
