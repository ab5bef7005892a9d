"""The result of a settled frame says what was judged, by which model, when, and why not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.result import Counters, Evaluation, Failure, Prediction, RecipeRef, Result, ResultState, Timings
from edge_runtime.pipeline.attempt import Settled, TriggerIds
from edge_runtime.pipeline.inspection import InspectionSpec
from edge_runtime.pipeline.recipe import Recipe, Rule
from edge_runtime.pipeline.results import ResultFactory
from edge_runtime.pipeline.setup import Setup
from tests.fakes.clock import ManualClock
from tests.fakes.values import FACTS, make_frame, make_prediction, make_verdict

if TYPE_CHECKING:
    from edge_runtime.pipeline.facts import ModelFacts

SPEC = InspectionSpec("top-check", "top", "defects")
REF = RecipeRef("scratches", "3", "sha256:" + "cd" * 32)
COUNTERS = Counters(captured=5, inferred=3, failed=1, dropped=1)
RULES = Recipe("scratches", "3", (Rule("scratch", score_min=0.5),))
SCRATCH = make_prediction("scratch", 0.9)


def _factory(clock: ManualClock, recipe: Recipe = RULES) -> ResultFactory:
    return ResultFactory(SPEC, recipe, REF, clock=clock, random=lambda n: b"\x11" * n)


def _built(factory: ResultFactory, settled: Settled, facts: ModelFacts | None, *, simulated: bool = False) -> Result:
    if settled.verdict is not None:
        settled = replace(settled, verdict=replace(settled.verdict, facts=facts))
    return factory.build(settled, COUNTERS, simulated=simulated)


def test_a_judged_frame_is_completed_and_names_the_model_that_judged() -> None:
    clock = ManualClock()
    frame = make_frame(7, clock.mono_ns(), simulated=True)
    clock.advance_ms(25)
    verdict = make_verdict(SCRATCH)
    result = _built(_factory(clock), Settled(frame, verdict), FACTS, simulated=True)
    assert (result.evaluation, result.state, result.reason, result.score) == (
        Evaluation.NOT_OK,
        ResultState.COMPLETED,
        "scratch 0.90",
        0.9,
    )
    assert (result.model, result.backend, result.device, result.precision) == (FACTS.model, "openvino", "CPU", "int8")
    assert (result.camera, result.inspection, result.frame_id) == ("top", "top-check", 7)
    assert (result.captured_utc_ns, result.captured_mono_ns) == (frame.captured_utc_ns, frame.captured_mono_ns)
    assert (result.width, result.height, result.origin) == (640, 480, "0007.png")
    assert result.timings == Timings(capture=1.5, queue=2.0, preprocess=1.0, infer=8.0, postprocess=0.5, total=25.0)
    assert (result.recipe, result.counters, result.predictions) == (REF, COUNTERS, (SCRATCH,))
    assert result.simulated


def test_the_device_is_the_one_that_really_ran() -> None:
    clock = ManualClock()
    verdict = replace(make_verdict(), device="GPU")
    result = _built(_factory(clock), Settled(make_frame(1, clock.mono_ns()), verdict), FACTS)
    assert result.device == "GPU"


def test_ids_sort_by_time_and_are_uuid_version_7() -> None:
    clock = ManualClock()
    settled = Settled(make_frame(1, clock.mono_ns()), make_verdict())
    first = _built(_factory(clock), settled, FACTS).id
    clock.advance_ms(1)
    second = _built(_factory(clock), settled, FACTS).id
    assert first < second
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)


@pytest.mark.parametrize(("message", "reason"), [("engine hung", "engine_lost: engine hung"), ("", "engine_lost")])
def test_a_failed_frame_is_not_decidable_and_claims_no_model(message: str, reason: str) -> None:
    clock = ManualClock()
    frame = make_frame(8, clock.mono_ns())
    clock.advance_ms(100)
    settled = Settled(frame, failure=Failure.ENGINE_LOST, message=message)
    result = _built(_factory(clock), settled, FACTS)
    assert (result.evaluation, result.state, result.reason) == (Evaluation.NOT_DECIDABLE, ResultState.FAILED, reason)
    assert (result.model, result.backend, result.device, result.precision, result.score) == (None,) * 5
    assert result.predictions == ()
    assert result.timings == Timings(capture=1.5, total=100.0)


def test_a_trigger_without_a_frame_is_stamped_with_now_and_carries_its_ids() -> None:
    clock = ManualClock()
    ids = TriggerIds("job", "part", "meas", "product", "correlation")
    settled = Settled(None, failure=Failure.CAMERA_LOST, message="no frame", trigger=ids)
    result = _built(_factory(clock), settled, None)
    assert (result.frame_id, result.width, result.height, result.origin) == (0, 0, 0, None)
    assert (result.captured_utc_ns, result.captured_mono_ns) == (clock.utc_ns(), clock.mono_ns())
    assert result.timings == Timings()
    assert (result.job_id, result.part_id, result.meas_id, result.product_id, result.correlation_id) == (
        "job",
        "part",
        "meas",
        "product",
        "correlation",
    )


def test_a_fate_without_a_reason_says_so() -> None:
    result = _built(_factory(ManualClock()), Settled(None), None)
    assert result.reason == "unknown"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (FACTS, Evaluation.NOT_OK),
        (replace(FACTS, task="classification"), Evaluation.UNDEFINED),
        (None, Evaluation.UNDEFINED),
    ],
)
def test_without_rules_whatever_a_detector_finds_is_not_ok(facts: ModelFacts | None, expected: Evaluation) -> None:
    clock = ManualClock()
    settled = Settled(make_frame(1, clock.mono_ns()), make_verdict(SCRATCH))
    result = _built(_factory(clock, Recipe()), settled, facts)
    assert result.evaluation is expected


def test_without_rules_a_detector_that_finds_nothing_says_ok() -> None:
    clock = ManualClock()
    settled = Settled(make_frame(1, clock.mono_ns()), make_verdict())
    assert _built(_factory(clock, Recipe()), settled, FACTS).evaluation is Evaluation.OK


ANOMALY = replace(FACTS, task="anomaly", labels=("good", "bad", "bad place"), score_min=0.0, by_label={})
GOOD, BAD = Prediction("good", 0.8, id=0), Prediction("bad", 0.8, id=1)
PLACE = Prediction("bad place", 0.9, (1, 2, 3, 4), id=2)


@pytest.mark.parametrize(
    ("predictions", "evaluation", "reason"),
    [
        ((BAD, replace(GOOD, score=0.2, alternative=True), PLACE), Evaluation.NOT_OK, "bad 0.80"),
        ((GOOD, replace(BAD, score=0.2, alternative=True)), Evaluation.OK, "no rule tripped"),
        # its own verdict about the whole picture decides, and the recipe may say otherwise
        ((GOOD, replace(BAD, score=0.2, alternative=True), PLACE), Evaluation.OK, "no rule tripped"),
    ],
)
def test_without_rules_what_is_anomalous_is_not_ok(
    predictions: tuple[Prediction, ...], evaluation: Evaluation, reason: str
) -> None:
    clock = ManualClock()
    settled = Settled(make_frame(1, clock.mono_ns()), make_verdict(*predictions))
    result = _built(_factory(clock, Recipe()), settled, ANOMALY)
    assert (result.evaluation, result.reason) == (evaluation, reason)


def test_a_rule_about_a_number_that_a_raw_model_does_not_report_lets_no_part_pass() -> None:
    clock = ManualClock()
    raw = replace(FACTS, task="raw", labels=())
    settled = Settled(make_frame(1, clock.mono_ns()), make_verdict(Prediction("load", 1.0, value=3.0)))
    known = _built(_factory(clock, Recipe(not_ok=(Rule("load", value_above=4),))), settled, raw)
    assert known.evaluation is Evaluation.OK
    lost = _built(_factory(clock, Recipe(not_ok=(Rule("laod", count_above=4),))), settled, raw)
    assert (lost.evaluation, lost.reason[-4:]) == (Evaluation.NOT_DECIDABLE, "laod")


def test_a_rule_about_a_label_that_the_model_lacks_lets_no_part_pass() -> None:
    clock = ManualClock()
    factory = _factory(clock, Recipe(not_ok=(Rule("scartch"), Rule("dent"))))
    settled = Settled(make_frame(1, clock.mono_ns()), make_verdict(make_prediction("dent")))
    result = _built(factory, settled, FACTS)
    assert result.evaluation is Evaluation.NOT_DECIDABLE
    assert result.reason == "the recipe names labels that the model does not have: scartch"
    assert factory.unknown_labels(replace(FACTS, labels=())) == ()  # a model that names none cannot lack one


@pytest.mark.parametrize(
    ("rule", "below"),
    [
        (Rule("scratch", score_min=0.2), True),
        (Rule("scratch", score_min=0.25), False),
        (Rule("dent", score_min=0.4), True),
        (Rule("*", score_min=0.4), True),  # of dents there is nothing below 0.5
        (Rule("*", score_min=0.5), False),
        (Rule("scratch"), False),
        (Rule("scartch", score_min=0.2), False),
    ],
)
def test_a_rule_below_the_threshold_of_its_label_is_found(rule: Rule, below: bool) -> None:  # noqa: FBT001 - a parameter
    factory = _factory(ManualClock(), Recipe(not_ok=(rule,)))
    assert factory.rules_below_threshold(FACTS) == ((rule,) if below else ())


def test_a_model_without_labels_has_one_threshold() -> None:
    assert replace(FACTS, labels=()).threshold("*") == 0.25


READING = Recipe(not_ok=(Rule("scratch", text_is="VOID", count_above=0),))


@pytest.mark.parametrize(
    ("facts", "partial", "reason"),
    [
        (FACTS, False, "the recipe asks for texts, the model reads none"),
        (replace(FACTS, reads_text=True), True, "some of the texts had to be left out"),
        (None, True, "some of the texts had to be left out"),
    ],
)
def test_a_recipe_about_texts_that_cannot_be_known_decides_nothing(
    facts: ModelFacts | None,
    partial: bool,  # noqa: FBT001 - a parameter
    reason: str,
) -> None:
    clock = ManualClock()
    verdict = replace(make_verdict(SCRATCH), partial=partial)
    settled = Settled(make_frame(1, clock.mono_ns()), verdict)
    result = _built(_factory(clock, READING), settled, facts)
    assert (result.evaluation, result.reason) == (Evaluation.NOT_DECIDABLE, reason)


def test_a_recipe_about_texts_judges_what_a_reader_reads() -> None:
    clock = ManualClock()
    settled = Settled(make_frame(1, clock.mono_ns()), make_verdict(replace(SCRATCH, text="VOID")))
    result = _built(_factory(clock, READING), settled, replace(FACTS, reads_text=True))
    assert result.evaluation is Evaluation.NOT_OK


def test_a_frame_is_judged_by_the_recipe_it_belongs_to_and_carries_its_product() -> None:
    clock = ManualClock()
    other = Recipe("dents", "1", (Rule("dent"),)), RecipeRef("dents", "1", "sha256:" + "ee" * 32)
    factory = ResultFactory(SPEC, RULES, REF, clock=clock, random=bytes, others=(other,))
    assert factory.recipe_ids == ("scratches", "dents")
    frame, verdict = make_frame(1, clock.mono_ns()), make_verdict(SCRATCH)
    chosen = Settled(frame, verdict, setup=Setup("dents", "B"))
    result = _built(factory, chosen, FACTS)
    assert (result.evaluation, result.recipe, result.product_id) == (Evaluation.OK, other[1], "B")
    own = Settled(frame, verdict, trigger=TriggerIds(product_id="C"), setup=Setup("dents", "B"))
    assert _built(factory, own, FACTS).product_id == "C"
    assert _built(factory, Settled(frame, verdict), FACTS).recipe == REF


def test_a_result_that_a_reset_ended_is_aborted() -> None:
    clock = ManualClock()
    settled = Settled(None, failure=Failure.ABORTED, message="reset")
    result = _built(_factory(clock), settled, None)
    assert (result.state, result.evaluation, result.reason) == (
        ResultState.ABORTED,
        Evaluation.NOT_DECIDABLE,
        "aborted: reset",
    )
