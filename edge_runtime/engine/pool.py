"""The workers of one model slot: each has a lane of its own, all take frames from one bounded queue.

Two workers overlap: while one model run is under way, the other draws its next frame or reads its last answer.
Legal order: ``SlotPool(...)`` -> ``submit`` ... -> ``close``, which lets the queued frames finish first.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.errors import DataError, InvariantError
from edge_runtime.engine.lane import StaleFrameError
from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.protocol import failed, inferred, preparing
from edge_runtime.system.channel import Channel, Closed, Policy
from edge_runtime.system.ring import StaleSlot
from edge_runtime.system.service import ServiceGroup, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.core.frame import SlotRef
    from edge_runtime.engine.lane import Answer, Judge
    from edge_runtime.engine.loader import LoadedModel
    from edge_runtime.engine.protocol import Reply
    from edge_runtime.engine.rings import SharedRing

logger = logging.getLogger(__name__)

QUEUE_LIMIT: Final = 64
"""Frames that may wait for a worker; main keeps far fewer in flight, the rings have few slots."""
DRAIN_TIMEOUT_S: Final = 15.0
FAILED_RUNS_LIMIT: Final = 3
"""Model runs that may fail in a row before the process gives up and is started anew."""
STUCK_FRAME_S: Final = 20.0
"""A frame that takes longer than this in a worker: the device hangs; the process stops beating and is replaced."""
STUCK_CPU_LOAD_S: Final = 180.0
"""The same for what is compiled for the CPU, at load or for the first frame of a new size: real models take half a
second, and one a hundred times as large on a third of the processor would be in time. The models that wait behind one
whose load hangs wait until it was given up, which is three times this (``LOAD_DEATHS_LIMIT`` of ``pipeline.slot``):
nine minutes and not thirty."""
_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class InferJob:
    """One frame to be judged: where its pixels are (``ring`` is held for it), and the number the answer carries."""

    request: int
    ring: SharedRing
    ref: SlotRef
    width: int
    height: int
    channels: int


class SlotPool:
    """Runs one loaded model; `submit` from any thread."""

    def __init__(self, slot: str, model: LoadedModel, reply: Callable[[Reply], None]) -> None:
        """Start one thread per lane of ``model``, which the pool owns from now on; ``reply`` is called in them."""
        self.slot = slot
        self.model = model
        self._reply = reply
        self._jobs: Channel[InferJob] = Channel(QUEUE_LIMIT, Policy.REJECT)
        self._drained = threading.Semaphore(0)
        self._group = ServiceGroup()
        self._stack = ExitStack()
        self._stack.enter_context(self._group)
        self._workers = [_Worker(self, lane, number) for number, lane in enumerate(model.lanes)]
        for worker in self._workers:
            self._group.start(worker)

    def submit(self, job: InferJob) -> bool:
        """Queue one frame; return whether there was room.

        Raises:
            Closed: the pool is closing.
        """
        return self._jobs.put(job)

    def close(self, *, drain: bool) -> None:
        """End the threads and free the model; with ``drain``, what is queued is judged first (`DRAIN_TIMEOUT_S`).

        Raises:
            ExceptionGroup: a worker had failed.
        """
        if not drain:
            self._group.stop.set()
        self._jobs.close()
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        for _ in self._workers:
            self._drained.acquire(timeout=max(0.0, deadline - time.monotonic()))
        self._stack.close()
        for job in self._left_over():
            job.ring.drop()
        self.model.close()

    def _left_over(self) -> list[InferJob]:
        try:
            return self._jobs.get_batch(QUEUE_LIMIT, 0.0)
        except Closed:
            return []

    @property
    def failures(self) -> tuple[Exception, ...]:
        """What ended a worker that should have gone on."""
        return self._group.failures

    def hangs(self) -> bool:
        """Tell whether a frame has been in a worker for too long."""
        now = time.monotonic()
        return any((due := worker.due) is not None and now > due for worker in self._workers)


class _Worker:
    """One thread of a pool; a `system.service.Service`.

    Attributes:
        due: CLOCK_MONOTONIC seconds after which its frame hangs; ``None`` while it is idle.
    """

    def __init__(self, pool: SlotPool, lane: Judge, number: int) -> None:
        self.name = f"engine/{pool.slot}/{number}"
        self.due: float | None = None
        self._pool = pool
        self._lane = lane
        self._failed_runs = 0

    def run(self, stop: Stop) -> None:
        try:
            while not stop.is_set():
                job = self._pool._jobs.get(_POLL_S)  # noqa: SLF001 - the pool's other half
                if job is not None:
                    self._serve(job)
        except Closed:
            pass  # everything queued was served
        finally:
            self._pool._drained.release()  # noqa: SLF001 - the pool's other half
        stop.wait(DRAIN_TIMEOUT_S)

    def _serve(self, job: InferJob) -> None:
        self.due = time.monotonic() + STUCK_FRAME_S
        try:
            reply = self._judge(job)
        finally:
            job.ring.drop()
        self.due = None
        self._pool._reply(reply)  # noqa: SLF001 - the pool's other half

    def _judge(self, job: InferJob) -> Reply:
        started_ns = time.monotonic_ns()
        try:
            answer = self._predict(job)
        except (StaleSlot, StaleFrameError):
            message = f"slot {job.ref.index} of ring {job.ring.name} no longer holds generation {job.ref.generation}"
            return failed(job.request, "stale_slot", message)
        except DataError as error:
            self._count_failed_run(error)
            return failed(job.request, "invalid_frame" if _is_about_frame(error) else "invalid_output", str(error))
        self._failed_runs = 0
        return inferred(job.request, answer, started_ns, self._pool.model.info.device)

    def _predict(self, job: InferJob) -> Answer:
        if job.channels not in (1, 3) or job.width < 1 or job.height < 1:
            message = f"expected 1 or 3 channels, found {job.width}x{job.height}x{job.channels}"
            raise DataError("frame.invalid", message, help="use grey or BGR pictures")
        pixels = job.ring.view(job.ref, job.width * job.height * job.channels)
        frame = np.frombuffer(pixels, np.uint8).reshape(job.height, job.width, job.channels)
        if self._lane.must_compile(job.height, job.width):
            self.due = time.monotonic() + STUCK_CPU_LOAD_S
            self._pool._reply(preparing(job.request))  # noqa: SLF001 - the pool's other half
        return self._lane.predict(frame, lambda: job.ring.is_current(job.ref))

    def _count_failed_run(self, error: DataError) -> None:
        if error.code != "model.run_failed":
            return
        self._failed_runs += 1
        if self._failed_runs >= FAILED_RUNS_LIMIT:
            message = f"{self.name}: {self._failed_runs} runs failed in a row, last: {error}"
            raise InvariantError("engine.device_lost", message) from error


def _is_about_frame(error: DataError) -> bool:
    return not isinstance(error, InvalidOutputError) and error.code in ("frame.invalid", "system.frame_size")
