"""``pipeline.drift``: what a model sees on the line against what it was made for."""

from __future__ import annotations

import random

import pytest

from edge_runtime.core.picture import BINS, PictureWindow, Spread
from edge_runtime.core.reference import Level, ModelReference
from edge_runtime.core.result import Evaluation
from edge_runtime.pipeline.drift import IN_A_ROW, Drift, DriftAlarm, drifts
from edge_runtime.pipeline.judged import Tallied, Tally


def seen(frames: int = 500, *, scratch: float = 0.1, score: float = 0.8, seed: int = 1) -> Tallied:
    rng, tally = random.Random(seed), Tally()
    for _ in range(frames):
        best = {"ok": min(1.0, max(0.0, rng.gauss(score, 0.05)))}
        if rng.random() < scratch:
            best["scratch"] = min(1.0, max(0.0, rng.gauss(0.7, 0.05)))
        tally.judged(Evaluation.OK, 1.0, best)
    return tally.now()


def reference(usual: Tallied, **levels: Level) -> ModelReference:
    frames = sum(usual.times)
    return ModelReference(
        frames, usual.scores, {name: count / frames for name, count in usual.labels.items()}, **levels
    )


USUAL = reference(seen(seed=9), brightness=Level(100, 5), sharpness=Level(0.5, 0.05))


def window(brightness: float = 100, sharpness: float = 0.5, count: int = 100) -> PictureWindow:
    bins = (0,) * BINS
    return PictureWindow(600, Spread(count, brightness, 1, bins), Spread(count, sharpness, 0.1, bins))


def kinds(recent: Tallied, pictures: PictureWindow | None = None) -> list[str]:
    return [one.kind for one in drifts(USUAL, recent, pictures)]


@pytest.mark.parametrize("seed", range(20))
def test_another_day_is_no_drift(seed: int) -> None:
    assert kinds(seen(seed=seed), window()) == []


@pytest.mark.parametrize(
    ("recent", "pictures", "found"),
    [
        (seen(score=0.5), None, ["scores"]),
        (seen(scratch=0.8), None, ["labels"]),
        (seen(frames=199, score=0.3, scratch=1.0), None, []),
        (seen(), window(brightness=140), ["brightness"]),
        (seen(), window(sharpness=0.1), ["sharpness"]),
        (seen(), window(brightness=140, count=59), []),
        (seen(), window(brightness=120), []),
    ],
)
def test_what_has_left_the_reference_is_named(
    recent: Tallied, pictures: PictureWindow | None, found: list[str]
) -> None:
    assert [kind for kind in kinds(recent, pictures) if kind in found or not found] == found


def parts(count: int, *, frames: int, seed: int, shift: float = 0.0) -> Tally:
    """A camera sees each part in many frames, which are judged alike."""
    rng, tally = random.Random(seed), Tally()
    for _ in range(count):
        label, score = rng.choice(("ok", "scratch")), rng.gauss(0.7, 0.15) + shift
        for _ in range(frames):
            tally.judged(Evaluation.OK, 1.0, {label: min(1.0, max(0.0, score + rng.gauss(0, 0.02)))})
    return tally


def test_many_frames_of_few_parts_are_no_drift() -> None:
    usual = reference(parts(300, frames=1, seed=99).now())
    alarms = [list(drifts(usual, parts(60, frames=30, seed=seed).recent(), None)) for seed in range(20)]
    assert alarms == [[]] * 20
    dim = parts(60, frames=30, seed=1, shift=-0.35).recent()
    assert [one.kind for one in drifts(usual, dim, None)] == ["scores"]


def test_a_label_that_nobody_had_heard_of_is_told() -> None:
    tally = Tally()
    for _ in range(300):
        tally.judged(Evaluation.OK, 1.0, {"ok": 0.8, "dent": 0.9})
    (drift,) = [one for one in drifts(USUAL, tally.now(), None) if one.kind == "labels"]
    assert "dent is in 100% of the frames, 0% are usual" in drift.message


def test_a_reference_without_labels_and_a_camera_that_nobody_measured_say_nothing() -> None:
    bare = ModelReference(100, (0,) * 20, {})
    nothing = Tally()
    for _ in range(300):
        nothing.judged(Evaluation.OK, 1.0, {})
    assert list(drifts(bare, nothing.now(), window(brightness=250))) == []


def test_a_drift_is_told_once_when_it_lasts_and_once_when_it_is_over() -> None:
    alarm, drift = DriftAlarm(), Drift("scores", "otherwise", 1.0, 0.25)
    told = [alarm.look(iter([drift])) for _ in range(IN_A_ROW + 2)]
    assert told == [([], [])] * (IN_A_ROW - 1) + [([drift], [])] + [([], [])] * 2
    assert alarm.now == (drift,)
    alarm.look(iter([]))
    alarm.look(iter([drift]))  # it had not lasted
    told = [alarm.look(iter([])) for _ in range(IN_A_ROW + 1)]
    assert told == [([], [])] * (IN_A_ROW - 1) + [([], [drift])] + [([], [])]
    assert alarm.now == ()
