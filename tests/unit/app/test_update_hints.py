"""What doctor says before the first update: what is left when it fails, and whether it can come at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app import update_hints as hints
from edge_runtime.config.schema import Settings
from edge_runtime.registry.box.memory import Look, remember
from edge_runtime.registry.box.report import Contact, Report, SlotReport, Standing, Terms
from edge_runtime.registry.store.store import ModelStore
from tests.fakes.releases import install, make_release

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "can_come_back", lambda: True)


def settings(directory: Path, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "version": 1,
            "cameras": {"top": {"source": "sim:bars"}},
            "models": {"defects": {"release": "weld", **more.pop("model", {})}},
            "registry": {"url": "oci-layout:registry", "root": "root.json"},
            "state_dir": str(directory),
            **more,
        }
    )


def said(settings: Settings) -> list[str]:
    return [f"{one.level} {one.what}" for one in hints.update_hints(settings)]


def look(directory: Path, **terms: Any) -> None:
    """Have the rollout ask for ``terms``."""
    (directory / "models").mkdir(exist_ok=True)
    slot = SlotReport("defects", "weld", "stable", Standing.STAGED, terms=replace(Terms(1), **terms))
    now = datetime.now(UTC)
    remember(directory / "models", Look(None, "", now, now + timedelta(days=1), Report(Contact.OK, slots=(slot,))))


def test_a_box_without_a_registry_hears_nothing(tmp_path: Path) -> None:
    assert said(settings(tmp_path, models={"defects": {"path": "m.onnx"}}, registry=None)) == []


def test_somebody_with_nothing_to_go_back_to_is_told(tmp_path: Path) -> None:
    assert any("nothing is left to judge with" in one for one in said(settings(tmp_path)))
    assert said(settings(tmp_path, model={"factory": "m.onnx"})) == []
    store = ModelStore(tmp_path / "models")
    store.prepare()
    for number in (1, 2):
        install(store, make_release(number), "defects")
    assert said(settings(tmp_path)) == []


def test_windows_that_never_meet_are_an_error(tmp_path: Path) -> None:
    model = {"factory": "m.onnx"}
    look(tmp_path, window="Sat,02:00-03:00 UTC")
    meets = said(settings(tmp_path, model=model, updates={"window": "Sat,00:00-24:00 UTC"}))
    assert len(meets) == 1
    assert meets[0].startswith("ok model defects: its maintenance window (Sat,00:00-24:00 UTC and Sat,02:00-03:00 UTC)")
    never = said(settings(tmp_path, model=model, updates={"window": "Mon-Fri,00:00-24:00 UTC"}))
    assert never[0].startswith("fail")
    assert never[0].endswith("does not open within two weeks")


def test_what_keeps_updates_away_or_loads_them_at_full_priority_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "can_come_back", lambda: False)
    found = said(settings(tmp_path, model={"factory": "m.onnx"}, updates={"hold": True}))
    assert [one.partition(" ")[0] for one in found] == ["warn", "warn"]
    assert "normal priority" in found[0]
    assert "updates.hold" in found[1]
