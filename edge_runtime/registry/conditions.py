"""What an assignment asks beside a release: maintenance window and gates, as text and as values. Pure.

Publishers read them before they sign and boxes before they obey: what one of them does not understand is an error with
words, never nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_runtime.registry.statements import Assignment

    Zone = Callable[[datetime], datetime]  # from a time in UTC to the same in some zone, like `datetime.astimezone`

WINDOW_HELP: Final = (
    "expected [DAYS,]HH:MM-HH:MM, for example 'Mon-Fri,22:00-04:00': days Mon to Sun, further times after a space, "
    "further windows after a semicolon, UTC at the end if it is not the time of the box"
)

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN: Final = 24 * 60
_QUARTER: Final = timedelta(minutes=15)  # zones change their offset at such, by such
_HORIZON: Final = 15 * 96  # quarters of an hour: two weeks, if the one of this week is lost to summer time
_SPANS_MAX: Final = 32
_TIMES = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_DAYS_OF = re.compile(r"([a-z]{3})(?:-([a-z]{3}))?")


@dataclass(frozen=True, slots=True)
class Gates:
    """What a candidate must reach before it stays, see `parse_gates`.

    Attributes:
        shadow_frames: frames that shadow has to compare.
        shadow_s: seconds that it has for them.
        disagreement_max: share of the compared frames with another evaluation than the old model's.
        canary_frames: frames that the canary has to judge.
        probation_frames: frames that probation has to judge.
        latency_ratio_max: p99 against the old model's.
        undecided_max: share of NotDecidable more than the old model's.
        not_ok_shift_max: difference of the share of NotOK to the old model's.
        score_shift_max: population stability index of the scores against the old model's.
        memory_growth_mb: MiB that the process of the candidate may grow by in probation.
        crashes_max: strikes that are forgiven; one more rolls back.
    """

    shadow_frames: int = 200
    shadow_s: float = 600.0
    disagreement_max: float = 0.02
    canary_frames: int = 200
    probation_frames: int = 1000
    latency_ratio_max: float = 2.0
    undecided_max: float = 0.01
    not_ok_shift_max: float = 0.25
    score_shift_max: float = 0.5
    memory_growth_mb: float = 64.0
    crashes_max: int = 2


RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "shadow_frames": (1, 1_000_000),
    "shadow_s": (1, 7 * 86400),
    "disagreement_max": (0, 1),
    "canary_frames": (1, 1_000_000),
    "probation_frames": (1, 10_000_000),
    "latency_ratio_max": (1, 100),
    "undecided_max": (0, 1),
    "not_ok_shift_max": (0, 1),
    "score_shift_max": (0, 100),
    "memory_growth_mb": (1, 65536),
    "crashes_max": (0, 100),
}
_WHOLE: Final = frozenset(one.name for one in fields(Gates) if isinstance(one.default, int))


def parse_gates(wanted: Mapping[str, object]) -> Gates:
    """Return the gates of an assignment; those it does not name are as by default.

    Raises:
        DataError: code ``rollout.gates`` with everything that is wrong.
    """
    problems: list[str] = []
    found: dict[str, float] = {}
    for name, value in wanted.items():
        if name not in RANGES:
            close = get_close_matches(name, RANGES, 1)
            problems.append(f"{name[:80]}: no such gate" + (f", did you mean {close[0]}?" if close else ""))
        elif (number := _number(name, value)) is None:
            low, high = RANGES[name]
            kind = "a whole number" if name in _WHOLE else "a number"
            problems.append(f"{name}: expected {kind} from {low:.16g} to {high:.16g}, found {str(value)[:80]}")
        else:
            found[name] = number
    if problems:
        raise DataError("rollout.gates", f"gates: {'; '.join(problems)}", help=f"the gates are {', '.join(RANGES)}")
    return Gates(**found)  # type: ignore[arg-type] # whole where it has to be, `_number` says


def check(assignment: Assignment) -> None:
    """Tell that a box can obey window and gates of ``assignment``.

    Raises:
        DataError: code ``rollout.window`` or ``rollout.gates``.
    """
    if assignment.window is not None:
        parse_window(assignment.window)
    parse_gates(assignment.gates)


def _number(name: str, value: object) -> float | None:
    """Return the value of a gate, ``None`` when it is none; what is whole stays so."""
    low, high = RANGES[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        return None
    if name in _WHOLE:
        return value if isinstance(value, int) else None
    return float(value)


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes of a day, the last one not included; ``end`` is beyond the day when it passes midnight.

    Attributes:
        days: on which it begins, 0 = Monday.
        start: 0 to 1439.
        end: later than ``start``, by a day at most.
    """

    days: frozenset[int]
    start: int
    end: int

    def covers(self, day: int, minute: int) -> bool:
        """Tell whether it holds in this minute of this weekday."""
        return (day in self.days and self.start <= minute < self.end) or (
            (day - 1) % 7 in self.days and minute + _DAY_MIN < self.end
        )


@dataclass(frozen=True, slots=True)
class Window:
    """When a box may be switched; what clocks on the wall show.

    An hour that summer time leaves out is never, and one that comes twice is twice.

    Attributes:
        text: as written.
        spans: any of them.
        utc: they are meant in UTC, not in the time of the box.
    """

    text: str
    spans: tuple[Span, ...]
    utc: bool = False

    def is_open(self, now: datetime, zone: Zone) -> bool:
        """Tell whether it is open.

        Args:
            now: in UTC.
            zone: of the box.
        """
        wall = now if self.utc else zone(now)
        return any(one.covers(wall.weekday(), wall.hour * 60 + wall.minute) for one in self.spans)


def is_open(windows: Sequence[Window], now: datetime, zone: Zone) -> bool:
    """Tell whether all ``windows`` are open; arguments as of `Window.is_open`."""
    return all(one.is_open(now, zone) for one in windows)


def opens_in_s(windows: Sequence[Window], now: datetime, zone: Zone) -> float | None:
    """Return in how many seconds all ``windows`` are open, 0 = now, ``None`` = not within two weeks.

    Some milliseconds of work: for people, not for each frame. Arguments as of `Window.is_open`.
    """
    now = now.astimezone(UTC)
    if is_open(windows, now, zone):
        return 0.0
    opened = (one for one in _openings(windows, now) if is_open(windows, one, zone))
    return next(((one - now).total_seconds() for one in opened), None)


def _openings(windows: Sequence[Window], now: datetime) -> Iterator[datetime]:
    """Yield all times after ``now`` at which a window can open: when one says so, and when clocks are put on."""
    offsets = {0} | {one.start % 15 for window in windows for one in window.spans}
    quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    for _ in range(_HORIZON):
        yield from (one for offset in sorted(offsets) if (one := quarter + timedelta(minutes=offset)) > now)
        quarter += _QUARTER


def parse_window(text: str) -> Window:
    """Return the window that ``text`` describes: ``[DAYS,]HH:MM-HH:MM[ HH:MM-HH:MM ...][; ...][ UTC]``.

    DAYS are weekdays or ranges of them, separated by commas; a range may pass Sunday. Times may pass midnight; their
    days are those on which they begin.

    Raises:
        DataError: code ``rollout.window``.
    """
    words = text.split()
    utc = bool(words) and words[-1].lower() == "utc"
    plain = " ".join(words[:-1] if utc else words)
    spans = tuple(span for part in plain.split(";") for span in _spans(part.strip(), text))
    if len(spans) > _SPANS_MAX:
        raise _wrong(text, f"{len(spans)} times, at most {_SPANS_MAX} can be kept")
    return Window(text, spans, utc)


def _spans(part: str, text: str) -> Iterator[Span]:
    *names, times = part.split(",")
    days = frozenset(day for name in names for day in _days(name.strip(), text)) or frozenset(range(7))
    if not times.strip():
        raise _wrong(text, f"no times in {part!r}" if part else "a window without times")
    for one in times.split():
        found = _TIMES.fullmatch(one)
        if found is None:
            raise _wrong(text, f"{one!r} is no HH:MM-HH:MM")
        hours = [int(found[1]), int(found[3])]
        start, end = hours[0] * 60 + int(found[2]), hours[1] * 60 + int(found[4])
        if max(int(found[2]), int(found[4])) > 59 or start >= _DAY_MIN or end > _DAY_MIN:  # noqa: PLR2004 - minutes
            raise _wrong(text, f"{one!r} is no time of a day")
        if start == end:
            raise _wrong(text, f"{one!r} ends when it begins; the whole day is 00:00-24:00")
        yield Span(days, start, end if end > start else end + _DAY_MIN)


def _days(name: str, text: str) -> Iterator[int]:
    found = _DAYS_OF.fullmatch(name.lower())
    if found is None or found[1] not in _DAYS or found[2] not in (None, *_DAYS):
        raise _wrong(text, f"{name!r} is no weekday and no range of them")
    first = _DAYS.index(found[1])
    last = first if found[2] is None else _DAYS.index(found[2])
    yield from (day % 7 for day in range(first, last + 1 if last >= first else last + 8))


def _wrong(text: str, problem: str) -> DataError:
    return DataError("rollout.window", f"window {text[:120]!r}: {problem}", help=WINDOW_HELP)
