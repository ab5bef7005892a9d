"""Edits of what a site wants: which of its slots should run which release.

Order of the assignments of one model: those that name more stand before those that name less, so that a line which was
set to a release of its own stays there when the site goes on; and of two that match the same, one with a lower percent
stands first, because a box outside of it looks at the next.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.registry.conditions import check
from edge_runtime.registry.documents import (
    KEYS_OF_MATCH,
    Assignment,
    Match,
    Rollout,
    dump_rollout,
    parse_rollout,
    rollout_path,
    rollout_role,
)
from edge_runtime.registry.publisher.releases import runnable

if TYPE_CHECKING:
    from edge_runtime.registry.publisher.draft import Draft

ALL = 100.0


def assign(draft: Draft, site: str, wanted: Assignment) -> None:
    """Let the slots that ``wanted`` matches run its release.

    An assignment of the same model, match and release is replaced (its percent may rise so). One that has 100 % takes
    the place of all others with this match; one with less is put before them, and they stay for the other boxes.

    Raises:
        DataError: no such site, no such release, no box would take it, or its window or gates mean nothing.
    """
    runnable(draft, wanted.model, wanted.release)
    check(wanted)
    before = rollout_of(draft, site)
    if wanted.percent < ALL and not wanted.salt:
        wanted = replace(wanted, salt=_salt(before, wanted))
    rest = [one for one in before.assignments if not _replaces(wanted, one)]
    place = next((n for n, one in enumerate(rest) if one.model == wanted.model and _comes_before(wanted, one)), None)
    rest.insert(len(rest) if place is None else place, wanted)
    if tuple(rest) == before.assignments:
        return
    put(draft, replace(before, assignments=tuple(rest)))


def unassign(draft: Draft, site: str, model: str, match: Match) -> None:
    """Take back all assignments of ``model`` with this match: their slots keep what they run.

    Raises:
        DataError: there is none, or no such site.
    """
    before = rollout_of(draft, site)
    gone = [one for one in before.assignments if one.model == model and one.match == match]
    if not gone:
        message = f"{site} has no assignment of {model[:80]} for {_where(match)}"
        raise DataError("rollout.missing", message, help=f"edge-runtime registry rollout show --site {site}")
    put(draft, replace(before, assignments=tuple(one for one in before.assignments if one not in gone)))


def pause(draft: Draft, site: str, *, paused: bool) -> None:
    """Let boxes of ``site`` begin nothing new, or go on.

    Raises:
        DataError: no such site.
    """
    before = rollout_of(draft, site)
    if before.pause is not paused:
        put(draft, replace(before, pause=paused))


def kill(draft: Draft, site: str, digest: str) -> None:
    """Forbid a manifest on ``site``: no box takes it, those that run it raise an alarm.

    Args:
        draft: the change.
        site: where.
        digest: of the manifest.

    Raises:
        DataError: no such site.
    """
    before = rollout_of(draft, site)
    if digest not in before.kill:
        put(draft, replace(before, kill=(*before.kill, digest)))


def found_rollout(draft: Draft, site: str) -> None:
    """Put the first rollout of a site, which wants nothing."""
    put(draft, Rollout(site, 0, draft.now, draft.now + timedelta(days=draft.profile.days(rollout_role(site)))))


def renew_rollout(draft: Draft, site: str) -> None:
    """Let the rollout of ``site`` say the same again for longer."""
    put(draft, rollout_of(draft, site))


def rollout_of(draft: Draft, site: str) -> Rollout:
    """Return what ``site`` will want.

    Raises:
        DataError: there is no such site.
    """
    path = rollout_path(site)
    if path not in draft.documents and draft.base is not None:
        return draft.base.rollout(site)
    return parse_rollout(draft.documents[path], path)


def put(draft: Draft, rollout: Rollout) -> None:
    """Make ``rollout`` what its site wants, with the next sequence number and a life of its own."""
    role = draft.edit_rollout(rollout.site)
    now = draft.now.replace(microsecond=0)
    path = rollout_path(rollout.site)
    seq = rollout.seq if path in draft.documents else rollout.seq + 1  # two edits of one draft are one rollout
    draft.put(role, path, dump_rollout(replace(rollout, seq=seq, issued=now, expires=role.expires)))


def weight(match: Match) -> int:
    """Return how much a match names: the number of its parts."""
    return sum(bool(getattr(match, key)) for key in KEYS_OF_MATCH) + len(match.labels)


def describe(one: Assignment) -> str:
    """Return an assignment in words."""
    extra = [
        f"{one.percent:g} % of the boxes" if one.percent < ALL else "",
        f"ring {one.ring}" if one.ring else "",
        f"mode {one.mode}" if one.mode != "active" else "",
        f"window {one.window}" if one.window else "",
        "after an operator's approval" if one.approve == "operator" else "",
        f"{one.bake_s:g} s on probation" if one.bake_s else "",
        "held after a regression" if one.on_regression == "hold" else "",
        *(f"{name} {value}" for name, value in one.gates.items()),
    ]
    words = ", ".join(text for text in extra if text)
    return f"{one.model} {one.release} for {_where(one.match)}" + (f" ({words})" if words else "")


def _where(match: Match) -> str:
    parts = [f"{key} {' or '.join(getattr(match, key))}" for key in KEYS_OF_MATCH if getattr(match, key)]
    parts += [f"{key}={' or '.join(values)}" for key, values in match.labels.items()]
    return ", ".join(parts) or "every slot that wants it"


def _replaces(wanted: Assignment, one: Assignment) -> bool:
    same = one.model == wanted.model and one.match == wanted.match
    return same and (one.release == wanted.release or wanted.percent >= ALL)


def _comes_before(wanted: Assignment, one: Assignment) -> bool:
    if wanted.match == one.match:
        return wanted.percent <= one.percent
    return weight(wanted.match) >= weight(one.match)


def _salt(rollout: Rollout, wanted: Assignment) -> str:
    """Return the salt of an earlier step of this stage: with it, more percent are the same boxes and some more."""
    same = (one.salt for one in rollout.assignments if _replaces(wanted, one) and one.salt)
    return next(same, f"{wanted.model}-{wanted.release}-{rollout.seq + 1}")
