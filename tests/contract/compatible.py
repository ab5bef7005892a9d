"""Tells whether a new version of a JSON Schema keeps what an old one promised: additions only."""

from __future__ import annotations

from typing import Any

_WORDS = ("title", "description", "$id", "$schema")
_MORE = ("properties", "required", "additionalProperties", *_WORDS)  # may be said of what was just "an object" before


def broken(old: Any, new: Any, where: str = "", *, sent: bool = True) -> list[str]:
    """Return what the new schema takes back, one sentence each.

    Of a document that the box sends, ``required`` may grow: readers can rely on more. Of one that is sent to the box
    it may shrink: less is asked of senders.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return _objects(old, new, where, sent=sent)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [said for a, b in zip(old, new, strict=True) for said in broken(a, b, where, sent=sent)]
    return [] if old == new else [f"{where}: {old!r} became {new!r}"]


def _objects(old: dict[str, Any], new: dict[str, Any], where: str, *, sent: bool) -> list[str]:
    found = []
    for key, before in old.items():
        here = f"{where}/{key}"
        if key in _WORDS:
            continue
        if key == "required":
            less, more = (before, new.get(key, [])) if sent else (new.get(key, []), before)
            found += [f"{here}: {name} changed" for name in less if name not in more]
        elif key not in new:
            found.append(f"{here} is gone")
        else:
            found += broken(before, new[key], here, sent=sent)
    added = [key for key in new if key not in old]
    if not where.endswith("/properties"):
        may = _MORE if sent else (*_MORE[:1], *_WORDS)
        found += [f"{where}/{key} is new and may narrow" for key in added if key not in may]
    return found
