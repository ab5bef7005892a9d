"""The engine child's protocol, spoken to the real thing in a thread: real engines, real ring, real socket."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import pytest

from edge_runtime.config.schema import Settings
from edge_runtime.core.errors import DataError, InvariantError
from edge_runtime.engine import pool, worker
from edge_runtime.engine.fitted import FittedModel
from edge_runtime.engine.lane import Lane
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.pool import FAILED_RUNS_LIMIT, QUEUE_LIMIT, InferJob, SlotPool
from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.rings import Rings
from edge_runtime.engine.tasks.classification import Classifier
from edge_runtime.engine.worker import EngineHost, MessageSender
from edge_runtime.system.child import ChildContext
from edge_runtime.system.messages import PeerBusy, PeerGone, pair
from edge_runtime.system.ring import Ring
from tests.assets.make_models import write_chain, write_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from edge_runtime.core.frame import SlotRef

RED, GREEN, BLUE = (10, 20, 250), (10, 250, 20), (250, 10, 20)
WIDTH, HEIGHT = 64, 48


class Main:
    """The other end: a ring, the socket, and `worker.main` in a thread."""

    def __init__(self, **fds: int) -> None:
        self.ring = Ring.create("top", slots=4, slot_bytes=WIDTH * HEIGHT * 3)
        self.socket, theirs = pair()
        self.theirs = theirs
        self.failure: BaseException | None = None
        fds = {"top": self.ring.reader_fd(), **fds}
        self.context = ChildContext("engine", {}, fds, theirs)
        self._thread = threading.Thread(target=self._run, name="engine-main")

    def _run(self) -> None:
        try:
            worker.main(self.context)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.failure = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(PeerGone):
            self.socket.send({"op": "stop"})
        self._thread.join(20)
        self.socket.close()
        self.theirs.close()
        self.ring.close()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.socket.send(message)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        message = self.socket.receive(30)
        assert message is not None
        return message

    def load(self, path: Path, slot: str = "defects", **wish: Any) -> dict[str, Any]:
        return self.ask({"op": "load", "slot": slot, "path": str(path), "threads": 1, **wish})

    def frame(self, color: tuple[int, ...] = RED) -> SlotRef:
        slot = self.ring.acquire(self.ring.next_frame_id())
        assert slot is not None
        pixels = np.frombuffer(slot.buffer, np.uint8)[: WIDTH * HEIGHT * len(color)]
        pixels.reshape(HEIGHT, WIDTH, len(color))[:] = color
        return slot.publish()

    def infer(self, request: int, ref: SlotRef, **changes: Any) -> dict[str, Any]:
        return {
            "op": "infer",
            "request": request,
            "slot": "defects",
            "ring": "top",
            "index": ref.index,
            "generation": ref.generation,
            "width": WIDTH,
            "height": HEIGHT,
            "channels": 3,
            **changes,
        }


@pytest.fixture
def main() -> Iterator[Main]:
    with Main() as running:
        yield running
    if running.failure is not None:
        raise running.failure


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    return write_package(tmp_path, "colours")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_loaded_model_says_what_really_runs(main: Main, colours: Path, backend: str) -> None:
    message = main.load(colours, backend=backend, workers=2, device="auto", cache_dir=None)

    assert message.pop("load_ms") > 0
    assert message.pop("backend_version")
    assert message.pop("model")["digest"].startswith("sha256:")
    assert message == {
        "op": "loaded",
        "slot": "defects",
        "backend": backend,
        "device": "CPU",
        "precision": "fp32",
        "threads": 1,
        "task": "classification",
        "reads_text": False,
        "reference": None,
        "labels": ["red", "green", "blue"],
        "thresholds": {"score": 0.0, "by_label": {}},
        "input": [32, 32],
        "notes": [],
    }


def test_a_frame_in_the_ring_is_judged(main: Main, colours: Path) -> None:
    main.load(colours)
    before_ns = time.monotonic_ns()
    message = main.ask(main.infer(7, main.frame(GREEN)))

    assert (message["op"], message["request"], message["device"]) == ("inferred", 7, "CPU")
    best = message["predictions"][0]
    assert (best["label"], best["id"], "box" in best) == ("green", 1, False)
    assert [one.get("alternative", False) for one in message["predictions"]] == [False, True, True]
    assert set(message["timings_ms"]) == {"preprocess", "infer", "postprocess"}
    assert before_ns <= message["started_mono_ns"] <= time.monotonic_ns()


def test_boxes_are_in_pixels_of_the_frame(main: Main, tmp_path: Path) -> None:
    main.load(write_package(tmp_path, "yolo"))
    message = main.ask(main.infer(1, main.frame()))
    assert [(one["label"], one["box"]) for one in message["predictions"]] == [
        ("scratch", [8, 0, 16, 16]),
        ("dent", [42, 22, 12, 20]),
    ]


def test_a_grey_frame_is_judged(main: Main, tmp_path: Path) -> None:
    main.load(write_package(tmp_path, "brightness"))
    message = main.ask(main.infer(1, main.frame((250,)), channels=1))
    assert message["predictions"][0]["label"] == "bright"


def test_every_frame_gets_one_answer_of_its_own(main: Main, colours: Path) -> None:
    main.load(colours, workers=2)
    refs = [main.frame(color) for color in (RED, GREEN, BLUE)]
    for request in range(60):
        main.socket.send(main.infer(request, refs[request % 3]))
    answers = {message["request"]: message for message in (main.answer() for _ in range(60))}
    seen = [answers[request]["predictions"][0]["label"] for request in range(60)]
    assert seen == ["red", "green", "blue"] * 20


def test_a_frame_for_an_empty_slot_is_answered(main: Main) -> None:
    message = main.ask(main.infer(3, main.frame()))
    assert (message["op"], message["request"], message["failure"]) == ("failed", 3, "no_model")


def test_pixels_that_are_gone_are_never_judged(main: Main, colours: Path) -> None:
    main.load(colours)
    ref = main.frame()
    main.ring.release(ref)
    main.frame(GREEN)  # takes the place of the first
    message = main.ask(main.infer(4, ref))
    assert (message["failure"], message["request"]) == ("stale_slot", 4)
    assert main.ask(main.infer(5, ref, ring="side"))["failure"] == "stale_slot"


@pytest.mark.parametrize("change", [{"channels": 4}, {"width": 0}, {"width": 10_000}])
def test_a_frame_of_impossible_size_is_answered(main: Main, colours: Path, change: dict[str, int]) -> None:
    main.load(colours)
    assert main.ask(main.infer(1, main.frame(), **change))["failure"] == "invalid_frame"


def test_an_answer_that_makes_no_sense_fails_the_frame_only(
    main: Main, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main.load(colours)
    ref = main.frame()
    with monkeypatch.context() as patched:
        patched.setattr("edge_runtime.engine.tasks.classification.np.isfinite", lambda raw: np.zeros(raw.shape, bool))
        assert main.ask(main.infer(1, ref))["failure"] == "invalid_output"
    assert main.ask(main.infer(2, ref))["op"] == "inferred"


def test_a_model_that_cannot_be_loaded_does_not_stop_the_others(main: Main, colours: Path, tmp_path: Path) -> None:
    main.load(colours)
    failed = main.load(write_package(tmp_path, "nan_scores"), slot="other")
    missing = main.load(tmp_path / "nowhere", slot="third")

    assert (failed["op"], failed["slot"], failed["code"]) == ("load_failed", "other", "model.invalid_output")
    assert (missing["op"], missing["code"]) == ("load_failed", "model.missing")
    assert main.ask(main.infer(1, main.frame()))["op"] == "inferred"


@pytest.mark.parametrize(
    ("name", "backend", "code"),
    [
        ("fails_when_run", "onnxruntime", "model.run_failed"),
        ("fails_when_run", "openvino", "model.invalid_output"),
        ("open_output", "openvino", "model.wrong_output"),
        ("open_output", "onnxruntime", None),
    ],
)
def test_a_model_that_fails_at_its_first_run_does_not_stop_the_others(
    main: Main, colours: Path, tmp_path: Path, name: str, backend: str, code: str | None
) -> None:
    main.load(colours)
    assert main.load(write_package(tmp_path, name), slot="other", backend=backend).get("code") == code
    assert main.ask(main.infer(1, main.frame()))["op"] == "inferred"


def test_whatever_a_library_raises_is_a_refused_model_and_stands_in_the_log(
    main: Main, colours: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    main.load(colours)

    def odd(*_: object) -> None:
        message = "axis 7\nof a shape \ud800 of 6"
        raise IndexError(message)

    with monkeypatch.context() as patched:
        patched.setattr("edge_runtime.engine.lane.make_decoder", odd)
        refused = main.load(colours, slot="other")
    assert (refused["op"], refused["slot"], refused["code"]) == ("load_failed", "other", "model.unforeseen")
    assert "colours: loading it failed in an unforeseen way: IndexError: axis 7;" in refused["message"]
    assert "in odd" in caplog.text
    assert main.ask(main.infer(1, main.frame()))["op"] == "inferred"


def test_a_second_load_replaces_the_model_and_loses_no_frame(main: Main, colours: Path, tmp_path: Path) -> None:
    main.load(colours)
    ref = main.frame(GREEN)
    other = write_package(tmp_path / "new", "colours", labels=["rot", "gruen", "blau"])
    main.socket.send({"op": "load", "slot": "defects", "path": str(other), "threads": 1})
    answers = []
    request = 0
    while not any(message["op"] == "loaded" for message in answers):
        main.socket.send(main.infer(request, ref))
        request += 1
        answers.append(main.answer())
    main.socket.send(main.infer(request, ref))
    answers += [main.answer() for _ in range(request + 2 - len(answers))]

    frames = {one["request"]: one for one in answers if one["op"] != "loaded"}
    assert sorted(frames) == list(range(request + 1))
    assert {one["op"] for one in frames.values()} == {"inferred"}
    assert {one["predictions"][0]["label"] for one in frames.values()} <= {"green", "gruen"}
    assert frames[request]["predictions"][0]["label"] == "gruen"


def test_a_failed_second_load_keeps_the_first_model(main: Main, colours: Path, tmp_path: Path) -> None:
    main.load(colours)
    assert main.load(tmp_path / "nowhere")["op"] == "load_failed"
    assert main.ask(main.infer(1, main.frame()))["op"] == "inferred"


def test_an_unloaded_slot_is_empty(main: Main, colours: Path) -> None:
    main.load(colours)
    main.socket.send({"op": "unload", "slot": "defects"})
    main.socket.send({"op": "unload", "slot": "never"})
    deadline = time.monotonic() + 10
    ref = main.frame()
    while main.ask(main.infer(1, ref))["op"] == "inferred":
        assert time.monotonic() < deadline


def test_the_bare_engine_is_measured(main: Main, colours: Path) -> None:
    main.load(colours)
    message = main.ask({"op": "bench", "slot": "defects", "seconds": 0.2, "requests": 2, "id": 9})

    assert (message["op"], message["id"], message["slot"], message["requests"]) == ("benched", 9, "defects", 2)
    latency = message["latency_ms"]
    assert latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]
    assert message["throughput_fps"] > 0
    assert message["cpu_ms_per_frame"] > 0
    assert main.ask({"op": "bench", "slot": "none", "seconds": 1, "id": 10})["op"] == "bench_failed"


def test_the_engine_is_measured_with_frames_too(main: Main, colours: Path) -> None:
    main.load(colours)
    order = {"op": "bench", "slot": "defects", "seconds": 0.05, "requests": 1, "id": 1, "width": 64, "height": 48}
    steps = main.ask(order)["steps_p50_ms"]
    assert len(steps) == 3
    assert min(steps) > 0
    assert "steps_p50_ms" not in main.ask(order | {"width": 0})


def test_a_measurement_with_a_model_that_answers_nonsense_fails_and_the_engine_goes_on(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main.load(write_package(tmp_path, "colours"))
    monkeypatch.setattr(Classifier, "decode", _refuse)
    order = {"op": "bench", "slot": "defects", "seconds": 0.05, "requests": 1, "id": 1, "width": 64, "height": 48}
    assert "no numbers" in main.ask(order)["message"]
    assert main.ask(order | {"width": 0})["op"] == "benched"


def _refuse(*_: object) -> NoReturn:
    raise InvalidOutputError("no numbers")


def test_rings_come_and_go(main: Main, colours: Path) -> None:
    main.load(colours)
    side = Ring.create("side", slots=2, slot_bytes=WIDTH * HEIGHT * 3)
    descriptor = side.reader_fd()
    main.socket.send({"op": "attach", "ring": "side"}, fds=[descriptor])
    os.close(descriptor)
    slot = side.acquire(side.next_frame_id())
    assert slot is not None
    np.frombuffer(slot.buffer, np.uint8)[: WIDTH * HEIGHT * 3].reshape(-1, 3)[:] = BLUE
    ref = slot.publish()

    assert main.ask(main.infer(1, ref, ring="side"))["predictions"][0]["label"] == "blue"
    main.socket.send({"op": "detach", "ring": "side"})
    assert main.ask(main.infer(2, ref, ring="side"))["failure"] == "stale_slot"
    assert main.ask(main.infer(3, main.frame()))["op"] == "inferred"
    del slot
    side.close()


NONSENSE: list[dict[str, Any]] = [
    {},
    {"op": "dance"},
    {"op": ["infer"]},
    {"op": "infer"},
    {"op": "infer", "request": "1", "slot": "defects", "ring": "top"},
    {"op": "infer", "request": -1, "slot": "defects", "ring": "top"},
    {"op": "infer", "request": True, "slot": "defects", "ring": "top"},
    {"op": "load", "slot": 3, "path": "x"},
    {"op": "load", "slot": "a", "path": "x", "cache_dir": 3},
    {"op": "bench", "slot": "a", "id": 1, "seconds": 0},
    {"op": "bench", "slot": "a", "id": 1, "seconds": "1"},
    {"op": "bench", "slot": "a", "id": 1, "seconds": 1, "requests": 1000},
    {"op": "attach", "ring": "top"},
    {"op": "detach"},
]


def test_nonsense_is_counted_and_nothing_else(main: Main, colours: Path, caplog: pytest.LogCaptureFixture) -> None:
    main.load(colours)
    for message in NONSENSE:
        main.socket.send(message)
    main.socket._sock.send(b"this is not JSON")
    assert main.ask(main.infer(1, main.frame()))["op"] == "inferred"
    logged = [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()]
    assert [text.split()[1] for text in logged] == ["1", "2", "4", "8"]


def test_descriptors_that_are_no_ring_are_closed(main: Main, colours: Path) -> None:
    main.load(colours)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - any descriptor
        main.socket.send({"op": "attach", "ring": "top"}, fds=[nothing.fileno()])
        main.socket.send({"op": "load", "slot": "x", "path": "y"}, fds=[nothing.fileno()])
    assert main.ask(main.infer(1, main.frame()))["op"] == "inferred"  # and the old ring of that name stays


def test_the_child_beats_while_a_model_is_being_loaded(
    main: Main, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(*args: Any, **wish: Any) -> Any:
        assert go_on.wait(20)
        return load_engine(*args, **wish)

    monkeypatch.setattr(worker, "load_engine", slow)
    main.socket.send({"op": "load", "slot": "defects", "path": str(colours)})
    beats = set()
    deadline = time.monotonic() + 15
    while len(beats) < 4 and time.monotonic() < deadline:
        beats.add(main.context.heartbeat.last_ns)
        threading.Event().wait(0.05)
    go_on.set()
    assert main.answer()["op"] == "loaded"
    assert len(beats) == 4


def test_the_child_ends_when_main_is_gone(colours: Path) -> None:
    with Main() as main:
        main.load(colours)
        main.socket.close()
        main.join()
    assert main.failure is None


def test_a_stop_during_a_load_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch, colours: Path) -> None:
    go_on = threading.Event()
    done = threading.Event()

    def slow(*_: object, **__: object) -> Any:
        assert go_on.wait(20)
        done.set()
        raise DataError("model.missing", "gone")

    monkeypatch.setattr(worker, "load_engine", slow)
    monkeypatch.setattr(worker, "STOP_LOAD_S", 0.1)
    hosts: list[EngineHost] = []
    monkeypatch.setattr(worker, "EngineHost", lambda send: hosts.append(EngineHost(send)) or hosts[0])
    with Main() as main:
        main.socket.send({"op": "load", "slot": "defects", "path": str(colours)})
        deadline = time.monotonic() + 10
        while not hosts or hosts[0].wait_idle(0):
            assert time.monotonic() < deadline
        main.socket.send({"op": "stop"})
        main.join()
        assert not done.is_set()
        go_on.set()
        hosts[0].close()


def test_a_device_that_keeps_failing_ends_the_process(monkeypatch: pytest.MonkeyPatch, colours: Path) -> None:
    def lost(*_: object) -> None:
        raise DataError("model.run_failed", "the device is gone")

    with Main() as main:
        main.load(colours, workers=1)
        ref = main.frame()
        monkeypatch.setattr(Lane, "predict", lost)
        for request in range(FAILED_RUNS_LIMIT - 1):
            assert main.ask(main.infer(request, ref))["failure"] == "invalid_output"
        main.socket.send(main.infer(99, ref))
        main.join()
    assert isinstance(main.failure, ExceptionGroup)
    lost_errors = main.failure.subgroup(InvariantError)
    assert lost_errors is not None


class Box:
    """Collects what a host sends."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.changed = threading.Condition()

    def __call__(self, message: dict[str, Any]) -> None:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def wait_for(self, ready: Callable[[list[dict[str, Any]]], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: ready(self.messages), 20)


def hang(host: EngineHost) -> str | None:
    """What hangs, as soon as something does."""
    deadline = time.monotonic() + 10
    while (stuck := host.check()) is None and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return stuck


def test_a_full_queue_answers_at_once(monkeypatch: pytest.MonkeyPatch, colours: Path) -> None:
    go_on = threading.Event()
    box = Box()
    with Main() as main:  # for its ring only
        host = EngineHost(box)
        host.attach("top", main.ring.reader_fd())
        host.handle({"op": "load", "slot": "defects", "path": str(colours), "workers": 1})
        box.wait_for(lambda seen: len(seen) == 1)
        monkeypatch.setattr(Lane, "predict", lambda *_: (go_on.wait(20), _fail())[1])
        ref = main.frame()
        for request in range(QUEUE_LIMIT + 2):
            host.handle(main.infer(request, ref))
        overrun = [one["request"] for one in box.messages if one.get("failure") == "overrun"]
        assert overrun
        assert set(overrun) <= {QUEUE_LIMIT, QUEUE_LIMIT + 1}
        go_on.set()
        host.close()
    answered = [one["request"] for one in box.messages if one["op"] == "failed"]
    assert len(answered) == len(set(answered))


def _fail() -> None:
    raise DataError("frame.invalid", "not today")


def test_frames_that_wait_for_the_old_model_are_judged_by_it(colours: Path, tmp_path: Path) -> None:
    go_on = threading.Event()
    box = Box()
    other = write_package(tmp_path / "new", "colours", labels=["rot", "gruen", "blau"])
    with Main() as main:
        host = EngineHost(box)
        host.attach("top", main.ring.reader_fd())
        host.handle({"op": "load", "slot": "defects", "path": str(colours), "workers": 1})
        box.wait_for(lambda seen: len(seen) == 1)
        lane = host._pools["defects"].model.lanes[0]
        judge = lane.predict
        lane.predict = lambda *args: (go_on.wait(20), judge(*args))[1]  # type: ignore[method-assign]  # this lane only
        ref = main.frame(GREEN)
        for request in range(5):
            host.handle(main.infer(request, ref))
        old = host._pools["defects"]
        host.handle({"op": "load", "slot": "defects", "path": str(other), "workers": 1})
        deadline = time.monotonic() + 20
        while host._pools["defects"] is old:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        host.handle(main.infer(5, ref))
        go_on.set()
        box.wait_for(lambda seen: len(seen) == 8)
        host.close()
    labels = {one["request"]: one["predictions"][0]["label"] for one in box.messages if one["op"] == "inferred"}
    assert labels == {**dict.fromkeys(range(5), "green"), 5: "gruen"}


def test_a_frame_that_hangs_stops_the_heartbeat(monkeypatch: pytest.MonkeyPatch, colours: Path) -> None:
    go_on = threading.Event()
    box = Box()
    with Main() as main:
        host = EngineHost(box)
        host.attach("top", main.ring.reader_fd())
        host.handle({"op": "load", "slot": "defects", "path": str(colours), "workers": 1})
        box.wait_for(lambda seen: len(seen) == 1)
        monkeypatch.setattr(pool, "STUCK_FRAME_S", 0.05)
        monkeypatch.setattr(Lane, "predict", lambda *_: (go_on.wait(20), _fail())[1])
        assert host.check() is None
        host.handle(main.infer(1, main.frame()))
        assert hang(host) == "slot defects: a frame hangs"
        go_on.set()
        box.wait_for(lambda seen: len(seen) == 2)
        assert host.check() is None
        host.close()


@pytest.mark.parametrize("in_chain", [False, True])
def test_a_frame_for_which_the_model_is_compiled_is_announced_and_no_hang(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, in_chain: bool
) -> None:
    go_on = threading.Event()
    compile_size = FittedModel.open_size

    def slow(model: FittedModel, size: tuple[int, int]) -> Lane:
        go_on.wait(20)
        return compile_size(model, size)

    path = write_package(tmp_path, "text_map")
    if in_chain:
        path = write_chain(tmp_path, (path, {}), (write_package(tmp_path, "text_line"), {}))
    box = Box()
    with Main() as main:
        host = EngineHost(box)
        host.attach("top", main.ring.reader_fd())
        host.handle({"op": "load", "slot": "defects", "path": str(path), "workers": 1})
        box.wait_for(lambda seen: len(seen) == 1)
        monkeypatch.setattr(pool, "STUCK_FRAME_S", 0.0)
        monkeypatch.setattr(FittedModel, "open_size", slow)
        host.handle(main.infer(1, main.frame()))
        box.wait_for(lambda seen: seen[1:] == [{"op": "preparing", "request": 1}])
        assert host.check() is None
        go_on.set()
        box.wait_for(lambda seen: len(seen) == 3)
        host.handle(main.infer(2, main.frame()))
        box.wait_for(lambda seen: len(seen) == 4)
        assert [(one["op"], one["request"]) for one in box.messages[2:]] == [("inferred", 1), ("inferred", 2)]
        host.close()


def test_a_size_that_is_compiled_for_ever_stops_the_heartbeat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go_on = threading.Event()
    box = Box()
    with Main() as main:
        host = EngineHost(box)
        host.attach("top", main.ring.reader_fd())
        host.handle({"op": "load", "slot": "defects", "path": str(write_package(tmp_path, "text_map")), "workers": 1})
        box.wait_for(lambda seen: len(seen) == 1)
        monkeypatch.setattr(pool, "STUCK_CPU_LOAD_S", 0.05)
        monkeypatch.setattr(FittedModel, "open_size", lambda *_: (go_on.wait(20), _fail())[1])
        host.handle(main.infer(1, main.frame()))
        assert hang(host) == "slot defects: a frame hangs"
        go_on.set()
        box.wait_for(lambda seen: len(seen) == 3)
        host.close()


@pytest.mark.parametrize(
    ("device", "limit", "other"),
    [
        ("auto", "STUCK_CPU_LOAD_S", "STUCK_LOAD_S"),
        ("openvino:CPU", "STUCK_CPU_LOAD_S", "STUCK_LOAD_S"),
        ("gpu.1", "STUCK_LOAD_S", "STUCK_CPU_LOAD_S"),
    ],
)
def test_a_load_that_hangs_stops_the_heartbeat(
    monkeypatch: pytest.MonkeyPatch, colours: Path, device: str, limit: str, other: str
) -> None:
    go_on = threading.Event()

    def slow(*_: object, **__: object) -> Any:
        go_on.wait(20)
        raise DataError("model.missing", "gone")

    monkeypatch.setattr(worker, "load_engine", slow)
    monkeypatch.setattr(worker, limit, 0.05)
    monkeypatch.setattr(worker, other, 100)
    host = EngineHost(Box())
    host.handle({"op": "load", "slot": "defects", "path": str(colours), "device": device})
    stuck = hang(host)
    go_on.set()
    assert stuck == "slot defects: loading hangs"
    host.close()


def test_a_refused_model_that_does_not_let_go_stops_the_heartbeat(
    monkeypatch: pytest.MonkeyPatch, colours: Path
) -> None:
    go_on = threading.Event()

    class Clinging:
        def __del__(self) -> None:
            go_on.wait(20)

    def endless(*_: object, **__: object) -> Any:
        clinging = Clinging()
        raise DataError("model.run_failed", f"{clinging} did not finish")

    monkeypatch.setattr(worker, "load_engine", endless)
    monkeypatch.setattr(worker, "STUCK_FRAME_S", 0.05)
    box = Box()
    host = EngineHost(box)
    host.handle({"op": "load", "slot": "defects", "path": str(colours)})
    box.wait_for(lambda seen: [one["op"] for one in seen] == ["load_failed"])
    stuck = hang(host)
    go_on.set()
    assert stuck == "slot defects: loading hangs"
    host.close()


def test_more_orders_than_the_queue_holds_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, go_on = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> Any:
        taken.set()
        go_on.wait(20)
        raise DataError("model.missing", "gone")

    monkeypatch.setattr(worker, "load_engine", slow)
    answers: list[Any] = []
    host = EngineHost(answers.append)
    host.handle({"op": "load", "slot": "taken", "path": "b"})
    assert taken.wait(20)
    for _ in range(worker.LOAD_QUEUE_LIMIT):
        host.handle({"op": "load", "slot": "waits", "path": "b"})
    assert answers == []
    host.handle({"op": "load", "slot": "one too many", "path": "b"})
    host.handle({"op": "bench", "slot": "taken", "seconds": 1, "id": 7})
    host.handle({"op": "unload", "slot": "taken"})
    refused, unmeasured = answers
    assert (refused["op"], refused["slot"], refused["code"]) == ("load_failed", "one too many", "engine.busy")
    assert (unmeasured["op"], unmeasured["id"]) == ("bench_failed", 7)
    assert host.ignored == 1
    go_on.set()
    host.close()


def test_as_many_models_as_a_configuration_may_have_are_loaded_at_once() -> None:
    models = Settings.model_fields["models"].metadata
    [most] = [limit.max_length for limit in models if hasattr(limit, "max_length")]
    assert most <= worker.LOAD_QUEUE_LIMIT


def test_a_ring_stays_open_for_the_frames_in_work() -> None:
    ring = Ring.create("top", slots=2, slot_bytes=16)
    slot = ring.acquire(1)
    assert slot is not None
    ref = slot.publish()
    rings = Rings()
    rings.attach("top", ring.reader_fd())
    held = rings.take("top")
    assert held is not None
    rings.detach("top")
    assert rings.take("top") is None
    assert held.is_current(ref)
    assert len(held.view(ref, 16)) == 16
    held.drop()
    rings.detach("top")
    del slot
    ring.close()


def test_frames_that_wait_when_a_pool_closes_let_go_of_their_ring(
    colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    pool = SlotPool("a", load_engine(colours), lambda _: None)
    monkeypatch.setattr(Lane, "predict", lambda *_: (entered.set(), go_on.wait(20), _fail())[2])
    ring = Ring.create("top", slots=2, slot_bytes=WIDTH * HEIGHT * 3)
    slot = ring.acquire(1)
    assert slot is not None
    ref = slot.publish()
    rings = Rings()
    rings.attach("top", ring.reader_fd())
    for number in range(3):
        held = rings.take("top")
        assert held is not None
        pool.submit(InferJob(number, held, ref, WIDTH, HEIGHT, 3))
    assert entered.wait(10)
    rings.close()
    closing = threading.Thread(target=pool.close, kwargs={"drain": False})
    closing.start()
    go_on.set()
    closing.join(20)
    assert held._users == 0
    del slot
    ring.close()


class Scripted:
    """A socket whose `send` raises what it is given, one after the other."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.sent = 0

    def send(self, _: object) -> None:
        self.sent += 1
        error = self.errors.pop(0)
        if error is not None:
            raise error


def test_an_answer_is_kept_while_main_is_busy_and_dropped_once_it_is_gone() -> None:
    busy, gone = PeerBusy("child.busy", "busy"), PeerGone("child.gone", "gone")
    socket = Scripted(busy, busy, None, gone)
    send = MessageSender(socket)  # type: ignore[arg-type]
    send({"op": "loaded"})
    assert socket.sent == 3
    send({"op": "loaded"})
    send({"op": "loaded"})
    assert socket.sent == 4


def test_whoever_waits_for_main_is_let_go_at_the_end() -> None:
    socket = Scripted(*[PeerBusy("child.busy", "busy")] * 3)
    send = MessageSender(socket)  # type: ignore[arg-type]
    send.close()
    send({"op": "loaded"})
    assert socket.sent == 0


class _Priority:
    """A priority of nobody; ``free``: it can be given back."""

    def __init__(self, *, free: bool, works: bool = True) -> None:
        self.can_come_back = free
        self.works = works
        self.set_to: list[bool] = []

    def set(self, *, low: bool) -> bool:
        self.set_to.append(low)
        return self.works


@pytest.mark.parametrize(("free", "expected"), [(True, [True, False]), (False, [False])])
def test_low_priority_is_taken_only_if_it_can_be_given_back(
    monkeypatch: pytest.MonkeyPatch, *, free: bool, expected: list[bool]
) -> None:
    priority = _Priority(free=free)
    monkeypatch.setattr(worker, "Priority", lambda: priority)
    host = EngineHost(lambda _: None)
    try:
        for low in (True, False):
            host.handle({"op": "priority", "low": low})
        host.handle({"op": "priority", "low": "very"})
        assert priority.set_to == expected
        assert host.ignored == 1
    finally:
        host.close()


def test_a_priority_that_cannot_be_set_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "Priority", lambda: _Priority(free=True, works=False))
    host = EngineHost(lambda _: None)
    host.handle({"op": "priority", "low": True})
    host.close()
    assert "the priority could not be set" in caplog.text
