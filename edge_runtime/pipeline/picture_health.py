"""Whether the pictures of a camera can be used: from numbers to one of a few names, as a pure state machine.

    unknown -> ok | frozen | dark | bright | covered | blurred | moved     and between all but unknown

Each picture that was measured is good, or has one fault, the first of ``Fault`` that applies. A state begins when four
of five of them agreed over ``after_s`` seconds, and ends when all were good for ``clear_s``; so a part that passes, a
flicker or a hand changes nothing. Cameras of which fewer come are judged by ``LOOKS_MIN`` pictures, however long that
takes. Nothing here reads a clock: callers pass monotonic ns.

A limit is what the configuration says. Where that says nothing, it follows from the reference, if a person made one,
and else it is one that pictures hardly ever reach which are any good. Nothing is learned from what a camera shows.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from edge_runtime.pipeline.picture_window import SlidingWindow

if TYPE_CHECKING:
    from edge_runtime.core.picture import PictureNumbers, PictureReference, PictureWindow

UNKNOWN: Final = "unknown"
OK: Final = "ok"
DARK: Final = 16.0
"""Mean grey of a picture without a reference below which it is dark."""
BRIGHT: Final = 0.5
"""Share of white pixels above which it is overexposed."""
BLURRED: Final = 0.3
"""Sharpness below which it is blurred: one that was smoothed with a standard deviation of three pixels."""
COVERED: Final = 3.0
"""Contrast below which it shows nothing."""
MOVED: Final = 0.03
"""Shift against the reference, in parts of the width or the height, from which on the camera was moved."""
TOLERANCE: Final = 0.5
"""A number may fall to this part of what its reference has."""
WHITE_TOLERANCE: Final = 0.2
"""So much of what is not white in the reference may become white."""
COVERED_TOLERANCE: Final = 0.25
"""The same for edges, of which parts that come and go have a good share."""
DETAIL_MIN: Final = 0.01
"""A reference with fewer edges cannot tell a covered lens from an empty belt."""
CLIPPED_MAX: Final = 0.98
"""Pixels at the ends of the scale have no noise: that they do not change says nothing."""
UNCHANGED_MIN: Final = 3
GOOD_MIN: Final = 3
KEYS_MIN: Final = 2
LOOKS_MIN: Final = 5
AGREE: Final = 0.8
SPAN: Final = 0.75
NS_PER_S: Final = 1e9
WINDOW_AGE_NS: Final = 1_000_000_000


class Fault(Enum):
    """What is wrong with a picture; of several, the first one is named, because it explains the others."""

    FROZEN = "frozen"
    DARK = "dark"
    BRIGHT = "bright"
    COVERED = "covered"
    BLURRED = "blurred"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class PictureRules:
    """What is looked for in the pictures of one camera, and what follows.

    A limit that is ``None`` is what the reference says, or the default.

    Attributes:
        off: what is not looked for.
        dark: mean grey.
        bright: share of white pixels.
        covered: share of pixels on edges.
        blurred: sharpness.
        moved: shift in parts of the width or the height; never without a reference.
        after_s: a fault counts when it was seen for so long.
        clear_s: it is over when it was not seen for so long.
        not_decidable: frames are not judged while the picture, or the last one that was measured, has a fault.
    """

    off: frozenset[Fault] = frozenset()
    dark: float | None = None
    bright: float | None = None
    covered: float | None = None
    blurred: float | None = None
    moved: float | None = None
    after_s: float = 4.0
    clear_s: float = 2.0
    not_decidable: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is looked for."""
        return len(self.off) < len(Fault)


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault with the number that shows it: ``measured`` is called ``quantity`` and would have to keep ``limit``."""

    fault: Fault
    quantity: str
    measured: float
    limit: float

    @property
    def text(self) -> str:
        """One clause for people."""
        return f"{self.fault.value}: {self.quantity} is {self.measured:.3g}, the limit is {self.limit:.3g}"


@dataclass(frozen=True, slots=True)
class PictureView:
    """How the pictures of a camera are at one moment.

    Attributes:
        state: ``unknown``, ``ok`` or the value of a ``Fault``.
        since_mono_ns: when it began, CLOCK_MONOTONIC.
        finding: what made it a fault, with the newest number.
        numbers: of the last picture that was measured; ``None`` before the first one.
        reference: ``none``, ``used``, or ``size`` when it is of pictures of another size.
        window: brightness and sharpness over the last minutes.
        decides: frames are not judged while there is a finding.
    """

    state: str
    since_mono_ns: int
    finding: Finding | None
    numbers: PictureNumbers | None
    reference: Literal["none", "used", "size"]
    window: PictureWindow
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One state of the pictures became another one; ``finding`` is ``None`` when they are good again."""

    before: str
    after: str
    finding: Finding | None


class PictureHealth:
    """See the module docstring. Not thread-safe: one thread owns it."""

    def __init__(self, rules: PictureRules, now_ns: int = 0) -> None:
        """Know nothing yet."""
        self.rules = rules
        self.reference: PictureReference | None = None
        self._window = SlidingWindow()
        self._shown = self._window.view(now_ns)
        self._shown_ns = now_ns
        self._looks: deque[tuple[int, Finding | None]] = deque()
        self._good_since_ns = 0
        self._good = 0
        """Good pictures in a row, the first of them at ``_good_since_ns``."""
        self._numbers: PictureNumbers | None = None
        self._state = UNKNOWN
        self._since_ns = now_ns
        self._finding: Finding | None = None

    @property
    def refusal(self) -> str | None:
        """Why frames must not be judged now; ``None`` when they may."""
        if not self.rules.not_decidable:
            return None
        found = self._looks[-1][1] if self._looks else None
        found = found or self._finding
        return None if found is None else f"the picture is {found.text}"

    def add(self, numbers: PictureNumbers, now_ns: int) -> Change | None:
        """Judge one more picture; return the change of state that it makes."""
        self._numbers = numbers
        self._window.add(numbers, now_ns)
        found = self._judge(numbers)
        self._looks.append((now_ns, found))
        if found is not None:
            self._good = 0
        else:
            self._good_since_ns = now_ns if self._good == 0 else self._good_since_ns
            self._good += 1
        after_ns = self.rules.after_s * NS_PER_S
        while len(self._looks) > LOOKS_MIN and now_ns - self._looks[0][0] > after_ns:
            self._looks.popleft()
        before, state, finding = self._state, *self._decide(now_ns, found)
        self._finding = finding
        if state == before:
            return None
        self._state, self._since_ns = state, now_ns
        return Change(before, state, finding)

    def interrupt(self) -> None:
        """What comes next is from another connection; a fault stays until good pictures end it."""
        self._looks.clear()
        self._good = 0

    def view(self, now_ns: int) -> PictureView:
        """Return the state at ``now_ns``, CLOCK_MONOTONIC; its window may be ``WINDOW_AGE_NS`` old."""
        if now_ns - self._shown_ns >= WINDOW_AGE_NS:
            self._shown, self._shown_ns = self._window.view(now_ns), now_ns
        usable: Literal["none", "used", "size"] = "none"
        if self.reference is not None:
            usable = "used" if self._numbers is None or self._of(self._numbers) is not None else "size"
        return PictureView(
            self._state, self._since_ns, self._finding, self._numbers, usable, self._shown, self.rules.not_decidable
        )

    def _decide(self, now_ns: int, newest: Finding | None) -> tuple[str, Finding | None]:
        if newest is not None and newest.fault is Fault.FROZEN:
            return newest.fault.value, newest  # it was seen for long enough
        if self._good >= GOOD_MIN and now_ns - self._good_since_ns >= self.rules.clear_s * NS_PER_S:
            self._looks = deque(look for look in self._looks if look[1] is None)  # what was bad is over
            return OK, None
        after_ns = self.rules.after_s * NS_PER_S
        bad = [found for _, found in self._looks if found is not None]
        long_enough = len(self._looks) >= LOOKS_MIN and now_ns - self._looks[0][0] >= SPAN * after_ns
        if long_enough and len(bad) >= AGREE * len(self._looks):
            fault, _ = Counter(found.fault for found in bad).most_common(1)[0]
            return fault.value, next(found for found in reversed(bad) if found.fault is fault)
        return self._state, self._finding

    def _of(self, numbers: PictureNumbers) -> PictureReference | None:
        """The reference, unless it is of pictures of another size."""
        one = self.reference
        return one if one is not None and (one.width, one.height) == (numbers.width, numbers.height) else None

    def _judge(self, numbers: PictureNumbers) -> Finding | None:
        """Return the first fault of a picture."""
        reference = self._of(numbers)
        found = (
            self._frozen(numbers),
            self._dark(numbers, reference),
            self._bright(numbers, reference),
            self._covered(numbers, reference),
            self._blurred(numbers, reference),
            self._moved(numbers, reference),
        )
        return next((one for one in found if one is not None and one.fault not in self.rules.off), None)

    def _frozen(self, numbers: PictureNumbers) -> Finding | None:
        still = numbers.unchanged >= UNCHANGED_MIN and numbers.unchanged_keys >= KEYS_MIN
        if still and numbers.unchanged_s >= self.rules.after_s and numbers.black + numbers.white < CLIPPED_MAX:
            return Finding(Fault.FROZEN, "seconds without a change", numbers.unchanged_s, self.rules.after_s)
        return None

    def _dark(self, numbers: PictureNumbers, reference: PictureReference | None) -> Finding | None:
        limit = TOLERANCE * reference.brightness_low if reference else DARK
        return _below(Fault.DARK, "brightness", numbers.brightness, _first(self.rules.dark, limit))

    def _bright(self, numbers: PictureNumbers, reference: PictureReference | None) -> Finding | None:
        nearer = reference.white_high + WHITE_TOLERANCE * (1.0 - reference.white_high) if reference else BRIGHT
        limit = nearer if self.rules.bright is None else self.rules.bright
        return None if numbers.white <= limit else Finding(Fault.BRIGHT, "share of white pixels", numbers.white, limit)

    def _covered(self, numbers: PictureNumbers, reference: PictureReference | None) -> Finding | None:
        if reference is None and self.rules.covered is None:
            return _below(Fault.COVERED, "contrast", numbers.contrast, COVERED)
        limit = None
        if reference is not None and reference.detail_low >= DETAIL_MIN:
            limit = COVERED_TOLERANCE * reference.detail_low
        return _below(Fault.COVERED, "share of edges", numbers.detail, _first(self.rules.covered, limit))

    def _blurred(self, numbers: PictureNumbers, reference: PictureReference | None) -> Finding | None:
        if numbers.sharpness is None:
            return None
        limit: float | None = BLURRED
        if reference is not None:
            limit = None if reference.sharpness_low is None else TOLERANCE * reference.sharpness_low
        return _below(Fault.BLURRED, "sharpness", numbers.sharpness, _first(self.rules.blurred, limit))

    def _moved(self, numbers: PictureNumbers, reference: PictureReference | None) -> Finding | None:
        if reference is None or reference.likeness_low is None or numbers.likeness is None:
            return None
        if numbers.shift is None:
            least = TOLERANCE * reference.likeness_low
            return Finding(Fault.MOVED, "likeness to the reference", numbers.likeness, least)
        limit = MOVED if self.rules.moved is None else self.rules.moved
        shift = max(abs(part) for part in numbers.shift)
        return Finding(Fault.MOVED, "shift", shift, limit) if shift > limit else None


def _first(configured: float | None, otherwise: float | None) -> float | None:
    return otherwise if configured is None else configured


def _below(fault: Fault, quantity: str, measured: float, limit: float | None) -> Finding | None:
    return Finding(fault, quantity, measured, limit) if limit is not None and measured < limit else None


def unjudged(reference: PictureReference) -> tuple[str, ...]:
    """Return the faults that cannot be told by ``reference``, because of what it shows."""
    lacks = (
        (Fault.COVERED, reference.detail_low < DETAIL_MIN),
        (Fault.BLURRED, reference.sharpness_low is None),
        (Fault.MOVED, reference.likeness_low is None),
    )
    return tuple(fault.value for fault, is_lacking in lacks if is_lacking)
