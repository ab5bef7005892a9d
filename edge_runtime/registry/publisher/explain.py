"""What a change does, in words: made from the two states themselves, for whoever is going to sign the new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.registry.documents import (
    FLOORS_PATH,
    FloorsDocument,
    Release,
    Rollout,
    parse_floors,
    parse_rollout,
    rollout_path,
)
from edge_runtime.registry.publisher.repository import ROOT, TARGETS, delegated, releases_of, site_of
from edge_runtime.registry.publisher.rollouts import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tuf.api.metadata import Role, Targets

    from edge_runtime.registry.publisher.draft import Draft

    Names = Callable[[str], str]  # what to call a key by its id
    Releases = Mapping[tuple[str, int], tuple[Release, str]]


def explain(draft: Draft, name_of: Names) -> list[str]:
    """Return what will be different, a line each; of a role that says the same again how long it will be good.

    Args:
        draft: the change.
        name_of: returns what to call a key.

    Raises:
        DataError: a document is not as it should be.
    """
    lines: list[str] = []
    for role, one in draft.roles.items():
        if role == ROOT:
            found = list(_root(draft, name_of))
        elif role == TARGETS:
            found = list(_targets(draft, name_of))
        else:
            found = list(_rollout(draft, site_of(role) or role))
        until = f"good until {one.signed.expires:%Y-%m-%d}"
        lines.append(f"{role}, {until}" + (":" if found else ": the same again"))
        lines += [f"  {line}" for line in found]
    return lines


def _root(draft: Draft, name_of: Names) -> Iterator[str]:
    before = draft.base.root.signed.roles if draft.base is not None else {}
    for role, now in draft.root.roles.items():
        yield from _keys(role, before.get(role), now, name_of)


def _keys(what: str, before: Role | None, now: Role, name_of: Names) -> Iterator[str]:
    old = before.keyids if before is not None else []
    if before is not None and before.threshold == now.threshold and set(old) == set(now.keyids):
        return
    yield f"{what}: {now.threshold} of {len(now.keyids)} keys must sign it"
    yield from (f"  + {name_of(keyid)}" for keyid in now.keyids if keyid not in old)
    yield from (f"  - {name_of(keyid)}" for keyid in old if keyid not in now.keyids)


def _targets(draft: Draft, name_of: Names) -> Iterator[str]:
    before = draft.base.targets.signed if draft.base is not None else None
    yield from _releases(releases_of(before) if before is not None else {}, releases_of(draft.targets))
    old = draft.base.floors() if draft.base is not None else FloorsDocument()
    yield from _floors(old, parse_floors(draft.document(FLOORS_PATH), FLOORS_PATH))
    yield from _delegations(before, draft.targets, name_of)
    known = {FLOORS_PATH, *(f"releases/{model}/{number}.json" for model, number in releases_of(draft.targets))}
    yield from (f"something that is not known here: {path}" for path in draft.targets.targets if path not in known)


def _releases(before: Releases, now: Releases) -> Iterator[str]:
    for (model, number), (release, digest) in now.items():
        if (model, number) not in before:
            yield f"+ release {model} {number} (version {release.version}), manifest {digest}"
        elif before[model, number] != (release, digest):
            yield f"CHANGED release {model} {number}: manifest {before[model, number][1]} becomes {digest}"
    yield from (f"- release {model} {number}" for model, number in before if (model, number) not in now)


def _floors(before: FloorsDocument, now: FloorsDocument) -> Iterator[str]:
    for model in sorted({*before.models, *now.models}):
        old, new = before.of(model), now.of(model)
        if old.min_release != new.min_release:
            yield f"floor of {model}: {old.min_release} becomes {new.min_release}; what is below is banned for ever"
        yield from (
            f"revoked for ever, on every site: {model} {digest}" for digest in sorted(new.revoked - old.revoked)
        )
        yield from (f"NO LONGER revoked: {model} {digest}" for digest in sorted(old.revoked - new.revoked))


def _delegations(before: Targets | None, now: Targets, name_of: Names) -> Iterator[str]:
    old = delegated(before) if before is not None else ()
    for role in delegated(now):
        previous = before.get_delegated_role(role) if before is not None and role in old else None
        yield from _keys(f"rollouts of site {site_of(role)}", previous, now.get_delegated_role(role), name_of)
    yield from (f"- site {site_of(role)}" for role in old if role not in delegated(now))


def _rollout(draft: Draft, site: str) -> Iterator[str]:
    path = rollout_path(site)
    if path not in draft.documents:
        return
    now = parse_rollout(draft.documents[path], path)
    known = draft.base is not None and site in draft.base.rollouts
    before = draft.base.rollout(site) if draft.base is not None and known else Rollout(site, 0, now.issued, now.expires)
    if before.pause is not now.pause:
        yield "pause: boxes begin nothing new" if now.pause else "resume: boxes go on"
    yield from (f"kill {digest}" for digest in now.kill if digest not in before.kill)
    yield from (f"NO LONGER killed: {digest}" for digest in before.kill if digest not in now.kill)
    if before.assignments == now.assignments:
        return
    yield from (f"- {describe(one)}" for one in before.assignments if one not in now.assignments)
    yield from (f"{'  ' if one in before.assignments else '+ '}{describe(one)}" for one in now.assignments)
