"""When a box may change to another model: what is taken, and what only warns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_runtime.config.loader import load
from edge_runtime.config.updates import Updates
from edge_runtime.registry.conditions import parse_window

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "window",
    [
        "22:00-05:00",
        "Mon-Fri,22:00-05:00",
        "Sat,Sun,00:00-24:00",
        "Mon,Wed-Fri,06:00-06:30 18:00-18:30; Sun,00:00-24:00 UTC",
        "22:00-05:00 UTC",
    ],
)
def test_a_window_is_taken(window: str) -> None:
    assert Updates(window=window).window == window


@pytest.mark.parametrize(
    "window",
    ["", "always", "Mon", "25:00-26:00", "24:00-01:00", "22:00", "Mo,22:00-23:00", "22:00-23:00 CET", "07:00-07:00"],
)
def test_what_is_no_window_is_refused(window: str) -> None:
    with pytest.raises(ValidationError):
        Updates(window=window)


def test_nothing_is_stricter_than_the_rollout_unless_it_is_written() -> None:
    assert Updates().model_dump() == {"window": None, "between_lots": False, "approve": "auto", "hold": False}


def test_updates_without_a_model_that_can_be_updated_are_worth_a_warning(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    file = tmp_path / "edge.yaml"
    file.write_text(
        "version: 1\ncameras: {front: {source: 'sim:bars'}}\nmodels: {m: {path: m.onnx}}\nupdates: {hold: true}\n"
    )
    loaded = load(file, environ={})
    assert [(one.path, one.warning) for one in loaded.warnings] == [("updates", True)]


_CLOCK = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
_DAYS = st.sampled_from(["Mon", "Tue-Thu", "Sat-Mon", "Sun"])
_TIMES = st.tuples(_CLOCK, _CLOCK | st.just("24:00")).filter(lambda two: two[0] != two[1]).map("-".join)
_SPANS = st.tuples(st.lists(_DAYS, max_size=2), st.lists(_TIMES, min_size=1, max_size=2)).map(
    lambda two: ",".join([*two[0], " ".join(two[1])])
)


@given(st.lists(_SPANS, min_size=1, max_size=3), st.booleans())
def test_what_the_configuration_takes_is_what_a_box_can_obey(spans: list[str], utc: bool) -> None:  # noqa: FBT001 - of hypothesis
    text = "; ".join(spans) + (" UTC" if utc else "")
    assert Updates(window=text).window == text
    assert parse_window(text).utc is utc
