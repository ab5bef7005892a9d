"""Whether a candidate does well enough, by what was counted: in shadow, in the canary, in probation. Pure.

Every gate is asked again and again while frames come in, so an outright bad candidate is stopped long before the number
of frames that were asked for. What keeps chance from stopping a good one:

* Shares (disagreement, NotOK) breach early only when even the lower end of their confidence interval is above the
  limit, with ``Z`` = 5: a share at the limit is stopped by chance with a probability of 3e-7 at each look, 2e-4 over
  the 600 looks of ten minutes. At the end, with all frames that were asked for, the share of disagreement itself
  counts, and that of NotOK with ``Z_END`` = 2.
* Frames that follow one another show the same part, so they are not independent: for NotOK and scores only as many
  count as `Tallied.verdict_repeats` and `Tallied.score_repeats` say, of the model whose neighbours are more alike.
* Frames that it did not answer breach from `FAILURES_MIN` on: a model that works has none. Those that it was too late
  for breach from `LATE_MIN` on; they are counted only when the old model was faster with them (`pipeline.counting`):
  a busy box makes both slow.
* Times are weighed while a candidate judges, not in shadow: there it works at low priority and a busy box makes it slow
  (`engine.vet` has timed it beside the old one, in turns). They need `TIMES_MIN` frames on both sides; the median has
  to be slower, too, and not by less than `SLOWER_MS`: a box that is busy elsewhere for a moment moves the p99 alone.
* Scores need `pipeline.judged.SCORES_MIN` predictions on both sides; what the index has by chance is taken off first.
* Memory is compared between the quarters of what was measured after the allocators have warmed up.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from edge_runtime.control.deployment.deployment import Outcome, Verdict
from edge_runtime.pipeline.judged import stability_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge_runtime.pipeline.judged import Compared, Tallied
    from edge_runtime.registry.conditions import Gates

Z: Final = 5.0
Z_END: Final = 2.0
SHARES_MIN: Final = 20  # frames before a share means anything
FAILURES_MIN: Final = 5
LATE_MIN: Final = 10
LATE: Final = "deadline"  # code of frames that were given to the old model, or failed, because time was up
TIMES_MIN: Final = 100
SLOWER_MS: Final = 2.0
WARM_S: Final = 10.0  # after it began to judge; what a process allocates until then it keeps
MEMORY_MIN: Final = 8  # samples


@dataclass(frozen=True, slots=True)
class Breach:
    """One gate that was not reached: a stable code and a sentence."""

    reason: str
    message: str


@dataclass(slots=True)
class _Weighing:
    """What was seen, and the worst of it."""

    numbers: dict[str, float] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)

    def note(self, name: str, number: float) -> None:
        self.numbers[name] = round(number, 4)

    def breach(self, gate: str, message: str) -> None:
        self.breaches.append(Breach(f"gate.{gate}", message))

    def verdict(self, frames: int, wanted: int) -> Verdict:
        self.numbers["frames"] = frames
        if self.breaches:
            first = self.breaches[0]
            message = "; ".join(one.message for one in self.breaches)
            return Verdict(Outcome.BREACHED, frames, 1.0, first.reason, message, self.numbers)
        outcome = Outcome.PASSED if frames >= wanted else Outcome.OPEN
        return Verdict(outcome, frames, min(1.0, frames / wanted), numbers=self.numbers)


def of_shadow(compared: Compared, gates: Gates) -> Verdict:
    """Weigh what a shadow was compared on so far."""
    seen = _Weighing()
    frames, wanted = compared.compared, gates.shadow_frames
    failed = sum(compared.failed.values())
    seen.note("skipped", compared.skipped)
    seen.note("failed", failed)
    seen.note("disagreements", compared.disagreements)
    seen.note("score_distance", compared.score_distance)
    if failed >= FAILURES_MIN and failed > gates.undecided_max * (frames + failed):
        seen.breach("failures", f"{failed} of {frames + failed} frames got no answer: {_told(compared.failed)}")
    if frames:
        share = compared.disagreements / frames
        seen.note("disagreement", share)
        if _is_above(compared.disagreements, frames, gates.disagreement_max, is_end=frames >= wanted):
            seen.breach(
                "disagreement",
                f"{compared.disagreements} of {frames} frames were judged differently ({share:.1%}), "
                f"at most {gates.disagreement_max:.1%} may be",
            )
    _note_times(seen, compared.old, compared.new)
    return seen.verdict(frames, wanted)


def of_judging(
    old: Tallied, new: Tallied, gates: Gates, *, wanted: int, memory_mb: Sequence[tuple[float, float]] = ()
) -> Verdict:
    """Weigh what a candidate judged so far, in the canary or in probation.

    Args:
        old: what the model before it made of its last frames.
        new: what the candidate made of its own.
        gates: the limits.
        wanted: frames that it has to judge.
        memory_mb: seconds since it began to judge, and MiB of its process that are its own, ascending.
    """
    seen = _Weighing()
    is_end = new.frames >= wanted
    _weigh_failures(seen, old, new, gates)
    _weigh_not_ok(seen, old, new, gates, is_end=is_end)
    _weigh_times(seen, old, new, gates)
    _weigh_scores(seen, old, new, gates)
    _weigh_memory(seen, memory_mb, gates)
    return seen.verdict(new.frames, wanted)


def growth_mb(samples: Sequence[tuple[float, float]]) -> float | None:
    """Return by how much a process grew after it was warm, ``None`` while too little is known.

    It is the median of the last quarter of the samples over that of the first one: one that is off changes nothing.

    Args:
        samples: seconds, and MiB, ascending.
    """
    warm = [mb for seconds, mb in samples if seconds >= WARM_S]
    if len(warm) < MEMORY_MIN:
        return None
    quarter = len(warm) // 4
    return median(warm[-quarter:]) - median(warm[:quarter])


def _weigh_failures(seen: _Weighing, old: Tallied, new: Tallied, gates: Gates) -> None:
    usual = old.failed / old.frames if old.frames else 0.0
    seen.note("failed", new.failed)
    if not new.frames:
        return
    what = Counter(new.undecided) + Counter(new.refused)
    share, late = new.failed / new.frames, what[LATE]
    seen.note("late", late)
    seen.note("undecided", share - usual)
    counts = late >= LATE_MIN or new.failed - late >= FAILURES_MIN
    if counts and share - usual > gates.undecided_max:
        seen.breach(
            "failures",
            f"{new.failed} of {new.frames} frames got no verdict of it ({_told(what)}): {share:.1%}, "
            f"at most {usual + gates.undecided_max:.1%} may be",
        )


def _weigh_not_ok(seen: _Weighing, old: Tallied, new: Tallied, gates: Gates, *, is_end: bool) -> None:
    if min(old.decided, new.decided) < SHARES_MIN:
        return
    before, now = old.not_ok / old.decided, new.not_ok / new.decided
    seen.note("not_ok", now)
    seen.note("not_ok_before", before)
    shift = abs(now - before)
    repeats = max(old.verdict_repeats, new.verdict_repeats)
    error = math.sqrt(repeats * (_variance(old.not_ok, old.decided) + _variance(new.not_ok, new.decided)))
    if shift - (Z_END if is_end else Z) * error > gates.not_ok_shift_max:
        seen.breach(
            "not_ok",
            f"{now:.1%} of {new.decided} frames are NotOK, {before:.1%} were before: "
            f"the difference may be {gates.not_ok_shift_max:.1%}",
        )


def _weigh_times(seen: _Weighing, old: Tallied, new: Tallied, gates: Gates) -> None:
    if not _note_times(seen, old, new):
        return
    (p50_old, p99_old), (p50, p99) = ((_ms(one, 0.5), _ms(one, 0.99)) for one in (old, new))
    ratio, limit = p99 / p99_old, gates.latency_ratio_max
    is_slower = p50 / p50_old > 1 + (limit - 1) / 4 and p99 - p99_old > SLOWER_MS
    if ratio > limit and is_slower:
        seen.breach(
            "latency", f"p99 is {p99:.1f} ms, {ratio:.1f} times the {p99_old:.1f} ms before; {limit:g} is allowed"
        )


def _note_times(seen: _Weighing, old: Tallied, new: Tallied) -> bool:
    """Note how long both take; return whether there are enough frames to say so."""
    if min(sum(old.times), sum(new.times)) < TIMES_MIN:
        return False
    p99_old, p99 = _ms(old, 0.99), _ms(new, 0.99)
    seen.note("p99_ms", p99)
    seen.note("p99_ms_before", p99_old)
    seen.note("latency_ratio", p99 / p99_old)
    return True


def _weigh_scores(seen: _Weighing, old: Tallied, new: Tallied, gates: Gates) -> None:
    repeats = max(old.score_repeats, new.score_repeats)
    index = stability_index(old.scores, new.scores, old_repeats=repeats, new_repeats=repeats)
    if index is None:
        return
    seen.note("score_shift", index)
    if index > gates.score_shift_max:
        seen.breach(
            "scores", f"scores are distributed otherwise: index {index:.2f}, {gates.score_shift_max:g} is allowed"
        )


def _weigh_memory(seen: _Weighing, samples: Sequence[tuple[float, float]], gates: Gates) -> None:
    grown = growth_mb(samples)
    if grown is None:
        return
    seen.note("memory_growth_mb", grown)
    if grown > gates.memory_growth_mb:
        seen.breach("memory", f"its process grew by {grown:.0f} MiB, {gates.memory_growth_mb:g} is allowed")


def _is_above(count: int, frames: int, limit: float, *, is_end: bool) -> bool:
    if is_end:
        return count / frames > limit
    return frames >= SHARES_MIN and _least_share(count, frames) > limit


def _least_share(count: int, frames: int) -> float:
    """Return the lower end of the interval of Wilson (1927) for a share, with ``Z``."""
    share, z2 = count / frames, Z * Z
    middle = share + z2 / (2 * frames)
    spread = Z * math.sqrt(share * (1 - share) / frames + z2 / (4 * frames * frames))
    return max(0.0, (middle - spread) / (1 + z2 / frames))


def _variance(count: int, frames: int) -> float:
    """Return the variance of a share, two of either kind added (Agresti and Coull 1998): never 0."""
    share = (count + 2) / (frames + 4)
    return share * (1 - share) / (frames + 4)


def _ms(tallied: Tallied, quantile: float) -> float:
    return tallied.percentile_ms(quantile) or 0.0


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(_each(counts))


def _each(counts: Mapping[str, int]) -> Iterator[str]:
    for code, count in sorted(counts.items(), key=lambda item: -item[1]):
        yield f"{code} {count}"
