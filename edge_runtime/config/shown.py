"""The configuration in force as it may be shown: plain values, secrets masked. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.config.schema import Settings


def shown(settings: Settings, mask: Callable[[str], str]) -> dict[str, object]:
    """Return ``settings`` as JSON-able values, every text as ``mask`` gives it back."""
    values: Mapping[str, object] = settings.model_dump(mode="json")
    return {name: _masked(value, mask) for name, value in values.items()}


def digest(document: Mapping[str, object]) -> str:
    """Return ``sha256:<hex>`` of the canonical JSON of ``document`` (sorted keys, no blanks).

    Taken of what is shown, because one of secrets would tell whoever guesses them that he is right.
    """
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _masked(value: object, mask: Callable[[str], str]) -> object:
    if isinstance(value, dict):
        return {name: _masked(inside, mask) for name, inside in value.items()}
    if isinstance(value, list):
        return [_masked(inside, mask) for inside in value]
    return mask(value) if isinstance(value, str) else value
