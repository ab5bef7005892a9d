"""The publisher's desk: reads and verifies what there is, shows a change, has it signed, and publishes it whole.

Order of one change: read, edit, explain and ask, unlock the keys (people are slow: no lock is held meanwhile), push
blobs; then under the lock of the registry: read and edit again, sign, verify the result as a box would, write it in one
step. A crash anywhere leaves the old listing or the new one; what was pushed and not signed is taken by nobody.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from edge_runtime.core.errors import BusyError, DataError, InvariantError
from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.documents import parse_stamp
from edge_runtime.registry.publisher.draft import Draft
from edge_runtime.registry.publisher.explain import explain
from edge_runtime.registry.publisher.home import Seen
from edge_runtime.registry.publisher.pending import rebased, write_pending
from edge_runtime.registry.publisher.repository import TIMESTAMP, Repository, load
from edge_runtime.registry.publisher.tree import METADATA, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from edge_runtime.registry.carriers.carrier import Publication
    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.publisher.home import Home, Profile
    from edge_runtime.registry.publisher.keys import Keyring

    Edit = Callable[[Draft], None]

_CLOCK_SLACK: Final = timedelta(minutes=5)
_CLOCK_AHEAD: Final = timedelta(days=400)
_CLOCK_HELP: Final = (
    "set the clock (UTC); if it was wrong then and is right now: edge-runtime registry key rotate timestamp OLD NEW"
)
_ONLINE_HELP: Final = (
    "run it on the machine that has them; one that is lost is replaced: edge-runtime registry key rotate ROLE OLD NEW"
)
_PAUSE_S: Final = 0.2
PATIENCE_S: Final = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Preview:
    """What is about to be signed.

    Attributes:
        changes: in words, see `explain`.
        signers: names of the keys that will sign, by role; each key at most once per role.
        lacking: how many signatures will still be missing, by role.
    """

    changes: tuple[str, ...]
    signers: Mapping[str, tuple[str, ...]]
    lacking: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change.

    Attributes:
        changes: in words; none = there was nothing to do.
        versions: of the roles that were published; none when nothing was.
        pending: the file that others have to sign, if there were too few keys.
        lacking: how many signatures are missing then, by role.
    """

    changes: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    pending: Path | None = None
    lacking: Mapping[str, int] = field(default_factory=dict)


class Desk:
    """One publisher at one registry; one thread."""

    def __init__(
        self,
        home: Home,
        registry: Publication,
        keyring: Keyring,
        *,
        now: Callable[[], datetime],
        confirm: Callable[[Preview], None],
        tree: Path | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Use the parts; nothing is read yet.

        Args:
            home: the publisher's directory.
            registry: where to publish.
            keyring: what can be signed with.
            now: tells the time in UTC.
            confirm: shows what is about to be signed, and raises when the person does not want it.
            tree: directory where the plain TUF tree is kept too, see `tree`.
            patience_s: how long to wait for other publishers.
        """
        self.home, self.registry, self.keyring = home, registry, keyring
        self._blobs: dict[str, bytes] = {}
        self._now, self.confirm, self._tree, self._patience_s = now, confirm, tree, patience_s

    def read(self, *, recover: bool = False) -> tuple[Repository, str]:
        """Return the verified repository, and the token of the listing that it was read from.

        Raises:
            DataError: there is none, or it is forged, or older than what was seen.
            EdgeError: it cannot be reached.
        """
        root = self.home.root()
        if root is None:
            message = f"{self.home.path} has no root.json, so nothing in the registry could be believed"
            help_ = "edge-runtime registry init founds a registry; to join one, copy its root.json there"
            raise DataError("publisher.no_root", message, help=help_)
        listing = self.registry.listing()
        if listing is None:
            raise InvariantError("registry.listing", "a listing that was not known before is said to be unchanged")
        files = {name: self._blob(blob) for name, blob in listing.files.items()}
        return load(files, root, self.home.seen(), recover=recover), listing.token

    def carry_out(
        self,
        edit: Edit,
        profile: Profile,
        *,
        recover: bool = False,
        renew: bool = False,
        push: Callable[[], None] | None = None,
        pending: Path | None = None,
    ) -> Outcome:
        """Make one change; see the module.

        Args:
            edit: changes a draft; called more than once, each time with the state of then.
            profile: how long signatures are good for.
            recover: see `load`.
            renew: sign snapshot and timestamp anew even if nothing else changes.
            push: writes blobs that the change will name.
            pending: where to put the change when signatures are missing; ``None`` = in the home.

        Raises:
            DataError, UnavailableError, StorageError, PermissionDeniedError: it could not be done; nothing was changed.
            BusyError: others were at it all the time.
        """
        drafted = self._drafted(edit, profile, recover=recover)[0]
        if not drafted.roles and not renew:
            if drafted.base is not None and not recover:
                self._catch_up(drafted.base)
            return Outcome()
        if not drafted.roles:
            self._demand_online(drafted)
        shown = self._show(drafted)
        deadline_s = time.monotonic() + self._patience_s
        if push is not None:
            self._patiently(push, deadline_s)
        while True:
            attempt = partial(self._attempt, edit, profile, shown, pending, recover=recover, renew=renew)
            found = self._patiently(attempt, deadline_s)
            if isinstance(found, Outcome):
                return found
            shown = self._show(found)  # others have changed what this change does: asked again, without the lock

    def lend(self, profile: Profile, longer: Profile) -> Repository:
        """Return what is signed with a snapshot and a timestamp of its own, which live as long as ``longer`` says.

        They are for a medium and are not published. The registry goes on with versions above theirs: a box that saw the
        medium first believes the registry afterwards, and one that has seen the registry refuses the older medium.

        Raises:
            DataError: the keys of snapshot and timestamp are not here.
            EdgeError: it could not be done; nothing was changed.
        """
        before, _ = self.read()
        online = self._on_time(Draft(before, self._now(), profile)).online()
        signers = {role: tuple(map(self.name_of, keyids)) for role, keyids in online}
        days = f"a snapshot and a timestamp that are good for {longer.days(TIMESTAMP)} days, for a bundle"
        self.confirm(Preview((days,), signers, {}))
        for _, keyids in online:
            for keyid in filter(self.keyring.holds, keyids):
                self.keyring.signer(keyid)
        with self.registry.lock():
            repository, token = self.read()
            draft = self._on_time(Draft(repository, self._now(), longer))
            lent = self._verified(draft.finish(self.keyring, self.home.seen()), draft)
            draft = Draft(lent, draft.now, profile)
            files = draft.finish(self.keyring, self.home.seen())
            new = self._verified(files, draft)
            self.put(new, token)
        return lent

    def found(self, draft: Draft, pending: Path | None = None) -> Outcome:
        """Publish the first listing of a registry; called again after a crash it goes on where it was.

        Raises:
            DataError: there is another registry already.
            EdgeError: it could not be done.
        """
        self._show(draft)
        with self.registry.lock():
            return self._settle(draft, None, pending)

    def publish_pending(self, draft: Draft) -> Outcome:
        """Publish a change that has all signatures.

        Raises:
            DataError: signatures are missing, or the registry has changed meanwhile.
            EdgeError: it could not be done.
        """
        lacking = draft.lacking()
        if lacking:
            words = ", ".join(f"{count} for {role}" for role, count in lacking.items())
            message = f"it still needs signatures: {words}"
            raise DataError("pending.unsigned", message, help="edge-runtime registry sign FILE, by another person")
        if draft.base is None:
            return self.found(draft)
        self._show(draft)
        with self.registry.lock():
            repository, token = self.read(recover=True)
            return self._settle(rebased(draft, repository), token, None)

    def put(self, new: Repository, token: str | None) -> None:
        """Publish a whole state that was verified; the lock is held.

        What a crash leaves out after the first line is made up for by the next change, or the same one again.

        Raises:
            BusyError: ``token`` does not name what there is now.
            EdgeError: it could not be written.
        """
        self.registry.publish(new.files, token)
        self._note(new)

    def _note(self, new: Repository) -> None:
        self.home.keep_seen(new.seen())
        self.home.keep_root(new.files[f"{new.root.signed.version}.root.json"])
        self.home.keep_last(new.files)
        if self._tree is not None:
            write_tree(self._tree, new, self.registry)

    def _catch_up(self, found: Repository) -> None:
        """Make up for what a crash left out after a change was published."""
        name = f"{TIMESTAMP}.json"
        tree = None if self._tree is None else self._tree / METADATA / name
        shown = tree is None or (tree.exists() and tree.read_bytes() == found.files[name])
        if not shown or (self.home.last() or {}).get(name) != found.files[name]:
            with self.registry.lock():
                self._note(self.read()[0])

    def name_of(self, keyid: str) -> str:
        """Return what to call a key."""
        key = self.keyring.find(keyid)
        return f"{key.name} ({keyid[:12]})" if key is not None else f"key {keyid[:12]}"

    def _blob(self, blob: Descriptor) -> bytes:
        """Return a metadata file; what was read before the lock is not read again while others wait for it."""
        if blob.digest not in self._blobs:
            self._blobs[blob.digest] = read_blob(self.registry, TUF, blob)
        return self._blobs[blob.digest]

    def _attempt(
        self, edit: Edit, profile: Profile, shown: tuple[str, ...], pending: Path | None, *, recover: bool, renew: bool
    ) -> Outcome | Draft:
        """Return what became of the change, or the change itself when it is not any more what was ``shown``."""
        with self.registry.lock():
            draft, token = self._drafted(edit, profile, recover=recover)
            if not draft.roles and not renew:
                return Outcome()
            if tuple(explain(draft, self.name_of)) != shown:
                return draft
            return self._settle(draft, token, pending)

    def _patiently(self, work: Callable[[], T], deadline_s: float) -> T:
        """Return what ``work`` does, which is tried again while other publishers are at it, until the deadline."""
        while True:
            try:
                return work()
            except BusyError:
                if time.monotonic() > deadline_s:
                    raise
                threading.Event().wait(_PAUSE_S)

    def _drafted(self, edit: Edit, profile: Profile, *, recover: bool) -> tuple[Draft, str]:
        repository, token = self.read(recover=recover)
        draft = Draft(repository, self._now(), profile)
        edit(draft)
        return self._on_time(draft), token

    def _on_time(self, draft: Draft) -> Draft:
        """Return ``draft``; refuse a clock that would shut boxes out, because they never believe in less again.

        With new keys for the timestamp they do: so a publisher gets out whose clock once was ahead.

        Raises:
            DataError: it is behind what was signed last, or so far ahead that it is not likely.
        """
        now, repository = draft.now, draft.base
        timestamp = repository.timestamp.signed if repository is not None and repository.timestamp is not None else None
        if repository is None or timestamp is None:
            return draft
        issued = parse_stamp(timestamp.unrecognized_fields.get("issued"))
        goes_on = not set(repository.keyids(TIMESTAMP)).isdisjoint(draft.root.roles[TIMESTAMP].keyids)
        if goes_on and issued is not None and now + _CLOCK_SLACK < issued:
            message = (
                f"this machine's clock says {now:%Y-%m-%d %H:%M}, but something was signed at {issued:%Y-%m-%d %H:%M}"
            )
            raise DataError("publisher.clock", message, help=_CLOCK_HELP)
        if now > timestamp.expires + _CLOCK_AHEAD:
            message = f"this machine's clock says {now:%Y-%m-%d}, more than a year after the registry has expired"
            raise DataError("publisher.clock", message, help="set the clock; what it signs cannot be taken back")
        return draft

    def _show(self, draft: Draft) -> tuple[str, ...]:
        """Tell and ask, then unlock what is needed, so that nobody waits for a person later."""
        changes = tuple(explain(draft, self.name_of))
        signers: dict[str, dict[str, None]] = {}
        lacking: dict[str, int] = {}
        needed: dict[str, None] = {}
        for need in draft.needs():
            keyids = need.signers(self.keyring)
            needed.update(dict.fromkeys(keyids))
            signers.setdefault(need.role, {}).update({self.name_of(keyid): None for keyid in keyids})
            missing = need.lacks - len(keyids)
            if missing > 0:
                lacking[need.role] = max(missing, lacking.get(need.role, 0))
        if not lacking:
            for role, online in draft.online():
                here = [keyid for keyid in online if self.keyring.holds(keyid)][: draft.root.roles[role].threshold]
                needed.update(dict.fromkeys(here))
                signers[role] = {self.name_of(keyid): None for keyid in here}
        named = {role: tuple(names) for role, names in signers.items() if names}
        self.confirm(Preview(changes, named, lacking))
        for keyid in needed:
            self.keyring.signer(keyid)
        return changes

    def _settle(self, draft: Draft, token: str | None, pending: Path | None) -> Outcome:
        """Sign and publish, or sign and put aside; the lock is held."""
        changes = tuple(explain(draft, self.name_of))
        draft.sign(self.keyring)
        lacking = draft.lacking()
        online = {role: count for role, keyids in draft.online() if (count := self._lacking(draft, role, keyids)) > 0}
        for (model, number), manifest in draft.manifests.items():
            self.registry.tag(model, str(number), manifest)
        if lacking or online:
            lacking |= online
            path = pending or self.home.pending / _pending_name(draft)
            write_pending(path, draft)
            return Outcome(changes, {}, path, lacking)
        files = draft.finish(self.keyring, self.home.seen())
        new = self._verified(files, draft)
        if draft.base is None:
            self.home.keep_root(files["1.root.json"])  # first: whoever founds a registry must know its root
        self.put(new, token)
        return Outcome(changes, {role: one.version for role, one in new.roles().items()})

    def _demand_online(self, draft: Draft) -> None:
        """Refuse to renew without the keys for it: there is nothing that others could sign.

        Raises:
            DataError: code ``key.missing``.
        """
        roles = [role for role, keyids in draft.online() if self._lacking(draft, role, keyids) > 0]
        if roles:
            message = f"no key of {' and '.join(roles)} is in {self.home.keys}: nothing was renewed"
            raise DataError("key.missing", message, help=_ONLINE_HELP)

    def _lacking(self, draft: Draft, role: str, keyids: tuple[str, ...]) -> int:
        return draft.root.roles[role].threshold - sum(map(self.keyring.holds, keyids))

    def _verified(self, files: Mapping[str, bytes], draft: Draft) -> Repository:
        """Return what was signed, read back as a box would read it.

        Raises:
            InvariantError: it would be refused.
        """
        root = files["1.root.json"] if draft.base is None else self.home.root() or b""
        try:
            return load(files, root, Seen() if draft.base is None else self.home.seen())
        except DataError as error:
            message = f"what was signed would be refused: {error.message}"
            raise InvariantError("publisher.result", message) from error


def _pending_name(draft: Draft) -> str:
    """Return a name that tells what it is: the roles, and their versions."""
    return "-".join(f"{role}-{one.signed.version}" for role, one in sorted(draft.roles.items()))[:120] + ".json"
