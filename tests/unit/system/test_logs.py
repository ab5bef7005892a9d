"""Log lines: text, journal or JSON, one record each, never with a secret."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge_runtime.system.logs import JsonFormatter, TextFormatter, configure, configure_like, describe

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "rtsp://operator:hunter22@10.0.0.5/stream"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger without handlers, which gets its own back after the test."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    logger.handlers[:] = []
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def _record(
    message: str, *args: object, level: int = logging.WARNING, error: Exception | None = None
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("edge_runtime.camera.opencv", level, __file__, 1, message, args, info)
    record.created, record.msecs = 1_795_000_000.123, 123.9
    return record


def _caught() -> ValueError:
    try:
        int("x")
    except ValueError as error:
        return error
    raise AssertionError


def test_a_text_line_has_time_level_and_the_name_without_the_package() -> None:
    line = TextFormatter(journal=False).format(_record("frame %d is late", 7))
    assert line == "2026-11-18T11:06:40.123Z WARNING camera.opencv: frame 7 is late"


@pytest.mark.parametrize(
    ("level", "prefix"),
    [(logging.DEBUG, "<7>"), (logging.INFO, "<6>"), (logging.WARNING, "<4>"), (logging.ERROR, "<3>"), (25, "<6>")],
)
def test_a_journal_line_begins_with_its_syslog_level(level: int, prefix: str) -> None:
    line = TextFormatter(journal=True).format(_record("late", level=level))
    assert line == f"{prefix}camera.opencv: late"


def test_every_line_of_a_journal_record_has_the_level_of_the_record() -> None:
    """The journal reads the prefix line by line: text of others must not choose its own level."""
    line = TextFormatter(journal=True).format(_record("camera says: %s", "a\n<0>the kernel has panicked"))
    assert line == "<4>camera.opencv: camera says: a\n<4><0>the kernel has panicked"


def test_a_json_line_is_one_object() -> None:
    line = JsonFormatter().format(_record("frame\n%d ist spät", 7))
    assert "\n" not in line
    document = json.loads(line)
    assert document.pop("process") > 0
    assert document == {
        "ts": "2026-11-18T11:06:40.123Z",
        "level": "warning",
        "logger": "edge_runtime.camera.opencv",
        "message": "frame\n7 ist spät",
    }


@pytest.mark.parametrize("formatter", [TextFormatter(journal=False), JsonFormatter()], ids=["text", "json"])
def test_the_traceback_follows_the_message(formatter: logging.Formatter) -> None:
    text = formatter.format(_record("cannot read", error=_caught()))
    assert text.index("cannot read") < text.index("Traceback") < text.index("ValueError: invalid literal")


@pytest.mark.parametrize(
    "formatter",
    [TextFormatter(journal=False), TextFormatter(journal=True), JsonFormatter()],
    ids=["text", "journal", "json"],
)
def test_passwords_in_urls_are_masked_in_messages_and_tracebacks(formatter: logging.Formatter) -> None:
    text = formatter.format(_record("opening %s", URL, error=ConnectionError(f"no route to {URL}")))
    assert "hunter22" not in text
    assert "10.0.0.5" in text


@pytest.mark.parametrize(("style", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
def test_configure_sends_every_line_to_one_stream_in_one_style(
    style: str, kind: type[logging.Formatter], root: logging.Logger
) -> None:
    stream = io.StringIO()
    configure(style=style, level="warning", journal=False, stream=stream)
    logging.getLogger("edge_runtime.x").info("too quiet")
    logging.getLogger("somebody.else").warning("heard")
    assert [type(h.formatter) for h in root.handlers] == [kind]
    assert stream.getvalue().count("\n") == 1
    assert "heard" in stream.getvalue()


@pytest.mark.usefixtures("root")
def test_configuring_again_replaces_and_does_not_repeat() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(style="text", level="info", journal=False, stream=first)
    configure(style="text", level="info", journal=False, stream=second)
    logging.getLogger("x").info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


def test_lines_go_to_stderr_by_default(root: logging.Logger) -> None:
    configure(style="text", level="info", journal=True)
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


def test_a_secret_value_never_reaches_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure(style="text", level="info", journal=False, secrets=["correct-horse"])
        logging.getLogger("edge_runtime.test").error("login with correct-horse failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    written = capsys.readouterr().err
    assert "correct-horse" not in written
    assert "login with" in written


@pytest.mark.parametrize(("style", "journal"), [("text", False), ("text", True), ("json", False)])
def test_a_child_can_be_told_to_log_like_its_parent(style: str, journal: bool) -> None:  # noqa: FBT001
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure(style=style, level="warning", journal=journal)
        told = describe()
        configure(style="text", level="debug", journal=False)
        configure_like(told)
        assert describe() == told == {"style": style, "level": "warning", "journal": journal}
        root.handlers[:] = []
        assert describe() is None
        configure_like({"style": 1})
        assert root.handlers == []
        configure_like(told, secrets=["hunter22"])
        record = logging.LogRecord("x", logging.WARNING, "", 0, "it said hunter22", None, None)
        assert "it said ***" in root.handlers[0].format(record)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


SILENT = """
import logging, os
from edge_runtime.system.logs import configure, silence_libraries
configure(style="text", level="info", journal=True)
silence_libraries()
os.write(2, b"Corrupt JPEG data\\n")
logging.getLogger("edge_runtime.camera").warning("ours")
raise ValueError("theirs")
"""


def test_native_libraries_are_not_heard_and_our_lines_and_tracebacks_are() -> None:
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=50, check=False)
    lines = done.stderr.splitlines()
    assert lines[0] == "<4>camera: ours"
    assert lines[-1] == "ValueError: theirs"
    assert "JPEG" not in done.stderr
