"""The words that results are made of, as the OPC UA companion specifications number them."""

from __future__ import annotations

import dataclasses

import pytest

from edge_runtime.core.frame import Frame, SlotRef
from edge_runtime.core.result import Counters, Drop, Evaluation, Event, Failure, Prediction, ResultState


def test_evaluations_have_the_numbers_and_names_of_opc_40001_101() -> None:
    assert {e.text: int(e) for e in Evaluation} == {"Undefined": 0, "OK": 1, "NotOK": 2, "NotDecidable": 3}


def test_the_words_in_payloads_are_stable() -> None:
    """Programs of others match them: removing or renaming one is a breaking change."""
    assert [s.value for s in ResultState] == ["completed", "failed", "aborted"]
    assert {f.value for f in Failure} >= {
        "deadline",
        "overrun",
        "engine_lost",
        "camera_lost",
        "invalid_frame",
        "invalid_output",
        "no_model",
        "shutdown",
    }
    assert {d.value for d in Drop} >= {"superseded", "stale", "rate", "untriggered", "no_slot", "torn", "stopped"}


def test_values_cannot_be_changed() -> None:
    frame = Frame("top", 1, 0, 0, 640, 480, 3, SlotRef(0, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.width = 1  # type: ignore[misc] - the point of the test
    with pytest.raises(dataclasses.FrozenInstanceError):
        Prediction("a", 0.5).score = 1  # type: ignore[misc] - the point of the test
    with pytest.raises(dataclasses.FrozenInstanceError):
        Counters().captured = 1  # type: ignore[misc] - the point of the test


def test_a_slot_reference_can_be_counted_by() -> None:
    assert {SlotRef(1, 2): "a"}[SlotRef(1, 2)] == "a"
    assert SlotRef(1, 2) != SlotRef(1, 4)


def test_events_do_not_share_their_fields() -> None:
    first, second = (Event("system", "model.ready", "it runs", 0) for _ in range(2))
    first.fields["a"] = 1
    assert second.fields == {}
