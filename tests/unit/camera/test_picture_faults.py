"""Every fault of a camera's picture is told within five seconds, and good pictures are never called bad."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.core.picture import PictureReference
from edge_runtime.pipeline.picture_health import Fault, PictureRules
from tests import scenes
from tests.scenes import Eye

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOLD_S = 5.0
GOOD = 24  # looks
BAD = 22  # 5.5 s


def static(count: int, deviation: float = 2.0) -> Iterator[Any]:
    """A scene of which nothing moves but the noise."""
    scene = scenes.bench_scene()
    return (scenes.noisy(scene, deviation, number) for number in range(count))


def spoil_clip(eye: Eye, spoil: Callable[[Any], Any]) -> float:
    """Show good pictures, then spoilt ones; return since when."""
    pictures = scenes.clip()
    eye.see(pictures[:10])
    assert eye.states[-1][1] == "ok"
    since_s = eye.now_s
    eye.see(scenes.noisy(spoil(image), 2.0, number) for number, image in enumerate(pictures[10 : 10 + BAD]))
    return since_s


@pytest.mark.parametrize("fault", ["dark", "bright", "blurred"])
def test_faults_that_nobody_could_miss_are_told_without_a_reference(fault: str) -> None:
    eye = Eye()
    since_s = spoil_clip(eye, getattr(scenes, fault))
    assert eye.took_s(fault, since_s) <= TOLD_S
    assert eye.faults == [fault]


@pytest.mark.parametrize(
    ("fault", "spoil"),
    [
        ("dark", scenes.dark),
        ("dark", lambda image: (image * 0.3).astype(np.uint8)),
        ("bright", scenes.bright),
        ("bright", lambda image: scenes.bright(image, 3.0)),
        ("blurred", scenes.blurred),
        ("covered", scenes.covered),
        ("moved", scenes.moved),
        ("moved", scenes.turned),
    ],
)
def test_each_fault_is_told_by_name_with_a_reference(fault: str, spoil: Callable[[Any], Any]) -> None:
    eye = Eye()
    reference = eye.refer(scenes.clip()[24:64])
    assert reference.likeness_low is not None
    since_s = spoil_clip(eye, spoil)
    assert eye.took_s(fault, since_s) <= TOLD_S
    assert eye.faults == [fault]


def test_a_lens_with_a_cap_that_lets_light_through_is_covered_without_a_reference() -> None:
    eye = Eye()
    eye.see(static(GOOD))
    since_s = eye.now_s
    grey = np.full((360, 480, 3), 120, np.uint8)
    eye.see(scenes.noisy(grey, 2.0, number) for number in range(BAD))
    assert eye.took_s("covered", since_s) <= TOLD_S


def test_a_picture_that_is_the_same_again_and_again_is_frozen_and_changes_end_that() -> None:
    eye = Eye()
    pictures = list(static(GOOD))
    eye.see(pictures)
    since_s = eye.now_s
    eye.see([pictures[-1]] * BAD)
    assert eye.took_s("frozen", since_s) <= TOLD_S
    assert eye.faults == ["frozen"]
    eye.see(pictures)
    assert eye.states[-1][1] == "ok"


def test_a_still_scene_with_noise_is_not_frozen() -> None:
    eye = Eye()
    eye.see(static(100, deviation=0.5))
    assert eye.faults == []


def test_a_coded_stream_that_repeats_a_still_picture_until_the_next_key_is_not_frozen() -> None:
    eye = Eye()
    for image in static(3):
        eye.see([image], keys=1)
        eye.see([image] * 39, keys=0)  # ten seconds without a key frame
    assert eye.faults == []


def test_a_white_or_black_picture_has_no_noise_and_is_not_called_frozen() -> None:
    for grey, fault in ((255, "bright"), (0, "dark")):
        eye = Eye()
        eye.see(itertools.repeat(np.full((480, 640, 3), grey, np.uint8), BAD))
        assert eye.faults == [fault]


@pytest.mark.parametrize("with_reference", [False, True])
def test_a_good_clip_of_moving_parts_is_good(*, with_reference: bool) -> None:
    eye = Eye()
    if with_reference:
        eye.refer(scenes.clip()[:40])
    eye.see(scenes.clip())
    assert [state for _, state in eye.states] == ["ok"]


def test_a_belt_of_which_everything_moves_is_good_and_its_reference_cannot_tell_where_it_lies() -> None:
    eye = Eye()
    assert eye.refer(scenes.belt(20)).likeness_low is None
    eye.see(scenes.belt(60))
    assert [state for _, state in eye.states] == ["ok"]


@pytest.mark.parametrize("with_reference", [False, True])
def test_light_that_flickers_and_something_that_walks_by_change_nothing(*, with_reference: bool) -> None:
    eye = Eye()
    if with_reference:
        eye.refer(static(20))
    pictures = []
    for number, image in enumerate(static(60)):
        flicker = np.clip(image * (1 + 0.25 * np.sin(number * 2.1)), 0, 255).astype(np.uint8)
        left = number * 41 % 900 - 200
        flicker[110:250, max(0, left) : max(0, left + 120)] = 60
        pictures.append(flicker)
    eye.see(pictures)
    assert [state for _, state in eye.states] == ["ok"]


def test_a_hand_that_is_gone_after_two_seconds_is_no_fault() -> None:
    eye = Eye()
    eye.refer(static(20))
    pictures = list(static(40))
    pictures[20:28] = [scenes.covered(image) for image in pictures[20:28]]
    eye.see(pictures)
    assert [state for _, state in eye.states] == ["ok"]


def test_text_that_the_camera_writes_into_its_picture_does_not_hide_that_it_is_blurred() -> None:
    eye = Eye()
    eye.see(static(GOOD))
    since_s = eye.now_s
    pictures = [scenes.blurred(image) for image in static(BAD)]
    for image in pictures:
        image[10:34:2, 10:200:3] = 255
    eye.see(pictures)
    assert eye.took_s("blurred", since_s) <= TOLD_S


def test_what_is_switched_off_is_not_told() -> None:
    eye = Eye(PictureRules(off=frozenset({Fault.BLURRED})))
    spoil_clip(eye, scenes.blurred)
    assert eye.faults == []


def test_a_reference_of_another_size_is_not_used() -> None:
    eye = Eye()
    eye.refer(static(20))
    eye.see(scenes.clip()[:GOOD])
    assert eye.health.view(0).reference == "size"
    assert eye.numbers.likeness is None
    assert isinstance(eye.health.reference, PictureReference)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_ten_minutes_of_a_still_scene_with_noise_have_no_alarm() -> None:
    eye = Eye()
    eye.refer(static(40))
    eye.see(static(2400))
    assert [state for _, state in eye.states] == ["ok"]
