"""Pages of the manual whose commands are run as they stand there, in one shell, in their order.

- a block ``sh`` is run; a command that fails fails the page;
- a block whose first line is ``# NAME`` of a file (``# box.yaml``) is written to that file;
- a block ``text`` after it must be found in what was printed, line by line; ``...`` stands for anything within a line.

The shell has a terminal, at which every question is answered with ``y``.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w.-]+\.\w+)\n")
_MARK = "@@ block %d @@"


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is where it begins."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that it shows."""
        found = _FILE.match(self.text) if self.language != "sh" else None
        return found[1] if found else None


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page in Markdown."""
    return [Block(found[1], found[2], page.count("\n", 0, found.start()) + 1) for found in _FENCE.finditer(page)]


def run_page(page: str, directory: Path, replace: Mapping[str, str], *, timeout_s: float) -> list[str]:
    """Run a page in ``directory``; return what is wrong, in words.

    Args:
        page: Markdown.
        directory: is the working directory and the home directory.
        replace: texts of the page that stand for something on this machine.
        timeout_s: of all commands together.
    """
    blocks = blocks_of(page)
    for old, new in replace.items():
        blocks = [Block(one.language, one.text.replace(old, new), one.line) for one in blocks]
    outputs, end = _run(blocks, directory, timeout_s)
    problems = []
    said = ""
    for number, block in enumerate(blocks):
        if block.language == "sh":
            if number not in outputs:
                problems.append(f"line {block.line}: not reached")
                break
            said = outputs[number]
        elif block.language == "text" and (missing := _missing(block.text, said)):
            problems.append(f"line {block.line}: not printed: {missing!r}; printed was:\n{said}")
    if end:
        problems.append(f"{end}; the last block printed:\n{outputs[max(outputs)] if outputs else ''}")
    return problems


def _run(blocks: list[Block], directory: Path, timeout_s: float) -> tuple[dict[int, str], str]:
    """Return what each block printed, by its place, and what went wrong."""
    tools = directory.parent / "bin"
    tools.mkdir()
    (tools / "edge-runtime").write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_runtime "$@"\n')
    (tools / "edge-runtime").chmod(0o755)
    script = ["exec 2>&1", "set -e"]
    for number, block in enumerate(blocks):
        if block.language == "sh":
            script += [f"echo '{_MARK % number}'", block.text]
        elif block.file is not None:
            script.append(f"cat > {block.file} <<'END-OF-FILE'\n{block.text}END-OF-FILE")
    log = directory.parent / "page.log"
    environment = {
        **os.environ,
        "HOME": str(directory),
        "PATH": f"{tools}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    keyboard, terminal = os.openpty()
    os.set_blocking(keyboard, False)
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-c", "\n".join(script)],
            cwd=directory,
            stdin=terminal,
            stdout=output,
            env=environment,
            start_new_session=True,
        )
        try:
            code = _answer_until_it_ends(shell, keyboard, timeout_s)
            end = f"a command ended with {code}" if code else ""
        except subprocess.TimeoutExpired:
            end = f"not done within {timeout_s} s"
        finally:
            _end(shell)
            os.close(terminal)
            os.close(keyboard)
    parts = re.split(r"^@@ block (\d+) @@\n", log.read_text("utf-8", "replace"), flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}, end


def _answer_until_it_ends(shell: subprocess.Popen[bytes], keyboard: int, timeout_s: float) -> int:
    """Answer again and again: who asks for a secret throws away what was typed before."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(BlockingIOError):
            os.write(keyboard, b"y\n")
        try:
            return shell.wait(0.1)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise


def _end(shell: subprocess.Popen[bytes]) -> None:
    """End the session of a shell: itself and what it started in the background."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait(10)


def _missing(expected: str, said: str) -> str | None:
    """Return the first line of ``expected`` that was not said."""
    lines = said.splitlines()
    for line in expected.splitlines():
        pattern = ".*".join(re.escape(part) for part in line.strip().split("..."))
        if not any(re.search(pattern, one) for one in lines):
            return line
    return None
