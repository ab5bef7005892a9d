"""The publisher's directory: which registry, whose keys, what was seen there last.

    publisher.json   address of the registry, profile, sites; credentials only as names of files
    root.json        the newest root of trust that was verified; what boxes are given
    seen.json        versions that were seen, below which nothing is believed any more
    last.json        all metadata as they were published from here last, for the day the registry loses them
    keys/            see `keys`
    pending/         changes that wait for the signature of somebody else

Nothing but ``keys/*.pem`` is secret. A second publisher starts with copies of ``publisher.json`` and ``root.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.registry.trust.floors import Keys
from edge_runtime.system.files import make_directory, read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA: Final = "edge-publisher/1"
SEEN_SCHEMA: Final = "edge-seen/1"
SETTINGS, ROOT, SEEN, LAST = "publisher.json", "root.json", "seen.json", "last.json"
_BYTES_MAX: Final = 1 << 20
_ROOT_BYTES_MAX: Final = 4 << 20
_LAST_BYTES_MAX: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Profile:
    """How strict a registry is; lives in days.

    Attributes:
        root_keys: how many keys root has, and how many of them must sign; the same for ``targets_keys``.
    """

    name: str
    root_keys: tuple[int, int]
    targets_keys: tuple[int, int]
    root_d: int = 365
    targets_d: int = 180
    rollout_d: int = 30
    snapshot_d: int = 30
    timestamp_d: int = 7

    def days(self, role: str) -> int:
        """Return how long what ``role`` signs is good for."""
        lives = {"root": self.root_d, "targets": self.targets_d, "snapshot": self.snapshot_d}
        return {**lives, "timestamp": self.timestamp_d}.get(role, self.rollout_d)


PROFILES: Final = {
    one.name: one
    for one in (
        Profile("production", (3, 2), (3, 2)),
        Profile("airgap", (3, 2), (3, 2), rollout_d=90, snapshot_d=90, timestamp_d=90),
        Profile("dev", (1, 1), (1, 1)),
    )
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``publisher.json`` says.

    Attributes:
        url: of the registry: ``oci://HOST/NS``, ``oci-layout:DIR``.
        access: how to get there, keys as in ``registry:`` of a box: username, password_file, ca_file, cert_file,
            key_file, proxy, realm_hosts, allow_http.
    """

    url: str
    profile: Profile
    access: Mapping[str, object] = field(default_factory=dict)


_TEXTS: Final = ("username", "password_file", "ca_file", "cert_file", "key_file", "proxy")


@dataclass(frozen=True, slots=True)
class Home:
    """One publisher's directory."""

    path: Path

    @property
    def keys(self) -> Path:
        """The directory of the keys."""
        return self.path / "keys"

    @property
    def pending(self) -> Path:
        """The directory of changes that wait."""
        return self.path / "pending"

    def settings(self) -> Settings:
        """Return what ``publisher.json`` says.

        Raises:
            ConfigError: there is none, or it is not as it should be.
        """
        path = self.path / SETTINGS
        try:
            data = load_object(read_limited(path, _BYTES_MAX), str(path), limit_bytes=_BYTES_MAX)
        except FileNotFoundError as error:
            message = f"{self.path} is no publisher's directory: it has no {SETTINGS}"
            help_ = "edge-runtime registry init --url URL --site SITE makes one; --home DIR names another"
            raise ConfigError("publisher.none", message, help=help_) from error
        except DataError as error:
            help_ = "put back a copy, or that of another publisher of this registry"
            raise ConfigError("publisher.settings", error.message, help=help_) from error
        problems: list[str] = []
        top = Section(data, "", problems, problems)
        top.choice("schema", (SCHEMA,))
        profile = top.choice("profile", tuple(PROFILES)) or "production"
        settings = Settings(top.text("url", required=True) or "", PROFILES[profile], _access(top.section("access")))
        top.close()
        if problems:
            help_ = "correct it; keys as edge-runtime registry init writes them"
            raise ConfigError("publisher.settings", f"{path}: " + "; ".join(problems), help=help_)
        return settings

    def keep_settings(self, settings: Settings) -> None:
        """Write ``publisher.json``.

        Raises:
            StorageError, PermissionDeniedError: the disk refuses.
        """
        fields = {
            "schema": SCHEMA,
            "url": settings.url,
            "profile": settings.profile.name,
            "access": dict(settings.access),
        }
        make_directory(self.path)
        write_atomic(self.path / SETTINGS, (json.dumps(fields, indent=1) + "\n").encode())

    def root(self) -> bytes | None:
        """Return the root of trust, ``None`` before there is one.

        Raises:
            StorageError, PermissionDeniedError: it cannot be read.
        """
        try:
            return read_limited(self.path / ROOT, _ROOT_BYTES_MAX)
        except FileNotFoundError:
            return None

    def keep_root(self, raw: bytes) -> None:
        """Replace the root of trust by a newer one that was verified, or signed here.

        Raises:
            StorageError, PermissionDeniedError: the disk refuses.
        """
        if raw != self.root():
            make_directory(self.path)
            write_atomic(self.path / ROOT, raw, mode=0o644)

    def last(self) -> dict[str, bytes] | None:
        """Return the files that were published from here last; they have to be verified like any others.

        Raises:
            ConfigError: the file is broken.
        """
        path = self.path / LAST
        try:
            data = load_object(read_limited(path, _LAST_BYTES_MAX), str(path), limit_bytes=_LAST_BYTES_MAX)
        except FileNotFoundError:
            return None
        except DataError as error:
            raise ConfigError("publisher.last", error.message, help="use the copy of another publisher") from error
        return {name: text.encode() for name, text in data.items() if isinstance(text, str)}

    def keep_last(self, files: Mapping[str, bytes]) -> None:
        """Keep a copy of what was published.

        Raises:
            StorageError, PermissionDeniedError: the disk refuses.
        """
        write_atomic(self.path / LAST, json.dumps({name: raw.decode() for name, raw in files.items()}).encode())

    def seen(self) -> Seen:
        """Return what was seen of the registry so far.

        Raises:
            ConfigError: the file is broken.
        """
        path = self.path / SEEN
        try:
            data = load_object(read_limited(path, _BYTES_MAX), str(path), limit_bytes=_BYTES_MAX)
        except FileNotFoundError:
            return Seen()
        except DataError as error:
            raise ConfigError("publisher.seen", error.message, help=_HELP_SEEN) from error
        problems: list[str] = []
        top = Section(data, "", problems, problems)
        top.choice("schema", (SEEN_SCHEMA,))
        issued = top.text("issued") or ""
        roles = top.section("roles", open_ended=True)
        found = {role: _seen_role(roles.section(role)) for role in roles.data}
        top.close()
        if problems:
            raise ConfigError("publisher.seen", f"{path}: " + "; ".join(problems), help=_HELP_SEEN)
        return Seen(found, issued)

    def keep_seen(self, seen: Seen) -> None:
        """Write what was seen; what is known already is never lowered.

        Raises:
            StorageError, PermissionDeniedError: the disk refuses.
        """
        before = self.seen()
        after = before.raised(seen)
        if after != before:
            roles = {role: {"version": one.version, "keys": list(one.keyids)} for role, one in after.roles.items()}
            fields = {"schema": SEEN_SCHEMA, "issued": after.issued, "roles": dict(sorted(roles.items()))}
            make_directory(self.path)
            write_atomic(self.path / SEEN, (json.dumps(fields, indent=1) + "\n").encode())


@dataclass(frozen=True, slots=True)
class SeenRole:
    """The newest version of a role that was seen, and the keys that could sign it then."""

    version: int
    keyids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """Below what nothing is believed.

    Attributes:
        roles: by name.
        issued: of the newest timestamp, RFC 3339 in UTC; empty = none.
    """

    roles: Mapping[str, SeenRole] = field(default_factory=dict)
    issued: str = ""

    def version(self, role: str, keyids: tuple[str, ...], threshold: int) -> int:
        """Return below which version ``role`` is not believed now that these keys sign it.

        0 when so many of its keys were replaced that the old ones could not sign any more: the role begins anew.
        """
        before = self.roles.get(role)
        now = Keys(frozenset(keyids), threshold)
        if before is None or (role != "root" and Keys(frozenset(before.keyids)).replaced_by(now)):
            return 0
        return before.version

    def raised(self, newer: Seen) -> Seen:
        """Return both: of each role with the same keys the higher version, else what ``newer`` says."""
        roles = dict(self.roles)
        for role, one in newer.roles.items():
            before = roles.get(role)
            if before is None or before.keyids != one.keyids or before.version < one.version:
                roles[role] = one
        after = newer.roles.get(_CLOCKED)
        last = self.issued if after is None else self.issued_under(after.keyids)
        return Seen(roles, max(last, newer.issued))

    def issued_under(self, keyids: Iterable[str]) -> str:
        """Return `issued` when one of these keys may have said so; with none of them the time begins anew."""
        before = self.roles.get(_CLOCKED)
        return "" if before is not None and set(before.keyids).isdisjoint(keyids) else self.issued


_CLOCKED: Final = "timestamp"  # the role that says when
_HELP_SEEN: Final = "move it aside only if you know that the registry shows its newest state"


def _access(section: Section) -> dict[str, object]:
    found: dict[str, object] = {key: section.text(key) for key in _TEXTS}
    found["realm_hosts"] = section.texts("realm_hosts")
    found["allow_http"] = section.boolean("allow_http")
    section.close()
    return {key: value for key, value in found.items() if value is not None}


def _seen_role(section: Section) -> SeenRole:
    found = SeenRole(section.integer("version", 0, 2**62) or 0, section.texts("keys") or ())
    section.close()
    return found
