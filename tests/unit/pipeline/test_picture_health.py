"""pipeline.picture_health: what is said of the pictures of a camera, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.picture import PictureNumbers, PictureReference
from edge_runtime.pipeline.picture_health import (
    LOOKS_MIN,
    Change,
    Fault,
    Finding,
    PictureHealth,
    PictureRules,
    unjudged,
)

GOOD = PictureNumbers(1, 640, 480, 100.0, 40.0, 0.0, 0.01, 0.7, 0.2)
REFERENCE = PictureReference(1, 640, 480, 40, 90.0, 0.05, 0.6, 0.2, 0.9, b"", b"")
SEEN = {
    Fault.FROZEN: replace(GOOD, unchanged=16, unchanged_keys=16, unchanged_s=4.0),
    Fault.DARK: replace(GOOD, brightness=15.9),
    Fault.BRIGHT: replace(GOOD, white=0.51),
    Fault.COVERED: replace(GOOD, contrast=2.9),
    Fault.BLURRED: replace(GOOD, sharpness=0.29),
}


class Camera:
    """Shows numbers to a health, four a second."""

    def __init__(self, rules: PictureRules | None = None, reference: PictureReference | None = None) -> None:
        self.health = PictureHealth(rules or PictureRules())
        self.health.reference = reference
        self.now_s = 0.0
        self.changes: list[Change] = []

    def show(self, numbers: PictureNumbers, seconds: float, every_s: float = 0.25) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            change = self.health.add(numbers, round(self.now_s * 1e9))
            if change is not None:
                self.changes.append(change)
            self.now_s += every_s

    @property
    def states(self) -> list[str]:
        return [change.after for change in self.changes]

    def finding(self) -> Finding:
        found = self.health.view(0).finding
        assert found is not None
        return found


def judged(numbers: PictureNumbers, rules: PictureRules | None = None, *, reference: bool = False) -> Finding | None:
    """What is wrong with one picture."""
    camera = Camera(replace(rules or PictureRules(), not_decidable=True), REFERENCE if reference else None)
    camera.health.add(numbers, 0)
    return camera.health._looks[-1][1]


def test_good_pictures_are_ok_after_two_seconds_and_stay_so() -> None:
    camera = Camera()
    camera.show(GOOD, 1.9)
    assert camera.health.view(0).state == "unknown"
    camera.show(GOOD, 60)
    assert camera.changes == [Change("unknown", "ok", None)]


@pytest.mark.parametrize("fault", SEEN)
def test_a_fault_is_told_within_five_seconds_and_its_end_within_three(fault: Fault) -> None:
    camera = Camera()
    camera.show(GOOD, 20)
    camera.show(SEEN[fault], 5)
    assert camera.states == ["ok", fault.value]
    assert camera.finding().fault is fault
    camera.show(GOOD, 3)
    assert camera.states == ["ok", fault.value, "ok"]
    assert camera.changes[-1] == Change(fault.value, "ok", None)
    assert camera.health.view(0).finding is None


def test_the_finding_names_what_was_measured_and_its_limit() -> None:
    camera = Camera()
    camera.show(SEEN[Fault.DARK], 5)
    assert camera.finding().text == "dark: brightness is 15.9, the limit is 16"
    camera.show(replace(GOOD, brightness=3.0), 0.25)
    assert camera.finding().measured == 3.0  # the newest


def test_short_disturbances_change_nothing() -> None:
    camera = Camera()
    camera.show(GOOD, 10)
    for _ in range(20):
        camera.show(SEEN[Fault.COVERED], 2)
        camera.show(GOOD, 2)
    assert camera.states == ["ok"]


def test_a_fault_that_flickers_is_not_over_before_it_stays_away() -> None:
    camera = Camera()
    camera.show(SEEN[Fault.DARK], 6)
    for _ in range(20):
        camera.show(GOOD, 1)
        camera.show(SEEN[Fault.DARK], 1)
    assert camera.states == ["dark"]


def test_one_fault_becomes_another() -> None:
    camera = Camera()
    camera.show(SEEN[Fault.DARK], 6)
    camera.show(SEEN[Fault.COVERED], 6)
    assert camera.states == ["dark", "covered"]
    assert camera.changes[-1].before == "dark"


@pytest.mark.parametrize("after_s", [0.5, 1.0, 30.0])
def test_the_end_of_a_fault_does_not_depend_on_how_long_it_had_to_last(after_s: float) -> None:
    camera = Camera(PictureRules(after_s=after_s))
    camera.show(SEEN[Fault.DARK], after_s + 1)
    assert camera.states == ["dark"]
    camera.show(GOOD, 3)
    assert camera.states == ["dark", "ok"]


def test_pictures_that_come_rarely_are_judged_by_their_number() -> None:
    camera = Camera()
    camera.show(GOOD, 300, every_s=30)
    camera.show(SEEN[Fault.DARK], 30 * (LOOKS_MIN - 1), every_s=30)
    assert camera.states == ["ok", "dark"]
    camera.show(GOOD, 90, every_s=30)
    assert camera.states[-1] == "ok"


def test_a_new_connection_ends_no_fault_and_begins_none() -> None:
    camera = Camera()
    camera.show(SEEN[Fault.DARK], 5)
    camera.health.interrupt()
    camera.show(SEEN[Fault.DARK], 0.5)
    camera.show(GOOD, 1)
    assert camera.states == ["dark"]
    camera.show(GOOD, 2)
    assert camera.states == ["dark", "ok"]


def test_the_first_fault_explains_the_others() -> None:
    numbers = replace(SEEN[Fault.FROZEN], brightness=1.0, white=0.6, contrast=0.0, sharpness=0.1)
    for fault in SEEN:
        found = judged(numbers, PictureRules(off=frozenset(list(SEEN)[: list(SEEN).index(fault)])))
        assert found is not None
        assert found.fault is fault
    assert judged(numbers, PictureRules(off=frozenset(SEEN))) is None


@pytest.mark.parametrize(
    "change",
    [{"unchanged": 2}, {"unchanged_keys": 1}, {"unchanged_s": 3.9}, {"black": 0.9, "white": 0.09}],
)
def test_what_does_not_prove_that_a_picture_is_frozen(change: dict[str, float]) -> None:
    numbers = replace(SEEN[Fault.FROZEN], **change)
    assert judged(numbers, PictureRules(off=frozenset(Fault) - {Fault.FROZEN})) is None


@pytest.mark.parametrize(
    ("numbers", "fault", "limit"),
    [
        (replace(GOOD, brightness=44.9), Fault.DARK, 45.0),
        (replace(GOOD, white=0.25), Fault.BRIGHT, 0.24),
        (replace(GOOD, detail=0.049), Fault.COVERED, 0.05),
        (replace(GOOD, sharpness=0.299), Fault.BLURRED, 0.3),
        (replace(GOOD, shift=(0.0, -0.031), likeness=0.8), Fault.MOVED, 0.03),
        (replace(GOOD, likeness=0.3), Fault.MOVED, 0.45),
    ],
)
def test_with_a_reference_the_limits_follow_from_it(numbers: PictureNumbers, fault: Fault, limit: float) -> None:
    found = judged(numbers, reference=True)
    assert found is not None
    assert (found.fault, found.limit) == (fault, pytest.approx(limit))
    if fault is not Fault.BLURRED:
        assert judged(numbers) is None
    assert judged(replace(numbers, width=320), reference=True) == judged(replace(numbers, width=320))


def test_a_shift_within_its_limit_is_none() -> None:
    assert judged(replace(GOOD, shift=(0.03, 0.0), likeness=0.9), reference=True) is None


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(
    ("rules", "numbers"),
    [
        (PictureRules(dark=101.0), GOOD),
        (PictureRules(bright=0.005), GOOD),
        (PictureRules(covered=0.25), GOOD),
        (PictureRules(blurred=0.75), GOOD),
    ],
)
def test_a_configured_limit_holds_with_and_without_a_reference(
    rules: PictureRules, numbers: PictureNumbers, *, reference: bool
) -> None:
    assert judged(numbers, reference=reference) is None
    assert judged(numbers, rules, reference=reference) is not None


def test_a_configured_shift_holds() -> None:
    numbers = replace(GOOD, shift=(0.1, 0.0), likeness=0.9)
    assert judged(numbers, PictureRules(moved=0.2), reference=True) is None
    assert judged(numbers, PictureRules(moved=0.05), reference=True) is not None


def test_what_a_reference_does_not_show_cannot_be_told_by_it() -> None:
    poor = replace(REFERENCE, sharpness_low=None, detail_low=0.009, likeness_low=None)
    assert unjudged(REFERENCE) == ()
    assert unjudged(poor) == ("covered", "blurred", "moved")
    camera = Camera(reference=poor)
    camera.show(replace(GOOD, sharpness=0.1, detail=0.0, likeness=0.0), 10)
    assert camera.states == ["ok"]


def test_a_picture_without_edges_is_not_called_blurred() -> None:
    assert judged(replace(GOOD, sharpness=None), reference=True) is None


def test_frames_are_refused_only_where_the_configuration_says_so() -> None:
    camera = Camera()
    camera.show(SEEN[Fault.DARK], 6)
    assert camera.health.refusal is None
    assert not camera.health.view(0).decides


def test_frames_are_refused_from_the_first_bad_picture_until_good_ones_have_lasted() -> None:
    camera = Camera(PictureRules(not_decidable=True))
    assert camera.health.refusal is None
    camera.show(GOOD, 5)
    assert camera.health.refusal is None
    camera.show(SEEN[Fault.COVERED], 0.25)
    assert camera.health.refusal == "the picture is covered: contrast is 2.9, the limit is 3"
    camera.show(GOOD, 0.25)
    assert camera.health.refusal is None  # it was a moment
    camera.show(SEEN[Fault.COVERED], 5)
    camera.health.interrupt()
    camera.show(GOOD, 1)
    assert camera.health.refusal is not None
    camera.show(GOOD, 2)
    assert camera.health.refusal is None
    assert camera.health.view(0).decides


def test_a_view_shows_the_newest_numbers_and_a_window_that_is_a_second_old_at_most() -> None:
    camera = Camera()
    assert camera.health.view(0).numbers is None
    camera.show(GOOD, 5)
    assert camera.health.view(500_000_000).window.brightness.count == 0
    view = camera.health.view(5_000_000_000)
    assert view.window.brightness.count == 20
    assert view.numbers == GOOD
    assert view.since_mono_ns == 2_000_000_000
    assert view.reference == "none"


def test_a_view_says_whether_the_reference_is_used() -> None:
    camera = Camera(reference=REFERENCE)
    assert camera.health.view(0).reference == "used"
    camera.show(GOOD, 1)
    assert camera.health.view(0).reference == "used"
    camera.show(replace(GOOD, height=240), 1)
    assert camera.health.view(0).reference == "size"


def test_rules_without_anything_to_look_for() -> None:
    assert PictureRules().any
    assert not PictureRules(off=frozenset(Fault)).any


@given(st.lists(st.sampled_from([GOOD, *SEEN.values()]), max_size=200), st.integers(1, 2_000_000_000))
def test_states_only_follow_what_was_seen(shown: list[PictureNumbers], step_ns: int) -> None:
    health = PictureHealth(PictureRules())
    names = {id(GOOD): "ok"} | {id(numbers): fault.value for fault, numbers in SEEN.items()}
    seen: set[str] = set()
    state = "unknown"
    for number, numbers in enumerate(shown):
        seen.add(names[id(numbers)])
        change = health.add(numbers, number * step_ns)
        if change is not None:
            assert change.before == state
            assert change.after != state
            assert change.after in seen
            assert (change.finding is None) == (change.after == "ok")
            state = change.after
        assert health.view(number * step_ns).state == state
