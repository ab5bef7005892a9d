"""Windows and gates of an assignment: what is meant, and what is refused with words."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.registry.conditions import RANGES, Gates, check, is_open, opens_in_s, parse_gates, parse_window
from edge_runtime.registry.statements import Assignment

if TYPE_CHECKING:
    from collections.abc import Callable

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def _berlin(now: datetime) -> datetime:
    return now.astimezone(BERLIN)


def _open(text: str, wall: datetime, zone: Callable[[datetime], datetime] = lambda now: now) -> bool:
    return parse_window(text).is_open(wall, zone)


def _at(day: int, hour: int, minute: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("text", "wall", "expected"),
    [
        ("02:00-04:00", _at(0, 2), True),
        ("02:00-04:00", _at(6, 3, 59), True),
        ("02:00-04:00", _at(0, 4), False),
        ("02:00-04:00", _at(0, 1, 59), False),
        ("00:00-24:00", _at(3, 23, 59), True),
        ("Mon-Fri,02:00-04:00", _at(4, 3), True),
        ("Mon-Fri,02:00-04:00", _at(5, 3), False),
        ("Fri-Mon,02:00-04:00", _at(6, 3), True),
        ("Fri-Mon,02:00-04:00", _at(0, 3), True),
        ("Fri-Mon,02:00-04:00", _at(1, 3), False),
        ("Sat,Sun,02:00-04:00", _at(6, 3), True),
        ("sat , sun, 02:00-04:00", _at(5, 3), True),
        ("Fri,22:00-04:00", _at(4, 23), True),
        ("Fri,22:00-04:00", _at(5, 3), True),
        ("Fri,22:00-04:00", _at(4, 3), False),
        ("Fri,22:00-04:00", _at(5, 4), False),
        ("Sun,22:00-04:00", _at(0, 3), True),
        ("02:00-04:00 12:00-12:30", _at(0, 12, 15), True),
        ("Mon-Fri,02:00-04:00; Sat,00:00-24:00", _at(5, 17), True),
        ("Mon-Fri,02:00-04:00;Sat,00:00-24:00", _at(6, 0), False),
    ],
)
def test_when_a_window_is_open(text: str, wall: datetime, *, expected: bool) -> None:
    assert _open(text, wall) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UTC",
        "always",
        "2:00-4:00",
        "02:00",
        "25:00-26:00",
        "24:00-02:00",
        "02:60-04:00",
        "02:00-24:01",
        "02:00-02:00",
        "Mon-Fri",
        "Mon-Fri,",
        "Monday,02:00-04:00",
        "Xyz,02:00-04:00",
        "Mon-Xyz,02:00-04:00",
        ",02:00-04:00",
        "02:00-04:00;",
        "02:00-04:00 CET",
        "UTC 02:00-04:00",
        ";".join(["02:00-04:00"] * 33),
    ],
)
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_window(text)
    assert caught.value.code == "rollout.window"
    assert "Mon-Fri,22:00-04:00" in str(caught.value.help)


def test_a_window_is_meant_in_the_time_of_the_box_or_in_utc() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert _open("14:00-15:00", noon, _berlin)
    assert not _open("14:00-15:00 UTC", noon, _berlin)
    assert _open("12:00-13:00 utc", noon, _berlin)


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in summer time, and an hour later again
    assert [_open("02:00-03:00", first + timedelta(hours=hour), _berlin) for hour in (-1, 0, 1, 2)] == [
        False,
        True,
        True,
        False,
    ]
    assert opens_in_s([parse_window("Sun,03:00-04:00")], first, _berlin) == 5400


def test_an_hour_that_summer_time_leaves_out_is_never() -> None:
    saturday = datetime(2026, 3, 28, 12, tzinfo=UTC)
    windows = [parse_window("Sun,02:00-03:00")]
    opens = opens_in_s(windows, saturday, _berlin)
    assert opens is not None
    assert saturday + timedelta(seconds=opens) == datetime(2026, 4, 5, 0, tzinfo=UTC)  # a week later


def test_a_window_that_summer_time_cuts_into_opens_when_clocks_are_put_on() -> None:
    opens = opens_in_s([parse_window("Sun,02:20-04:00")], datetime(2026, 3, 29, 0, 40, tzinfo=UTC), _berlin)
    assert opens == 20 * 60


def test_all_windows_have_to_be_open() -> None:
    windows = [parse_window("Sat,02:00-06:00"), parse_window("05:10-08:00 UTC")]
    friday = datetime(2026, 1, 2, 12, 0, 30, tzinfo=UTC)
    opens = opens_in_s(windows, friday, _berlin)
    assert opens is None  # 05:00 UTC is the end of the first in winter
    opens = opens_in_s([parse_window("Sat,02:00-06:30"), windows[1]], friday, _berlin)
    assert opens == (17 * 60 + 10) * 60 - 30
    assert opens_in_s([], friday, _berlin) == 0
    assert is_open([], friday, _berlin)


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 1439),
    length=st.integers(1, 1440),
    days=st.sampled_from(["", "Mon-Fri,", "Sat-Tue,", "Wed,"]),
    minute=st.integers(0, 14 * 1440),
)
def test_what_opens_in_so_many_seconds_is_open_then_and_not_before(
    start: int, length: int, days: str, minute: int
) -> None:
    end = (start + length) % 1440 or 1440
    if end == start:
        return
    window = parse_window(f"{days}{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}")
    now = datetime(2026, 3, 22, tzinfo=UTC) + timedelta(minutes=minute)
    opens = opens_in_s([window], now, _berlin)
    assert opens is not None
    step = max(60.0, opens / 50)
    assert window.is_open(now + timedelta(seconds=opens), _berlin)
    early = [now + timedelta(seconds=step * n) for n in range(50) if step * n < opens]
    assert not any(window.is_open(one, _berlin) for one in [*early, now + timedelta(seconds=max(0, opens - 1))][:-1])


def test_gates_have_defaults_and_may_be_named_one_by_one() -> None:
    assert parse_gates({}) == Gates()
    found = parse_gates({"shadow_frames": 50, "disagreement_max": 0, "memory_growth_mb": 128})
    assert found == Gates(shadow_frames=50, disagreement_max=0.0, memory_growth_mb=128.0)


def test_every_gate_has_a_range_and_its_default_is_in_it() -> None:
    assert set(RANGES) == {one.name for one in fields(Gates)}
    assert all(RANGES[one.name][0] <= one.default <= RANGES[one.name][1] for one in fields(Gates))


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({"shadow_frame": 50}, "did you mean shadow_frames?"),
        ({"p99": 50}, "p99: no such gate"),
        ({"shadow_frames": 0}, "expected a whole number from 1 to 1000000, found 0"),
        ({"shadow_frames": 2.5}, "a whole number"),
        ({"crashes_max": True}, "found True"),
        ({"disagreement_max": 1.5}, "expected a number from 0 to 1, found 1.5"),
        ({"disagreement_max": float("nan")}, "found nan"),
        ({"latency_ratio_max": "2"}, "found 2"),
        ({"latency_ratio_max": None}, "found None"),
        ({"shadow_s": 10**400}, "shadow_s"),
    ],
)
def test_what_is_no_gate_is_refused_with_what_is(gates: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=r"gates: ") as caught:
        parse_gates(gates)
    assert caught.value.code == "rollout.gates"
    assert said in caught.value.message
    assert "probation_frames" in str(caught.value.help)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(DataError) as caught:
        parse_gates({"one": 1, "crashes_max": -1})
    assert "one" in caught.value.message
    assert "crashes_max" in caught.value.message


def test_an_assignment_is_checked_as_a_whole() -> None:
    check(Assignment("weld", 7))
    check(Assignment("weld", 7, window="02:00-04:00", gates={"crashes_max": 0}))
    for wrong, code in (({"window": "at night"}, "rollout.window"), ({"gates": {"x": 1}}, "rollout.gates")):
        with pytest.raises(DataError) as caught:
            check(Assignment("weld", 7, **wrong))  # type: ignore[arg-type] # one of two fields
        assert caught.value.code == code
