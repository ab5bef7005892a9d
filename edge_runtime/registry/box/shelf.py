"""The releases on a box, as its slots see them; and the switch of a slot from one to another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.core.manifest import MANIFEST_NAME, SIZE_LIMIT_BYTES, parse_manifest
from edge_runtime.registry.box.order import Want
from edge_runtime.registry.box.report import Held, SlotReport, Standing
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_runtime.registry.box.memory import Look
    from edge_runtime.registry.statements import Release
    from edge_runtime.registry.store.releases import StoredRelease
    from edge_runtime.registry.store.store import ModelStore


def facts_of(release: Release, seq: int) -> dict[str, object]:
    """Return what is noted beside a release that is stored; `held_as` reads it."""
    return {"model": release.model, "release": release.release, "version": release.version, "seq": seq}


def held_as(stored: StoredRelease | None, model: str | None = None) -> Held | None:
    """Return a stored release as slots see it, ``None`` when it is not there, damaged, or not of ``model``.

    Its identity is the one that its manifest vouches for, whatever lies in the directory.
    """
    if stored is None:
        return None
    name, number, version = _notes(stored)
    if number is None or (model is not None and name != model):
        return None
    return Held(number, version, stored.artifact.files[MANIFEST_NAME].digest, stored.digest)


def _notes(stored: StoredRelease) -> tuple[str, int | None, str]:
    """Return model, number and version of a release; the number is ``None`` when nothing says them."""
    name, number, version = (stored.facts.get(key) for key in ("model", "release", "version"))
    if isinstance(name, str) and isinstance(number, int) and isinstance(version, str):
        return name, number, version
    try:  # the notes are lost: the package says it too
        package = parse_manifest(read_limited(stored.directory / MANIFEST_NAME, SIZE_LIMIT_BYTES))
    except (FileNotFoundError, EdgeError):
        return "", None, ""
    return package.name, package.release, package.version


def on_disk(store: ModelStore, want: Want) -> SlotReport:
    """Return how a slot is, as far as the disk says it; nothing is hashed."""
    links = store.slots.links(want.slot)
    current, previous = (
        None if one is None else held_as(store.releases.find(one), want.model or None)
        for one in (links.current, links.previous)
    )
    standing = Standing.EMPTY if current is None else Standing.KEPT
    return SlotReport(want.slot, want.model, want.channel, standing, current=current, previous=previous)


def is_vacant(store: ModelStore, want: Want) -> bool:
    """Tell whether a slot has nothing to run: no release, or one of another model, from before it was reconfigured.

    A damaged one counts: it comes back.
    """
    digest = store.slots.links(want.slot).current
    stored = None if digest is None else store.releases.find(digest)
    return digest is None or (
        stored is not None and held_as(stored) is not None and held_as(stored, want.model) is None
    )


def survey(store: ModelStore, wants: Iterable[Want], last: Look | None) -> list[SlotReport]:
    """Return all slots: those that are wanted, as the last look left them, and those that only the disk knows."""
    before = {} if last is None else {one.slot: one for one in last.report.slots}
    known = [*wants]
    known += [
        Want(name, before[name].model if name in before else "", "")
        for name in store.slots.names()
        if name not in [one.slot for one in known]
    ]
    found = []
    for want in known:
        now, then = on_disk(store, want), before.get(want.slot)
        found.append(now if then is None else as_it_is(then, now))
    return found


def as_it_is(then: SlotReport, now: SlotReport) -> SlotReport:
    """Return how a slot is that was looked at ``then``, and is found on the disk as it is ``now``."""
    if then.current == now.current and then.model == now.model:
        return replace(then, previous=now.previous)
    if now.current is not None and now.current == then.staged:
        return replace(now, standing=Standing.CURRENT, seq=then.seq, wanted=then.wanted)
    return now


def stored_of(store: ModelStore, model: str) -> Iterator[Held]:
    """Yield all releases of a model that are on the box, in no order."""
    for stored in store.releases.all():
        held = held_as(stored, model)
        if held is not None:
            yield held


def find(store: ModelStore, model: str, wanted: str) -> Held:
    """Return the release of ``model`` that ``wanted`` names: a number, or a digest (of either kind) or its beginning.

    Raises:
        DataError: code ``release.not_here``: none, or several.
    """
    name = wanted if wanted.startswith("sha256:") else f"sha256:{wanted}"
    here = sorted(stored_of(store, model), key=lambda held: held.release)
    found = [one for one in here if str(one.release) == wanted]
    found = found or [one for one in here if one.manifest.startswith(name) or one.digest.startswith(name)]
    if len(found) != 1:
        listed = ", ".join(str(one.release) for one in here) or "none"
        what = "is not on this box" if not found else "could be several"
        message = f"release {wanted} of {model} {what}; here are: {listed}"
        raise DataError("release.not_here", message, help="edge-runtime models pull fetches what is rolled out")
    return found[0]
