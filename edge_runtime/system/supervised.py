"""What the Supervisor looks after: the spec of a child, one incarnation of it, and how that one ended."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.errors import InvariantError
from edge_runtime.system.child import HEARTBEAT_FD, SOCKET_FD
from edge_runtime.system.heartbeat import Alarm, Watchdog
from edge_runtime.system.messages import MalformedMessage, PeerGone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.system.heartbeat import Heartbeat
    from edge_runtime.system.messages import MessageSocket


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run.

    Attributes:
        name: unique among the living, for example ``camera/top``.
        entry: ``package.module:function``, called with a ``ChildContext`` in the child; a string, so that nothing
            of it is imported here.
        args: JSON for the child.
        fds: name to descriptor, passed on at each start; the caller keeps them open until the child is retired.
        heartbeat_timeout_s: silence after which the child is killed, counted from a beat.
        start_timeout_s: the same, before the first beat.
    """

    name: str
    entry: str
    args: Mapping[str, object] = field(default_factory=dict)
    fds: Mapping[str, int] = field(default_factory=dict)
    heartbeat_timeout_s: float = 5.0
    start_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse descriptor names that every child gets anyway."""
        if {SOCKET_FD, HEARTBEAT_FD} & self.fds.keys():
            msg = f"child {self.name}: descriptor names {SOCKET_FD!r} and {HEARTBEAT_FD!r} are taken"
            raise InvariantError("system.child_spec", msg)


class ExitKind(Enum):
    """Why a child is not there any more."""

    EXITED = "exited"  # by itself, with a code, also 0
    SIGNALED = "signaled"  # by a signal that we did not send: a crash, the OOM killer, an operator
    HEARTBEAT = "heartbeat"  # it hung and was killed
    START_TIMEOUT = "start_timeout"  # it never gave a sign of life and was killed
    KILLED = "killed"  # main killed it for a reason: ``Child.kill``, nonsense on its socket
    ZYGOTE_LOST = "zygote_lost"  # the zygote died and took every child along
    RETIRED = "retired"  # it was told to end


@dataclass(frozen=True, slots=True)
class ExitCause:
    """How a child ended.

    Attributes:
        kind: what to match on.
        text: one sentence for people, with the child's name.
        code: exit code, if it exited.
        signal: signal number, if one ended it.
    """

    kind: ExitKind
    text: str
    code: int | None = None
    signal: int | None = None


class ChildOwner(Protocol):
    """Gets a child's news in the loop's thread. An exception in one of these ends the loop."""

    def on_started(self, child: Child) -> None:
        """A process runs; from now on ``child.send`` works."""
        ...

    def on_message(self, child: Child, message: dict[str, object]) -> None:
        """The child said something; fields are as the child, perhaps a hostile one, wrote them."""
        ...

    def on_exited(self, child: Child, cause: ExitCause) -> None:
        """The process is gone, all it said was delivered; comes exactly once after each ``on_started``."""
        ...


class Child:
    """One process from its fork to its end; a restart makes a new one.

    Attributes:
        name: of the spec.
        pid: process id.
        started_mono_ns: when main learnt that it runs.
        restarts: how many processes of this name ran before.
        unsent: messages that ``send`` could not deliver.
    """

    def __init__(
        self,
        spec: ChildSpec,
        socket: MessageSocket,
        heartbeat: Heartbeat,
        *,
        pid: int,
        pidfd: int,
        restarts: int,
        now_ns: int,
    ) -> None:
        """Made by the Supervisor only; owns socket, heartbeat and pidfd."""
        self.name = spec.name
        self.pid = pid
        self.started_mono_ns = now_ns
        self.restarts = restarts
        self.unsent = 0
        self.socket = socket
        self.pidfd = pidfd
        self._spec = spec
        self._heartbeat = heartbeat
        self._watchdog = Watchdog(
            start_timeout_s=spec.start_timeout_s, heartbeat_timeout_s=spec.heartbeat_timeout_s, now_ns=now_ns
        )
        self._verdict: tuple[ExitKind, str] | None = None
        self._muted = False

    def send(self, message: Mapping[str, object]) -> bool:
        """Queue ``message`` for the child without blocking; return whether that worked.

        It does not when the child is gone (``on_exited`` follows) or has not read for hundreds of messages.

        Raises:
            MalformedMessage: the message is not JSON or too large.
        """
        try:
            self.socket.send(message, timeout_s=0)
        except PeerGone:
            self.unsent += 1
            return False
        return True

    def receive(self) -> dict[str, object] | None:
        """Return the next message that is there, ``None`` without one. For the Supervisor.

        Raises:
            PeerGone: everything was read, or the child sent nonsense; then it is killed and nothing more is believed.
        """
        if self._muted:
            raise PeerGone("system.peer_gone", f"{self.name} sent nonsense before")
        try:
            return self.socket.receive_nowait()
        except MalformedMessage as error:
            self._muted = True
            self.kill(f"it sent nonsense: {error.message}")
            raise PeerGone("system.peer_gone", f"{self.name} sent nonsense") from error

    def kill(self, reason: str, kind: ExitKind = ExitKind.KILLED) -> None:
        """SIGKILL the process; ``on_exited`` follows with ``kind`` and ``reason`` (the first reason given counts)."""
        self._verdict = self._verdict or (kind, reason)
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def check(self, now_ns: int) -> None:
        """Kill it if it hangs; call it every ``heartbeat.CHECK_INTERVAL_S``."""
        match self._watchdog.check(self._heartbeat.last_ns, now_ns):
            case Alarm.START_TIMEOUT:
                self.kill(f"no sign of life within {self._spec.start_timeout_s:g} s", ExitKind.START_TIMEOUT)
            case Alarm.HEARTBEAT:
                self.kill(f"no sign of life for {self._spec.heartbeat_timeout_s:g} s", ExitKind.HEARTBEAT)
            case None:
                return

    def worked_s(self, now_ns: int) -> float:
        """Seconds since its first sign of life, 0 without one."""
        first_ns = self._watchdog.first_beat_ns
        return 0.0 if first_ns is None else (now_ns - first_ns) / 1e9

    def cause(self, code: int | None, *, retired: bool) -> ExitCause:
        """Explain its end; ``code`` as ``os.waitstatus_to_exitcode`` gives it, ``None`` when nobody could know."""
        number = -code if code is not None and code < 0 else None
        code = code if code is not None and code >= 0 else None
        if retired:
            kind, text = ExitKind.RETIRED, "it was told to end"
        elif self._verdict is not None and code is None:  # with an exit code it was faster than our signal
            kind, text = self._verdict[0], f"killed: {self._verdict[1]}"
        elif number is not None:
            kind, text = ExitKind.SIGNALED, f"died of {_signal_name(number)}"
        else:
            kind, text = ExitKind.EXITED, f"ended with exit code {code}"
        return ExitCause(kind, f"{self.name} (pid {self.pid}): {text}", code, number)

    def close(self) -> None:
        """Give socket, heartbeat and pidfd back, after the end."""
        self.socket.close()
        self._heartbeat.close()
        os.close(self.pidfd)
        self.pidfd = -1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
