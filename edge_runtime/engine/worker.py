"""What the `engine` child runs: loads models into slots, judges frames out of the rings, answers main.

``main`` is the entry point of the process. `EngineHost` is the same thing without the process: give it messages, it
calls ``send`` with its answers from its own threads.

Messages in: ``load``, ``infer``, ``bench``, ``attach`` (one descriptor of a ring comes along), ``detach``, ``unload``,
``priority``, ``stop``. Out: ``loaded``, ``load_failed``, ``preparing``, ``inferred``, ``failed``, ``benched``,
``bench_failed``. What cannot be understood is counted and logged, never answered: main's deadlines are the safety net.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, EdgeError, UnavailableError
from edge_runtime.core.frame import SlotRef
from edge_runtime.engine.bench import bench
from edge_runtime.engine.confinement import confine
from edge_runtime.engine.loader import UNFORESEEN, load_engine
from edge_runtime.engine.pool import STUCK_CPU_LOAD_S, STUCK_FRAME_S, InferJob, SlotPool
from edge_runtime.engine.preprocess import limit_cv2_threads
from edge_runtime.engine.protocol import (
    BadFieldError,
    BenchOrder,
    LoadOrder,
    bench_failed,
    benched,
    failed,
    flag_field,
    load_failed,
    loaded,
    parse_bench,
    parse_load,
    text_field,
    whole_field,
)
from edge_runtime.engine.rings import Rings
from edge_runtime.system.channel import Channel, Closed, Policy
from edge_runtime.system.messages import MalformedMessage, MessageSocket, PeerBusy, PeerGone, close_all
from edge_runtime.system.priority import Priority
from edge_runtime.system.service import ServiceGroup, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.engine.protocol import Reply
    from edge_runtime.system.child import ChildContext

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.25
STUCK_LOAD_S: Final = 600.0
"""A load that takes longer than this hangs; compiling for a GPU or an NPU takes minutes."""
SWITCH_INTERVAL_S: Final = 0.0005
"""With Python's 5 ms, every call that gave the GIL away waits that long for it behind a busy thread."""
LOAD_QUEUE_LIMIT: Final = 128
"""Twice as many as a configuration may have models: all of them are loaded at once when the process starts."""
STOP_LOAD_S: Final = 1.0
"""How long a stop waits for a load that is under way; main kills after 1.4 s."""


def main(context: ChildContext) -> None:
    """Serve until ``stop`` or until main is gone; raises what made a worker fail, so that the process ends badly."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    limit_cv2_threads()
    confine(context.args)
    sender = MessageSender(context.socket)
    host = EngineHost(sender)
    try:
        for name, fd in context.fds.items():
            host.attach(name.removeprefix("ring/"), fd)
        serve(host, context.socket, context.beat)
    finally:
        sender.close()
        if host.wait_idle(STOP_LOAD_S):  # else a compilation is under way: it cannot be cancelled, only ended with us
            host.close()


def serve(host: EngineHost, socket: MessageSocket, beat: Callable[[], None]) -> None:
    """Hand every message to ``host`` and call ``beat`` at least every `BEAT_S` seconds while nothing hangs."""
    while True:
        if host.check() is None:
            beat()
        try:
            parcel = socket.receive_parcel(BEAT_S)
        except MalformedMessage as error:
            host.ignore(str(error))
            continue
        except PeerGone:
            return
        if parcel is None:
            continue
        if parcel.message.get("op") == "stop":
            close_all(parcel.fds)
            return
        host.handle(parcel.message, parcel.fds)


class MessageSender:
    """Sends answers from any thread; waits while main is busy, forgets them once main is gone."""

    def __init__(self, socket: MessageSocket) -> None:
        """Use ``socket``, which the caller owns."""
        self._socket = socket
        self._gone = Stop()

    def __call__(self, message: Reply) -> None:
        """Send ``message``."""
        while not self._gone.is_set():
            try:
                self._socket.send(message)
            except PeerBusy:  # it came to nothing: once more, or until the process is told to go
                continue
            except PeerGone:
                self._gone.set()
            return

    def close(self) -> None:
        """Let go of whoever waits for main."""
        self._gone.set()


class EngineHost:
    """Slots, their pools and the rings; `handle`, `attach`, `check` and `close` belong to one thread.

    Attributes:
        ignored: messages that were not understood since the start.
    """

    def __init__(self, send: Callable[[Reply], None]) -> None:
        """Start the thread that loads; ``send`` is called from many threads."""
        self.ignored = 0
        self._send = send
        self._rings = Rings()
        self._pools: dict[str, SlotPool] = {}  # replaced as a whole entry by the loader, read by the owner
        self._work: Channel[LoadOrder | BenchOrder | str] = Channel(LOAD_QUEUE_LIMIT, Policy.REJECT)
        self._loader = _Loader(self)
        self._stuck: str | None = None
        self._priority = Priority()
        self._group = ServiceGroup()
        self._stack = ExitStack()
        self._stack.enter_context(self._group)
        self._group.start(self._loader)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is being loaded or measured; return whether that came within ``timeout_s`` seconds."""
        return self._loader.idle.wait(timeout_s)

    def attach(self, name: str, fd: int) -> None:
        """Map the ring behind ``fd``, which the host owns from now on, in place of the one of that name."""
        try:
            self._rings.attach(name, fd)
        except DataError as error:
            close_all((fd,))
            self.ignore(str(error))

    def handle(self, message: Mapping[str, object], fds: tuple[int, ...] = ()) -> None:
        """Act on one message; never blocks and never raises for what stands in it."""
        operations: dict[object, Callable[[Mapping[str, object]], None]] = {
            "infer": self._infer,
            "load": self._load,
            "bench": self._bench,
            "unload": self._unload,
            "priority": self._prioritise,
            "detach": self._detach,
        }
        try:
            operation = message.get("op")
            if operation == "attach" and len(fds) == 1:
                name, fd, fds = text_field(message, "ring"), fds[0], ()
                self.attach(name, fd)
            elif isinstance(operation, str) and operation in operations and not fds:
                operations[operation](message)
            else:
                self.ignore(f"op {operation!r} with {len(fds)} descriptors is not known")
        except BadFieldError as error:
            self.ignore(f"op {message.get('op')!r}: {error}")
        finally:
            close_all(fds)

    def check(self) -> str | None:
        """Return what hangs, ``None`` if nothing does.

        Raises:
            ExceptionGroup: a thread failed; the process must end.
        """
        pools = list(self._pools.values())
        failures = [*self._group.failures, *(one for pool in pools for one in pool.failures)]
        if failures:
            message = "the engine cannot go on"
            raise ExceptionGroup(message, failures)
        stuck = next((f"slot {pool.slot}: a frame hangs" for pool in pools if pool.hangs()), None)
        due = self._loader.due
        if due is not None and time.monotonic() > due:
            stuck = f"slot {self._loader.slot}: loading hangs"
        if stuck is not None and self._stuck is None:
            logger.error("%s; waiting to be replaced", stuck)
        self._stuck = stuck
        return stuck

    def ignore(self, why: str) -> None:
        """Count a message that makes no sense; the 1st, 2nd, 4th, 8th ... are logged."""
        self.ignored += 1
        if self.ignored & (self.ignored - 1) == 0:
            logger.warning("message %d ignored: %s", self.ignored, why)

    def close(self) -> None:
        """End every thread and free models and rings; frames that wait are given up.

        Raises:
            ExceptionGroup: a thread had failed or did not end.
        """
        with ExitStack() as stack:  # all of it happens, whatever one of them raises
            stack.callback(self._rings.close)
            stack.callback(self._close_pools)
            stack.callback(self._stack.close)
            self._group.stop.set()
            self._work.close()

    def _close_pools(self) -> None:
        with ExitStack() as stack:
            for pool in self._pools.values():
                stack.callback(pool.close, drain=False)
            self._pools.clear()

    def _detach(self, message: Mapping[str, object]) -> None:
        self._rings.detach(text_field(message, "ring"))

    def _unload(self, message: Mapping[str, object]) -> None:
        self._later(text_field(message, "slot"))

    def _infer(self, message: Mapping[str, object]) -> None:
        request, slot, name = whole_field(message, "request"), text_field(message, "slot"), text_field(message, "ring")
        ref = SlotRef(whole_field(message, "index"), whole_field(message, "generation"))
        size = whole_field(message, "width"), whole_field(message, "height"), whole_field(message, "channels")
        ring = self._rings.take(name)
        if ring is None:
            self._send(failed(request, "stale_slot", f"ring {name} is not attached"))
            return
        refusal = self._submit(slot, InferJob(request, ring, ref, *size))
        if refusal is not None:
            ring.drop()
            self._send(refusal)

    def _submit(self, slot: str, job: InferJob) -> Reply | None:
        while True:
            pool = self._pools.get(slot)
            if pool is None:
                return failed(job.request, "no_model", f"slot {slot} has no loaded model")
            try:
                if pool.submit(job):
                    return None
            except Closed:  # replaced between the two lines above: the new one is there
                continue
            return failed(job.request, "overrun", f"slot {slot} has too many frames waiting")

    def _prioritise(self, message: Mapping[str, object]) -> None:
        """Go down, unless there is no way back, or come back; at once and with every thread."""
        low, priority = flag_field(message, "low"), self._priority
        if low and not priority.can_come_back:
            logger.info("a new model is loaded at normal priority: LimitNICE=+0 would allow a lower one (see deploy/)")
        elif not priority.set(low=low):
            logger.warning("the priority could not be set")

    def _load(self, message: Mapping[str, object]) -> None:
        self._later(parse_load(message))

    def _bench(self, message: Mapping[str, object]) -> None:
        self._later(parse_bench(message))

    def _later(self, task: LoadOrder | BenchOrder | str) -> None:
        if self._work.put(task):
            return
        message = f"{LOAD_QUEUE_LIMIT} loads are waiting already"
        if isinstance(task, LoadOrder):
            self._send(load_failed(task.slot, UnavailableError("engine.busy", message)))
        elif isinstance(task, BenchOrder):
            self._send(bench_failed(task, message))
        else:
            self.ignore(message)  # nobody waits for the answer to an unload


class _Loader:
    """Loads, unloads and benches, one after the other, while frames go on; a `system.service.Service`.

    Attributes:
        due: CLOCK_MONOTONIC seconds after which what it does hangs; ``None`` while it does nothing.
        idle: set while it does nothing.
        slot: whose model it works at, or worked at last.
    """

    name = "engine/loader"

    def __init__(self, host: EngineHost) -> None:
        self.due: float | None = None
        self.idle = threading.Event()
        self.idle.set()
        self.slot = ""
        self._host = host
        self._pools = host._pools  # noqa: SLF001 - the host's other half
        self._send = host._send  # noqa: SLF001 - the host's other half

    def run(self, stop: Stop) -> None:
        while not stop.is_set():
            try:
                task = self._host._work.get(BEAT_S)  # noqa: SLF001 - the host's other half
            except Closed:
                return
            if task is None:
                continue
            self.slot = task if isinstance(task, str) else task.slot
            self.due = time.monotonic() + _limit_s(task)
            self.idle.clear()
            self._do(task)
            self.idle.set()
            self.due = None

    def _do(self, task: LoadOrder | BenchOrder | str) -> None:
        if isinstance(task, LoadOrder):
            self._load(task)
        elif isinstance(task, BenchOrder):
            self._bench(task)
        else:
            self._replace(task, None)

    def _load(self, wish: LoadOrder) -> None:
        try:
            model = load_engine(
                wish.path,
                device=wish.device,
                backend=wish.backend,
                threads=wish.threads,
                streams=wish.streams,
                workers=wish.workers,
                cache_dir=wish.cache_dir,
                digest=wish.digest,
            )
        except EdgeError as error:
            if error.code == UNFORESEEN:
                logger.exception("slot %s", wish.slot)
            self._send(load_failed(wish.slot, error))
            # what was made of it is freed at the end of this block, and a model that runs for ever does not let go
            self.due = time.monotonic() + STUCK_FRAME_S
            return
        message = loaded(wish.slot, model)
        self._replace(wish.slot, SlotPool(wish.slot, model, self._send))
        self._send(message)

    def _replace(self, slot: str, pool: SlotPool | None) -> None:
        old = self._pools.pop(slot, None) if pool is None else self._pools.get(slot)
        if pool is not None:
            self._pools[slot] = pool
        if old is not None:
            old.close(drain=True)
            del old
            gc.collect()
            _trim_heap()

    def _bench(self, task: BenchOrder) -> None:
        pool = self._pools.get(task.slot)
        if pool is None:
            self._send(bench_failed(task, f"slot {task.slot} has no loaded model"))
            return
        try:
            figures = bench(pool.model, seconds=task.seconds, requests=task.requests, size=task.size)
        except DataError as error:
            self._send(bench_failed(task, str(error)))
            return
        self._send(benched(task, figures))


def _limit_s(task: LoadOrder | BenchOrder | str) -> float:
    on_cpu = isinstance(task, LoadOrder) and task.device.lower().rpartition(":")[2] in ("auto", "cpu")
    return STUCK_CPU_LOAD_S if on_cpu else STUCK_LOAD_S


def _trim_heap() -> None:
    """Give the memory of a freed model back to the system (ONNX Runtime: 100 -> 62 MB after 24 swaps)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
