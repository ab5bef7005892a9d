"""A careful reader of one small YAML document: YAML 1.2 core scalars, positions kept, tricks refused.

PyYAML alone reads ``no`` as False, ``12:30`` as 750, ``010`` as 8, takes the last of two equal keys, and needs a minute
and more for 200 000 opening brackets. Here the tree is built from parser events with an explicit stack, so the depth
limit acts before anything is nested; libyaml is used where PyYAML was built with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

import yaml

from edge_runtime.config.report import Problem
from edge_runtime.config.tree import Entry, Node, Origin, Place, Scalar

LIMIT_BYTES: Final = 256 * 1024
LIMIT_DEPTH: Final = 32
_TOO_DEEP: Final = ("yaml.depth", f"nested deeper than {LIMIT_DEPTH} levels")

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_TAGS: Final = (None, "!", _TEXT_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

# YAML 1.2.2 section 10.3.2, without leading zeros: they are codes, not numbers
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})")
_OCTAL = re.compile(r"0o[0-7]{1,21}")
_HEX = re.compile(r"0x[0-9A-Fa-f]{1,16}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# YAML's printable characters without the three exotic line breaks, which count as lines for some readers only
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LINE_BREAK = re.compile("\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Document:
    """What was read: ``root`` is ``None`` when there is nothing to go on with."""

    root: Node | None
    problems: tuple[Problem, ...]


def resolve(text: str) -> Scalar:
    """Give an unquoted scalar its YAML 1.2 core type; what is neither null, bool nor number stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def parse(text: str, name: str) -> Document:
    """Read one YAML document whose root is a map; never raises.

    Args:
        text: the document.
        name: file name for positions.
    """
    text = text.removeprefix("\ufeff")
    strange = _UNPRINTABLE.search(text)
    if strange:
        code = f"U+{ord(strange[0]):04X}"
        place = _offset(text, strange.start(), name)
        problem = Problem("yaml.character", f"character {code} is not allowed in YAML", place, help="remove it")
        return Document(None, (problem,))
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):  # lazily: the depth limit ends the parsing
            if not builder.take(event):
                break
    except yaml.MarkedYAMLError as error:
        builder.problems.append(_syntax(error, LINE_BREAK.split(text), name))
        return Document(None, tuple(builder.problems))
    return builder.finish()


@dataclass(slots=True)
class _Open:
    """A list or map whose end has not come yet; ``key`` is the pending key of a map."""

    origin: Origin
    is_map: bool
    is_key: bool  # it stands where a key should
    broken: bool  # its tag was refused
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    wants_key: bool = True
    lost: bool = False  # a key was refused, and its value with it
    key: tuple[str, Origin] | None = None  # None while the value of an unusable key is read


class _Builder:
    """Events in, tree and problems out."""

    def __init__(self, name: str) -> None:
        self.problems: list[Problem] = []
        self._name = name
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._documents = 0
        self._dead = False  # the document cannot be read any further

    def take(self, event: yaml.Event) -> bool:
        """Digest one event; return whether more are wanted."""
        match event:
            case yaml.DocumentStartEvent():
                self._document(event)
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.CollectionStartEvent():
                self._start(event)
            case yaml.CollectionEndEvent():
                self._end(event)
            case _:
                pass  # the ends of documents and of the stream
        return not self._dead

    def finish(self) -> Document:
        """Say what has been built."""
        if not self._dead:
            start = Origin(Place.FILE, self._name, 1, 1, 1, 2)
            if self._root is None or (self._root.value is None and not self._root.broken):
                self._refuse(
                    "yaml.empty", "the file is empty", start, "edge-runtime config init  prints one to start from"
                )
            elif not isinstance(self._root.value, dict) and not self._root.broken:
                kind = "a list" if isinstance(self._root.value, tuple) else "a single value"
                message = f'the file must be a map of settings ("key: value"), got {kind}'
                self._refuse("yaml.root", message, start, "start with  version: 1")
        usable = not self._dead and self._root is not None and isinstance(self._root.value, dict)
        return Document(self._root if usable else None, tuple(self.problems))

    def _refuse(self, code: str, message: str, origin: Origin, way_out: str | None = None) -> None:
        self.problems.append(Problem(code, message, origin, help=way_out))

    def _origin(self, event: yaml.Event) -> Origin:
        return Origin(Place.FILE, self._name, *_position(event.start_mark), *_position(event.end_mark))

    def _document(self, event: yaml.Event) -> None:
        self._documents += 1
        if self._documents > 1:
            message = "a second document starts here; a configuration is one document"
            self._refuse("yaml.documents", message, self._origin(event), "remove the --- line")
            self._dead = True

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        origin = self._origin(event)
        if event.tag == "!secret":
            node = Node(event.value, origin, secret=True)
        elif event.tag not in _TAGS:
            node = self._broken_tag(origin)
        elif event.implicit[0] and event.tag is None:
            node = Node(resolve(event.value), origin, raw=event.value)
        else:
            node = Node(event.value, origin)
        self._anchor(event.anchor, origin)
        if self._expects_key():
            self._key(node, event.value)
        else:
            self._add(node)

    def _alias(self, event: yaml.AliasEvent) -> None:
        origin = self._origin(event)
        if not self._skipping():
            way_out = "write the value out, or put what cameras share under defaults:"
            self._refuse("yaml.alias", "aliases like *NAME are not allowed", origin, way_out)
        node = Node(None, origin, broken=True)
        if self._expects_key():
            self._key(node, None)
        else:
            self._add(node)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        origin = self._origin(event)
        if len(self._stack) >= LIMIT_DEPTH:
            self._refuse(*_TOO_DEEP, origin, "no setting is that deep")
            self._dead = True
            return
        broken = event.tag not in _TAGS
        if broken:
            self._broken_tag(origin)
        self._anchor(event.anchor, origin)
        is_key = self._expects_key()
        if is_key:
            message = "a key must be plain text, got a list or map"
            self._refuse("yaml.key", message, origin, "a value that starts with { or [ needs quotes")
        self._stack.append(_Open(origin, isinstance(event, yaml.MappingStartEvent), is_key, broken))

    def _end(self, event: yaml.Event) -> None:
        opened = self._stack.pop()
        start = opened.origin
        origin = Origin(Place.FILE, self._name, start.line, start.column, *_position(event.end_mark))
        if opened.is_key:
            self._key(Node(None, origin, broken=True), None)
        else:
            broken = opened.broken or (opened.lost and not opened.entries)
            value = opened.entries if opened.is_map else tuple(opened.items)
            self._add(Node(value, origin, broken=broken, partial=opened.lost))

    def _expects_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_map and self._stack[-1].wants_key

    def _skipping(self) -> bool:
        """Tell whether this is the value of a key that was refused already."""
        return (
            bool(self._stack)
            and self._stack[-1].is_map
            and not self._stack[-1].wants_key
            and self._stack[-1].key is None
        )

    def _key(self, node: Node, text: str | None) -> None:
        opened = self._stack[-1]
        opened.wants_key = False
        opened.key = None
        if node.broken or text is None:
            opened.lost = True
        elif node.secret or not text:
            opened.lost = True
            self._refuse("yaml.key", "a key must be plain text", node.origin)
        elif text == "<<" and node.raw is not None:
            opened.lost = True
            way_out = "write the keys out, or put what cameras share under defaults:"
            self._refuse("yaml.merge", "merge keys (<<) are not allowed", node.origin, way_out)
        elif text in opened.entries:
            first = opened.entries[text].key.line
            message = f'key "{text[:64]}" is given twice, first in line {first}'
            lines = f"one of lines {first} and {node.origin.line}" if first != node.origin.line else "one of the two"
            self._refuse("yaml.duplicate", message, node.origin, f"remove {lines}")
        else:
            opened.key = (text, node.origin)

    def _add(self, node: Node) -> None:
        if not self._stack:
            self._root = node
            return
        opened = self._stack[-1]
        if not opened.is_map:
            opened.items.append(node)
            return
        if opened.key is not None:
            opened.entries[opened.key[0]] = Entry(opened.key[1], node)
        opened.wants_key = True

    def _anchor(self, anchor: str | None, origin: Origin) -> None:
        if anchor is not None:
            self._refuse("yaml.anchor", "anchors like &NAME are not allowed", origin, "remove it; a & needs quotes")

    def _broken_tag(self, origin: Origin) -> Node:
        message = "this tag is not known; the only one is !secret NAME"
        self._refuse("yaml.tag", message, origin, "a value that starts with ! needs quotes")
        return Node(None, origin, broken=True)


_SYNTAX: Final[tuple[tuple[str, str, str], ...]] = (  # parser's words, ours, way out
    ("cannot start any token", "a value cannot start with CHAR", "put the value in quotes"),
    (
        "mapping values are not allowed",
        'a second ": " in one value',
        "quote the value, or check the line's indentation",
    ),
    (
        "end of stream",
        "a quote is opened here and never closed",
        "close it, or double a quote that belongs to the text",
    ),
    ("',' or ']'", "the list opened by [ here is never closed or lacks a comma", "close it with ]"),
    ("',' or '}'", "the map opened by { here is never closed or lacks a comma", "close it with }"),
    ("expected ':'", 'this line is neither "key: value" nor "- item"', "write a colon and a blank behind the key"),
    (
        "expected key",
        "this does not fit the lines around it",
        "check indentation and quotes here and in the line above",
    ),
    ("expected '-'", "this does not fit the list above", "check the indentation"),
    ("block end", "this does not fit the lines around it", "check indentation and quotes here and in the line above"),
    ("escape", "an unknown escape in double quotes", "use single quotes for text with backslashes"),
    ("hexdecimal", "an unknown escape in double quotes", "use single quotes for text with backslashes"),
)
_OPENED: Final = ("end of stream", "flow", "expected ':'")  # the mistake is where the construct began
_GLUED = re.compile(r"\s*(?:- +)?[A-Za-z_][A-Za-z0-9_-]*(:)(?!//)[^\s:].*")


class _Mark(Protocol):
    """What the two marks of PyYAML, libyaml's and its own, have in common; both count from 0."""

    line: int
    column: int


def _position(mark: _Mark | None) -> tuple[int, int]:
    """1-based line and column."""
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def _syntax(error: yaml.MarkedYAMLError, lines: list[str], name: str) -> Problem:
    said = f"{error.problem} {error.context}"
    opened = error.context_mark is not None and any(words in said for words in _OPENED)
    line, column = _position(error.context_mark if opened else error.problem_mark)
    if "maximum nesting depth" in said:  # libyaml of PyYAML 6.0.4 looks so far ahead that its own limit comes first
        code, message = _TOO_DEEP
        return _at(code, message, "no setting is that deep", (name, line, column))
    text = lines[line - 1] if line <= len(lines) else ""
    tab = text.find("\t")
    if 0 <= tab < column and not text[: column - 1].strip():
        return _at("yaml.tab", "a tab cannot indent YAML", "use spaces, two for each level", (name, line, tab + 1))
    if "mapping values" in said:
        above = next((number for number in range(line - 1, 0, -1) if lines[number - 1].strip()), 0)
        glued = _GLUED.fullmatch(lines[above - 1]) if above else None
        if glued:
            here = (name, above, glued.start(1) + 1)
            return _at("yaml.syntax", "a blank is missing behind the colon", "write  key: value", here)
    if "${" in text and "flow" in said:
        where = (name, line, text.index("${") + 1)
        return _at("yaml.syntax", "a ${...} between brackets needs quotes", 'write  "${NAME}"', where)
    known = next(((ours, way_out) for words, ours, way_out in _SYNTAX if words in said), None)
    message, way_out = known or (f"not YAML: {error.problem}", "check this line and the one above")
    char = text[column - 1 : column] or "this"
    return _at("yaml.syntax", message.replace("CHAR", char), way_out, (name, line, column))


def _at(code: str, message: str, way_out: str, where: tuple[str, int, int]) -> Problem:
    name, line, column = where
    return Problem(code, message, Origin(Place.FILE, name, line, column, line, column + 1), help=way_out)


def _offset(text: str, offset: int, name: str) -> Origin:
    before = LINE_BREAK.split(text[:offset])
    line, column = len(before), len(before[-1]) + 1
    return Origin(Place.FILE, name, line, column, line, column + 1)
