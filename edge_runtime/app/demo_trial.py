"""One update of the demo, as somebody sees it who only reads what arrives from the broker. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from edge_runtime.app.demo_packages import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "deployment."  # kinds of the events that tell how a deployment goes
ENDS: Final = frozenset({"committed", "rejected", "rolled_back", "superseded"})
STOPPED: Final = frozenset({"rejected", "rolled_back"})
VERDICTS: Final = frozenset({"OK", "NotOK"})


@dataclass(frozen=True, slots=True)
class Judge:
    """The model that a result names."""

    version: str
    digest: str
    release: int | None

    def fields(self) -> dict[str, object]:
        """As the summary says it."""
        return {"release": self.release, "version": self.version, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class Seen:
    """What counts of one result.

    Attributes:
        seq: of its stream; ``frame``: number of the picture at its camera.
        taken_s: Unix time of the picture.
        judge: of a verdict; ``None`` = there is none.
    """

    seq: int
    frame: int
    taken_s: float
    judge: Judge | None


def seen(result: Mapping[str, object]) -> Seen:
    """Return what counts of a ``vision.result/1`` document.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    model, judge = result["model"], None
    if isinstance(model, dict) and result["evaluation"] in VERDICTS:
        release = model.get("release")
        judge = Judge(str(model["version"]), str(model["digest"]), release if isinstance(release, int) else None)
    return Seen(_whole(result["seq"]), _whole(result["frameId"]), _seconds(result["ts"]), judge)


@dataclass(frozen=True, slots=True)
class Switch:
    """From one picture to the next another model judged; ``apart_ms`` is the time between the two."""

    digest: str
    apart_ms: float


@dataclass(slots=True)
class Trial:
    """From the wish for a release until the line has settled on a model again; told of everything in its order.

    Attributes:
        kind, release, version, digest: of what is rolled out.
        before: the last result before it.
        began_s: CLOCK_MONOTONIC of the wish.
        states: that were told, and when.
        reason, message: of the last of them.
        lost: pictures since ``before`` that have no verdict.
        judged: verdicts of the release; ``results``: all of them.
        ended_s: CLOCK_MONOTONIC of the first verdict after the end that came from the model which is to stay.
    """

    kind: Kind
    release: int
    version: str
    digest: str
    before: Seen
    began_s: float
    states: list[tuple[str, float]] = field(default_factory=list)
    reason: str | None = None
    message: str = ""
    lost: int = 0
    judged: int = 0
    results: int = 0
    switches: list[Switch] = field(default_factory=list)
    ended_s: float | None = None
    _last: Seen | None = None
    _judge: Seen | None = None

    @property
    def outcome(self) -> str:
        """How it ended, or ``unfinished``."""
        state = self.states[-1][0] if self.states else ""
        return state if state in ENDS else "unfinished"

    @property
    def stage(self) -> str | None:
        """The last state before the end."""
        before = [state for state, _ in self.states if state not in ENDS]
        return before[-1] if before else None

    def on_event(self, event: Mapping[str, object], now_s: float) -> bool:
        """Take a ``vision.event/1`` document; return whether it is about this update."""
        kind, fields = str(event.get("kind")), event.get("fields")
        about = isinstance(fields, dict) and fields.get("digest") == self.digest
        if not kind.startswith(PREFIX) or not isinstance(fields, dict) or not about:
            return False
        state = kind.removeprefix(PREFIX)
        if not self.states or self.states[-1][0] != state:  # an event may come twice
            self.states.append((state, now_s))
        reason = fields.get("reason")
        self.reason = reason if isinstance(reason, str) else None
        self.message = str(event.get("message"))
        return True

    def on_result(self, result: Seen, now_s: float) -> None:
        """Take a result; one that comes twice counts once."""
        last = self._last or self.before
        if result.seq <= last.seq or self.ended_s is not None:
            return
        self.results += 1
        self.lost += max(0, result.frame - last.frame - 1) + (result.judge is None)
        self._last = result
        if result.judge is None:
            return
        judge = self._judge or self.before
        if judge.judge is not None and judge.judge.digest != result.judge.digest:
            self.switches.append(Switch(result.judge.digest, (result.taken_s - judge.taken_s) * 1e3))
        self._judge = result
        self.judged += result.judge.digest == self.digest
        if self.outcome in ENDS and (result.judge.digest == self.digest) == (self.outcome == "committed"):
            self.ended_s = now_s

    @property
    def handed_back(self) -> int:
        """How often the model from before judged for the release meanwhile, because that was late: no picture waits."""
        needed = 2 if self.outcome in STOPPED else 1
        return max(0, (len(self.switches) - needed + 1) // 2)

    @property
    def worked(self) -> bool:
        """Whether it went as it should: a good release stays, a bad one does not, and no picture is without verdict."""
        wanted = {"committed"} if self.kind is Kind.GOOD else STOPPED
        return self.ended_s is not None and not self.lost and self.outcome in wanted

    def fields(self) -> dict[str, object]:
        """As the summary says it; times in seconds, milliseconds where the name says so."""
        to = Judge(self.version, self.digest, self.release).fields()
        return {
            "outcome": self.outcome,
            "stage": self.stage,
            "reason": self.reason,
            "message": self.message,
            "from": None if self.before.judge is None else self.before.judge.fields(),
            "to": to,
            "frames": self.results,
            "frames_lost": self.lost,
            "frames_by_release": self.judged,
            "switches": len(self.switches),
            "handed_back": self.handed_back,
            "switch_ms": [round(one.apart_ms, 1) for one in self.switches],
            "seconds": None if self.ended_s is None else round(self.ended_s - self.began_s, 1),
            "stages": {state: round(at_s - self.began_s, 1) for state, at_s in self.states},
            "worked": self.worked,
        }


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"expected a whole number, found {value!r}")
    return value


def _seconds(value: object) -> float:
    return datetime.fromisoformat(str(value)).timestamp()
