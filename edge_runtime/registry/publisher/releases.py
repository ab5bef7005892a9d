"""Edits of what the role ``targets`` says: releases, and what may not run any more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tuf.api.metadata import TargetFile

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import (
    FLOORS_PATH,
    FloorsDocument,
    ModelFloor,
    Release,
    dump_floors,
    parse_floors,
    release_fields,
    release_path,
)
from edge_runtime.registry.publisher.repository import releases_of

if TYPE_CHECKING:
    from edge_runtime.registry.publisher.draft import Draft


def add_release(draft: Draft, release: Release, manifest: bytes) -> None:
    """List a release; the same again changes nothing.

    Args:
        draft: the change.
        release: what is said about it.
        manifest: its OCI manifest, whose digest boxes will demand.

    Raises:
        DataError: the number is taken by other bytes, banned, or below the floor of the model.
    """
    path = release_path(release.model, release.release)
    target = TargetFile.from_data(path, manifest, ["sha256"])
    digest = "sha256:" + target.hashes["sha256"]
    floor = floors_of(draft).of(release.model)
    there = releases_of(draft.targets).get((release.model, release.release))
    called = f"release {release.release} of {release.model}"
    if there is not None and there[1] != digest:
        message = f"{called} exists with another content: {there[1]}, this one is {digest}"
        help_ = 'a release never changes: count up "release" in edge-model.json and pack it again'
        raise DataError("release.taken", message, help=help_)
    if release.release < floor.min_release:
        message = f"{called} is below the floor {floor.min_release}: no box would take it"
        raise DataError("release.floored", message, help="give it a number that was not used yet")
    if digest in floor.revoked:
        raise DataError("release.revoked", f"{called} was revoked: {digest}", help="make another release")
    if there is not None:
        return
    target.unrecognized_fields = {"custom": release_fields(release)}
    draft.edit_targets().targets[path] = target
    draft.manifests[release.model, release.release] = manifest


def revoke(draft: Draft, model: str, number: int) -> None:
    """Ban one release for ever: no box takes it, those that run it raise an alarm.

    Raises:
        DataError: there is no such release.
    """
    digest = find(draft, model, number)[1]
    floors = floors_of(draft)
    floor = floors.of(model)
    if digest not in floor.revoked:
        _put_floor(draft, floors, model, replace(floor, revoked=floor.revoked | {digest}))


def raise_floor(draft: Draft, model: str, number: int) -> None:
    """Ban all releases of a model below ``number`` for ever.

    Raises:
        DataError: the floor is higher already (floors never fall), or nothing would be left to run.
    """
    floors = floors_of(draft)
    floor = floors.of(model)
    if number < floor.min_release:
        message = f"the floor of {model} is {floor.min_release}; floors never fall, no box would forget it"
        raise DataError("release.floor", message, help="make a new release of the old model with a higher number")
    numbers = [
        one
        for (name, one), (_, digest) in releases_of(draft.targets).items()
        if name == model and digest not in floor.revoked
    ]
    if not any(one >= number for one in numbers):
        message = f"no release of {model} would be left: the highest is {max(numbers, default='none')}"
        raise DataError("release.floor", message, help="add the release first that should take over")
    if number > floor.min_release:
        _put_floor(draft, floors, model, replace(floor, min_release=number))


def found_floors(draft: Draft) -> None:
    """Put the first floors, which ban nothing."""
    draft.put(draft.edit_targets(), FLOORS_PATH, dump_floors(FloorsDocument()))


def floors_of(draft: Draft) -> FloorsDocument:
    """Return the floors as they will be."""
    return parse_floors(draft.document(FLOORS_PATH), FLOORS_PATH)


def find(draft: Draft, model: str, number: int) -> tuple[Release, str]:
    """Return a release and the digest of its manifest.

    Raises:
        DataError: there is none.
    """
    releases = releases_of(draft.targets)
    if (model, number) not in releases:
        known = [str(one) for name, one in releases if name == model]
        models = ", ".join(sorted({name for name, _ in releases})) or "none"
        there = f"it has {', '.join(known)}" if known else f"models: {models}"
        message = f"there is no release {number} of {model[:80]!r}; {there}"
        raise DataError("release.missing", message, help="edge-runtime registry release list")
    return releases[model, number]


def runnable(draft: Draft, model: str, number: int) -> str:
    """Return the digest of the manifest of a release that a rollout may name.

    Raises:
        DataError: there is none, it was revoked, or it lies below the floor: no box would take it.
    """
    digest = find(draft, model, number)[1]
    floor = floors_of(draft).of(model)
    banned = floor.bans(number, digest)
    if banned is not None:
        why = "was revoked" if banned == "revoked" else f"is below the floor {floor.min_release}"
        message = f"release {number} of {model} {why}: no box would take it"
        raise DataError("release.banned", message, help="choose another: edge-runtime registry release list")
    return digest


def _put_floor(draft: Draft, floors: FloorsDocument, model: str, floor: ModelFloor) -> None:
    raw = dump_floors(FloorsDocument({**floors.models, model: floor}))
    draft.put(draft.edit_targets(), FLOORS_PATH, raw)
