"""Real children of a real zygote. The machine may be slow, so waits are bounded generously and end early."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edge_runtime
from edge_runtime.core.errors import InvariantError
from edge_runtime.core.frame import SlotRef
from edge_runtime.system import heartbeat, process, zygote_link
from edge_runtime.system.loop import Loop
from edge_runtime.system.messages import MalformedMessage
from edge_runtime.system.process import Child, ChildSpec, ExitCause, ExitKind, RestartPolicy, Supervisor
from edge_runtime.system.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 20.0
HERE = Path(__file__).parent
SIGNALS = [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]


@dataclass
class Recorder:
    """An owner that remembers."""

    started: list[Child] = field(default_factory=list)
    messages: list[dict[str, object]] = field(default_factory=list)
    exits: list[tuple[Child, ExitCause]] = field(default_factory=list)
    exited_ns: list[int] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    react: dict[str, Callable[[], None]] = field(default_factory=dict)

    def on_started(self, child: Child) -> None:
        self.started.append(child)
        self._note("started")

    def on_message(self, child: Child, message: dict[str, object]) -> None:
        assert child is self.started[-1]
        self.messages.append(message)
        self._note(str(message["op"]))

    def on_exited(self, child: Child, cause: ExitCause) -> None:
        self.exits.append((child, cause))
        self.exited_ns.append(time.monotonic_ns())
        self._note("exited")

    def _note(self, what: str) -> None:
        self.log.append(what)
        self.react.get(what, lambda: None)()

    @property
    def child(self) -> Child:
        return self.started[-1]

    @property
    def causes(self) -> list[ExitCause]:
        return [cause for _, cause in self.exits]

    def count(self, op: str) -> int:
        return sum(message["op"] == op for message in self.messages)


class Bench:
    """A loop and a supervisor, turned by the test."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.supervisor = Supervisor(self.loop, preload=())

    def start(self, *preload: str, policy: RestartPolicy | None = None) -> None:
        self.supervisor = Supervisor(self.loop, preload=preload, policy=policy)
        self.supervisor.start()

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            self.loop.turn(0.05)

    def turn_for(self, seconds: float) -> None:
        done: list[bool] = []
        self.loop.call_later(seconds, lambda: done.append(True))
        self.until(lambda: done)

    def spawn(self, entry: str = "puppet", name: str = "camera/top", **spec: object) -> Recorder:
        owner = Recorder()
        self.supervisor.spawn(ChildSpec(name=name, entry=f"child_entries:{entry}", **spec), owner)  # type: ignore[arg-type]  # a test's short hand
        return owner

    def running(self, entry: str = "puppet", name: str = "camera/top", **spec: object) -> Recorder:
        owner = self.spawn(entry, name, **spec)
        self.until(lambda: owner.count("hello"))
        return owner


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.syspath_prepend(str(HERE))
    it = Bench()
    yield it
    it.supervisor.stop()
    it.loop.close()


@pytest.fixture
def started(bench: Bench) -> Bench:
    bench.start()
    return bench


def state_of(pid: int) -> str | None:
    """The kernel's letter for a process, ``None`` when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[0]


def gone(pid: int) -> bool:
    return state_of(pid) in (None, "Z")  # a zombie of a killed parent waits for this machine's init


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_child_gets_its_arguments_and_descriptors_and_says_hello(started: Bench) -> None:
    reading, writing = os.pipe()
    owner = started.running(args={"url": "rtsp://x", "n": [1, 2.5, None]}, fds={"out": writing})
    hello = owner.messages[0]
    assert hello == {
        "op": "hello",
        "pid": owner.child.pid,
        "args": {"url": "rtsp://x", "n": [1, 2.5, None]},
        "fds": ["out"],
    }
    assert (owner.child.name, owner.child.restarts) == ("camera/top", 0)
    owner.child.send({"op": "write", "fd": "out", "text": "through the pipe"})
    started.until(lambda: owner.child.send({"op": "say", "count": 1}) and owner.count("said"))
    assert os.read(reading, 100) == b"through the pipe"
    os.close(reading)
    os.close(writing)


def test_arguments_may_be_larger_than_a_packet(started: Bench) -> None:
    owner = started.running(args={"large": "x" * 300_000})
    assert owner.messages[0]["args"] == {"large": "x" * 300_000}


def test_a_child_is_a_clean_process(started: Bench) -> None:
    other = started.running(name="camera/other")
    owner = started.running(name="camera/with-a-long-name")
    owner.child.send({"op": "inspect"})
    started.until(lambda: owner.count("facts"))
    facts = owner.messages[-1]
    fds = facts.pop("fds")
    facts.pop("environment")
    assert isinstance(fds, list)
    assert len([fd for fd in fds if fd.startswith("socket:")]) == 1 + sum(
        str(Path(f"/proc/self/fd/{fd}").readlink()).startswith("socket:") for fd in (1, 2)
    )
    assert not [fd for fd in fds if "eventpoll" in fd or "pidfd" in fd]
    assert len([fd for fd in fds if "edge-heartbeat" in fd]) == 1
    zygote = started.supervisor.zygote_pid
    assert facts == {
        "op": "facts",
        "comm": "edge:camera/wit",
        "threads": 1,
        "stdin": "/dev/null",
        "stdout_is_stderr": True,
        "blocked": [],
        "sigint_ignored": True,
        "sigterm_default": True,
        "core": [0, 0],
        "oom_score_adj": 500,
        "session": os.getsid(0),  # or a low priority would mean nothing to main
        "group": zygote,
        "parent": zygote,
        "imported_by": owner.child.pid,
        "telemetry": "1",
    }
    assert other.exits == []


def test_a_child_knows_the_drivers_variables_and_no_secret_of_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = ("EDGE__MQTT__PASSWORD", "CAMERA_PW", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "http_proxy")
    drivers = ("LD_LIBRARY_PATH", "OCL_ICD_VENDORS", "NEOReadDebugKeys", "ZE_AFFINITY_MASK", "LIBVA_DRIVER_NAME")
    others = ("TBBROOT", "OPENCV_LOG_LEVEL_X", "COVERAGE_PROCESS_START_X", "PYTHONDONTWRITEBYTECODE")
    for name in (*secret, *drivers, *others):
        monkeypatch.setenv(name, "seen by a child")
    bench.start()
    owner = bench.running()
    owner.child.send({"op": "inspect"})
    bench.until(lambda: owner.count("facts"))
    environment = owner.messages[-1]["environment"]
    assert isinstance(environment, dict)
    assert {name for name, value in environment.items() if value == "seen by a child"} == {*drivers, *others}
    assert {"PATH", "PYTHONPATH"} <= environment.keys()


def test_what_is_preloaded_is_imported_once_by_the_zygote(bench: Bench) -> None:
    bench.start("child_entries")
    owner = bench.running()
    owner.child.send({"op": "inspect"})
    bench.until(lambda: owner.count("facts"))
    assert owner.messages[-1]["imported_by"] == bench.supervisor.zygote_pid


@pytest.mark.parametrize("number", SIGNALS)
def test_a_crashed_child_is_reported_with_its_signal_and_started_again(started: Bench, number: signal.Signals) -> None:
    owner = started.running()
    first = owner.child
    first.send({"op": "signal", "number": int(number)})
    started.until(lambda: owner.count("hello") == 2)
    [(child, cause)] = owner.exits
    assert child is first
    assert (cause.kind, cause.code, cause.signal) == (ExitKind.SIGNALED, None, number)
    assert cause.text == f"camera/top (pid {first.pid}): died of {number.name}"
    assert (owner.child.restarts, owner.child.pid != first.pid) == (1, True)
    assert owner.log == ["started", "hello", "exited", "started", "hello"]
    assert gone(first.pid)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"op": "exit", "code": 0}, 0),
        ({"op": "exit", "code": 7}, 7),
        ({"op": "raise"}, 1),
        ({"op": "raise_data_error"}, 65),
    ],
)
def test_a_child_that_ends_by_itself_is_started_again_whatever_its_code(
    started: Bench, order: dict[str, object], code: int
) -> None:
    owner = started.running()
    owner.child.send(order)
    started.until(lambda: owner.count("hello") == 2)
    [cause] = owner.causes
    assert (cause.kind, cause.code, cause.signal) == (ExitKind.EXITED, code, None)
    assert cause.text.endswith(f": ended with exit code {code}")


def test_an_entry_point_that_does_not_exist_ends_with_code_1_and_is_tried_again(started: Bench) -> None:
    owner = started.spawn("no_such_function")
    started.until(lambda: len(owner.exits) == 2)
    assert {cause.code for cause in owner.causes} == {1}


def test_all_that_a_child_said_before_it_died_is_delivered_before_its_end(started: Bench) -> None:
    owner = started.running()
    owner.child.send({"op": "say_and_die", "count": 200})
    started.until(lambda: owner.exits)
    assert [m["number"] for m in owner.messages if m["op"] == "said"] == list(range(200))
    assert owner.log[:203] == ["started", "hello", *["said"] * 200, "exited"]


def test_a_hanging_child_is_killed_and_started_again(started: Bench) -> None:
    owner = started.running(heartbeat_timeout_s=0.5)
    owner.child.send({"op": "hang"})
    started.until(lambda: owner.count("hello") == 2)
    [cause] = owner.causes
    assert (cause.kind, cause.signal) == (ExitKind.HEARTBEAT, signal.SIGKILL)
    assert cause.text.endswith(": killed: no sign of life for 0.5 s")


def test_a_stopped_child_is_killed_and_started_again(started: Bench) -> None:
    owner = started.running(heartbeat_timeout_s=0.5)
    os.kill(owner.child.pid, signal.SIGSTOP)
    started.until(lambda: owner.count("hello") == 2)
    assert [cause.kind for cause in owner.causes] == [ExitKind.HEARTBEAT]


def test_a_child_that_never_beats_is_killed_after_its_start_timeout(started: Bench) -> None:
    owner = started.spawn("never_beats", heartbeat_timeout_s=0.1, start_timeout_s=0.6)
    started.until(lambda: owner.exits)
    [(child, cause)] = owner.exits[:1]
    assert cause.kind is ExitKind.START_TIMEOUT
    assert cause.text.endswith(": killed: no sign of life within 0.6 s")
    assert owner.exited_ns[0] - child.started_mono_ns > 0.5e9


def test_a_child_that_beats_is_not_killed(started: Bench) -> None:
    owner = started.running(heartbeat_timeout_s=1.0)
    started.turn_for(2.0)
    assert owner.exits == []


def test_an_owner_may_kill_its_child_for_a_reason(started: Bench) -> None:
    owner = started.running()
    owner.child.kill("model defects did not answer")
    owner.child.kill("another reason")
    started.until(lambda: owner.count("hello") == 2)
    [cause] = owner.causes
    assert cause.kind is ExitKind.KILLED
    assert cause.text.endswith(": killed: model defects did not answer")
    owner.exits[0][0].kill("a child that is gone")
    started.until(lambda: owner.child.send({"op": "say", "count": 1}) and owner.count("said"))
    assert len(owner.exits) == 1


def test_a_child_that_sends_nonsense_is_killed_and_nothing_after_it_is_believed(started: Bench) -> None:
    owner = started.running()
    owner.child.send({"op": "garbage"})
    started.until(lambda: owner.count("hello") == 2)
    [cause] = owner.causes
    assert cause.kind is ExitKind.KILLED
    assert "it sent nonsense: message between processes refused" in cause.text
    assert owner.count("said") == 0


def test_a_child_that_closes_its_socket_and_lives_on_is_killed(started: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "RETIRE_TIMEOUT_S", 0.1)
    owner = started.running()
    owner.child.send({"op": "close"})
    started.until(lambda: owner.count("hello") == 2)
    [cause] = owner.causes
    assert cause.text.endswith(": killed: it closed its socket and did not end")


def test_a_grandchild_that_holds_the_socket_does_not_hold_up_the_restart(started: Bench) -> None:
    owner = started.running()
    owner.child.send({"op": "leave_a_grandchild"})
    started.until(lambda: owner.count("hello") == 2)
    assert owner.log == ["started", "hello", "said", "exited", "started", "hello"]


def test_sending_never_blocks_even_if_the_child_does_not_read(started: Bench) -> None:
    owner = started.spawn("deaf")
    started.until(lambda: owner.started)
    accepted = 0
    while owner.child.send({"op": "nobody reads this"}):
        accepted += 1
    assert 100 < accepted < 100_000
    assert owner.child.unsent == 1


def test_sending_to_a_dead_child_says_so(started: Bench) -> None:
    owner = started.running()
    child = owner.child
    assert child.send({"op": "exit", "code": 3})
    started.until(lambda: owner.exits)
    assert not child.send({"op": "say", "count": 1})


def test_a_retired_child_ends_by_itself_and_is_not_started_again(started: Bench) -> None:
    owner = started.running()
    started.supervisor.retire("camera/top")
    started.supervisor.retire("camera/top")
    started.until(lambda: owner.exits)
    [cause] = owner.causes
    assert (cause.kind, cause.code) == (ExitKind.RETIRED, 0)
    started.turn_for(0.3)
    assert len(owner.started) == 1


def test_a_stubborn_child_is_killed_when_retired(started: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "RETIRE_TIMEOUT_S", 0.1)
    owner = started.running("stubborn")
    started.supervisor.retire("camera/top")
    started.until(lambda: owner.exits)
    assert [(cause.kind, cause.signal) for cause in owner.causes] == [(ExitKind.RETIRED, signal.SIGKILL)]


def test_a_child_may_be_retired_before_it_was_forked(started: Bench) -> None:
    owner = started.spawn()
    started.supervisor.retire("camera/top")
    other = started.running(name="camera/other")
    assert owner.log == []
    assert other.exits == []
    assert len(started.supervisor._wards) == 1


def test_a_child_may_be_retired_while_it_waits_for_its_restart(bench: Bench) -> None:
    bench.start(policy=RestartPolicy(delays_s=(60.0,)))
    owner = bench.spawn("dies_at_once")
    bench.until(lambda: owner.exits)
    bench.supervisor.retire("camera/top")
    assert bench.supervisor._wards == {}
    bench.supervisor.retire("unknown")


def test_an_owner_may_retire_its_child_when_it_hears_of_its_end(started: Bench) -> None:
    owner = started.running()
    owner.react["exited"] = lambda: started.supervisor.retire("camera/top")
    owner.child.send({"op": "exit", "code": 0})
    started.until(lambda: owner.exits)
    started.turn_for(0.3)
    assert owner.log == ["started", "hello", "exited"]


def test_an_owner_may_retire_its_child_by_its_last_message(started: Bench) -> None:
    owner = started.running()
    owner.react["said"] = lambda: started.supervisor.retire("camera/top")
    owner.child.send({"op": "say_and_die", "count": 3})
    started.until(lambda: owner.exits)
    assert owner.log == ["started", "hello", "said", "said", "said", "exited"]
    assert started.supervisor._wards == {}


def test_a_name_can_be_used_again_once_the_old_child_is_told_to_end(started: Bench) -> None:
    old = started.running()
    with pytest.raises(InvariantError, match="exists already"):
        started.spawn()
    started.supervisor.retire("camera/top")
    new = started.spawn()
    started.until(lambda: new.count("hello"))
    assert old.log == ["started", "hello", "exited"]
    assert new.child.restarts == 0
    assert new.child.started_mono_ns >= old.exited_ns[0]


def test_a_successor_that_is_retired_too_never_starts(started: Bench) -> None:
    old = started.running()
    started.supervisor.retire("camera/top")
    new = started.spawn()
    started.supervisor.retire("camera/top")
    started.until(lambda: old.exits)
    started.turn_for(0.2)
    assert new.log == []


def test_restarts_are_delayed_as_the_policy_says(bench: Bench) -> None:
    bench.start(policy=RestartPolicy(delays_s=(0.0, 0.3)))
    owner = bench.spawn("dies_at_once")
    bench.until(lambda: len(owner.started) == 4)
    gaps = [owner.started[number + 1].started_mono_ns - owner.exited_ns[number] for number in range(3)]
    assert [gap > 0.29e9 for gap in gaps] == [False, True, True]
    assert [child.restarts for child in owner.started] == [0, 1, 2, 3]


def test_one_crashing_child_does_not_disturb_another(bench: Bench) -> None:
    bench.start(policy=RestartPolicy(delays_s=(0.0,)))
    calm = bench.running(name="camera/calm")
    crashing = bench.spawn("dies_at_once", name="camera/crashing")
    bench.until(lambda: len(crashing.exits) >= 20)
    calm.child.send({"op": "say", "count": 1})
    bench.until(lambda: calm.count("said"))
    assert calm.exits == []


def test_a_child_is_back_within_a_tenth_of_a_second(started: Bench) -> None:
    owner = started.running()
    delays_ms = []
    for round_number in range(1, 8):
        started.supervisor._wards["camera/top"].failures = 0
        before = time.monotonic_ns()
        os.kill(owner.child.pid, signal.SIGSEGV)
        started.until(lambda number=round_number: len(owner.started) == number + 1)
        delays_ms.append((owner.child.started_mono_ns - before) / 1e6)
        started.until(lambda number=round_number: owner.count("hello") == number + 1)
    print("crash to on_started, ms:", [round(ms, 1) for ms in delays_ms])
    assert sorted(delays_ms)[len(delays_ms) // 2] < 100


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_twenty_deaths_in_a_row_leave_nothing_behind(bench: Bench, number: signal.Signals) -> None:
    bench.start("child_entries", policy=RestartPolicy(delays_s=(0.0,)))
    owner = bench.running(heartbeat_timeout_s=0.3)
    fds, pids = open_fds(), set()
    for deaths in range(1, 21):
        pids.add(owner.child.pid)
        os.kill(owner.child.pid, number)
        bench.until(lambda deaths=deaths: owner.count("hello") == deaths + 1)
    assert open_fds() == fds
    assert len(owner.exits) == 20
    assert all(state_of(pid) is None for pid in pids), "zombies or orphans"


def test_spawning_and_retiring_twenty_times_leaves_nothing_behind(started: Bench) -> None:
    started.running(name="warm-up")
    fds = open_fds()
    for _ in range(20):
        ring = Ring.create("top", slots=6, slot_bytes=1 << 20)
        owner = started.running(fds={"ring": ring.fd})
        started.supervisor.retire("camera/top")
        started.until(lambda owner=owner: owner.exits)
        ring.close()
    assert open_fds() == fds


def test_when_the_zygote_dies_every_child_is_reported_once_and_comes_back(started: Bench) -> None:
    owners = [started.running(name=f"camera/{number}") for number in range(3)]
    zygote = started.supervisor.zygote_pid
    assert zygote is not None
    children = [owner.child.pid for owner in owners]
    os.kill(zygote, signal.SIGKILL)
    started.until(lambda: all(owner.count("hello") == 2 for owner in owners))
    for owner in owners:
        [cause] = owner.causes
        assert cause.kind is ExitKind.ZYGOTE_LOST
        assert ": killed: the zygote was lost" in cause.text
        assert owner.log == ["started", "hello", "exited", "started", "hello"]
    assert started.supervisor.zygote_pid not in (None, zygote)
    assert all(gone(pid) for pid in children)


def test_a_child_ordered_from_a_dying_zygote_is_forked_by_the_next(started: Bench) -> None:
    zygote = started.supervisor.zygote_pid
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    owner = started.running()
    assert owner.log == ["started", "hello"]
    assert started.supervisor.zygote_pid != zygote


def test_children_retired_while_the_zygote_dies_stay_away(started: Bench) -> None:
    running = started.running(name="camera/running")
    zygote = started.supervisor.zygote_pid
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    unborn = started.spawn(name="camera/unborn")
    started.supervisor.retire("camera/unborn")
    started.supervisor.retire("camera/running")
    other = started.running(name="camera/other")
    started.until(lambda: running.exits)
    assert running.causes[0].kind is ExitKind.RETIRED
    assert unborn.log == []
    assert other.exits == []


def test_a_hanging_zygote_is_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote_link, "HEARTBEAT_TIMEOUT_S", 1.5)
    bench.start()
    owner = bench.running()
    zygote = bench.supervisor.zygote_pid
    assert zygote is not None
    os.kill(zygote, signal.SIGSTOP)
    bench.until(lambda: owner.count("hello") == 2)
    assert [cause.kind for cause in owner.causes] == [ExitKind.ZYGOTE_LOST]
    assert bench.supervisor.zygote_pid != zygote


def test_a_library_that_starts_threads_in_the_zygote_ends_the_service_with_its_reason(bench: Bench) -> None:
    bench.start("starts_a_thread")
    with pytest.raises(InvariantError, match="one thread to fork safely, but has 2"):
        bench.turn_for(DEADLINE_S)


def test_a_library_that_cannot_be_preloaded_does_not_keep_the_others_from_working(bench: Bench) -> None:
    bench.start("no_such_library", "child_entries")
    owner = bench.running()
    assert owner.exits == []


def test_a_fork_that_fails_is_tried_again(bench: Bench) -> None:
    bench.start("fork_fails_once")
    owner = bench.running()
    assert owner.log == ["started", "hello"]
    assert bench.supervisor._wards["camera/top"].failures == 1


def test_a_main_without_descriptors_tries_again_later(started: Bench) -> None:
    """Every allocation of a start fails once: the n-th one for n = 0, 1, 2 ... until none is left to fail."""
    started.running(name="warm-up")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fds = open_fds()
    for spare in range(8):
        held = [os.dup(0) for _ in range(64)]  # so that the limit is reached by count, not by gaps in the numbers
        highest = max(held)
        for fd in held[::-1][:spare]:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            owner = started.spawn(name=f"camera/{spare}")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in held[: 64 - spare]:
                os.close(fd)
        started.until(lambda owner=owner: owner.count("hello"))
        started.supervisor.retire(f"camera/{spare}")
        started.until(lambda owner=owner: owner.exits)
    assert open_fds() == fds


def test_a_zygote_that_cannot_be_started_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = heartbeat.Heartbeat.create, [OSError(24, "Too many open files")]

    def failing() -> object:
        if failures:
            raise failures.pop()
        return real()

    monkeypatch.setattr(heartbeat.Heartbeat, "create", failing)
    bench.start()
    assert bench.supervisor.zygote_pid is None
    assert bench.running().log == ["started", "hello"]


def test_a_spec_with_a_closed_descriptor_or_impossible_arguments_is_refused_at_once(started: Bench) -> None:
    with pytest.raises(InvariantError, match="not open"):
        started.spawn(name="camera/a", fds={"ring": 999_999})
    with pytest.raises(MalformedMessage):
        started.spawn(name="camera/b", args={"fps": float("nan")})
    with pytest.raises(InvariantError, match="are taken"):
        started.spawn(name="camera/c", fds={"socket": 1})
    assert started.supervisor._wards == {}
    assert started.running().exits == []


def test_frames_of_a_killed_writer_are_accounted_by_the_ring(started: Bench) -> None:
    ring = Ring.create("top", slots=6, slot_bytes=1000)
    owner = started.spawn("torn_writer", fds={"ring": ring.fd})
    started.until(lambda: owner.exits)
    started.supervisor.retire("camera/top")
    message = owner.messages[0]
    announced = SlotRef(int(str(message["index"])), int(str(message["generation"])))
    assert bytes(ring.view(announced, 3)) == b"one"
    assert ring.reclaim([announced]) == [2, 3]
    assert ring.frames_begun == 3
    ring.close()


def test_a_hostile_child_cannot_take_the_rings_memory_away(started: Bench) -> None:
    ring = Ring.create("top", slots=1, slot_bytes=1000)
    owner = started.running("shrinker", fds={"ring": ring.fd})
    assert owner.messages[0] == {"op": "refused"}
    ring.close()


def test_stop_ends_everything_within_three_seconds_even_if_a_child_is_stubborn(started: Bench) -> None:
    polite, stubborn = started.running(name="camera/polite"), started.running("stubborn", name="camera/stubborn")
    pids = [polite.child.pid, stubborn.child.pid, started.supervisor.zygote_pid]
    before = time.monotonic()
    started.supervisor.stop()
    elapsed = time.monotonic() - before
    started.supervisor.stop()
    assert [cause.kind for cause in polite.causes + stubborn.causes] == [ExitKind.RETIRED] * 2
    assert all(gone(pid) for pid in pids if pid is not None)
    assert elapsed < 6  # 3, on a machine that is not busy
    with pytest.raises(InvariantError, match="after the stop"):
        started.spawn()


def test_stop_ends_everything_and_tells_every_owner_even_if_the_zygote_hangs(started: Bench) -> None:
    polite, stubborn = started.running(name="camera/polite"), started.running("stubborn", name="camera/stubborn")
    zygote = started.supervisor.zygote_pid
    assert zygote is not None
    os.kill(zygote, signal.SIGSTOP)
    before = time.monotonic()
    started.supervisor.stop()
    assert time.monotonic() - before < 6  # 3, on a machine that is not busy
    for owner in (polite, stubborn):
        assert [cause.kind for cause in owner.causes] == [ExitKind.RETIRED]
        assert gone(owner.child.pid)
    assert gone(zygote)


def test_stop_does_not_wait_for_children_that_were_never_born(started: Bench) -> None:
    owner = started.spawn()
    started.supervisor.stop()
    assert [cause.kind for cause in owner.causes] in ([], [ExitKind.RETIRED])


def test_stop_right_after_the_zygote_died_does_not_start_another(started: Bench) -> None:
    owner = started.running()
    zygote = started.supervisor.zygote_pid
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    started.supervisor.stop()
    assert started.supervisor.zygote_pid is None
    assert len(owner.exits) == 1


def test_an_owner_that_raises_ends_the_loop_and_stop_still_ends_the_children(started: Bench) -> None:
    def fail() -> None:
        msg = "broken owner"
        raise LookupError(msg)

    owner = started.running()
    owner.react["said"] = fail
    owner.child.send({"op": "say", "count": 1})
    with pytest.raises(LookupError, match="broken owner"):
        started.until(lambda: False)
    started.supervisor.stop()
    assert gone(owner.child.pid)


MAIN = """
    import sys
    sys.path[:0] = {path!r}
    from edge_runtime.system.loop import Loop
    from edge_runtime.system.process import ChildSpec, Supervisor

    class Owner:
        def on_started(self, child): print("child", child.pid, flush=True)
        def on_message(self, child, message): print("hello", flush=True)
        def on_exited(self, child, cause): print("exited", cause, flush=True)

    loop = Loop()
    supervisor = Supervisor(loop, preload=["child_entries"])
    supervisor.start()
    print("zygote", supervisor.zygote_pid, flush=True)
    for name in "ab":
        supervisor.spawn(ChildSpec(name=name, entry="child_entries:stubborn"), Owner())
    while True:
        loop.turn(1)
"""


@pytest.mark.parametrize("stopped_first", [False, True])
def test_a_killed_main_takes_zygote_and_children_along(stopped_first: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    path = [str(HERE), str(Path(edge_runtime.__file__).parent.parent)]
    script = textwrap.dedent(MAIN).format(path=path)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        lines = [main.stdout.readline().split() for _ in range(5)]
        pids = [int(words[1]) for words in lines if words[0] in ("zygote", "child")]
        assert len(pids) == 3
        if stopped_first:  # a stopped zygote cannot do anything about it, the kernel must
            os.kill(pids[0], signal.SIGSTOP)
        main.kill()
        main.wait()
        before = time.monotonic()
        while not all(gone(pid) for pid in pids):
            assert time.monotonic() - before < DEADLINE_S
            os.sched_yield()
        elapsed = time.monotonic() - before
    print(f"gone after {elapsed * 1000:.1f} ms")
    assert elapsed < 5  # 1, on a machine that is not busy
