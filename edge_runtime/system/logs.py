"""Log lines on stderr, as text or JSON, with secrets masked."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.system.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

# <N> prefixes tell the journal the level of a line (sd-daemon(3), syslog levels of RFC 5424 6.2.1)
_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class TextFormatter(logging.Formatter):
    """``2026-11-22T10:00:00.123Z WARNING edge_runtime.camera: text``, or with a ``<4>`` prefix for the journal."""

    def __init__(self, redactor: Redactor | None = None, *, journal: bool) -> None:
        """Leave time and level to the journal when it reads our stderr."""
        super().__init__()
        self._redactor = redactor or Redactor()
        self.journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; the lines of a traceback follow it."""
        text = self._redactor.redact(_message(self, record))
        name = record.name.removeprefix("edge_runtime.")
        if self.journal:
            prefix = f"<{_SYSLOG.get(record.levelno, 6)}>"
            # the journal reads the prefix line by line, and a second line may hold what others wrote
            return f"{prefix}{name}: {text}".replace("\n", f"\n{prefix}")
        return f"{_time(record)} {record.levelname} {name}: {text}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, message, process."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        """Mask what ``redactor`` knows, and passwords in URLs in any case."""
        super().__init__()
        self._redactor = redactor or Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        document = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redactor.redact(_message(self, record)),
            "process": record.process,
        }
        return json.dumps(document, ensure_ascii=False)


def configure(
    *, style: str, level: str, journal: bool, stream: TextIO | None = None, secrets: Iterable[str] = ()
) -> None:
    """Send all log lines of this process to ``stream`` (stderr when ``None``).

    Args:
        style: ``text`` or ``json``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        journal: stderr is read by the systemd journal (``$JOURNAL_STREAM`` is set).
        stream: where to write.
        secrets: values that are masked wherever they appear, beside passwords in URLs.
    """
    redactor = Redactor(secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(redactor) if style == "json" else TextFormatter(redactor, journal=journal))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def describe() -> dict[str, object] | None:
    """Return what ``configure`` was told (style, level, journal) for a child to do the same; ``None`` if it was not."""
    root = logging.getLogger()
    for handler in root.handlers:
        formatter = handler.formatter
        if isinstance(formatter, (TextFormatter, JsonFormatter)):
            style = "json" if isinstance(formatter, JsonFormatter) else "text"
            journal = isinstance(formatter, TextFormatter) and formatter.journal
            return {"style": style, "level": logging.getLevelName(root.level).lower(), "journal": journal}
    return None


def configure_like(description: object, *, secrets: Iterable[str] = ()) -> None:
    """Do in this process what ``describe`` found in another, and mask ``secrets``.

    Anything else than such a description does nothing.
    """
    match description:
        case {"style": str(style), "level": str(level), "journal": bool(journal)}:
            configure(style=style, level=level, journal=journal, secrets=secrets)
        case _:
            return


def silence_libraries() -> None:
    """Take descriptor 2 away from native libraries for good; log lines and tracebacks go where they went before.

    What image and video decoders write there has no time, no level and no camera, and somebody who sends pictures could
    fill the journal with it. For a process of its own, before it has a second thread.
    """
    before = sys.stderr
    ours = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = ours
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is before:
            handler.setStream(ours)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text = f"{text}\n{formatter.formatException(record.exc_info)}"
    return text
