"""What somebody at the box wants of the daemon that runs there: one small file for each slot, and one with the answer.

    models activate -> slots/SLOT/wish.json -> the daemon: takes it, carries it out, slots/SLOT/answered.json -> models

Whoever may write the directory may move its links as well, so a file needs no signature. A newer wish takes the place
of one that was not taken yet, and one that nobody took in time is none any more: not after a restart, not after a boot.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.system.files import make_directory, read_limited, write_atomic
from edge_runtime.system.names import remove

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WISH: Final = "wish.json"
ANSWERED: Final = "answered.json"
SCHEMA: Final = "edge-wish/1"
LIMIT_BYTES: Final = 64 << 10
Verb = Literal["activate", "rollback"]
LIFE_NS: Final = 30_000_000_000
_MONO_MAX: Final = 2**63
_VERBS: Final[tuple[Verb, ...]] = ("activate", "rollback")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted.

    Attributes:
        id: unique; the answer names it.
        verb: what to do.
        release: digest of the manifest of the release to activate.
        by: who asks: the name of a user of the operating system.
        until_mono_ns: CLOCK_MONOTONIC of this boot; until when it is worth taking, `LIFE_NS` from when it was left.
    """

    id: str
    verb: Verb
    release: str | None
    by: str
    until_mono_ns: int

    def is_alive(self, now_mono_ns: int) -> bool:
        """Tell whether somebody still waits for it; one of another boot is seldom within its life."""
        return 0 < self.until_mono_ns - now_mono_ns <= LIFE_NS


@dataclass(frozen=True, slots=True)
class WishAnswer:
    """What the daemon says to a wish.

    Attributes:
        id: of the wish.
        status: as in HTTP; below 300 it was taken.
        message: one sentence for people.
        deployment: id of the deployment that carries it out.
    """

    id: str
    status: int
    message: str
    deployment: str | None


def leave(directory: Path, wish: Wish) -> None:
    """Leave a wish in the directory of a slot.

    Raises:
        PermissionDeniedError, StorageError: the disk refuses.
    """
    make_directory(directory)
    write_atomic(directory / WISH, _dump(asdict(wish)), mode=0o644, durable=False)  # the daemon is another user


def take(directory: Path) -> Wish | None:
    """Return the wish in the directory of a slot and remove it; ``None`` when there is none.

    Raises:
        DataError: it cannot be understood; it is removed.
        PermissionDeniedError, StorageError: the disk refuses.
    """
    path = directory / WISH
    top = _read(path)
    if top is None:
        return None
    remove(path)
    problems = top.problems
    verb, release = top.choice("verb", _VERBS), top.text("release")
    wish_id, by = top.text("id", required=True), top.text("by", required=True)
    until_mono_ns = top.integer("until_mono_ns", 0, _MONO_MAX) or 0
    if problems or verb is None or wish_id is None or by is None or (verb == "activate") != (release is not None):
        raise DataError("wish.unknown", f"{path}: no wish that can be understood: {'; '.join(problems)[:300]}")
    return Wish(wish_id, "activate" if verb == "activate" else "rollback", release, by, until_mono_ns)


def waiting(directory: Path) -> str | None:
    """Return the id of the wish that nobody has taken yet, ``None`` when there is none.

    Raises:
        PermissionDeniedError, StorageError: the disk refuses.
    """
    top = _understood(directory / WISH)
    return None if top is None else top.text("id")


def answer(directory: Path, said: WishAnswer) -> None:
    """Answer the wish that was taken last.

    Raises:
        PermissionDeniedError, StorageError: the disk refuses.
    """
    write_atomic(directory / ANSWERED, _dump(asdict(said)), durable=False)


def answer_to(directory: Path, wish_id: str) -> WishAnswer | None:
    """Return the answer to a wish, ``None`` when there is none yet.

    Raises:
        PermissionDeniedError, StorageError: the disk refuses.
    """
    top = _understood(directory / ANSWERED)
    if top is None or top.text("id") != wish_id:
        return None
    status = top.integer("status", 200, 599)
    return WishAnswer(wish_id, status or 500, top.text("message") or "", top.text("deployment"))


def _understood(path: Path) -> Section | None:
    try:
        return _read(path)
    except DataError:
        return None


def _read(path: Path) -> Section | None:
    try:
        fields = load_object(read_limited(path, LIMIT_BYTES), str(path), limit_bytes=LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except EdgeError:  # it would be in the way for ever
        remove(path)
        raise
    return Section(fields, "", [], [])


def _dump(fields: Mapping[str, object]) -> bytes:
    return json.dumps({"schema": SCHEMA, **fields}).encode()
