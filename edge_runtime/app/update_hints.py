"""What a person should know before the first update of a model: whether it can come, and what is left when it fails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_runtime.app.finding import Finding
from edge_runtime.app.registry_order import order_of_settings
from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.registry.box.memory import recall
from edge_runtime.registry.conditions import opens_in_s, parse_window
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.priority import can_come_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.config.schema import Settings
    from edge_runtime.registry.box.order import Order

_DAY_S = 86_400


def update_hints(settings: Settings) -> Iterator[Finding]:
    """Look at the configuration and at the disk; no registry is asked."""
    order = order_of_settings(settings)
    if order is None:
        return
    try:
        yield from _fallbacks(settings, order)
        yield from _windows(settings, order)
    except EdgeError as error:
        yield Finding("warn", f"what is deployed cannot be read: {error.message}", error.help or "")
    if not can_come_back():
        what = "this user may not bring a process back to normal priority, so new models are loaded at normal priority"
        yield Finding("warn", what, "LimitNICE=+0 in the unit, as deploy/ has it")
    if settings.updates.hold:
        yield Finding("warn", "updates.hold is set: no update begins", "remove it when updates are wanted")


def _fallbacks(settings: Settings, order: Order) -> Iterator[Finding]:
    store = ModelStore(order.root)
    for want in order.wants:
        if settings.models[want.slot].factory is None and store.slots.links(want.slot).previous is None:
            what = f"model {want.slot}: nothing is left to judge with when its release is taken away or damaged"
            yield Finding("warn", what, f"models.{want.slot}.factory: PATH of the model that came with the line")


def _windows(settings: Settings, order: Order) -> Iterator[Finding]:
    last = recall(order.root)
    asked = {} if last is None else {one.slot: one.terms for one in last.report.slots if one.terms is not None}
    own = settings.updates.window
    for want in order.wants:
        terms = asked.get(want.slot)
        texts = [one for one in (own, None if terms is None else terms.window) if one is not None]
        if not texts:
            continue
        try:
            opens_s = opens_in_s([parse_window(one) for one in texts], datetime.now(UTC), datetime.astimezone)
        except DataError as error:
            yield Finding("fail", f"model {want.slot}: {error.message}", error.help or "")
            continue
        name = f"model {want.slot}: its maintenance window ({' and '.join(texts)})"
        if opens_s is None:
            yield Finding("fail", f"{name} does not open within two weeks", "let the two of them meet")
        else:
            when = "is open" if opens_s == 0 else f"opens in {_span(opens_s)}"
            yield Finding("ok", f"{name} {when}")


def _span(seconds: float) -> str:
    return f"{seconds / _DAY_S:.1f} days" if seconds > 2 * _DAY_S else f"{seconds / 3600:.1f} hours"
