"""Pure judgement: predictions and a recipe in, an evaluation with its reason out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.result import Evaluation, Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.core.pattern import Pattern

ANY_LABEL = "*"
TEXTS_TOLD = 5  # in a reason
TEXT_TOLD = 40  # characters of each


@dataclass(frozen=True, slots=True)
class Rule:
    """One way for a part to be not OK.

    Attributes:
        label: which predictions count; ``*`` is every label. What a model decided against counts only with
            ``score_min``: a classifier lists labels that it does not believe in.
        score_min: predictions below this score (0..1) do not count; 0 = not stated.
        area_min_px: boxes smaller than this (frame pixels squared) do not count.
        count_below: not OK when fewer than this many count, for parts that must be there.
        count_above: not OK when more than this many count. With neither count, one is enough.
        value_below: values (of models that measure, in their unit) below this count, and no others but those of
            ``value_above``. Where nothing was measured there is no verdict.
        value_above: values above this count, likewise.
        text_is: predictions whose text is another one, or that have none, do not count; blanks at the ends are nothing.
        text_matches: predictions whose text is not as this pattern says do not count.
    """

    label: str
    score_min: float = 0.0
    area_min_px: float = 0.0
    count_below: int | None = None
    count_above: int | None = None
    value_below: float | None = None
    value_above: float | None = None
    text_is: str | None = None
    text_matches: Pattern | None = None

    @property
    def is_about_values(self) -> bool:
        """Whether it limits what was measured."""
        return self.value_below is not None or self.value_above is not None

    @property
    def is_about_text(self) -> bool:
        """Whether it counts by what is read."""
        return self.text_is is not None or self.text_matches is not None

    @property
    def name(self) -> str:
        """What it counts, for reasons."""
        if self.text_is is not None:
            return f"{self.label} {self.text_is!r}"
        return self.label if self.text_matches is None else f"{self.label} like {self.text_matches.text!r}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Rules and the region they look at.

    Attributes:
        id: name in results.
        version: free text in results.
        not_ok: a part is not OK when any of these trips; with no rules at all nothing is decided (Undefined).
        region: normalised polygon (x, y in 0..1); predictions whose box centre lies outside do not count.
    """

    id: str = "default"
    version: str = "1"
    not_ok: tuple[Rule, ...] = ()
    region: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a recipe says about one frame: ``score`` is that of the prediction which decided, if one did."""

    evaluation: Evaluation
    reason: str
    score: float | None


def judge(recipe: Recipe, predictions: Sequence[Prediction], width: int, height: int) -> Judgement:
    """Apply every rule; the part is OK only when none trips.

    Args:
        recipe: the rules.
        predictions: boxes in pixels of a frame of ``width`` x ``height``.
        width: frame width in pixels, >= 1.
        height: frame height in pixels, >= 1.

    Returns:
        NotOK with the reasons of all rules that tripped joined by ``; ``; else NotDecidable when a rule limits a value
        that was not measured; else OK, or Undefined without rules.
    """
    seen = [p for p in predictions if _inside(recipe.region, p, width, height)]
    best = max((p.score for p in seen), default=None)
    if not recipe.not_ok:
        return Judgement(Evaluation.UNDEFINED, "the recipe has no rules", best)
    reasons: list[str] = []
    unmeasured: list[str] = []
    scores: list[float] = []
    for rule in recipe.not_ok:
        if rule.is_about_values and not any(_is_meant(rule, p) and p.value is not None for p in seen):
            unmeasured.append(f"{rule.label}: no value was measured")
            continue
        counted = [p for p in seen if _counts(rule, p)]
        reason = _trip(rule, counted)
        if reason is not None:
            if rule.is_about_text and not counted:
                reason += f"; read: {_read(rule, seen)}"
            reasons.append(reason)
            scores.extend(p.score for p in counted)
    if reasons:
        return Judgement(Evaluation.NOT_OK, "; ".join(reasons), max(scores, default=None))
    if unmeasured:
        return Judgement(Evaluation.NOT_DECIDABLE, "; ".join(unmeasured), None)
    return Judgement(Evaluation.OK, "no rule tripped", best)


def _is_meant(rule: Rule, prediction: Prediction) -> bool:
    return rule.label in (ANY_LABEL, prediction.label)


def _counts(rule: Rule, prediction: Prediction) -> bool:
    if not _is_meant(rule, prediction) or prediction.score < rule.score_min:
        return False
    if rule.is_about_values and _beyond(rule, prediction) is None:
        return False
    if prediction.alternative and not rule.score_min:
        return False
    if not _reads(rule, prediction.text):
        return False
    if rule.area_min_px and prediction.box is not None:
        return prediction.box[2] * prediction.box[3] >= rule.area_min_px
    return True


def _beyond(rule: Rule, prediction: Prediction) -> str | None:
    """Return which limit the value of ``prediction`` is beyond, in words, if it is."""
    if prediction.value is None:
        return None
    if rule.value_below is not None and prediction.value < rule.value_below:
        return f"{prediction.label} {prediction.value:g}, at least {rule.value_below:g} needed"
    if rule.value_above is not None and prediction.value > rule.value_above:
        return f"{prediction.label} {prediction.value:g}, at most {rule.value_above:g} allowed"
    return None


def _reads(rule: Rule, text: str | None) -> bool:
    if not rule.is_about_text:
        return True
    if text is None or rule.text_is not in (None, text.strip()):
        return False
    return rule.text_matches is None or rule.text_matches.matches(text.strip())


def _read(rule: Rule, seen: Sequence[Prediction]) -> str:
    """Return some of the texts that were read where another one was expected."""
    texts = [p.text for p in seen if p.text is not None and rule.label in (ANY_LABEL, p.label)]
    told = [repr(text[:TEXT_TOLD]) for text in texts[:TEXTS_TOLD]]
    return ", ".join([*told, *(["..."] if len(texts) > TEXTS_TOLD else [])]) or "nothing"


def _trip(rule: Rule, counted: Sequence[Prediction]) -> str | None:
    found = len(counted)
    if rule.count_below is not None and found < rule.count_below:
        return f"{rule.name}: {found} found, at least {rule.count_below} needed"
    if rule.count_above is not None and found > rule.count_above:
        return f"{rule.name}: {found} found, at most {rule.count_above} allowed"
    if rule.count_below is None and rule.count_above is None and counted:
        best = max(counted, key=lambda p: p.score)
        text = _beyond(rule, best) or f"{best.label} {best.score:.2f}"
        return text + (f" and {found - 1} more" if found > 1 else "")
    return None


def _inside(region: tuple[tuple[float, float], ...] | None, prediction: Prediction, width: int, height: int) -> bool:
    """Even-odd rule on the centre of the box; what has no box belongs to the whole frame."""
    if region is None or prediction.box is None:
        return True
    left, top, box_width, box_height = prediction.box
    x = (left + box_width / 2) / width
    y = (top + box_height / 2) / height
    inside = False
    previous_x, previous_y = region[-1]
    for corner_x, corner_y in region:
        if (corner_y > y) != (previous_y > y):
            crossing = corner_x + (y - corner_y) * (previous_x - corner_x) / (previous_y - corner_y)
            if x < crossing:
                inside = not inside
        previous_x, previous_y = corner_x, corner_y
    return inside
