from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.core.errors import DataError, EdgeError, InvariantError, UnavailableError
from edge_runtime.engine import loader
from edge_runtime.engine.bench import bench
from edge_runtime.engine.lane import StaleFrameError
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.postprocess import InvalidOutputError
from tests.assets.make_models import SIDE, write_bare, write_package

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.engine.loader import LoadedModel

BACKENDS = ("openvino", "onnxruntime")
# B, G, R, as cameras write them
PICTURES = {"red": (10, 20, 250), "green": (10, 250, 20), "blue": (250, 10, 20)}


def picture(color: tuple[int, ...], height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, len(color)), color, np.uint8)


def best(model: LoadedModel, frame: np.ndarray) -> str:
    return model.lanes[0].predict(frame).predictions[0].label


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


GOOD = [
    "colours",
    "colours_open_batch",
    "colours_open_size",
    "colours_bytes",
    "colours_half",
    "colours_labelled",
    "interleaved",
]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("label", PICTURES)
def test_colours_reach_the_model_in_its_own_order(tmp_path: Path, backend: str, name: str, label: str) -> None:
    model = load_engine(write_package(tmp_path, name), backend=backend)
    assert best(model, picture(PICTURES[label])) == label
    assert (model.info.backend, model.info.device, model.info.precision) == (backend, "CPU", "fp32")
    model.close()


def test_a_grey_model_gets_grey_whatever_the_camera_sends(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "brightness"), backend=backend)
    assert best(model, picture((240, 240, 240))) == "bright"
    assert best(model, picture((240,))) == "bright"
    assert best(model, np.full((48, 64), 9, np.uint8)) == "dark"
    model.close()


def test_detections_come_back_in_pixels_of_the_frame(tmp_path: Path, backend: str) -> None:
    # 64 x 32 in a canvas of 32 x 32: half size, 8 rows down
    model = load_engine(write_package(tmp_path, "yolo"), backend=backend)
    found = model.lanes[0].predict(np.zeros((32, 64, 3), np.uint8)).predictions
    assert [(one.label, one.box) for one in found] == [
        ("scratch", (8, 0, 16, 8)),
        ("dent", (42, 14, 12, 18)),
    ]
    model.close()


def test_finished_heads_work(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "end2end"), backend=backend)
    found = model.lanes[0].predict(np.zeros((SIDE, SIDE, 3), np.uint8)).predictions
    assert [(one.label, one.box) for one in found] == [("scratch", (4, 4, 8, 8)), ("dent", (21, 15, 6, 10))]
    model.close()


@pytest.mark.parametrize("name", ["large_boxes", "large_boxes_half", "large_boxes_double"])
def test_large_boxes_are_suppressed_in_every_precision(tmp_path: Path, backend: str, name: str) -> None:
    model = load_engine(write_package(tmp_path, name), backend=backend)
    (output,) = model.info.outputs
    assert output.dtype == "float32"
    found = model.lanes[0].predict(np.zeros((640, 640, 3), np.uint8)).predictions
    assert [(one.label, one.box) for one in found] == [("scratch", (120, 120, 400, 400))]
    model.close()


def test_no_label_of_a_model_of_any_number_is_left_out(tmp_path: Path, backend: str) -> None:
    labels = [f"part {number}" for number in range(8)]
    root = write_package(tmp_path, "eight_parts", decoder="sigmoid", labels=labels)
    model = load_engine(root, backend=backend)
    found = model.lanes[0].predict(np.zeros((SIDE, SIDE, 3), np.uint8)).predictions
    assert sorted(one.label for one in found) == labels
    model.close()


def test_an_output_is_found_by_any_of_its_names(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "passed_on"), backend=backend)
    found = model.lanes[0].predict(np.zeros((SIDE, SIDE, 3), np.uint8)).predictions
    assert [one.label for one in found] == ["scratch", "dent"]
    model.close()


def test_one_pixel_is_a_frame(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend)
    assert best(model, picture(PICTURES["green"], 1, 1)) == "green"
    model.close()


def test_lanes_do_not_see_each_others_frames(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend, workers=3)
    frames = [picture(color) for color in PICTURES.values()]
    for _ in range(3):
        answers = [lane.predict(frame).predictions[0].label for lane, frame in zip(model.lanes, frames, strict=True)]
        assert answers == list(PICTURES)
    model.close()


def test_a_run_without_a_new_frame_is_refused(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend)
    request = model._model._engine.open_request()
    request.canvas()
    request.infer()
    with pytest.raises(InvariantError, match="without a new frame"):
        request.infer()
    model.close()


def test_a_frame_that_changed_while_it_was_drawn_has_no_answer(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend)
    with pytest.raises(StaleFrameError):
        model.lanes[0].predict(picture(PICTURES["red"]), lambda: False)
    assert best(model, picture(PICTURES["blue"])) == "blue"
    model.close()


@pytest.mark.parametrize("frame", [None, np.zeros((4, 4, 3), np.float64), np.zeros((0, 0, 3), np.uint8)])
def test_what_is_no_frame_never_reaches_the_model(tmp_path: Path, backend: str, frame: Any) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend)
    with pytest.raises(DataError) as caught:
        model.lanes[0].predict(frame)
    assert caught.value.code == "frame.invalid"
    model.close()


def test_an_output_that_changes_shape_is_no_answer(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend)
    lane = model.lanes[0]
    lane._expected = [("float32", (1, 4))]
    with pytest.raises(InvalidOutputError, match="it was float32"):
        lane.predict(picture(PICTURES["red"]))
    model.close()


# name, code, words of the message; each is one way of being wrong
BAD = [
    ("flat_input", "model.wrong_input", "expected an input of 4 axes"),
    ("int_input", "model.wrong_input", "expected an input of float32, float16, uint8, int32, found x int64"),
    ("two_inputs", "model.wrong_input", "expected one input (a picture), found 2"),
    ("two_pictures", "model.wrong_input", "expected a batch of 1"),
    ("nan_scores", "model.invalid_output", "are not finite numbers"),
    ("unsigmoided", "model.invalid_output", "expected 0 to 1; the head needs a sigmoid"),
    ("two_heads", "model.wrong_output", "several outputs could be the answer: 'output0', 'output1'"),
    ("empty", "model.unreadable", "the file is empty"),
    ("truncated", "model.unreadable", "not a whole ONNX model"),
    ("html_page", "model.unreadable", "found a web or XML page"),
    ("external_data", "model.external_data", "weights lie in another file"),
    ("custom_domain", "model.unknown_operator", "vendor.custom.Magic"),
    ("conv_without_weights", "model.unsafe", "Conv has 1 input(s)"),
]


@pytest.mark.parametrize(("name", "code", "words"), BAD, ids=[one[0] for one in BAD])
def test_a_bad_model_is_refused_in_words(tmp_path: Path, backend: str, name: str, code: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_engine(write_package(tmp_path, name), backend=backend)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_an_operator_that_no_engine_knows_is_refused(tmp_path: Path, backend: str) -> None:
    with pytest.raises(DataError, match="NoSuchOperator") as caught:
        load_engine(write_package(tmp_path, "unknown_operator"), backend=backend)
    assert caught.value.code == {"openvino": "model.unreadable", "onnxruntime": "model.not_compiled"}[backend]
    assert "Exception from" not in caught.value.message


def test_a_model_that_openvino_refuses_is_no_reason_to_fall_back_silently(tmp_path: Path) -> None:
    root = write_package(tmp_path, "scatter_without_rank")
    with pytest.raises(DataError, match="openvino cannot read the model: ScatterND") as caught:
        load_engine(root)
    assert "backend onnxruntime may read it" in str(caught.value)
    model = load_engine(root, backend="onnxruntime")
    assert best(model, picture(PICTURES["red"])) == "red"
    model.close()


def test_a_wrong_number_of_labels_is_refused(tmp_path: Path, backend: str) -> None:
    with pytest.raises(DataError, match="tells 3 classes apart, there are 2 labels") as caught:
        load_engine(write_package(tmp_path, "colours", labels=["red", "green"]), backend=backend)
    assert caught.value.code == "model.wrong_labels"


def test_an_unknown_decoder_is_refused(tmp_path: Path, backend: str) -> None:
    with pytest.raises(DataError, match="decoder: expected one of") as caught:
        load_engine(write_package(tmp_path, "colours", decoder="argmax"), backend=backend)
    assert caught.value.code == "manifest.invalid"


def test_a_size_that_nobody_states_is_an_error(tmp_path: Path, backend: str) -> None:
    root = write_package(tmp_path, "colours_open_size", input={"color": "RGB", "resize": "stretch", "scale": 255})
    with pytest.raises(DataError, match=r"not stated anywhere: input\.size") as caught:
        load_engine(root, backend=backend)
    assert '"size": [640, 640]' in str(caught.value)


def test_a_bare_model_that_says_too_little_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_engine(write_bare(tmp_path, "colours_labelled"))
    assert caught.value.code == "model.ambiguous"
    assert '"input": {"color": "RGB", "resize": "letterbox", "scale": 255}' in str(caught.value)


@pytest.mark.parametrize(
    ("device", "wanted_backend", "words"),
    [
        ("gpu", "openvino", "device GPU is not on this box, OpenVINO has: "),
        ("openvino:npu", "auto", "device NPU is not on this box"),
        ("gpu", "onnxruntime", "device GPU is not available with onnxruntime, it has: CPU"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_and_never_replaced(
    tmp_path: Path, device: str, wanted_backend: str, words: str
) -> None:
    with pytest.raises(UnavailableError, match=words) as caught:
        load_engine(write_package(tmp_path, "colours"), device=device, backend=wanted_backend)
    assert caught.value.code == "device.missing"


@pytest.mark.parametrize(
    ("missing", "wanted", "runs"), [("openvino", "auto", "onnxruntime"), ("onnxruntime", "auto", "openvino")]
)
def test_one_engine_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, wanted: str, runs: str
) -> None:
    monkeypatch.setattr(loader, "find_spec", lambda name: None if name == missing else object())
    model = load_engine(write_package(tmp_path, "colours"), backend=wanted)
    assert model.info.backend == runs
    model.close()
    with pytest.raises(UnavailableError, match=f"backend {missing} is not installed") as caught:
        load_engine(tmp_path / "colours", backend=missing)
    assert f'pip install "{missing}' in str(caught.value)


def meant_for(root: Path, *backends: str) -> Path:
    """A package whose one form is meant for ``backends``."""
    manifest = json.loads((root / "edge-model.json").read_text())
    manifest["weights"]["backends"] = backends
    (root / "edge-model.json").write_text(json.dumps(manifest))
    return root


@pytest.mark.parametrize(
    ("backends", "runs"),
    [(("onnxruntime",), "onnxruntime"), (("onnxruntime", "openvino"), "onnxruntime"), (("openvino",), "openvino")],
)
def test_auto_takes_an_engine_that_the_package_is_meant_for(
    tmp_path: Path, backends: tuple[str, ...], runs: str
) -> None:
    model = load_engine(meant_for(write_package(tmp_path, "colours"), *backends))
    assert model.info.backend == runs
    model.close()


def test_auto_names_the_engine_that_is_missing_for_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(UnavailableError, match="backend onnxruntime is not installed"):
        load_engine(meant_for(write_package(tmp_path, "colours"), "onnxruntime"))


def test_without_any_engine_the_way_to_one_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match='this installation has: none; run: pip install "openvino'):
        load_engine(write_package(tmp_path, "colours"))


@pytest.mark.parametrize("wish", [{"threads": 0}, {"workers": 0}, {"streams": 0}])
def test_at_least_one_thread_and_worker_are_needed(tmp_path: Path, wish: dict[str, int]) -> None:
    with pytest.raises(EdgeError, match="must be at least 1"):
        load_engine(tmp_path, **wish)


def test_streams_divide_the_threads_and_their_number_is_read_back(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend, threads=2, streams=2, workers=3)
    assert (model.info.threads, model.info.streams) == (2, 2)
    assert bench(model, seconds=0.05, requests=3).frames >= 3
    model.close()


def test_a_run_with_frames_is_measured_step_by_step(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend)
    assert bench(model, seconds=0.02, requests=1).steps_p50_ms is None
    steps = bench(model, seconds=0.02, requests=2, size=(64, 48)).steps_p50_ms
    assert steps is not None
    assert min(steps) > 0
    model.close()


def test_more_streams_than_threads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 streams cannot divide 2 threads") as caught:
        load_engine(tmp_path, threads=2, streams=3)
    assert caught.value.code == "device.streams"


def test_openvino_keeps_compiled_models_where_it_is_told_to(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for _ in range(2):
        load_engine(write_package(tmp_path / str(_), "colours"), backend="openvino", cache_dir=str(cache)).close()
    assert list(cache.iterdir()) != []


def test_a_precision_that_differs_from_the_package_is_noted(tmp_path: Path, backend: str) -> None:
    root = write_package(tmp_path, "colours")
    text = (root / "edge-model.json").read_text().replace('"fp32"', '"int8"')
    (root / "edge-model.json").write_text(text)
    model = load_engine(root, backend=backend)
    assert model.notes == ("the package says int8, the engine runs fp32",)
    model.close()


def test_the_bare_engine_is_measured_with_requests_of_its_own(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "colours"), backend=backend)
    figures = bench(model, seconds=0.2, requests=2)
    assert figures.requests == 2
    assert figures.frames >= 2
    assert 0 < figures.min_ms <= figures.p50_ms <= figures.p99_ms <= figures.max_ms
    assert figures.throughput_fps > 0
    assert figures.cpu_ms_per_frame > 0
    model.close()


def test_telemetry_is_blocked_before_the_engines_are_imported() -> None:
    from edge_runtime.engine import ort, ov

    assert ov.available_devices()[0].device == "CPU"
    assert [one.device for one in ort.available_devices()] == ["CPU"]
    assert sys.modules.get("openvino_telemetry", "absent") is None
