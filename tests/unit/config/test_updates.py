"""When a box may change to another model: what is taken, and what only warns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from edge_runtime.config.loader import load
from edge_runtime.config.updates import Updates

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
