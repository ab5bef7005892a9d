"""A model slot knows what is loaded, what is in the engine, and when the engine hangs."""

from __future__ import annotations

from edge_runtime.core.result import Failure
from edge_runtime.pipeline.slot import PREPARE_LIMIT_MS, ModelSlot, Request, SlotSpec, SlotState
from tests.fakes.values import FACTS, make_frame

MS = 1_000_000


def _slot() -> ModelSlot:
    return ModelSlot(SlotSpec("defects", "/models/defects", workers=2, hang_ms=500))


def _request(frame_id: int, sent_ms: int = 0) -> Request:
    return Request("top", make_frame(frame_id, 0), sent_ms * MS)


def test_a_slot_begins_by_loading_and_cannot_judge() -> None:
    slot = _slot()
    assert slot.state is SlotState.LOADING
    assert not slot.has_room
    assert slot.outage == (Failure.NO_MODEL, "model defects is being loaded")


def test_a_slot_without_a_model_cannot_judge_and_stays_so_whatever_becomes_of_the_engine() -> None:
    slot = ModelSlot(SlotSpec("defects", None, waits_for="no release of defects has arrived yet"))
    why = (Failure.NO_MODEL, "no release of defects has arrived yet")
    assert (slot.state, slot.outage, slot.has_room) == (SlotState.EMPTY, why, False)
    assert slot.on_engine_lost("it crashed") == []
    assert (slot.state, slot.outage) == (SlotState.EMPTY, why)


def test_a_slot_whose_model_has_arrived_waits_for_the_engine_and_not_for_a_release() -> None:
    slot = ModelSlot(SlotSpec("defects", "/models/defects", waits_for="no release of defects has arrived yet"))
    assert slot.outage == (Failure.NO_MODEL, "model defects is being loaded")


def test_a_loaded_slot_has_room_for_as_many_frames_as_it_has_workers() -> None:
    slot = _slot()
    slot.on_loaded(FACTS)
    assert (slot.facts, slot.outage) == (FACTS, None)
    assert slot.has_room
    slot.send(1, _request(1))
    assert slot.has_room
    slot.send(2, _request(2))
    assert not slot.has_room
    slot.answer(1)
    assert slot.has_room


def test_a_paused_slot_takes_no_frames_and_is_no_outage() -> None:
    slot = _slot()
    slot.on_loaded(FACTS)
    slot.paused = True
    assert not slot.has_room
    assert slot.outage is None


def test_a_refused_model_says_why_it_cannot_judge() -> None:
    slot = _slot()
    slot.on_load_failed("model.unreadable: not an ONNX file")
    assert (slot.state, slot.facts) == (SlotState.FAILED, None)
    assert slot.outage == (Failure.NO_MODEL, "model.unreadable: not an ONNX file")


def test_a_dead_engine_gives_back_what_was_in_flight_once() -> None:
    slot = _slot()
    slot.on_loaded(FACTS)
    requests = [_request(1), _request(2)]
    for number, request in enumerate(requests):
        slot.send(number, request)
    assert slot.on_engine_lost("killed by signal 11") == requests
    assert slot.outage == (Failure.ENGINE_LOST, "killed by signal 11")
    assert slot.on_engine_lost("killed by signal 11") == []


def test_a_restarted_engine_loads_again() -> None:
    slot = _slot()
    slot.on_loaded(FACTS)
    slot.on_engine_lost("x")
    slot.on_engine_started()
    assert slot.state is SlotState.LOADING
    slot.on_loaded(FACTS)
    assert slot.outage is None


def test_a_request_stays_until_it_is_answered() -> None:
    slot = _slot()
    request = _request(1)
    slot.send(5, request)
    assert slot.request(5) is request
    slot.answer(5)
    assert slot.request(5) is None


def test_a_slot_hangs_when_its_oldest_request_is_too_old() -> None:
    slot = _slot()
    assert slot.hung_ms(10_000 * MS) is None
    slot.send(1, _request(1, sent_ms=100))
    slot.send(2, _request(2, sent_ms=400))
    assert slot.hung_ms(600 * MS) is None
    assert slot.hung_ms(601 * MS) == 501
    slot.answer(1)
    assert slot.hung_ms(601 * MS) is None


def test_a_request_for_which_the_model_is_compiled_may_take_longer_and_no_other() -> None:
    slot = _slot()
    slot.send(1, _request(1))
    slot.prepare(1)
    assert slot.hung_ms(PREPARE_LIMIT_MS * MS) is None
    assert slot.hung_ms((PREPARE_LIMIT_MS + 1) * MS) == PREPARE_LIMIT_MS + 1
    slot.send(2, _request(2, sent_ms=100))
    assert slot.hung_ms(601 * MS) == 501
    slot.answer(2)
    slot.answer(1)
    slot.send(1, _request(3))
    assert slot.hung_ms(501 * MS) == 501
