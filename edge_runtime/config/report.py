"""What is said about mistakes in a configuration: one ``Problem`` each, shown the way compilers do. Pure.

error: fps must be a number from 0.1 to 240, got "fast"
  --> configs/line1.yaml:3:10   cameras.line1.fps
   |
 3 |     fps: fast
   |          ^^^^
   = help: most pictures per second that are taken
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from edge_runtime.config.tree import Origin, Place
from edge_runtime.core.errors import ConfigError
from edge_runtime.core.source import CREDENTIAL_WORD
from edge_runtime.system.redact import MASK, is_secret_name

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 120  # characters of a source line that are shown
LINE_LIMIT: Final = 4096  # nobody reads longer lines, and masking them takes long
_CONTEXT: Final = 40  # of these, how many before the caret when a line is too long

_KEY = re.compile(r"(?P<key>[\"']?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)[\"']?)\s*:\s*")
_KEY_ALONE = re.compile(r"\s*(?:- +)*\?\s+[\"']?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)")
_USER_INFO = re.compile(r"://(.*)@")
_BARE_USER_INFO = re.compile(r"(?<![^\s\"'({\[,=])([^\s:/@\"'({\[,]+:(?!//)\S*)@")
_PARAMETER = re.compile(rf"(?i){CREDENTIAL_WORD}[a-z0-9_-]*=([^&#\s\"',}}]*)")
_SHAPES: Final = (_USER_INFO, _BARE_USER_INFO, _PARAMETER)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A source line with its secrets masked; the caret covers ``width`` characters from 0-based ``start``."""

    text: str
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        code: stable identifier such as ``config.unknown_key``.
        message: one clause, expected against found, without secrets.
        origin: where.
        path: dotted path of the setting, empty when it has none.
        help: the way out.
        warning: worth saying, but the runtime can start.
        hides: a key whose value is not to be shown, because it may be a misspelt ``password``.
        excerpt: the source line, when there is one.
    """

    code: str
    message: str
    origin: Origin
    path: str = ""
    help: str | None = None
    warning: bool = False
    hides: str | None = None
    excerpt: Excerpt | None = None


class InvalidConfigError(ConfigError):
    """The configuration has at least one problem; ``problems`` holds all that could be found at once."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        """Sum up ``problems`` of ``file``; warnings are among them and do not count."""
        first = next(problem for problem in problems if not problem.warning)
        message = f"{summary(file, problems)}; first: {first.message} ({first.origin})"
        super().__init__("config.invalid", message, help=first.help)
        self.file = file
        self.problems = tuple(problems)

    def report(self) -> str:
        """Show everything the way ``edge-runtime check`` does: each problem, then their number."""
        return f"{render(self.problems)}\n{summary(self.file, self.problems)}\n"


def summary(file: str, problems: Sequence[Problem]) -> str:
    """Count: ``3 problems in edge.yaml``."""
    count = sum(not problem.warning for problem in problems)
    return f"{count} problem{'' if count == 1 else 's'} in {_printable(file)}"


def render(problems: Sequence[Problem]) -> str:
    """Show every problem with its source line; ends with a newline unless there are none."""
    return "\n".join(_render(problem) for problem in problems)


def as_json(problem: Problem) -> dict[str, object]:
    """Return the problem for programs."""
    in_file = problem.origin.place is Place.FILE
    return {
        "severity": "warning" if problem.warning else "error",
        "code": problem.code,
        "message": problem.message,
        "help": problem.help,
        "path": problem.path or None,
        "file": problem.origin.name if in_file else None,
        "line": problem.origin.line or None,
        "column": problem.origin.column or None,
        "origin": str(problem.origin),
    }


class SourceText:
    """The lines of one file, which line each of them belongs under, and which of them hold secrets.

    ``hidden`` are keys whose values are secrets although their names do not say so.
    """

    def __init__(self, lines: Sequence[str], hidden: frozenset[str] = frozenset()) -> None:
        """Keep ``lines``, without line ends."""
        self.lines = lines
        self._hidden = hidden
        self._opening: dict[int, bool] = {}

    @cached_property
    def parents(self) -> Sequence[int | None]:
        """For each line the nearest one above that it belongs under; found in one pass, files may be large."""
        parents: list[int | None] = []
        open_lines: list[tuple[int, str, int]] = []  # indentation, text, index
        for index, line in enumerate(self.lines):
            text = line.strip()
            if not text or text.startswith("#"):
                parents.append(open_lines[-1][2] if open_lines else None)
                continue
            indent = _indent(line)
            while open_lines and not _belongs(indent, text, *open_lines[-1][:2]):
                open_lines.pop()
            parents.append(open_lines[-1][2] if open_lines else None)
            open_lines.append((indent, text, index))
        return parents

    def secrets(self, index: int) -> list[tuple[int, int]]:
        """Return the spans of line ``index`` that hold secrets, also when the file could not be parsed."""
        line = self.lines[index]
        above = self.parents[index]
        while above is not None:
            if self._opens(above):
                return [(_indent(line), len(line))]  # a continued secret: list, map, block scalar or open quote
            above = self.parents[above]
        spans = [
            (found.end(), _value_end(line, found.end(), in_flow="{" in line[: found.start()]))
            for found in _KEY.finditer(line)
            if self._is_secret(found["name"])
        ]
        return spans + _shapes(line)

    def _opens(self, index: int) -> bool:
        """Tell whether a key of line ``index`` holds a secret, which may go on in the lines under it."""
        if index not in self._opening:
            line = self.lines[index]
            alone = _KEY_ALONE.match(line)
            names = [found["name"] for found in _KEY.finditer(line)] + ([alone["name"]] if alone else [])
            self._opening[index] = any(map(self._is_secret, names))
        return self._opening[index]

    def _is_secret(self, name: str) -> bool:
        return name in self._hidden or is_secret_name(name)


def make_excerpt(source: SourceText, origin: Origin) -> Excerpt | None:
    """Cut the line of ``origin`` out of its file with secrets masked; ``None`` if there is none, or an endless one."""
    if not 1 <= origin.line <= len(source.lines):
        return None
    line = source.lines[origin.line - 1]
    if len(line) > LINE_LIMIT:
        return None
    start = origin.column - 1
    end = origin.end_column - 1 if origin.end_line == origin.line else len(line.rstrip())
    text, start, end = _mask(line, source.secrets(origin.line - 1), start, max(end, start + 1))
    if len(text) > WIDTH:
        cut = max(0, min(start - _CONTEXT, len(text) - WIDTH))
        text, start, end = text[cut : cut + WIDTH], start - cut, end - cut
    shown = _printable(text)
    return Excerpt(shown, start, max(1, min(end, len(shown)) - start))


def veil(text: str) -> str:
    """Return a value with what looks like credentials masked."""
    return _mask(text, _shapes(text), 0, 0)[0]


def _render(problem: Problem) -> str:
    where = f"{problem.origin}   {problem.path}" if problem.path else str(problem.origin)
    excerpt = problem.excerpt
    number = str(problem.origin.line) if excerpt else ""
    gutter = " " * max(2, len(number) + 1)
    kind = "warning" if problem.warning else "error"
    out = [f"{kind}: {_printable(problem.message)}", f"{gutter}--> {_printable(where)}"]
    if excerpt:
        before = "".join("  " if _is_wide(char) else " " for char in excerpt.text[: excerpt.start])
        under = excerpt.text[excerpt.start : excerpt.start + excerpt.width]
        carets = "^" * (excerpt.width + sum(_is_wide(char) for char in under))
        out += [
            f"{gutter} |",
            f" {number:>{len(gutter) - 1}} | {excerpt.text.rstrip()}",
            f"{gutter} | {before}{carets}",
        ]
    if problem.help:
        out.append(f"{gutter} = help: {_printable(problem.help)}")
    return "\n".join(out) + "\n"


def _printable(text: str) -> str:
    """Keep escape sequences, line breaks and undecodable bytes away from terminals and logs."""
    return "".join(char if char.isprintable() else " " for char in text)


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _belongs(indent: int, text: str, above_indent: int, above: str) -> bool:
    """Tell whether a line stands under one above it; items may be indented no more than the key of their list."""
    if indent != above_indent:
        return indent > above_indent
    return _starts(text, "-") > _starts(above, "-") or (_starts(text, ":") and _starts(above, "?"))


def _starts(text: str, sign: str) -> bool:
    return text == sign or text.startswith(sign + " ")


def _shapes(text: str) -> list[tuple[int, int]]:
    """Return the spans of what looks like credentials wherever it stands."""
    return [found.span(1) for pattern in _SHAPES for found in pattern.finditer(text)]


def _value_end(line: str, start: int, *, in_flow: bool) -> int:
    if line[start : start + 1] in ('"', "'"):
        closed = line.rfind(line[start])
        return closed + 1 if closed > start else len(line)
    stop = re.compile("[,}]").search(line, start) if in_flow else None
    return stop.start() if stop else len(line)


def _mask(line: str, spans: list[tuple[int, int]], start: int, end: int) -> tuple[str, int, int]:
    """Replace ``spans`` by a mask of fixed width; the caret moves with the text and covers a mask it pointed into."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(span for span in spans if span[0] < span[1]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    text, last = "", 0
    places = {}
    for low, high in merged:
        text += line[last:low]
        places.update(dict.fromkeys(range(low, high), (len(text), len(text) + len(MASK))))
        text += MASK
        last = high
    shift = {low: high - low - len(MASK) for low, high in merged}

    def moved(column: int) -> int:
        return column - sum(by for low, by in shift.items() if low < column)

    text += line[last:]
    new_start = places[start][0] if start in places else moved(start)
    new_end = places[end - 1][1] if end - 1 in places else moved(end)
    return text, new_start, new_end
