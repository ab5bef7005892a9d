"""Has a slot run another release that is on the box already: one step forward or back, by hand.

The box has the last word here, too: what was banned does not run whoever asks for it, and every file is hashed first. A
line that runs goes on with what it has loaded until it is started anew.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.registry.box.bans import banned
from edge_runtime.registry.box.memory import recall
from edge_runtime.registry.box.shelf import find, held_as
from edge_runtime.registry.store.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.registry.box.order import Order, Want
    from edge_runtime.registry.box.report import Held

_HELP = "edge-runtime models list shows what is on this box"


@dataclass(frozen=True, slots=True)
class Switched:
    """What a slot had, and what it has now."""

    slot: str
    before: Held | None
    now: Held


def activate(order: Order, slot: str, release: str | None) -> Switched:
    """Make a release current in ``slot``.

    Args:
        order: which box, and what its slots want.
        slot: name of the slot.
        release: number or digest; ``None`` = the one that waits there.

    Raises:
        BusyError: another process is at it.
        DataError: there is no such slot or release, it is damaged, or it may not run: codes ``release.*``, ``store.*``.
        PermissionDeniedError, StorageError: the disk refuses.
    """
    want = want_of(order, slot)
    with _opened(order) as store:
        wanted = choose(order, slot, release)
        _check(order, store, want, wanted)
        before = store.slots.links(slot).current
        store.slots.activate(slot, wanted.manifest)
        return Switched(slot, None if before is None else held_as(store.releases.find(before)), wanted)


def roll_back(order: Order, slot: str) -> Switched:
    """Make the release before the current one current again.

    Raises:
        BusyError, DataError, PermissionDeniedError, StorageError: as `activate`.
    """
    want = want_of(order, slot)
    with _opened(order) as store:
        links = store.slots.links(slot)
        wanted = None if links.previous is None else held_as(store.releases.find(links.previous), want.model)
        if wanted is None:
            raise DataError("store.no_previous", f"slot {slot}: there is no release to go back to", help=_HELP)
        _check(order, store, want, wanted)
        before = None if links.current is None else held_as(store.releases.find(links.current))
        store.slots.roll_back(slot)
        return Switched(slot, before, wanted)


@contextmanager
def _opened(order: Order) -> Iterator[ModelStore]:
    store = ModelStore(order.root)
    with store.updating():
        store.prepare()
        yield store


def choose(order: Order, slot: str, release: str | None) -> Held:
    """Return the release that is meant; arguments as of `activate`. Nothing is changed, and no lock is needed.

    Raises:
        DataError: there is no such slot or release.
        PermissionDeniedError, StorageError: the disk refuses.
    """
    want = want_of(order, slot)
    return _staged(order, want) if release is None else find(ModelStore(order.root), want.model, release)


def want_of(order: Order, slot: str) -> Want:
    """Return what the configuration says of a slot.

    Raises:
        DataError: code ``release.no_slot``: it has no model from a registry.
    """
    found = next((one for one in order.wants if one.slot == slot), None)
    if found is None:
        known = ", ".join(one.slot for one in order.wants) or "none"
        message = f"no slot {slot} has its model from a registry; those that have: {known}"
        raise DataError("release.no_slot", message, help="write  release: MODEL  in models.SLOT of the configuration")
    return found


def _staged(order: Order, want: Want) -> Held:
    last = recall(order.root)
    slots = () if last is None else last.report.slots
    staged = next((one.staged for one in slots if (one.slot, one.model) == (want.slot, want.model)), None)
    if staged is None:
        message = f"slot {want.slot}: no release waits to be activated"
        raise DataError("release.none_staged", message, help=f"{_HELP}; --release N names another one")
    return staged


def _check(order: Order, store: ModelStore, want: Want, wanted: Held) -> None:
    """Refuse what may not run, and what is not what it was."""
    refusal = banned(order.root, order.site, want.model, wanted)
    if refusal is not None:
        raise refusal
    stored = store.releases.find(wanted.manifest)
    if stored is None:
        message = f"release {wanted.release} of {want.model} is not on this box any more"
        raise DataError("release.not_here", message, help="edge-runtime models pull fetches what is rolled out")
    store.releases.verify(stored)
