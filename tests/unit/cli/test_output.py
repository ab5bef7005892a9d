"""Output that nobody reads or that finds no room; buffered as it is for users, unlike in many a test environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.cli import dispatch, output
from edge_runtime.cli.output import LinePrinter, words

ROOT = Path(__file__).parents[3]
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(ROOT)}
FULL = "No space left on device"
VERBS = [("version",), ("--help",), ("check", "--help"), ("config", "init"), ("config", "schema")]


def run(*verb: str, stdout: int, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_runtime", *verb]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, env=ENVIRON | environ, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("environ", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_reader_that_went_away_is_no_failure(verb: tuple[str, ...], environ: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(*verb, stdout=writing, **environ)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("verb", "environ"), [*((v, {}) for v in VERBS), (("version",), {"PYTHONUNBUFFERED": "1"})])
def test_a_full_disk_is_one_sentence_and_a_failure(verb: tuple[str, ...], environ: dict[str, str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = run(*verb, stdout=full, **environ)
    os.close(full)
    assert done.stderr == f"error: the output cannot be written: {FULL}\n"
    assert done.returncode == 1


def test_a_configuration_error_stays_one_when_its_report_finds_no_room(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("version: 2\n")
    full = os.open("/dev/full", os.O_WRONLY)
    done = run("check", "--config", str(tmp_path / "edge.yaml"), stdout=full)
    os.close(full)
    assert done.returncode == 78
    assert FULL in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_descriptors_that_were_closed_harm_nothing(closed: str) -> None:
    command = f"exec {sys.executable} -m edge_runtime version {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=ENVIRON, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii"])
def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path: Path, encoding: str) -> None:
    name = os.fsdecode(b"caf\xe9-\xe5\x90\x8d.yaml")
    (tmp_path / name).write_text("version: 2\n")
    done = run("check", "--config", str(tmp_path / name), stdout=subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (78, "")
    (tmp_path / "m.onnx").symlink_to(ROOT / "models" / "surface-defects")
    text = "version: 1\ncameras: {a: {source: 'sim:bars'}}\nmodels: {m: {path: m.onnx}}\n"
    (tmp_path / name).write_text(text)
    done = run("check", "--config", str(tmp_path / name), stdout=subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\udce9-" in done.stdout


def test_an_error_is_still_an_exit_code_when_nobody_reads_it() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "edge_runtime", "models", "inspect", "nowhere.onnx"]
    done = subprocess.run(command, stderr=writing, stdout=writing, env=ENVIRON, timeout=30, check=False)
    os.close(writing)
    assert done.returncode == 65


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/root/x"), 77, "error: /root/x: Permission denied\n"),
        (OSError(36, "File name too long", b"/x"), 1, "error: /x: File name too long\n"),
        (OSError("odd"), 1, "error: odd\n"),
    ],
)
def test_what_the_kernel_refuses_is_one_sentence(
    error: OSError, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_runtime.cli import version

    def refused(_part: str) -> str:
        raise error

    monkeypatch.setattr(version, "_version", refused)
    assert dispatch(["version"]) == code
    assert capsys.readouterr().err == said


def test_no_room_is_told_from_other_refusals() -> None:
    assert words(OSError(28, FULL)) == f"the output cannot be written: {FULL}"
    assert words(OSError(28, FULL, "spool.db")) == f"spool.db: {FULL}"
    assert words(OSError(111, "Connection refused")) == "Connection refused"


def test_lines_are_printed_until_nobody_reads_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends: list[str] = []
    printer = LinePrinter(lambda: ends.append("end"))
    printer("one")

    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(output, "print", gone, raising=False)
    printer("two")
    monkeypatch.undo()
    printer("three")
    assert (capsys.readouterr().out, ends) == ("one\n", ["end"])
    printer.raise_failure()


def test_a_line_that_finds_no_room_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    printer = LinePrinter(lambda: None)
    printer.raise_failure()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, FULL)

    monkeypatch.setattr(output, "print", full, raising=False)
    printer("one")
    with pytest.raises(OSError, match=FULL):
        printer.raise_failure()
