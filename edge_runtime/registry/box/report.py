"""What became of a look at the registry, as values and as JSON between processes. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section
from edge_runtime.registry.statements import APPROVALS, BAKE_S_MAX, MODES, NUMBER_MAX, REGRESSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_BYTES: Final = 4 << 20
_SLOTS_MAX: Final = 64


class Contact(Enum):
    """How a look at the registry ended."""

    OK = "ok"
    UNREACHABLE = "unreachable"  # no place answered; trying again may help
    FROZEN = "frozen"  # the newest that can be had is too old to be believed
    REFUSED = "refused"  # what there is must not be believed
    DENIED = "denied"  # it does not let us in
    FAILED = "failed"  # our own disk


class Standing(Enum):
    """Where a slot stands towards the release that it should have."""

    EMPTY = "empty"  # there is none yet, and nothing says why
    CURRENT = "current"  # it has what it should
    STAGED = "staged"  # another release is on the box, verified, and waits to be activated
    KEPT = "kept"  # nothing is assigned to it, or nothing is to be begun now
    REFUSED = "refused"  # what is assigned must not run here
    RETRY = "retry"  # it could not be had, and trying again may help


@dataclass(frozen=True, slots=True)
class Held:
    """A release that is on the box.

    Attributes:
        release: its number.
        version: for people.
        digest: of its `edge-model.json`, the identity in results.
        manifest: digest of its OCI manifest, by which it is named in the store.
    """

    release: int
    version: str
    digest: str
    manifest: str


@dataclass(frozen=True, slots=True)
class Terms:
    """How a release is to come in, as its assignment says it; see `registry.statements.Assignment`."""

    seq: int
    mode: str = "active"
    window: str | None = None
    bake_s: float = 0.0
    gates: Mapping[str, object] = field(default_factory=dict)
    approve: str = "auto"
    on_regression: str = "rollback"


@dataclass(frozen=True, slots=True)
class Ban:
    """A release in the slot that must not run: digest of its manifest, stable code, and the same for people."""

    manifest: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SlotReport:
    """One slot.

    Attributes:
        slot, model, channel: as configured.
        standing: see `Standing`.
        reason: stable code of why it has not what it should.
        message: the same for people.
        seq: of the rollout that was obeyed.
        wanted: number of the release that the rollout names.
        current, staged, previous: what is on the box for it.
        revoked: what is current was revoked or killed.
        mended: what is current was damaged and has been fetched anew.
        terms: how what is staged is to come in; ``None`` when nothing is rolled out to the slot.
        banned: which of the slot's releases (trial included) must not run.
    """

    slot: str
    model: str
    channel: str
    standing: Standing
    reason: str | None = None
    message: str | None = None
    seq: int | None = None
    wanted: int | None = None
    current: Held | None = None
    staged: Held | None = None
    previous: Held | None = None
    revoked: bool = False
    mended: bool = False
    terms: Terms | None = None
    banned: tuple[Ban, ...] = ()

    @property
    def is_settled(self) -> bool:
        """Whether looking again at the same registry would change nothing."""
        return self.standing is not Standing.RETRY


@dataclass(frozen=True, slots=True)
class Report:
    """One look.

    Attributes:
        contact: see `Contact`.
        reason: stable code, ``None`` when all is well.
        message: the same for people.
        slots: what became of each.
        fetched_bytes: of blobs.
    """

    contact: Contact
    reason: str | None = None
    message: str | None = None
    slots: tuple[SlotReport, ...] = ()
    fetched_bytes: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether looking again at the same registry would change nothing."""
        return self.contact is Contact.OK and all(one.is_settled for one in self.slots)

    def repeated(self) -> Report:
        """Return the report of a look that found nothing new: what happened once has not happened again."""
        return replace(self, fetched_bytes=0, slots=tuple(replace(one, mended=False) for one in self.slots))

    def as_fields(self) -> dict[str, object]:
        """Return JSON values."""
        fields = asdict(self)
        fields["contact"] = self.contact.value
        fields["slots"] = [{**asdict(one), "standing": one.standing.value} for one in self.slots]
        return fields


def report_of(fields: Mapping[str, object], where: str) -> Report:
    """Return the report in the fields of `Report.as_fields`.

    Raises:
        DataError: code ``registry.report``.
    """
    problems: list[str] = []
    top = Section(fields, "", problems, [])
    contact = top.choice("contact", [one.value for one in Contact])
    slots = [_slot(one) for one in top.sections("slots")] if isinstance(top.get("slots"), list) else []
    report = Report(
        Contact(contact) if contact else Contact.FAILED,
        top.text("reason"),
        top.text("message"),
        tuple(slots[:_SLOTS_MAX]),
        top.integer("fetched_bytes", 0, NUMBER_MAX) or 0,
    )
    if contact is None or problems:
        raise DataError("registry.report", f"{where}: no report of a look at a registry: {'; '.join(problems)[:500]}")
    return report


def _slot(section: Section) -> SlotReport:
    standing = section.choice("standing", [one.value for one in Standing])
    if standing is None:
        section.wrong("standing", "a word", section.get("standing"))
    return SlotReport(
        slot=section.text("slot", required=True) or "",
        model=section.text("model", required=True) or "",
        channel=section.text("channel", required=True) or "",
        standing=Standing(standing) if standing else Standing.EMPTY,
        reason=section.text("reason"),
        message=section.text("message"),
        seq=section.integer("seq", 0, NUMBER_MAX),
        wanted=section.integer("wanted", 0, NUMBER_MAX),
        current=_held(section, "current"),
        staged=_held(section, "staged"),
        previous=_held(section, "previous"),
        revoked=section.boolean("revoked") or False,
        mended=section.boolean("mended") or False,
        terms=_terms(section),
        banned=tuple(_ban(one) for one in section.sections("banned")) if section.get("banned") else (),
    )


def _terms(section: Section) -> Terms | None:
    if section.get("terms") is None:
        return None
    inner = section.section("terms")
    seq = inner.integer("seq", 0, NUMBER_MAX)
    if seq is None:
        return None
    return Terms(
        seq,
        inner.choice("mode", MODES) or MODES[-1],
        inner.text("window"),
        inner.number("bake_s", 0.0, BAKE_S_MAX) or 0.0,
        dict(inner.section("gates", open_ended=True).data),
        inner.choice("approve", APPROVALS) or APPROVALS[0],
        inner.choice("on_regression", REGRESSIONS) or REGRESSIONS[0],
    )


def _ban(section: Section) -> Ban:
    return Ban(*(section.text(name, required=True) or "" for name in ("manifest", "reason", "message")))


def _held(section: Section, key: str) -> Held | None:
    if section.get(key) is None:
        return None
    inner = section.section(key)
    number = inner.integer("release", 0, NUMBER_MAX)
    texts = [inner.text(name, required=True) or "" for name in ("version", "digest", "manifest")]
    return None if number is None else Held(number, *texts)
