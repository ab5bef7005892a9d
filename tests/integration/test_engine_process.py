"""The engine as a real child: forked by the zygote, judging out of a shared ring, killed and started again."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from edge_runtime.system.loop import Loop
from edge_runtime.system.process import Child, ChildSpec, ExitCause, Supervisor
from edge_runtime.system.ring import Ring
from tests.assets.make_models import write_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

PRELOAD = ("edge_runtime.engine.worker", "edge_runtime.engine.ov", "edge_runtime.engine.ort")
SIDE = 16
DEADLINE_S = 45.0


class Engine:
    """Main's end: loop, supervisor, ring, and everything the child said."""

    def __init__(self, **args: object) -> None:
        self.args = args
        self.loop = Loop()
        self.ring = Ring.create("top", slots=2, slot_bytes=SIDE * SIDE * 3)
        self.supervisor = Supervisor(self.loop, preload=PRELOAD)
        self.child: Child | None = None
        self.starts = 0
        self.messages: list[dict[str, Any]] = []
        self.exits: list[ExitCause] = []

    def __enter__(self) -> Self:
        self.supervisor.start()
        self._descriptor = self.ring.reader_fd()
        fds = {"ring/top": self._descriptor}
        entry = "edge_runtime.engine.worker:main"
        self.supervisor.spawn(ChildSpec(name="engine", entry=entry, args=self.args, fds=fds), self)
        self.wait(lambda: self.child is not None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.supervisor.stop()
        self.loop.close()
        os.close(self._descriptor)
        self.ring.close()

    def on_started(self, child: Child) -> None:
        self.child = child
        self.starts += 1

    def on_message(self, child: Child, message: dict[str, object]) -> None:
        del child
        self.messages.append(message)

    def on_exited(self, child: Child, cause: ExitCause) -> None:
        del child
        self.child = None
        self.exits.append(cause)

    def wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not ready():
            assert time.monotonic() < deadline, f"nothing for {DEADLINE_S} s; {self.messages} {self.exits}"
            self.loop.turn(0.1)

    def ask(self, message: dict[str, object]) -> dict[str, Any]:
        count = len(self.messages)
        assert self.child is not None
        self.child.send(message)
        self.wait(lambda: len(self.messages) > count)
        return self.messages[-1]

    def load(self, path: Path, backend: str) -> dict[str, Any]:
        return self.ask({"op": "load", "slot": "s", "path": str(path), "backend": backend, "threads": 1, "workers": 2})

    def judge(self, number: int) -> dict[str, Any]:
        slot = self.ring.acquire(self.ring.next_frame_id())
        assert slot is not None
        np.frombuffer(slot.buffer, np.uint8)[: SIDE * SIDE * 3].reshape(-1, 3)[:] = (10, 250, 20)
        ref = slot.publish()
        size = {"width": SIDE, "height": SIDE, "channels": 3}
        place = {"ring": "top", "index": ref.index, "generation": ref.generation}
        answer = self.ask({"op": "infer", "request": number, "slot": "s", **place, **size})
        self.ring.release(ref)
        return answer


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_killed_engine_comes_back_and_judges_alike(tmp_path: Path, backend: str) -> None:
    package = write_package(tmp_path, "colours")
    with Engine() as engine:
        first = engine.load(package, backend)
        assert (first["op"], first["backend"]) == ("loaded", backend)
        before = engine.judge(1)
        assert before["predictions"][0]["label"] == "green"

        assert engine.child is not None
        os.kill(engine.child.pid, signal.SIGKILL)
        engine.wait(lambda: engine.starts == 2 and engine.child is not None)

        again = engine.load(package, backend)
        assert again["model"] == first["model"]
        assert engine.judge(2)["predictions"] == before["predictions"]
        engine.supervisor.retire("engine")
        engine.wait(lambda: len(engine.exits) == 2)
    assert engine.exits[1].code == 0


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_model_that_takes_all_memory_is_refused_and_the_others_go_on(tmp_path: Path, backend: str) -> None:
    good = write_package(tmp_path, "colours")
    greedy = write_package(tmp_path, "greedy")
    with Engine(models=[str(good), str(greedy)], memory_bytes=2 << 30) as engine:
        assert engine.load(good, backend)["op"] == "loaded"
        refused = engine.ask({"op": "load", "slot": "t", "path": str(greedy), "backend": backend, "threads": 1})
        assert refused["op"] == "load_failed", refused
        assert "alloc" in refused["message"]
        assert engine.judge(1)["predictions"][0]["label"] == "green"
        assert engine.starts == 1
