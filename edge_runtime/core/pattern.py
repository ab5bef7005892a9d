r"""Patterns for texts that a recipe expects, matched in a time that grows with pattern times text, never worse.

A regular expression of Python may take hours over a text of 40 characters ("catastrophic backtracking"), and one thread
judges for all inspections. So here is the part of the syntax that plant floors need, run by following all ways at once
(Thompson 1968, "Regular expression search algorithm"). A pattern is compared with the whole text:

    LOT          these characters, capitals as written
    .            any character
    \d \w \s     a digit 0-9; a letter, digit or underscore; a blank
    [A-F0-9]     one of these; [^...] any other one
    (EU|US)      one or the other
    ? * +        the thing before it may be missing; any number of it; at least one
    {6} {2,4}    so many of it; {2,} at least so many
    \.           the character behind the backslash itself
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from edge_runtime.core.errors import DataError

PATTERN_LIMIT: Final = 200
"""Characters of a pattern."""
TEXT_LIMIT: Final = 512
"""Characters of a text; a longer one matches nothing. A line of text on a part has far less."""
STATES_LIMIT: Final = 400
"""Of the machine that a pattern becomes; repetitions are written out."""
DEPTH_LIMIT: Final = 10
"""Brackets in brackets."""
_COUNT_LIMIT: Final = 100
_HELP: Final = r"for example  LOT \d{6}  or  (EU|US)-[A-F0-9]+ ; a pattern is compared with the whole text"
_SPECIAL: Final = frozenset(".()[]{}|?*+\\^$")
_CLASSES: Final[dict[str, Callable[[str], bool]]] = {
    "d": lambda one: "0" <= one <= "9",
    "w": lambda one: one.isalnum() or one == "_",
    "s": str.isspace,
}


@dataclass(frozen=True, slots=True)
class _Repeat:
    """``node`` so often; ``most`` is ``None`` without end."""

    node: _Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class _Either:
    """One of these sequences."""

    ways: tuple[tuple[_Node, ...], ...]


class Pattern:
    """A compiled pattern; immutable, for any thread."""

    def __init__(self, text: str) -> None:
        """Compile ``text``.

        Raises:
            DataError: code ``pattern.invalid``, with the place.
        """
        self.text = text
        # state -> (test, state after it), or the states that are reached for nothing
        self._tests: dict[int, _Test] = {}
        self._jumps: dict[int, tuple[int, ...]] = {}
        self._size = 0
        for node in _Parser(text).all():
            self._add(node)
        self._end = self._size

    def matches(self, text: str) -> bool:
        """Tell whether the whole of ``text`` is as the pattern says; false beyond `TEXT_LIMIT` characters."""
        if len(text) > TEXT_LIMIT:
            return False
        states = self._reached([0])
        for one in text:
            states = self._reached([at + 1 for at in states if at in self._tests and self._tests[at](one)])
        return self._end in states

    def __eq__(self, other: object) -> bool:
        """Tell whether both were made from the same text."""
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        """See `__eq__`."""
        return hash(self.text)

    def _reached(self, states: list[int]) -> set[int]:
        """Return ``states`` and all that are reached from them for nothing."""
        found: set[int] = set()
        while states:
            at = states.pop()
            if at not in found:
                found.add(at)
                states.extend(self._jumps.get(at, ()))
        return found

    def _state(self) -> int:
        self._size += 1
        if self._size > STATES_LIMIT:
            _refuse(f"is too long once its repetitions are written out (more than {STATES_LIMIT} characters)")
        return self._size - 1

    def _add(self, node: _Node) -> None:
        if isinstance(node, _Either):
            self._add_either(node)
        elif isinstance(node, _Repeat):
            self._add_repeat(node)
        else:
            self._tests[self._state()] = node

    def _add_either(self, node: _Either) -> None:
        fork = self._state()
        starts, ends = [], []
        for way in node.ways:
            starts.append(self._size)
            for one in way:
                self._add(one)
            ends.append(self._state())
        self._jumps[fork] = tuple(starts)
        for end in ends:
            self._jumps[end] = (self._size,)

    def _add_repeat(self, node: _Repeat) -> None:
        for _ in range(node.least):
            self._add(node.node)
        if node.most is None:
            fork = self._state()
            self._add(node.node)
            back = self._state()
            self._jumps[fork], self._jumps[back] = (fork + 1, self._size), (fork,)
            return
        forks = []
        for _ in range(node.most - node.least):
            forks.append(self._state())
            self._add(node.node)
        for fork in forks:
            self._jumps[fork] = (fork + 1, self._size)


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, text: str) -> None:
        if not 1 <= len(text) <= PATTERN_LIMIT:
            _refuse(f"must have 1 to {PATTERN_LIMIT} characters, has {len(text)}")
        self._text = text
        self._at = 0
        self._depth = 0

    def all(self) -> tuple[_Node, ...]:
        """Return the nodes of the whole pattern."""
        found = self._either()
        if self._at < len(self._text):
            self._wrong("has a ) that closes nothing")
        return found

    def _either(self) -> tuple[_Node, ...]:
        ways = [self._sequence()]
        while self._take("|"):
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else (_Either(tuple(ways)),)

    def _sequence(self) -> tuple[_Node, ...]:
        found: list[_Node] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            found.append(self._repeated(self._one()))
        return tuple(found)

    def _repeated(self, node: _Node) -> _Node:
        for sign, least, most in (("?", 0, 1), ("*", 0, None), ("+", 1, None)):
            if self._take(sign):
                return self._once(_Repeat(node, least, most))
        if not self._take("{"):
            return node
        closing = self._text.find("}", self._at)
        least_text, comma, most_text = self._text[self._at : max(closing, 0)].partition(",")
        if not _is_count(least_text) or not (most_text == "" or _is_count(most_text)):
            self._wrong("expects {6}, {2,4} or {2,} with numbers up to 100")
        self._at = closing + 1
        least = int(least_text)
        most = int(most_text) if most_text else None if comma else least
        if most is not None and most < least:
            self._wrong(f"repeats at least {least} and at most {most} times")
        return self._once(_Repeat(node, least, most))

    def _once(self, node: _Repeat) -> _Node:
        if self._at < len(self._text) and self._text[self._at] in "?*+{":
            self._wrong("has two repetitions one after the other")
        return node

    def _one(self) -> _Node:
        one = self._next()
        if one == "(":
            return self._group()
        if one == "[":
            return self._class()
        if one == ".":
            return lambda _: True
        if one == "\\":
            return self._escaped()
        if one in _SPECIAL:
            self._at -= 1
            self._wrong(f"has a {one} with a meaning of its own; write \\{one} for the character itself")
        return one.__eq__

    def _group(self) -> _Node:
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            self._wrong(f"nests brackets deeper than {DEPTH_LIMIT}")
        found = self._either()
        if not self._take(")"):
            self._wrong("has a ( that is not closed")
        self._depth -= 1
        return _Either((found,))

    def _escaped(self) -> _Test:
        if self._at == len(self._text):
            self._wrong("ends with a backslash")
        one = self._next()
        if one in _CLASSES:
            return _CLASSES[one]
        if one.isalnum():
            self._at -= 1
            self._wrong(f"has \\{one}, which is not known; known are \\d, \\w and \\s")
        return one.__eq__

    def _class(self) -> _Test:
        negated = self._take("^")
        tests: list[_Test] = []
        while not self._take("]"):
            if self._at == len(self._text):
                self._wrong("has a [ that is not closed")
            first = self._next()
            if first == "\\":
                tests.append(self._escaped())
            elif self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in (
                "]",
                "",
            ):
                self._at += 1
                tests.append(self._range(first, self._next()))
            else:
                tests.append(first.__eq__)
        if not tests:
            self._wrong("has [] with nothing in it")
        return lambda one: any(test(one) for test in tests) != negated

    def _range(self, first: str, last: str) -> _Test:
        if last < first:
            self._wrong(f"has the range {first}-{last}, which is empty")
        return lambda one: first <= one <= last

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += found
        return found

    def _wrong(self, problem: str) -> NoReturn:
        _refuse(f'{problem}, at character {self._at + 1} of "{self._text}"')


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= _COUNT_LIMIT


def _refuse(problem: str) -> NoReturn:
    raise DataError("pattern.invalid", problem, help=_HELP)


_Test = Callable[[str], bool]
_Node = _Repeat | _Either | _Test
