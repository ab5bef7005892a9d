"""What a box asks of a registry, as a value and as JSON between processes: from where, believed by what, for whom."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.statements import STABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_QUOTA_BYTES: Final = 4 << 30
_BYTES_MAX: Final = 1 << 50
_ACCESS: Final = (
    *("username", "password", "ca_file", "cert_file", "key_file"),
    *("proxy", "realm_hosts", "allow_http"),
)


@dataclass(frozen=True, slots=True)
class Want:
    """A slot, the model and channel that it wants, and the cameras that it judges for."""

    slot: str
    model: str
    channel: str = STABLE
    cameras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that a look needs to know.

    Attributes:
        root: the directory of releases, ``state_dir/models``.
        anchor: file with the root of trust.
        urls: places with the same content, in order of preference; the first is the registry itself.
        access: how they may be reached.
        site, line, edge: which box this is.
        labels: what it is, for rollouts.
        hardware: names of what it has, for releases that need it.
        versions: of libraries, for releases that need them.
        wants: the slots.
        publisher_keys: PEM files; not empty: each release needs a Sigstore bundle by one of them.
        quota_bytes: of all releases together.
        first: make the first release of a slot its current one; a daemon tries it before.
    """

    root: Path
    anchor: Path
    urls: tuple[str, ...]
    access: Access
    site: str
    line: str
    edge: str
    wants: tuple[Want, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    hardware: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    publisher_keys: tuple[Path, ...] = ()
    quota_bytes: int = DEFAULT_QUOTA_BYTES
    first: bool = True

    def as_fields(self) -> dict[str, object]:
        """Return JSON values, secrets included: for a pipe to a process of ours, never for a file or a log."""
        access = asdict(replace(self.access, stop=None))
        return {
            **{name: getattr(self, name) for name in ("site", "line", "edge", "quota_bytes", "first")},
            "root": str(self.root),
            "anchor": str(self.anchor),
            "urls": list(self.urls),
            "access": {name: str(one) if isinstance(one := access[name], Path) else one for name in _ACCESS},
            "wants": [asdict(one) for one in self.wants],
            "labels": dict(self.labels),
            "hardware": list(self.hardware),
            "versions": dict(self.versions),
            "publisher_keys": [str(one) for one in self.publisher_keys],
        }

    @property
    def fingerprint(self) -> str:
        """Tell orders apart that may have different answers; secrets and how a place is reached do not count."""
        fields = {key: value for key, value in self.as_fields().items() if key != "access"}
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def order_of(fields: Mapping[str, object]) -> Order:
    """Return the order in the fields of `Order.as_fields`, read back from JSON.

    Raises:
        DataError: code ``registry.order``.
    """
    problems: list[str] = []
    top = Section(fields, "", problems, [])
    access = top.section("access")
    order = Order(
        root=Path(top.text("root", required=True) or ""),
        anchor=Path(top.text("anchor", required=True) or ""),
        urls=top.texts("urls") or (),
        access=Access(
            username=access.text("username"),
            password=access.text("password"),
            proxy=access.text("proxy"),
            ca_file=_path(access, "ca_file"),
            cert_file=_path(access, "cert_file"),
            key_file=_path(access, "key_file"),
            realm_hosts=access.texts("realm_hosts") or (),
            allow_http=access.boolean("allow_http") or False,
        ),
        site=top.text("site", required=True) or "",
        line=top.text("line", required=True) or "",
        edge=top.text("edge", required=True) or "",
        wants=tuple(_want(one) for one in top.sections("wants")) if top.get("wants") else (),
        labels=top.text_map("labels") or {},
        hardware=top.texts("hardware") or (),
        versions=top.text_map("versions") or {},
        publisher_keys=tuple(map(Path, top.texts("publisher_keys") or ())),
        quota_bytes=top.integer("quota_bytes", 0, _BYTES_MAX) or 0,
        first=top.boolean("first") or False,
    )
    if problems:
        raise DataError("registry.order", "no order: " + "; ".join(problems))
    return order


def _want(section: Section) -> Want:
    slot, model, channel = (section.text(name, required=True) or "" for name in ("slot", "model", "channel"))
    return Want(slot, model, channel, section.texts("cameras") or ())


def _path(section: Section, key: str) -> Path | None:
    text = section.text(key)
    return None if text is None else Path(text)
