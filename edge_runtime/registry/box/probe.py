"""Asks one place of a registry what it has, and believes it only for a moment: nothing is kept, no lock is taken."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_runtime.core.errors import ConfigError
from edge_runtime.registry.box.beliefs import read_anchor
from edge_runtime.registry.carriers.open import open_carrier
from edge_runtime.registry.carriers.whole import fetch_from
from edge_runtime.registry.statements import stamp
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.trust.refresh import refresh

if TYPE_CHECKING:
    from edge_runtime.registry.box.order import Order


@dataclass(frozen=True, slots=True)
class Found:
    """What a place of a registry has for a box, in words; ``doubts`` are what hardly anybody means to be so."""

    text: str
    doubts: tuple[str, ...] = ()


def probe(order: Order, url: str) -> Found:
    """Return what the registry at ``url`` has for the box; what the box believes already counts.

    Raises:
        EdgeError: it cannot be had, or must not be believed.
    """
    kept = TrustStore(order.root).read()
    pinned = read_anchor(order.anchor)
    with closing(open_carrier(url, order.access)) as carrier:
        listing = carrier.listing()
        if listing is None:
            raise ConfigError("registry.url", f"{carrier.name}: has no listing")
        fetch = fetch_from(carrier, listing)
        trusted = refresh(kept.files, fetch, pinned, kept.floors, now=datetime.now(UTC), site=order.site).believed()
    models = {one.model: sorted(trusted.numbers(one.model)) for one in order.wants}
    said = ", ".join(f"{len(found)} releases of {model}" for model, found in models.items())
    if trusted.rollout_problem is not None:
        raise trusted.rollout_problem
    wish = f"rollout {trusted.rollout.seq}" if trusted.rollout is not None else "no rollout"
    doubts = [f"it has no release of {model}" for model, found in models.items() if not found]
    if trusted.rollout is None:
        doubts.append(f"it has no rollout for the site {order.site}")
    text = f"signed as it should be until {stamp(trusted.expires)}; {said}, {wish} for {order.site}"
    return Found(text, tuple(doubts))
