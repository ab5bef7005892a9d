"""A short look through a source that is named as text, for the verbs that open one themselves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.camera.look import View
    from edge_runtime.camera.source import Pixels

STALL_S = 5.0


def look_at(text: str, seconds: float, seen: Callable[[Pixels, float], None] | None = None) -> View:
    """Open the source ``text``, watch it for ``seconds`` after its first picture, and close it.

    ``seen`` is shown each picture (``camera.look``).

    Raises:
        EdgeError: the source does not work; the message says why.
    """
    from edge_runtime.camera.arguments import ReaderArgs, make_source  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.camera.look import look  # noqa: PLC0415
    from edge_runtime.camera.opencv import prepare  # noqa: PLC0415

    args = ReaderArgs("probe", text, stall_s=STALL_S)
    source = make_source(args)
    prepare()
    wait = threading.Event().wait
    return look(source, seconds, args.max_pixels, wait, seen=seen)
