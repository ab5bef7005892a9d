"""Builds the Result of a settled frame: the one place where frame, verdict, recipe and model come together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.core.result import Evaluation, Failure, RecipeRef, Result, ResultState, Timings
from edge_runtime.pipeline.attempt import NS_PER_MS, TriggerIds
from edge_runtime.pipeline.recipe import ANY_LABEL, Judgement, Rule, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.core.frame import Frame
    from edge_runtime.core.result import Counters
    from edge_runtime.pipeline.attempt import Settled, Verdict
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.inspection import InspectionSpec
    from edge_runtime.pipeline.recipe import Recipe
    from edge_runtime.pipeline.setup import Setup
    from edge_runtime.system.clock import Clock


FINDING_TASKS = ("detection", "oriented_detection", "instance_segmentation")
"""Models of these families report nothing about a part on which there is nothing."""
_BAD = 1  # position of the label of an anomaly model for a picture that is not as it should be
_NO_FACTS = (None, None, None, None)


class ResultFactory:
    """Makes results for one inspection; clock and randomness are passed in."""

    def __init__(
        self,
        spec: InspectionSpec,
        recipe: Recipe,
        ref: RecipeRef,
        *,
        clock: Clock,
        random: Callable[[int], bytes],
        others: Sequence[tuple[Recipe, RecipeRef]] = (),
    ) -> None:
        """Judge with ``recipe``, whose identity in results is ``ref``; ``random(n)`` returns n random bytes.

        A command may choose one of the ``others`` instead, by its id.
        """
        self._spec = spec
        self._recipes = {one[1].id: one for one in ((recipe, ref), *others)}
        self._configured = ref.id
        self._clock = clock
        self._random = random

    @property
    def recipe_ids(self) -> tuple[str, ...]:
        """The recipes that can be chosen, the configured one first."""
        return tuple(self._recipes)

    def ref(self, recipe_id: str | None = None) -> RecipeRef:
        """Return the identity of a recipe; ``None`` is the configured one.

        Raises:
            KeyError: there is no such recipe.
        """
        return self._chosen(recipe_id)[1]

    def unmet(self, recipe_id: str, facts: ModelFacts) -> str | None:
        """Say why a recipe cannot decide anything with this model; ``None`` when it can.

        Raises:
            KeyError: there is no such recipe.
        """
        recipe, _ = self._chosen(recipe_id)
        unknown = _unknown_labels(recipe, facts)
        if unknown:
            return _MISSING_LABELS + ", ".join(unknown)
        return _NO_TEXTS if _reads_in_vain(recipe, facts) else None

    def build(self, settled: Settled, counters: Counters, *, simulated: bool) -> Result:
        """Return the result of a frame that was inferred or failed.

        Args:
            settled: the fate; a dropped frame has no result.
            counters: of the inspection, this frame included.
            simulated: the camera is a simulation.
        """
        now_utc, now_mono = self._clock.utc_ns(), self._clock.mono_ns()
        frame, ids = settled.frame, settled.trigger or TriggerIds()
        recipe, ref = self._chosen(settled.setup.recipe)
        verdict = settled.verdict
        facts = None if verdict is None else verdict.facts
        if verdict is not None and frame is not None:
            judgement = _judge(recipe, verdict, frame)
            evaluation, reason, score = judgement.evaluation, judgement.reason, judgement.score
            state, predictions = ResultState.COMPLETED, verdict.predictions
        else:
            evaluation, score, predictions = Evaluation.NOT_DECIDABLE, None, ()
            reason = _failure_reason(settled.failure, settled.message)
            state = ResultState.ABORTED if settled.failure is Failure.ABORTED else ResultState.FAILED
        model, backend, device, precision = (
            (facts.model, facts.backend, facts.device, facts.precision) if facts else _NO_FACTS
        )
        return Result(
            id=uuid7(now_utc // NS_PER_MS, self._random(RANDOM_BYTES)),
            camera=self._spec.camera,
            inspection=self._spec.id,
            frame_id=frame.frame_id if frame else 0,
            captured_utc_ns=frame.captured_utc_ns if frame else now_utc,
            captured_mono_ns=frame.captured_mono_ns if frame else now_mono,
            width=frame.width if frame else 0,
            height=frame.height if frame else 0,
            evaluation=evaluation,
            state=state,
            reason=reason,
            score=score,
            recipe=ref,
            model=model,
            backend=backend,
            device=verdict.device if verdict else device,
            precision=precision,
            timings=_timings(frame, verdict, now_mono),
            counters=counters,
            predictions=predictions,
            simulated=simulated,
            partial=verdict.partial if verdict else False,
            origin=frame.origin if frame else None,
            job_id=ids.job_id,
            part_id=ids.part_id,
            meas_id=ids.meas_id,
            product_id=ids.product_id or settled.setup.product_id,
            correlation_id=ids.correlation_id,
        )

    def judge(self, verdict: Verdict, frame: Frame, setup: Setup) -> Judgement:
        """Return what the recipe of ``setup`` says of a verdict about ``frame``; its result says the same."""
        return _judge(self._chosen(setup.recipe)[0], verdict, frame)

    def unknown_labels(self, facts: ModelFacts, recipe_id: str | None = None) -> tuple[str, ...]:
        """Labels of the recipe that the model does not have: its rules can never trip, so nothing may pass as OK."""
        return _unknown_labels(self._chosen(recipe_id)[0], facts)

    def reads_in_vain(self, facts: ModelFacts, recipe_id: str | None = None) -> bool:
        """Whether the recipe asks for texts and the model reads none: its rules say nothing about the part."""
        return _reads_in_vain(self._chosen(recipe_id)[0], facts)

    def rules_below_threshold(self, facts: ModelFacts, recipe_id: str | None = None) -> tuple[Rule, ...]:
        """Rules of the recipe whose score is one at which the model reports nothing, so that it changes nothing."""
        recipe, _ = self._chosen(recipe_id)
        unknown = _unknown_labels(recipe, facts)
        return tuple(
            rule
            for rule in recipe.not_ok
            if rule.label not in unknown and 0 < rule.score_min < facts.threshold(rule.label)
        )

    def _chosen(self, recipe_id: str | None) -> tuple[Recipe, RecipeRef]:
        return self._recipes[self._configured if recipe_id is None else recipe_id]


_MISSING_LABELS = "the recipe names labels that the model does not have: "
_NO_TEXTS = "the recipe asks for texts, the model reads none"


def _unknown_labels(recipe: Recipe, facts: ModelFacts) -> tuple[str, ...]:
    named = {rule.label for rule in recipe.not_ok} - {ANY_LABEL}
    return tuple(sorted(named - set(facts.labels))) if facts.labels else ()


def _reads_in_vain(recipe: Recipe, facts: ModelFacts) -> bool:
    return not facts.reads_text and any(rule.is_about_text for rule in recipe.not_ok)


def _judge(recipe: Recipe, verdict: Verdict, frame: Frame) -> Judgement:
    facts = verdict.facts
    if facts is not None and facts.task == "raw":  # whose labels are the names of what it reported
        facts = replace(facts, labels=tuple({one.label for one in verdict.predictions}))
    unknown = _unknown_labels(recipe, facts) if facts is not None else ()
    if unknown:
        return Judgement(Evaluation.NOT_DECIDABLE, _MISSING_LABELS + ", ".join(unknown), None)
    if facts is not None and _reads_in_vain(recipe, facts):
        return Judgement(Evaluation.NOT_DECIDABLE, _NO_TEXTS, None)
    if verdict.partial and any(rule.is_about_text for rule in recipe.not_ok):
        return Judgement(Evaluation.NOT_DECIDABLE, "some of the texts had to be left out", None)
    return judge(_recipe_for(recipe, facts), verdict.predictions, frame.width, frame.height)


def _recipe_for(recipe: Recipe, facts: ModelFacts | None) -> Recipe:
    """Return the recipe; without rules the obvious one: what is found is not OK, nor is what is anomalous."""
    if recipe.not_ok or facts is None:
        return recipe
    if facts.task == "anomaly" and len(facts.labels) > _BAD:
        return replace(recipe, not_ok=(Rule(facts.labels[_BAD]),))
    if facts.task in FINDING_TASKS:
        return replace(recipe, not_ok=(Rule(ANY_LABEL),))
    return recipe


def _failure_reason(failure: Failure | None, message: str) -> str:
    code = failure.value if failure else "unknown"
    return f"{code}: {message}" if message else code


def _timings(frame: Frame | None, verdict: Verdict | None, now_mono_ns: int) -> Timings:
    if frame is None:
        return Timings()
    total = (now_mono_ns - frame.captured_mono_ns) / NS_PER_MS
    if verdict is None:
        return Timings(capture=frame.read_ms, total=total)
    return Timings(
        capture=frame.read_ms,
        queue=verdict.queue_ms,
        preprocess=verdict.preprocess_ms,
        infer=verdict.infer_ms,
        postprocess=verdict.postprocess_ms,
        total=total,
    )
