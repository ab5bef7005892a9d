"""Nothing that a child sends is believed before it was checked, and nothing it sends can hurt main."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.core.frame import SlotRef
from edge_runtime.core.result import PREDICTIONS_LIMIT, SHAPES_BYTES_LIMIT, Prediction
from edge_runtime.pipeline import wire
from tests.fakes.values import FACTS

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME = {
    "op": "frame",
    "frame": 7,
    "slot": 3,
    "generation": 12,
    "utc_ns": 1_800_000_000_000_000_000,
    "mono_ns": 5_000_000_000,
    "width": 640,
    "height": 480,
    "channels": 3,
    "read_ms": 1.5,
    "origin": "a.png",
}
LOADED = {
    "op": "loaded",
    "slot": "defects",
    "model": {"name": FACTS.model.name, "version": FACTS.model.version, "digest": FACTS.model.digest},
    "backend": "openvino",
    "device": "CPU",
    "precision": "int8",
    "task": "detection",
    "labels": ["scratch", "dent"],
    "thresholds": {"score": 0.25, "by_label": {"dent": 0.5}},
}
INFERRED = {
    "op": "inferred",
    "request": 1,
    "predictions": [{"label": "scratch", "score": 0.9, "id": 0, "box": [1, 2, 3.5, 4]}],
    "timings_ms": {"preprocess": 1, "infer": 8.5, "postprocess": 0.5},
    "started_mono_ns": 5_002_000_000,
    "device": "CPU",
}
PICTURE = {
    "op": "picture",
    "frame": 7,
    "width": 640,
    "height": 480,
    "brightness": 100.5,
    "contrast": 40,
    "black": 0,
    "white": 0.01,
    "sharpness": 0.7,
    "detail": 0.2,
    "unchanged": 3,
    "unchanged_keys": 2,
    "unchanged_s": 0.75,
    "shift": [0.1, -0.2],
    "likeness": -0.5,
}
BEYOND_FLOATS = 10**400

READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "frame": lambda m: wire.frame(m, "top", simulated=False, max_pixels=1 << 25),
    "bad_frame": lambda m: wire.bad_frame(m, "top", simulated=False),
    "frame_ids": wire.frame_ids,
    "picture": lambda m: wire.picture(m, max_pixels=1 << 25),
    "model_facts": wire.model_facts,
    "verdict": lambda m: wire.verdict(m, 5_000_000_000),
    "text": lambda m: wire.text(m, "label"),
    "integer": lambda m: wire.integer(m, "frame"),
    "number": lambda m: wire.number(m, "score"),
}


def _with(message: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {**message, **fields}


def _without(message: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in message.items() if k != key}


def test_a_frame_message_becomes_a_frame() -> None:
    frame = wire.frame(FRAME, "top", simulated=True, max_pixels=640 * 480)
    assert (frame.camera, frame.frame_id, frame.slot) == ("top", 7, SlotRef(3, 12))
    assert (frame.width, frame.height, frame.channels, frame.read_ms) == (640, 480, 3, 1.5)
    assert (frame.captured_utc_ns, frame.captured_mono_ns) == (1_800_000_000_000_000_000, 5_000_000_000)
    assert (frame.simulated, frame.origin) == (True, "a.png")


def test_the_origin_of_a_frame_may_be_missing() -> None:
    assert wire.frame(_with(FRAME, origin=None), "top", simulated=False, max_pixels=1 << 20).origin is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 0),
        ("height", 481),  # one line above the limit
        ("channels", 4),
        ("channels", 0),
        ("width", -640),
        ("width", 640.0),
        ("width", True),
        ("frame", "7"),
        ("frame", 1 << 63),
        ("slot", None),
        ("generation", -2),
        ("read_ms", "fast"),
        ("read_ms", BEYOND_FLOATS),
        ("read_ms", True),
        ("origin", 5),
    ],
)
def test_a_frame_message_with_a_wrong_field_is_refused(key: str, value: object) -> None:
    with pytest.raises(DataError) as caught:
        wire.frame(_with(FRAME, **{key: value}), "top", simulated=False, max_pixels=640 * 480)
    assert caught.value.code == "child.message"
    assert key in caught.value.message


@pytest.mark.parametrize("key", sorted(set(FRAME) - {"op", "origin"}))
def test_a_frame_message_with_a_missing_field_is_refused(key: str) -> None:
    with pytest.raises(DataError, match=key):
        wire.frame(_without(FRAME, key), "top", simulated=False, max_pixels=640 * 480)


def test_a_bad_frame_has_no_pixels() -> None:
    frame = wire.bad_frame(FRAME, "top", simulated=True)
    assert (frame.frame_id, frame.width, frame.height, frame.channels) == (7, 0, 0, 0)
    assert (frame.captured_mono_ns, frame.origin, frame.simulated) == (5_000_000_000, "a.png", True)


def test_the_ids_of_dropped_frames_are_read() -> None:
    assert wire.frame_ids({"frames": [1, 2, 5]}) == [1, 2, 5]
    assert wire.frame_ids({"frames": []}) == []


@pytest.mark.parametrize("frames", [None, {"1": 2}, [1, "2"], [1.0], [True], [-1], [1 << 63]])
def test_dropped_frames_that_are_no_ids_are_refused(frames: object) -> None:
    with pytest.raises(DataError, match="a list of frame ids"):
        wire.frame_ids({"frames": frames})


def test_a_loaded_message_becomes_model_facts() -> None:
    assert wire.model_facts(LOADED) == FACTS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "name"),
        ("model", {"name": "a", "version": "b"}),
        ("labels", "scratch"),
        ("labels", ["scratch", 1]),
        ("thresholds", None),
        ("thresholds", {"score": 0.25}),
        ("thresholds", {"score": 25, "by_label": {}}),
        ("thresholds", {"score": 0.25, "by_label": {"dent": "0.5"}}),
        ("backend", None),
        ("device", 0),
    ],
)
def test_a_loaded_message_with_a_wrong_field_is_refused(key: str, value: object) -> None:
    with pytest.raises(DataError):
        wire.model_facts(_with(LOADED, **{key: value}))


def test_an_inferred_message_becomes_a_verdict() -> None:
    verdict = wire.verdict(INFERRED, 5_000_000_000)
    assert verdict.predictions == (Prediction("scratch", 0.9, (1.0, 2.0, 3.5, 4.0), id=0),)
    assert (verdict.preprocess_ms, verdict.infer_ms, verdict.postprocess_ms) == (1.0, 8.5, 0.5)
    assert (verdict.queue_ms, verdict.device) == (2.0, "CPU")


def test_a_prediction_may_have_neither_box_nor_id() -> None:
    message = _with(INFERRED, predictions=[{"label": "ok", "score": 1}])
    assert wire.verdict(message, 0).predictions == (Prediction("ok", 1.0),)


def test_a_prediction_may_be_what_the_model_decided_against() -> None:
    message = _with(INFERRED, predictions=[{"label": "ok", "score": 0.1, "alternative": True}])
    assert wire.verdict(message, 0).predictions == (Prediction("ok", 0.1, alternative=True),)


def test_an_inference_that_claims_to_begin_before_the_capture_waited_for_no_time() -> None:
    assert wire.verdict(INFERRED, 6_000_000_000).queue_ms == 0.0


@pytest.mark.parametrize(
    "fields",
    [
        {"predictions": None},
        {"predictions": [INFERRED["predictions"]] * (PREDICTIONS_LIMIT + 1)},
        {"predictions": ["scratch"]},
        {"predictions": [{"label": "a", "score": float("nan")}]},
        {"predictions": [{"label": "a", "score": float("inf")}]},
        {"predictions": [{"label": "a", "score": BEYOND_FLOATS}]},
        {"predictions": [{"label": "a"}]},
        {"predictions": [{"label": 1, "score": 0.5}]},
        {"predictions": [{"label": "a", "score": 0.5, "id": "0"}]},
        {"predictions": [{"label": "a", "score": 0.5, "box": [1, 2, 3]}]},
        {"predictions": [{"label": "a", "score": 0.5, "box": {"x": 1}}]},
        {"predictions": [{"label": "a", "score": 0.5, "box": [1, 2, 3, None]}]},
        {"predictions": [{"label": "a", "score": 0.5, "alternative": "no"}]},
        {"predictions": [{"label": "a", "score": 0.5, "polygon": [[1, 2, 3]]}]},
        {"predictions": [{"label": "a", "score": 0.5, "polygon": [[1, "2"]]}]},
        {"predictions": [{"label": "a", "score": 0.5, "polygon": "1 2"}]},
        {"predictions": [{"label": "a", "score": 0.5, "rle": [1, 2]}]},
        {"predictions": [{"label": "a", "score": 0.5, "rle": "0 p"}]},
        {"predictions": [{"label": "a", "score": 0.5, "rle": "0" * (SHAPES_BYTES_LIMIT + 1)}]},
        {"predictions": [{"label": "a", "score": 0.5, "keypoints": [[1, 2]]}]},
        {"predictions": [{"label": "a", "score": 0.5, "keypoints": [[1, 2, 1.5]]}]},
        {"predictions": [{"label": "a", "score": 0.5, "keypoints": {}}]},
        {"predictions": [{"label": "a", "score": 0.5, "text": 4}]},
        {"predictions": [{"label": "a", "score": 0.5, "value": float("nan")}]},
        {"partial": "no"},
        {"timings_ms": [1, 2, 3]},
        {"timings_ms": {"preprocess": 1, "infer": 2}},
        {"started_mono_ns": "now"},
        {"device": None},
    ],
)
def test_an_inferred_message_with_a_wrong_field_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(DataError):
        wire.verdict(_with(INFERRED, **fields), 0)


def test_long_text_is_cut() -> None:
    assert wire.text({"label": "x" * 10_000}, "label") == "x" * wire.MAX_TEXT


def test_missing_text_may_have_a_default() -> None:
    assert wire.text({}, "detail", "") == ""
    with pytest.raises(DataError, match="detail"):
        wire.text({}, "detail")


def test_the_message_about_a_wrong_field_is_short_whatever_was_sent() -> None:
    with pytest.raises(DataError) as caught:
        wire.integer({"frame": ["x" * 100_000] * 100}, "frame")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_what_nests_without_end_is_refused(reader: Callable[[dict[str, Any]], object]) -> None:
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    keys = {*FRAME, *LOADED, *INFERRED, "frames", "label", "score"}
    try:
        with pytest.raises(DataError):
            reader(dict.fromkeys(keys, deep))
    finally:
        while deep:  # an interpreter that frees it recursively would be slow or worse
            assert isinstance(deep, list)
            deep = deep.pop()


# arbitrary JSON, preferably with the names and shapes that the readers look for
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
_NAMES = st.sampled_from(sorted({*FRAME, *LOADED, *INFERRED, "frames", "label", "score", "box", "id"})) | st.text()
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_NAMES, inner, max_size=6), max_leaves=20
)


@st.composite
def _messages(draw: st.DrawFn) -> dict[str, Any]:
    """Return a good message of some kind with some fields replaced, or any object at all."""
    base = draw(st.sampled_from([FRAME, LOADED, INFERRED, {"frames": [1, 2]}, {}]))
    return {**base, **draw(st.dictionaries(_NAMES, _JSON, max_size=4))}


@given(message=_messages())
def test_any_json_object_is_read_or_refused_as_bad_data(message: dict[str, Any]) -> None:
    message = json.loads(json.dumps(message))
    for reader in READERS.values():
        refusal = DataError("child.message", "")
        try:
            reader(message)
        except DataError as error:
            refusal = error
        assert refusal.code == "child.message"
        assert len(str(refusal)) < 1000


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_a_score_outside_of_0_to_1_is_not_believed(score: float) -> None:
    message: dict[str, object] = {
        "op": "inferred",
        "predictions": [{"label": "dent", "score": score}],
        "timings_ms": {"preprocess": 1.0, "infer": 1.0, "postprocess": 1.0},
        "started_mono_ns": 0,
        "device": "CPU",
    }
    with pytest.raises(DataError, match="score"):
        wire.verdict(message, 0)


def test_the_numbers_of_a_picture_are_taken_as_they_are() -> None:
    found = wire.picture(PICTURE, max_pixels=1 << 25)
    assert (found.frame_id, found.brightness, found.sharpness) == (7, 100.5, 0.7)
    assert (found.shift, found.likeness) == ((0.1, -0.2), -0.5)
    unknown = wire.picture(PICTURE | {"shift": None, "likeness": None, "sharpness": None}, max_pixels=1 << 25)
    assert (unknown.shift, unknown.likeness, unknown.sharpness) == (None, None, None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 0),
        ("height", 1 << 40),
        ("brightness", 255.5),
        ("brightness", None),
        ("contrast", -1),
        ("white", 1.01),
        ("sharpness", 2),
        ("detail", "0.1"),
        ("unchanged", -1),
        ("unchanged_s", float("inf")),
        ("shift", [0.1]),
        ("shift", {"right": 0.1}),
        ("shift", [0.1, 1.5]),
        ("likeness", -1.1),
    ],
)
def test_numbers_of_a_picture_out_of_range_are_refused(key: str, value: object) -> None:
    with pytest.raises(DataError, match="must be"):
        wire.picture(PICTURE | {key: value}, max_pixels=1 << 25)


REFERENCE = {"pictures": 20, "scores": [0] * 20, "labels": {"0": 0.5}}


def test_a_reference_names_labels_by_their_place() -> None:
    facts = wire.model_facts(_with(LOADED, reference=REFERENCE))
    assert facts.reference is not None
    assert facts.reference.labels == {FACTS.labels[0]: 0.5}


@pytest.mark.parametrize("wrong", [{"pictures": 1}, {"labels": {"999": 0.5}}, {"labels": {"scratch": 0.5}}])
def test_a_reference_that_does_not_fit_is_a_fault_of_the_child(wrong: dict[str, object]) -> None:
    with pytest.raises(DataError):
        wire.model_facts(_with(LOADED, reference={**REFERENCE, **wrong}))
