"""Protocol buffers' text format, as far as Triton's `config.pbtxt` needs it: no schema, no extensions. Pure.

Grammar: https://protobuf.dev/reference/protobuf/textformat-spec. Values are kept as written: numbers, names and
booleans as their text, strings without quotation marks. Every field is a list, since any may be repeated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

Message = dict[str, list["str | Message"]]
_TOKEN: Final = re.compile(
    r"""\s+|\#[^\n]*|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<word>[A-Za-z0-9_.+-]+)|(?P<mark>[{}<>\[\]:,;/])"""
)
_ESCAPE: Final = re.compile(r"\\(.)")
_PLAIN: Final = {"n": "\n", "t": "\t", "r": "\r"}
_CLOSING: Final = {"{": "}", "<": ">"}
_DEPTH_MAX: Final = 16


class NotTextFormatError(ValueError):
    """The text is none of this format; says where."""


def parse_pbtxt(text: str) -> Message:
    """Return the fields of the message in ``text``.

    Raises:
        NotTextFormatError: it is no message, or nested deeper than 16.
    """
    return _Reader(text).fields(None, 0)


def only_text(message: Message, name: str) -> str | None:
    """Return the field ``name`` if it stands there once and is no message."""
    values = message.get(name, [])
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def messages(message: Message, name: str) -> list[Message]:
    """Return the messages of the field ``name``."""
    return [one for one in message.get(name, []) if isinstance(one, dict)]


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next: tuple[str, str, int] | None = next(self._tokens, None)

    def fields(self, closing: str | None, depth: int) -> Message:
        """Read fields until ``closing``, which is taken, or the end."""
        found: Message = {}
        if depth > _DEPTH_MAX:
            self._refuse("nested too deeply")
        while self._next is not None and self._next[1] != closing:
            name = self._take("word")
            has_colon = self._skip(":")
            if self._skip("["):
                values = self._list(depth)
            elif has_colon or self._is_message():
                values = [self._value(depth)]
            else:
                self._refuse("expected a value")
            found.setdefault(name, []).extend(values)
            self._skip(",") or self._skip(";")
        if closing is not None and not self._skip(closing):
            self._refuse(f"expected {closing}")
        return found

    def _list(self, depth: int) -> list[str | Message]:
        values: list[str | Message] = []
        while not self._skip("]"):
            if values and not self._skip(","):
                self._refuse("expected , or ]")
            values.append(self._value(depth))
        return values

    def _value(self, depth: int) -> str | Message:
        if self._next is not None and self._is_message():
            opening = self._next[1]
            self._advance()
            return self.fields(_CLOSING[opening], depth + 1)
        if not self._is_text():
            return self._take("word")
        text = ""
        while self._is_text():  # strings beside each other are one
            text += _ESCAPE.sub(lambda match: _PLAIN.get(match[1], match[1]), self._take("text")[1:-1])
        return text

    def _is_text(self) -> bool:
        return self._next is not None and self._next[0] == "text"

    def _is_message(self) -> bool:
        return self._next is not None and self._next[0] == "mark" and self._next[1] in _CLOSING

    def _take(self, kind: str) -> str:
        if self._next is None or self._next[0] != kind:
            self._refuse("expected a name or a value")
        text = self._next[1]
        self._advance()
        return text

    def _skip(self, mark: str) -> bool:
        if self._next is None or self._next[:2] != ("mark", mark):
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        self._next = next(self._tokens, None)

    def _split(self) -> Iterator[tuple[str, str, int]]:
        place = 0
        while place < len(self._text):
            match = _TOKEN.match(self._text, place)
            if match is None:
                self._next = ("mark", self._text[place], place)
                self._refuse("not a token")
            if match.lastgroup is not None:
                yield match.lastgroup, match[0], place
            place = match.end()

    def _refuse(self, what: str) -> NoReturn:
        place = len(self._text) if self._next is None else self._next[2]
        line = self._text.count("\n", 0, place) + 1
        found = "the end" if self._next is None else repr(self._next[1][:40])
        message = f"line {line}: {what}, found {found}"
        raise NotTextFormatError(message)
