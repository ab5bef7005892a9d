"""A careful reader of one small YAML document: YAML 1.2 core scalars, positions kept, tricks refused.

PyYAML alone reads ``no`` as False, ``12:30`` as 750, ``010`` as 8, takes the last of two equal keys, and needs a minute
and more for 200 000 opening brackets. Here the tree is built from parser events with an explicit stack, so the depth limit
acts before anything is nested; libyaml is used where PyYAML was built with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from edge_runtime.config.report import Problem
from edge_runtime.config.tree import Entry, Node, Origin, Place, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_BYTES: Final = 256 * 1024
LIMIT_DEPTH: Final = 32

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
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    wants_key: bool = True
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
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(self, event)
        return not self._dead

    def finish(self) -> Document:
        """Say what has been built."""
        if not self._dead:
            start = Origin(Place.FILE, self._name, 1, 1, 1, 2)
            if self._root is None or self._root.value is None and not self._root.broken:
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
        start, end = event.start_mark, event.end_mark
        return Origin(Place.FILE, self._name, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

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
            node = self._broken_tag(event.tag, origin)
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
            self._refuse("yaml.alias", f"aliases like *{event.anchor} are not allowed", origin, way_out)
        node = Node(None, origin, broken=True)
        if self._expects_key():
            self._key(node, None)
        else:
            self._add(node)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        origin = self._origin(event)
        if len(self._stack) >= LIMIT_DEPTH:
            self._refuse("yaml.depth", f"nested deeper than {LIMIT_DEPTH} levels", origin, "no setting is that deep")
            self._dead = True
            return
        if event.tag not in _TAGS:
            self._broken_tag(event.tag, origin)
        self._anchor(event.anchor, origin)
        is_key = self._expects_key()
        if is_key:
            message = "a key must be plain text, got a list or map"
            self._refuse("yaml.key", message, origin, "a value that starts with { or [ needs quotes")
        self._stack.append(_Open(origin, isinstance(event, yaml.MappingStartEvent), is_key))

    def _end(self, event: yaml.Event) -> None:
        opened = self._stack.pop()
        end = event.end_mark
        start = opened.origin
        origin = Origin(Place.FILE, self._name, start.line, start.column, end.line + 1, end.column + 1)
        if opened.is_key:
            self._key(Node(None, origin, broken=True), None)
        else:
            self._add(Node(opened.entries if opened.is_map else tuple(opened.items), origin))

    _handlers: Final[dict[type, Callable[[_Builder, yaml.Event], None]]] = {
        yaml.DocumentStartEvent: _document,
        yaml.ScalarEvent: _scalar,
        yaml.AliasEvent: _alias,
        yaml.SequenceStartEvent: _start,
        yaml.MappingStartEvent: _start,
        yaml.SequenceEndEvent: _end,
        yaml.MappingEndEvent: _end,
    }

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
            return
        if node.secret or not text:
            self._refuse("yaml.key", "a key must be plain text", node.origin)
        elif text == "<<" and node.raw is not None:
            way_out = "write the keys out, or put what cameras share under defaults:"
            self._refuse("yaml.merge", "merge keys (<<) are not allowed", node.origin, way_out)
        elif text in opened.entries:
            first = opened.entries[text].key.line
            message = f'key "{text[:64]}" is given twice, first in line {first}'
            self._refuse("yaml.duplicate", message, node.origin, f"remove one of lines {first} and {node.origin.line}")
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
            self._refuse(
                "yaml.anchor", f"anchors like &{anchor} are not allowed", origin, "remove it; a & needs quotes"
            )

    def _broken_tag(self, tag: str | None, origin: Origin) -> Node:
        shown = str(tag).replace("tag:yaml.org,2002:", "!!")
        message = f"tag {shown[:64]} is not known; the only one is !secret NAME"
        self._refuse("yaml.tag", message, origin, "a value that starts with ! needs quotes")
        return Node(None, origin, broken=True)


_SYNTAX: Final[tuple[tuple[str, str, str], ...]] = (  # parser's words, ours, way out
    ("cannot start any token", "a value cannot start with {char}", "put the value in quotes"),
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
    ("',' or '}'", "the map opened by {{ here is never closed or lacks a comma", "close it with }"),
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
_GLUED = re.compile(r"\s*(?:- +)?[A-Za-z_][A-Za-z0-9_-]*(:)[^\s:/].*")


def _syntax(error: yaml.MarkedYAMLError, lines: list[str], name: str) -> Problem:
    mark = error.problem_mark
    said = f"{error.problem or ''} {error.context or ''}"
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    context = error.context_mark
    if context is not None and ("end of stream" in said or "flow" in said):
        line, column = context.line, context.column
    text = lines[line] if line < len(lines) else ""
    if "\t" in text[: column + 1] and not text[:column].strip():
        tab = text.index("\t")
        message, way_out = "a tab cannot indent YAML", "use spaces, two for each level"
        return Problem(
            "yaml.tab", message, Origin(Place.FILE, name, line + 1, tab + 1, line + 1, tab + 2), help=way_out
        )
    above = line - 1
    while above >= 0 and not lines[above].strip():
        above -= 1
    glued = _GLUED.fullmatch(lines[above]) if above >= 0 and "mapping values" in said else None
    if glued:
        origin = Origin(Place.FILE, name, above + 1, glued.start(1) + 1, above + 1, glued.end(1) + 1)
        return Problem("yaml.syntax", "a blank is missing behind the colon", origin, help="write  key: value")
    char = text[column] if column < len(text) else "this"
    message, way_out = f"not YAML: {error.problem}", None
    for words, ours, help_ in _SYNTAX:
        if words in said:
            message, way_out = ours.format(char=char), help_
            break
    return Problem(
        "yaml.syntax", message, Origin(Place.FILE, name, line + 1, column + 1, line + 1, column + 2), help=way_out
    )


def _offset(text: str, offset: int, name: str) -> Origin:
    before = LINE_BREAK.split(text[:offset])
    line, column = len(before), len(before[-1]) + 1
    return Origin(Place.FILE, name, line, column, line, column + 1)
