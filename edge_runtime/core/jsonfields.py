"""Reading a JSON document that strangers wrote: strict about the text, and every wrong value is said at once."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NoReturn, TypeGuard

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


def load_object(raw: bytes, where: str, *, limit_bytes: int, depth_max: int | None = None) -> dict[str, object]:
    """Return the one JSON object in ``raw`` (UTF-8; no duplicate keys, NaN, or half surrogate pairs).

    Args:
        raw: the bytes of the file.
        where: name of the file for messages.
        limit_bytes: more than that is refused unread.
        depth_max: how many objects and lists may lie in one another, the top one included; ``None`` = as many as
            Python's own stack allows.

    Raises:
        DataError: code ``manifest.unreadable``.
    """

    def refuse(text: str) -> NoReturn:
        raise DataError("manifest.unreadable", f"{where}: {text}", help="expected one JSON object")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        counts = Counter(key for key, _ in pairs)
        if len(counts) < len(pairs):
            refuse(f"key {counts.most_common(1)[0][0]!r} is written twice in one object")
        return dict(pairs)

    if len(raw) > limit_bytes:
        refuse(f"{len(raw)} bytes, the limit is {limit_bytes}")
    try:
        data = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=lambda name: refuse(f"{name} is not a JSON number"),
        )
        json.dumps(data, ensure_ascii=False).encode("utf-8")  # ValueError for half of a surrogate pair
    except UnicodeDecodeError as error:
        message = f"{where}: not UTF-8 at byte {error.start}"
        raise DataError("manifest.unreadable", message, help="save it as UTF-8") from error
    except json.JSONDecodeError as error:
        message = f"{where}:{error.lineno}:{error.colno}: not JSON: {error.msg}"
        raise DataError("manifest.unreadable", message, help="compare with a package that works") from error
    except (RecursionError, ValueError) as error:  # nesting without end; integers of thousands of digits
        message = f"{where}: not a sensible JSON document: {error}"
        raise DataError("manifest.unreadable", message, help="compare with a package that works") from error
    if not isinstance(data, dict):
        refuse(f"expected an object at the top, found {_kind(data)}")
    if depth_max is not None and _is_deeper(data, depth_max):
        refuse(f"nested deeper than {depth_max} levels")
    return data


def _is_deeper(value: object, limit: int) -> bool:
    level = [value]  # what lies at the same depth; level by level, so that nothing here recurses
    for _ in range(limit):
        parts = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [one for part in parts for one in part]
    return any(isinstance(one, dict | list) for one in level)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")  # noqa: PLR2004 - a line of a terminal
    if value is None:
        return "null"
    return "an object" if isinstance(value, dict) else "a list"


@dataclass(frozen=True, slots=True)
class Section:
    """Reads one JSON object key by key; says what is wrong into `problems` and returns ``None`` for it."""

    data: Mapping[str, object]
    path: str
    problems: list[str]
    ignored: list[str]
    seen: set[str] = field(default_factory=set)

    def get(self, key: str) -> object:
        """Return the raw value of ``key``, ``None`` when absent, and remember that somebody asked."""
        self.seen.add(key)
        return self.data.get(key)

    def wrong(self, key: str, expected: str, value: object) -> None:
        """Note that ``key`` is not as ``expected``."""
        self.problems.append(f"{self.path}{key}: expected {expected}, found {_kind(value)}")

    def section(self, key: str, *, open_ended: bool = False) -> Section:
        """Return the object under ``key``, an empty one when absent; ``open_ended`` = any key may stand in it."""
        value = self.get(key)
        if not isinstance(value, dict | None):
            self.wrong(key, "an object", value)
        inner = Section(value if isinstance(value, dict) else {}, f"{self.path}{key}.", self.problems, self.ignored)
        if open_ended:
            inner.seen.update(inner.data)
        return inner

    def sections(self, key: str) -> list[Section]:
        """Return the objects of a list, or the one object that stands in its place."""
        value = self.get(key)
        items = value if isinstance(value, list) else [value]
        found = []
        for index, item in enumerate(items):
            path = f"{key}[{index}]" if isinstance(value, list) else key
            # every section of its own: one that is wrong does not hide what is wrong in the next
            if isinstance(item, dict):
                found.append(Section(item, f"{self.path}{path}.", self.problems, self.ignored))
            else:
                self.wrong(path, "an object", item)
        return found

    def mapping(self, key: str) -> dict[str, object]:
        """Return the object under ``key`` as it is, whatever its keys."""
        return dict(self.section(key, open_ended=True).data)

    def text(self, key: str, *, required: bool = False, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return a text that matches ``pattern`` as a whole."""
        value = self.get(key)
        if value is None and not required:
            return None
        if not isinstance(value, str):
            self.wrong(key, "a text", value)
            return None
        if pattern is not None and not pattern.fullmatch(value):
            self.wrong(key, f"a text like {pattern.pattern}", value)
        return value

    def choice(self, key: str, allowed: Sequence[str]) -> str | None:
        """Return one of ``allowed``."""
        value = self.get(key)
        if value is None or value in allowed:
            return None if value is None else str(value)
        hint = get_close_matches(str(value).lower(), [one.lower() for one in allowed], 1)
        suffix = f" (did you mean {hint[0]!r}?)" if hint and isinstance(value, str) else ""
        self.wrong(key, "one of " + ", ".join(allowed) + suffix, value)
        return None

    def number(self, key: str, low: float, high: float) -> float | None:
        """Return a finite number from ``low`` to ``high``."""
        value = self.get(key)
        if value is None:
            return None
        if not _is_number(value, low, high):
            self.wrong(key, f"a number from {low:g} to {high:g}", value)
            return None
        return float(value)

    def integer(self, key: str, low: int, high: int) -> int | None:
        """Return a whole number from ``low`` to ``high``."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.wrong(key, f"a whole number from {low} to {high}", value)
            return None
        return value

    def boolean(self, key: str) -> bool | None:
        """Return true or false."""
        value = self.get(key)
        if not isinstance(value, bool | None):
            self.wrong(key, "true or false", value)
            return None
        return value

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...] | None:
        """Return 1 or 3 numbers (one for all channels or one each)."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) not in (1, 3) or not all(_is_number(v, low, high) for v in value):
            self.wrong(key, f"a list of 1 or 3 numbers from {low:g} to {high:g}", value)
            return None
        return tuple(float(v) for v in value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of non-empty texts, each of which can be written as UTF-8."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(_is_written(v) for v in value):
            self.wrong(key, "a list of non-empty texts", value)
            return None
        return tuple(value)

    def text_map(self, key: str) -> dict[str, str] | None:
        """Return an object of texts, whatever its keys."""
        if key not in self.data:
            return None
        inner = self.section(key)
        return {name: value for name in inner.data if (value := inner.text(name, required=True)) is not None}

    def text_lists(self, key: str) -> tuple[tuple[str, ...], ...] | None:
        """Return a list of lists of texts, none of them empty."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(
            isinstance(v, list) and v and all(map(_is_written, v)) for v in value
        ):
            self.wrong(key, "a list of lists of texts", value)
            return None
        return tuple(map(tuple, value))

    def close(self, *, also: Sequence[str] = ()) -> None:
        """Sort the keys nobody asked for into slips of the pen and things of a later version."""
        known = self.seen | set(also)
        for key in [
            key for key in self.data if key not in known
        ]:  # looking for what is close costs 50 times the rest of a document
            close = get_close_matches(key, sorted(known), 1, cutoff=0.8)
            if close:
                self.problems.append(f"{self.path}{key}: unknown key (did you mean {close[0]!r}?)")
            else:
                self.ignored.append(f"{self.path}{key}")


def _is_written(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not _HALF_PAIR.search(value)


def _is_number(value: object, low: float = -math.inf, high: float = math.inf) -> TypeGuard[float]:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high and math.isfinite(value)
    )
