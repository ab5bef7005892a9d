"""Edits of who may sign what: the founding of a registry, sites, keys that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuf.api.metadata import DelegatedRole, Root, Targets

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import is_name, rollout_paths, rollout_role
from edge_runtime.registry.publisher.releases import found_floors
from edge_runtime.registry.publisher.repository import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    delegated,
    keyids_of,
    site_of,
)
from edge_runtime.registry.publisher.rollouts import found_rollout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.registry.publisher.draft import Draft
    from edge_runtime.registry.publisher.keys import PublisherKey

TOP = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)


def found(draft: Draft, keys: Mapping[str, Sequence[PublisherKey]], sites: Sequence[str]) -> None:
    """Make the first root, no releases, and a rollout that wants nothing for each site.

    Args:
        draft: a change without a base.
        keys: by role: root, targets, snapshot, timestamp and each ``rollout-SITE``.
        sites: their names.

    Raises:
        DataError: a site cannot be called so, or a threshold cannot be met.
    """
    root = draft.edit_root()
    thresholds = {ROOT: draft.profile.root_keys[1], TARGETS: draft.profile.targets_keys[1]}
    for role in TOP:
        for key in keys[role]:
            root.add_key(key.public, role)
        root.roles[role].threshold = thresholds.get(role, 1)
        _demand_threshold(root, role)
    found_floors(draft)
    for site in sites:
        add_site(draft, site, keys[rollout_role(site)])


def add_site(draft: Draft, site: str, keys: Sequence[PublisherKey]) -> None:
    """Give each of ``keys`` the right to choose among the releases for the boxes of ``site``.

    Raises:
        DataError: there is such a site, or it cannot be called so.
    """
    role = rollout_role(site)
    if not is_name(site) or not keys:
        message = f"a site cannot be called {site[:80]!r}: lower-case letters, digits, '.', '_', '-', 64 at most"
        raise DataError("registry.site", message, help="use the name of `site:` in the configuration of its boxes")
    if role in delegated(draft.targets):
        raise DataError("registry.site", f"there is a site {site} already", help="edge-runtime registry status")
    targets = draft.edit_targets()
    roles = targets.delegations.roles if targets.delegations is not None else None
    if roles is None:
        message = "this registry delegates in a way that is not known here"
        raise DataError("registry.delegations", message, help="another tool has made it: found a new one")
    roles[role] = DelegatedRole(role, [], 1, terminating=True, paths=[rollout_paths(site)])
    for key in keys:
        targets.add_key(key.public, role)
    found_rollout(draft, site)


def rotate(draft: Draft, role: str, old: str, new: PublisherKey) -> None:
    """Replace a key of ``role`` by another one.

    Args:
        draft: the change.
        role: ``root``, ``targets``, ``snapshot``, ``timestamp`` or ``rollout-SITE``.
        old: id of the key that goes.
        new: the key that comes.

    Raises:
        DataError: no such role, the old key is not of it, or the new one was of it before.
    """
    delegator = _edit_delegator(draft, role)
    _demand_key(draft, role, old)
    _demand_fresh(draft, role, new)
    delegator.add_key(new.public, role)
    delegator.revoke_key(old, role)
    _sign_again(draft, role)


def grant(draft: Draft, role: str, new: PublisherKey, threshold: int | None) -> None:
    """Let one more key sign ``role``, and perhaps demand another number of signatures.

    Raises:
        DataError: no such role, the key was of it before, or the threshold cannot be met.
    """
    delegator = _edit_delegator(draft, role)
    _demand_fresh(draft, role, new)
    delegator.add_key(new.public, role)
    if threshold is not None:
        delegator.get_delegated_role(role).threshold = threshold
    _demand_threshold(delegator, role)
    _sign_again(draft, role)


def revoke(draft: Draft, keyid: str, name: str) -> None:
    """Take all rights from a key.

    Raises:
        DataError: it has none, or a role would have too few keys left: rotate it then.
    """
    roles = [role for role in (*TOP, *delegated(draft.targets)) if keyid in keyids_of(draft.root, draft.targets, role)]
    if not roles:
        raise DataError(
            "key.unused", f"key {name} has no right in this registry", help="edge-runtime registry key list"
        )
    for role in roles:
        delegator = _edit_delegator(draft, role)
        delegator.revoke_key(keyid, role)
        _demand_threshold(delegator, role)
        _sign_again(draft, role)


def _edit_delegator(draft: Draft, role: str) -> Root | Targets:
    if role in TOP:
        return draft.edit_root()
    if role in delegated(draft.targets):
        return draft.edit_targets()
    known = ", ".join((*TOP, *delegated(draft.targets)))
    raise DataError("registry.role", f"there is no role {role[:80]!r}; roles: {known}", help="registry key list")


def _sign_again(draft: Draft, role: str) -> None:
    """Let what the role says be signed by its new keys; snapshot and timestamp are signed with every change."""
    if role == TARGETS:
        draft.edit_targets()
    elif (site := site_of(role)) is not None:
        draft.edit_rollout(site)


def _demand_key(draft: Draft, role: str, keyid: str) -> None:
    if keyid not in keyids_of(draft.root, draft.targets, role):
        message = f"{role} is not signed by key {keyid[:12]}"
        raise DataError("key.unused", message, help="edge-runtime registry key list shows whose key is whose")


def _demand_fresh(draft: Draft, role: str, key: PublisherKey) -> None:
    """Refuse a key that ever was of this role: boxes still have floors for it, and why it went may still be true."""
    if draft.base is None:
        return
    past = [one.signed for one in (*draft.base.past_roots, draft.base.root)]
    if any(key.keyid in root.roles[role].keyids for root in past if role in root.roles):
        message = f"key {key.name} has or had the right to sign {role}"
        raise DataError("key.used", message, help="edge-runtime registry key new NAME makes a fresh one")
    if key.keyid in keyids_of(draft.base.root.signed, draft.base.targets.signed, role):
        raise DataError("key.used", f"key {key.name} signs {role} already", help="edge-runtime registry key list")


def _demand_threshold(delegator: Root | Targets, role: str) -> None:
    there = delegator.get_delegated_role(role)
    if not 1 <= there.threshold <= len(set(there.keyids)):
        message = f"{role} would need {there.threshold} signatures and have {len(set(there.keyids))} keys"
        help_ = "edge-runtime registry key rotate ROLE OLD NEW replaces a key instead"
        raise DataError("key.threshold", message, help=help_)
