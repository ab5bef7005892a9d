"""Counts what becomes of frames, for the engines that had them (see `judged`). Belongs to the line's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.core.result import Failure
from edge_runtime.pipeline.attempt import NS_PER_MS
from edge_runtime.pipeline.judged import Disagreement, Judging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.result import Evaluation
    from edge_runtime.pipeline.attempt import Settled, Verdict
    from edge_runtime.pipeline.engine_link import EngineLink
    from edge_runtime.pipeline.inspection import InspectionSpec
    from edge_runtime.pipeline.judged import Comparisons
    from edge_runtime.pipeline.results import ResultFactory
    from edge_runtime.pipeline.slot import ModelSlot, Request
    from edge_runtime.pipeline.standby import Comparison, Standby

_OF_THE_ENGINE: Final = (Failure.DEADLINE, Failure.ENGINE_LOST, Failure.INVALID_OUTPUT)
_LATE_RATIO: Final = 2
"""A frame that was taken from a new model counts against it when the old one was so many times faster with it."""

_PICTURE_GONE: Final = Failure.INVALID_FRAME  # the ring had overwritten it


def count_result(
    links: Mapping[str, EngineLink],
    standbys: Mapping[str, Standby],
    spec: InspectionSpec,
    settled: Settled,
    evaluation: Evaluation,
) -> None:
    """Count the fate of a frame for the engine that judged it, or should have.

    Args:
        links: processes with the engines, by slot.
        standbys: what stands by, by slot.
        spec: whose frame it is.
        settled: its fate.
        evaluation: what its result says.
    """
    link, standby = links.get(spec.slot), standbys.get(spec.slot)
    slots = [] if link is None else [link.slots[spec.slot]]
    if standby is not None:
        slots.insert(0 if standby.judges(spec.id) else len(slots), standby.slot)
    verdict = settled.verdict
    if verdict is not None:
        judge = next((one for one in slots if one.facts is verdict.facts), None)
        if judge is not None:
            judge.tally(spec.id).judged(evaluation, _ms(verdict), _best(verdict))
    elif settled.failure in _OF_THE_ENGINE and slots:
        slots[0].tally(spec.id).undecided(settled.failure.value)


def count_late(standby: Standby | None, request: Request, verdict: Verdict) -> None:
    """Count a frame against the standby that was late with it, now that the engine of the slot has answered.

    If that was slow with it, too, the box has too much to do, and says nothing about the new model. How long it waited
    for its turn does not matter: frames that pile up behind the new model come all at once.
    """
    if standby is not None and request.late_ns > _LATE_RATIO * NS_PER_MS * (_ms(verdict) - verdict.queue_ms):
        standby.slot.tally(request.inspection).refused(Failure.DEADLINE.value)


def count_comparison(
    comparisons: Comparisons, factory: ResultFactory, comparison: Comparison, answer: Verdict | Failure
) -> None:
    """Count what a model that is compared made of a frame."""
    if answer is _PICTURE_GONE:
        comparisons.skipped()
        return
    if isinstance(answer, Failure):
        comparisons.failed(answer.value)
        return
    frame, old = comparison.request.frame, comparison.judgement
    new = factory.judge(answer, frame, comparison.setup)
    comparisons.add(
        Disagreement(
            comparison.request.inspection,
            frame.frame_id,
            old.evaluation.name,
            new.evaluation.name,
            old.score,
            new.score,
        ),
        (old.evaluation, _ms(comparison.verdict), _best(comparison.verdict)),
        (new.evaluation, _ms(answer), _best(answer)),
    )


def judging(slot: ModelSlot, standby: ModelSlot, comparisons: Comparisons) -> Judging:
    """Return the counts of a slot and its standby engine at this moment."""
    return Judging(
        {name: tally.recent() for name, tally in slot.tallies().items()},
        {name: tally.now() for name, tally in standby.tallies().items()},
        comparisons.now(),
    )


def _ms(verdict: Verdict) -> float:
    return verdict.queue_ms + verdict.preprocess_ms + verdict.infer_ms + verdict.postprocess_ms


def _best(verdict: Verdict) -> Mapping[str, float]:
    best: dict[str, float] = {}
    for one in verdict.predictions:
        best[one.label] = max(one.score, best.get(one.label, 0.0))
    return best
