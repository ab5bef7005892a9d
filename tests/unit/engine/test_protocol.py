"""What the engine says can be sent, whatever strangers wrote into a model."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from edge_runtime.core.description import BY_LABEL_LIMIT, wrong_values
from edge_runtime.core.errors import DataError
from edge_runtime.core.reference import LABELS_MAX, ModelReference
from edge_runtime.core.result import PREDICTIONS_LIMIT, SHAPES_BYTES_LIMIT, ModelRef, Prediction
from edge_runtime.engine.base import EngineInfo
from edge_runtime.engine.lane import Answer
from edge_runtime.engine.protocol import TEXT_LIMIT, failed, inferred, load_failed, loaded
from edge_runtime.engine.spec import ThresholdSpec
from edge_runtime.pipeline import wire
from edge_runtime.system.messages import LIMIT_BYTES, pair
from tests.unit.engine.specs import model_spec

if TYPE_CHECKING:
    from edge_runtime.engine.loader import LoadedModel

LABELS = [f"{number:03}" + "\\" * 125 for number in range(2520)]
"""As large as a manifest may have them, and written with escapes."""
LONG = "half a pair: \ud800" + "\0" * LIMIT_BYTES


def sent(message: dict[str, object]) -> dict[str, object]:
    """What main receives."""
    ours, theirs = pair()
    with closing(ours), closing(theirs):
        ours.send(message)
        received = theirs.receive(1)
    assert received is not None
    return received


def test_a_reason_that_is_long_or_no_text_is_cut_and_sent() -> None:
    for message in (load_failed("a", DataError("model.unreadable", LONG)), failed(1, "invalid_output", LONG)):
        text = sent(message)["message"]
        assert isinstance(text, str)
        assert text.startswith("half a pair: \\ud800")
        assert len(text) < TEXT_LIMIT + 10


def test_the_largest_description_of_a_model_is_sent_and_read() -> None:
    assert wrong_values({"labels": LABELS}) == ()
    assert wrong_values({"labels": [*LABELS, *LABELS[:40]]}) != ()
    by_label = dict.fromkeys(LABELS[:BY_LABEL_LIMIT], 0.123456789012345678)
    spec = model_spec("softmax", tuple(LABELS), thresholds=ThresholdSpec(0.5, 1, 5, {**by_label, "nobody": 0.5}))
    info = EngineInfo("openvino", "1", "CPU", "fp32", 1, 1, ())
    model = SimpleNamespace(
        ref=ModelRef("a" * 64, "1" * 64, "sha256:"),
        spec=spec,
        info=info,
        reads_text=True,
        reference=ModelReference(2**31, (2**31,) * 20, dict.fromkeys(LABELS[:LABELS_MAX], 0.1234)),
        load_ms=1.0,
        notes=(LONG,) * 5,
    )
    facts = wire.model_facts(sent(loaded("slot", cast("LoadedModel", model))))
    assert list(facts.labels) == LABELS
    assert facts.by_label == by_label
    assert facts.reads_text
    assert facts.reference == model.reference


def test_the_largest_answer_is_sent_and_read() -> None:
    box = (12345.67, 12345.67, 12345.67, 12345.67)
    one = Prediction(LABELS[0], 0.123456, box, value=-1.234567e-100, id=99_999, alternative=True)
    shaped = replace(one, rle="0" * (SHAPES_BYTES_LIMIT - 2))
    answer = Answer((shaped,) + (one,) * (PREDICTIONS_LIMIT - 1), 1.0, 1.0, 1.0)
    verdict = wire.verdict(sent(inferred(1, answer, 1, "CPU")), 1)
    assert verdict.predictions == answer.predictions
    assert not verdict.partial


def test_every_field_of_a_prediction_arrives() -> None:
    one = Prediction(
        label="plate",
        score=0.5,
        box=(1.0, 2.0, 3.0, 4.0),
        polygon=((1.0, 2.0), (4.0, 2.0), (4.0, 6.0)),
        rle="05o",
        keypoints=((1.5, 2.5, 0.25),),
        text="LOT 42 \u00e9",
        value=3.5,
        id=7,
    )
    verdict = wire.verdict(sent(inferred(1, Answer((one,), 1.0, 1.0, 1.0), 1, "CPU")), 1)
    assert verdict.predictions == (one,)


def test_shapes_without_room_are_left_out_and_said_to_be() -> None:
    outline = ((1.0, 2.0), (4.0, 2.0), (4.0, 6.0))
    big = Prediction("a", 0.9, polygon=outline, rle="0" * (SHAPES_BYTES_LIMIT - 100), id=0)
    answer = Answer((big, replace(big, score=0.8)), 1.0, 1.0, 1.0)
    verdict = wire.verdict(sent(inferred(1, answer, 1, "CPU")), 1)
    assert verdict.predictions == (big, replace(big, score=0.8, rle=None))
    assert verdict.partial
