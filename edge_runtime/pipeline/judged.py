"""What an engine made of the frames that it got, counted: what gates and drift alarms compare. Pure.

A `Tally` grows by one entry per frame in the line's thread and has a bound whatever happens; a `Tallied` is one moment
of it, which any thread may read. The difference of two moments is what happened between them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.core.reference import SCORE_BINS
from edge_runtime.core.result import Evaluation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Answer = tuple[Evaluation, float, Mapping[str, float]]  # arguments of `Tally.judged`

_BASE: Final = math.log(1.05)  # each bucket of times is 5 % wider than the one before, so a percentile is as exact
_LEAST_MS: Final = 0.05
TIME_BUCKETS: Final = 300  # up to 110 s; what took longer counts as that
LABELS_MAX: Final = 256  # further ones count together
SCORES_MIN: Final = 100  # predictions on either side, before two distributions are compared
PER_BIN: Final = 4  # entries on average, at least
_WIDTHS: Final = (1, 2, 4, 5, 10)  # bins taken together
RECENT: Final = 1000  # frames, at least, that `Tally.recent` tells of; twice as many at most
BELIEVED: Final = 0.5
OTHER_LABELS: Final = "*"
EVIDENCE_MAX: Final = 20
REPEATS_MAX: Final = 100.0  # three seconds of one part before a camera with 30 frames a second
_FINE: Final = 1000  # steps of a score are summed in whole thousandths, so that differences of moments are exact


@dataclass(frozen=True, slots=True)
class Tallied:
    """What an engine made of its frames.

    Attributes:
        ok, not_ok: how many it judged so; ``undefined``: no rule decides.
        undecided: NotDecidable by code of the failure or ``recipe``.
        refused: frames that another engine judged in its place, by code of the failure.
        times: frames by time from dispatch to answer, `TIME_BUCKETS` buckets.
        scores: predictions by score, `SCORE_BINS` bins; the best one of each label of a frame.
        labels: frames in which a label was the best one, or had `BELIEVED`: a classifier lists all that it knows.
        turns: frames whose evaluation is NotOK when that of the decided one before was not, or the reverse.
        pairs: predictions whose label had been predicted before.
        steps: sum of the squares of the differences of their scores, in thousandths.
    """

    ok: int = 0
    not_ok: int = 0
    undefined: int = 0
    undecided: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    times: tuple[int, ...] = (0,) * TIME_BUCKETS
    scores: tuple[int, ...] = (0,) * SCORE_BINS
    labels: Mapping[str, int] = field(default_factory=dict)
    turns: int = 0
    pairs: int = 0
    steps: int = 0

    @property
    def decided(self) -> int:
        """Frames that have an evaluation of their picture."""
        return self.ok + self.not_ok + self.undefined

    @property
    def failed(self) -> int:
        """Frames that this engine did not decide."""
        return sum(self.undecided.values()) + sum(self.refused.values())

    @property
    def frames(self) -> int:
        """All frames that it got."""
        return self.decided + self.failed

    @property
    def verdict_repeats(self) -> float:
        """How many frames say as much as one about the share of NotOK, 1 to `REPEATS_MAX`.

        A camera sees one part in many frames, so neighbours are alike. Their correlation r follows from how seldom the
        evaluation turns, compared with frames that are independent; (1 + r) / (1 - r) of them count as one.
        """
        share = (self.not_ok + 2) / (self.decided + 4)
        return _repeats((self.turns + 1) / (2 * share * (1 - share) * self.decided + 1))

    @property
    def score_repeats(self) -> float:
        """How many predictions say as much as one about the distribution of scores, 1 to `REPEATS_MAX`.

        As for `verdict_repeats`, r by the mean square of successive differences (von Neumann 1941).
        """
        count = sum(self.scores)
        if not count:
            return 1.0
        mean = sum(number * one for number, one in enumerate(self.scores)) / count
        spread = sum(one * (number - mean) ** 2 for number, one in enumerate(self.scores)) / count + 1 / 12
        steps = self.steps * (SCORE_BINS / _FINE) ** 2
        return _repeats((steps + 2 * spread) / (2 * spread * (self.pairs + 1)))

    def percentile_ms(self, quantile: float) -> float | None:
        """Return a percentile of the times in milliseconds, at most 5 % too large; ``None`` without any."""
        left = math.ceil(quantile * sum(self.times))
        for bucket, count in enumerate(self.times):
            left -= count
            if count and left <= 0:
                return _LEAST_MS * math.exp(_BASE * (bucket + 1))
        return None

    def since(self, before: Tallied) -> Tallied:
        """Return what came after ``before``, an earlier moment of the same tally."""
        return Tallied(
            self.ok - before.ok,
            self.not_ok - before.not_ok,
            self.undefined - before.undefined,
            _less(self.undecided, before.undecided),
            _less(self.refused, before.refused),
            tuple(now - then for now, then in zip(self.times, before.times, strict=True)),
            tuple(now - then for now, then in zip(self.scores, before.scores, strict=True)),
            _less(self.labels, before.labels),
            self.turns - before.turns,
            self.pairs - before.pairs,
            self.steps - before.steps,
        )


NOTHING: Final = Tallied()


def together(parts: Sequence[Tallied]) -> Tallied:
    """Return the sum, for example of all inspections of a slot."""
    return Tallied(
        sum(one.ok for one in parts),
        sum(one.not_ok for one in parts),
        sum(one.undefined for one in parts),
        sum((Counter(one.undecided) for one in parts), Counter()),
        sum((Counter(one.refused) for one in parts), Counter()),
        tuple(map(sum, zip(*(one.times for one in parts), strict=True))) or NOTHING.times,
        tuple(map(sum, zip(*(one.scores for one in parts), strict=True))) or NOTHING.scores,
        sum((Counter(one.labels) for one in parts), Counter()),
        sum(one.turns for one in parts),
        sum(one.pairs for one in parts),
        sum(one.steps for one in parts),
    )


def stability_index(
    old: Sequence[int], new: Sequence[int], *, old_repeats: float = 1.0, new_repeats: float = 1.0
) -> float | None:
    """Return how far two histograms are apart (population stability index), ``None`` when one has too few entries.

    So many of their entries say as much as one (`Tallied.score_repeats`); the fewer are left, the wider are the bins.

    The index is the sum of (q - p) ln(q / p) over the bins, with half an entry added to each; of two samples of one
    distribution it is about (bins - 1) (1/n + 1/m), which is taken off, twice.
    """
    if min(sum(old), sum(new)) < SCORES_MIN:
        return None
    before, now = sum(old) / old_repeats, sum(new) / new_repeats
    width = next((one for one in _WIDTHS if min(before, now) * one >= PER_BIN * len(old)), _WIDTHS[-1])
    wide = [(sum(old[at : at + width]), sum(new[at : at + width])) for at in range(0, len(old), width)]
    used = [(one / old_repeats, other / new_repeats) for one, other in wide if one or other]
    shares = [
        ((one + 0.5) / (before + 0.5 * len(used)), (other + 0.5) / (now + 0.5 * len(used))) for one, other in used
    ]
    index = sum((q - p) * math.log(q / p) for p, q in shares)
    return max(0.0, index - 2 * (len(used) - 1) * (1 / before + 1 / now))


class Tally:
    """See the module docstring. One thread owns it."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self._evaluations = [0, 0, 0, 0]
        self._undecided: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._times = [0] * TIME_BUCKETS
        self._scores = [0] * SCORE_BINS
        self._labels: Counter[str] = Counter()
        self._turns = self._pairs = self._steps = 0
        self._was_not_ok: bool | None = None
        self._fine: dict[str, int] = {}  # the last score of each label, in thousandths
        self._frames = 0
        self._marks = (NOTHING, NOTHING)  # moments, the older one first

    def judged(self, evaluation: Evaluation, ms: float, best: Mapping[str, float]) -> None:
        """Count a frame that it answered.

        Args:
            evaluation: by the recipe; NotDecidable = the recipe cannot decide by what it said.
            ms: from dispatch to answer.
            best: the highest score, 0..1, of each label that it predicted.
        """
        if evaluation is Evaluation.NOT_DECIDABLE:
            self._undecided["recipe"] += 1
        else:
            self._evaluations[evaluation.value] += 1
            is_not_ok = evaluation is Evaluation.NOT_OK
            self._turns += is_not_ok is not self._was_not_ok and self._was_not_ok is not None
            self._was_not_ok = is_not_ok
        bucket = int(math.log(max(ms, _LEAST_MS) / _LEAST_MS) / _BASE)
        self._times[min(bucket, TIME_BUCKETS - 1)] += 1
        top = max(best.values(), default=0.0)
        for label, score in best.items():
            self._scores[min(int(score * SCORE_BINS), SCORE_BINS - 1)] += 1
            if label in self._fine or len(self._fine) < LABELS_MAX:
                fine = int(score * _FINE)
                if label in self._fine:
                    self._pairs += 1
                    self._steps += (fine - self._fine[label]) ** 2
                self._fine[label] = fine
            if score >= BELIEVED or score == top:
                known = label in self._labels or len(self._labels) < LABELS_MAX
                self._labels[label if known else OTHER_LABELS] += 1
        self._count()

    def undecided(self, code: str) -> None:
        """Count a frame for which nobody had an answer."""
        self._undecided[code] += 1
        self._count()

    def refused(self, code: str) -> None:
        """Count a frame that another engine had to judge in its place."""
        self._refused[code] += 1
        self._count()

    def _count(self) -> None:
        self._frames += 1
        if self._frames % RECENT == 0:
            self._marks = (self._marks[1], self.now())

    def now(self) -> Tallied:
        """Return this moment."""
        return Tallied(
            self._evaluations[Evaluation.OK.value],
            self._evaluations[Evaluation.NOT_OK.value],
            self._evaluations[Evaluation.UNDEFINED.value],
            dict(self._undecided),
            dict(self._refused),
            tuple(self._times),
            tuple(self._scores),
            dict(self._labels),
            self._turns,
            self._pairs,
            self._steps,
        )

    def recent(self) -> Tallied:
        """Return the last `RECENT` frames and up to as many before them, or all when there are fewer."""
        return self.now().since(self._marks[0])


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One frame that two models judged differently, as evidence."""

    inspection: str
    frame_id: int
    old: str
    new: str
    old_score: float | None
    new_score: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """How a model that is compared (shadow) judged what another one had judged.

    Attributes:
        compared: frames that both judged.
        skipped: frames whose picture was gone before the second one came to it.
        failed: frames that the second one did not answer, by code of the failure.
        disagreements: evaluations differ.
        score_distance: largest difference of the deciding scores, 0..1.
        old, new: what both made of those frames.
        evidence: the first disagreements.
    """

    compared: int = 0
    skipped: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    disagreements: int = 0
    score_distance: float = 0.0
    old: Tallied = NOTHING
    new: Tallied = NOTHING
    evidence: tuple[Disagreement, ...] = ()


class Comparisons:
    """Counts what a model that is compared makes of frames that another one has judged. One thread owns it."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self._old, self._new = Tally(), Tally()
        self._compared = self._skipped = self._disagreements = 0
        self._failed: Counter[str] = Counter()
        self._distance = 0.0
        self._evidence: list[Disagreement] = []

    def add(self, found: Disagreement, old: Answer, new: Answer) -> None:
        """Count a frame that both judged; ``found`` is kept when the evaluations differ."""
        self._compared += 1
        self._old.judged(*old)
        self._new.judged(*new)
        if found.old_score is not None and found.new_score is not None:
            self._distance = max(self._distance, abs(found.old_score - found.new_score))
        if old[0] is not new[0]:
            self._disagreements += 1
            if len(self._evidence) < EVIDENCE_MAX:
                self._evidence.append(found)

    def skipped(self) -> None:
        """Count a frame whose picture was gone before the second one came to it."""
        self._skipped += 1

    def failed(self, code: str) -> None:
        """Count a frame that the second one did not answer."""
        self._failed[code] += 1

    def now(self) -> Compared:
        """Return this moment."""
        return Compared(
            self._compared,
            self._skipped,
            dict(self._failed),
            self._disagreements,
            self._distance,
            self._old.now(),
            self._new.now(),
            tuple(self._evidence),
        )


@dataclass(frozen=True, slots=True)
class Judging:
    """A slot with a standby engine at one moment.

    Attributes:
        old: the last frames that the engine of the slot judged, by inspection.
        new: what the standby judged since it was switched to, by inspection.
        compared: what it was compared on since it shadows.
    """

    old: Mapping[str, Tallied]
    new: Mapping[str, Tallied]
    compared: Compared


def _repeats(independence: float) -> float:
    """Return (1 + r) / (1 - r) for 1 - r = ``independence``, within bounds."""
    return min(REPEATS_MAX, max(1.0, 2 / independence - 1))


def _less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    left = {key: count - before.get(key, 0) for key, count in now.items()}
    return {key: count for key, count in left.items() if count}
