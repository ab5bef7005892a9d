"""Single keys of a terminal, without Enter, for as long as a verb runs."""

from __future__ import annotations

import os
import select
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    from edge_runtime.system.service import Stop

SLICE_S: Final = 0.2
_BYTES: Final = 64
_LOCAL_MODES = 3  # of what tcgetattr returns
_ESCAPE: Final = b"\x1b"


class Keys:
    """A block, and in it a `system.service.Service` that reads keys.

    The terminal hands over each key and does not show it; Ctrl-C and Ctrl-Z stay what they are. Leaving the block puts
    the terminal back, whatever happened. In the background (``&``, or Ctrl-Z and ``bg``) the terminal is the shell's:
    nothing is read and nothing is set; back in the foreground it begins anew.
    """

    name = "keys"

    def __init__(self, descriptor: int, on_key: Callable[[str], None]) -> None:
        """Use the terminal ``descriptor``; ``on_key`` gets keys in the thread of the service."""
        self._descriptor = descriptor
        self._on_key = on_key
        self._before: list[Any] | None = None  # how the terminal was, once it was changed

    def __enter__(self) -> Self:
        """Change nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the terminal back."""
        before, self._before = self._before, None
        if before is not None and self._is_ours():
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    def run(self, stop: Stop) -> None:
        """Read keys until stopped; when the terminal is gone there are no more."""
        while not stop.is_set():
            if not self._is_ours() or not self._take():
                stop.wait(SLICE_S)

    def _is_ours(self) -> bool:
        """Tell whether we are in the foreground; the kernel stops who uses the terminal and is not."""
        try:
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        except OSError:
            return False

    def _take(self) -> bool:
        """Take what was typed within a moment; return whether the terminal is still there."""
        try:
            self._listen()
            if not select.select([self._descriptor], [], [], SLICE_S)[0]:
                return True
            typed = os.read(self._descriptor, _BYTES)
        except (OSError, termios.error):
            return False
        if not typed.startswith(_ESCAPE):  # arrows and the like are no letters
            for key in typed.decode(errors="replace"):
                self._on_key(key)
        return bool(typed)

    def _listen(self) -> None:
        now = termios.tcgetattr(self._descriptor)
        wanted = now[_LOCAL_MODES] & ~(termios.ICANON | termios.ECHO)
        if wanted != now[_LOCAL_MODES]:
            self._before = self._before or now
            changed = [*now]
            changed[_LOCAL_MODES] = wanted
            termios.tcsetattr(self._descriptor, termios.TCSANOW, changed)
