"""Supervised children: forked by a warm zygote, watched by heartbeat and pidfd, restarted for ever.

Legal order: ``start`` -> ``spawn`` / ``retire`` ... -> ``stop``; for one child: started -> messages -> exited, each
told once to its owner, and again for the next process of that name. All in the thread that drives the loop.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.errors import EdgeError, InvariantError
from edge_runtime.system.child import HEARTBEAT_FD, SOCKET_FD, ForkOrder
from edge_runtime.system.heartbeat import CHECK_INTERVAL_S, Heartbeat
from edge_runtime.system.messages import MessageSocket, PeerGone, pair
from edge_runtime.system.restart import RestartPolicy
from edge_runtime.system.supervised import Child, ChildOwner, ChildSpec, ExitCause, ExitKind
from edge_runtime.system.zygote_link import ZygoteLink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.system.loop import Loop, Timer

__all__ = ["Child", "ChildOwner", "ChildSpec", "ExitCause", "ExitKind", "Supervisor"]

logger = logging.getLogger(__name__)

RETIRE_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 1.4  # with KILL_TIMEOUT_S and the zygote's end at most 2.2 s
KILL_TIMEOUT_S = 0.3  # what the kernel may need to end a killed process
MESSAGES_PER_TURN = 64
_LAST_MESSAGES_MAX = 10_000  # more than a socket buffer holds; a child's child may have the other end and go on


class _Ward:
    """One name under supervision, across restarts. Idle when it has no birth, child or timer."""

    def __init__(self, spec: ChildSpec, owner: ChildOwner) -> None:
        self.spec = spec
        self.owner = owner
        self.failures = 0
        self.starts = 0
        self.birth: _Birth | None = None
        self.child: Child | None = None
        self.announced = False  # the owner heard on_started of this child
        self.timer: Timer | None = None  # restart, or kill after retirement
        self.retiring = False
        self.successor: _Ward | None = None


@dataclass(slots=True)
class _Birth:
    """A fork that was asked for and not answered."""

    ward: _Ward
    socket: MessageSocket
    heartbeat: Heartbeat

    def close(self) -> None:
        self.socket.close()
        self.heartbeat.close()


class Supervisor:
    """See the module docstring. Use it from the thread that drives the loop, and let that thread outlive it.

    The kernel ends the zygote and every child when that thread ends, so nothing survives a killed main.
    """

    def __init__(self, loop: Loop, *, preload: Sequence[str], policy: RestartPolicy | None = None) -> None:
        """Do nothing yet; ``preload`` names the modules that the zygote imports for its children."""
        self._loop = loop
        self._preload = tuple(preload)
        self._policy = policy or RestartPolicy()
        self._wards: dict[str, _Ward] = {}
        self._births: dict[int, _Birth] = {}
        self._living: dict[int, _Ward] = {}  # order id -> ward with a child
        self._ids = itertools.count(1)
        self._link: ZygoteLink | None = None
        self._link_failures = 0
        self._link_timer: Timer | None = None
        self._tick_timer: Timer | None = None
        self._stopped = False

    def start(self) -> None:
        """Start the zygote; does not wait for it. The caller sees to ``stop``, for example by ``Loop.on_stop``."""
        self._tick()
        self._open_link()

    def spawn(self, spec: ChildSpec, owner: ChildOwner) -> None:
        """Keep a child running from now on; restarts follow the policy until ``retire``.

        A name that is being retired may be spawned again: the new child starts when the old one is gone.

        Raises:
            InvariantError: the name is in use, the Supervisor was stopped, or a descriptor of ``spec`` is closed.
            MalformedMessage: ``spec.args`` is not JSON.
        """
        if self._stopped:
            msg = f"child {spec.name} was spawned after the stop"
            raise InvariantError("system.supervisor_stopped", msg)
        ward = _Ward(spec, owner)
        old = self._wards.get(spec.name)
        if old is None:
            self._wards[spec.name] = ward
            try:
                self._begin(ward)
            except EdgeError:
                del self._wards[spec.name]
                raise
        elif old.retiring and old.successor is None:
            old.successor = ward
        else:
            msg = f"child {spec.name} exists already"
            raise InvariantError("system.child_exists", msg)

    def retire(self, name: str) -> None:
        """Tell a child to end, kill it after 2 s, and do not restart it; nothing happens for an unknown name."""
        ward = self._wards.get(name)
        if ward is None:
            return
        ward.successor = None
        if ward.retiring:
            return
        ward.retiring = True
        _cancel(ward)
        child = ward.child
        if child is not None:
            child.send({"op": "stop"})
            ward.timer = self._loop.call_later(RETIRE_TIMEOUT_S, lambda: child.kill("it did not end when told to"))
        elif ward.birth is None:
            self._forget(ward)

    def stop(self) -> None:
        """Retire every child, end the zygote and wait for both: at most 2.2 s. Idempotent.

        Drives the loop meanwhile, so that last messages and ``on_exited`` reach their owners.
        """
        if self._stopped:
            return
        self._stopped = True
        try:
            for name in list(self._wards):
                self.retire(name)
            self._turn_until_childless(STOP_TIMEOUT_S)
            for ward in self._living.values():
                if ward.child is not None:
                    ward.child.kill("it did not end when told to")
            self._turn_until_childless(KILL_TIMEOUT_S)
        finally:
            self._end_all()

    @property
    def zygote_pid(self) -> int | None:
        """Process id of the zygote, or ``None`` between two of them."""
        return None if self._link is None else self._link.pid

    # the zygote's news (ZygoteOwner)

    def on_forked(self, order_id: int, pid: int, pidfd: int) -> None:
        """See ``ZygoteOwner``."""
        birth = self._births.pop(order_id)
        ward, now_ns = birth.ward, self._loop.clock.mono_ns()
        child = Child(
            ward.spec, birth.socket, birth.heartbeat, pid=pid, pidfd=pidfd, restarts=ward.starts, now_ns=now_ns
        )
        ward.birth, ward.child, ward.announced = None, child, False
        ward.starts += 1
        self._living[order_id] = ward
        self._loop.watch(child.socket, lambda: self._on_socket(ward, child))
        if ward.retiring:
            child.kill("it was retired before it started")
            return
        ward.announced = True
        ward.owner.on_started(child)

    def on_fork_failed(self, order_id: int, message: str) -> None:
        """See ``ZygoteOwner``."""
        birth = self._births.pop(order_id)
        birth.close()
        birth.ward.birth = None
        self._start_failed(birth.ward, message)

    def on_child_exited(self, order_id: int, status: int) -> None:
        """See ``ZygoteOwner``."""
        self._finish(self._living.pop(order_id), os.waitstatus_to_exitcode(status))

    def on_zygote_lost(self, text: str, worked_s: float) -> None:
        """See ``ZygoteOwner``."""
        self._link = None
        if not self._stopped:
            logger.error("zygote lost: %s; it is started again with %d children", text, len(self._living))
        self._drop_births()
        for order_id, ward in self._living.items():
            if ward.child is not None:
                ward.child.kill(f"the zygote was lost: {text}", ExitKind.ZYGOTE_LOST)
                # nobody reports this exit any more; wait for it, so that the old child cannot meet the new one
                self._loop.watch(ward.child.pidfd, self._orphan_watcher(order_id))
        if not self._stopped:
            decision = self._policy.decide(self._link_failures, worked_s)
            self._link_failures = decision.failures
            self._link_timer = self._loop.call_later(decision.delay_s, self._open_link)

    # a ward's life

    def _begin(self, ward: _Ward) -> None:
        """Ask the zygote for a process; without a zygote the ward stays idle until there is one."""
        ward.timer = None
        if self._link is None or self._stopped:
            return
        try:
            ours, theirs = pair()
            try:
                heartbeat, heartbeat_fd = Heartbeat.create()
            except OSError:
                ours.close()
                theirs.close()
                raise
        except OSError as error:
            self._start_failed(ward, str(error))
            return
        spec, order_id = ward.spec, next(self._ids)
        fds = {SOCKET_FD: theirs.fileno(), HEARTBEAT_FD: heartbeat_fd, **spec.fds}
        birth, asked = _Birth(ward, ours, heartbeat), False
        try:
            asked = self._link.fork(ForkOrder(order_id, spec.name, spec.entry, dict(spec.args), fds))
        finally:
            theirs.close()
            os.close(heartbeat_fd)
            if asked:
                ward.birth = self._births[order_id] = birth
            else:
                birth.close()  # if the link is being ended, its successor begins every idle ward

    def _start_failed(self, ward: _Ward, message: str) -> None:
        logger.error("child %s could not be started: %s", ward.spec.name, message)
        if ward.retiring:
            self._forget(ward)
        else:
            self._restart_later(ward, 0.0)

    def _on_socket(self, ward: _Ward, child: Child) -> None:
        """Hand on what the child said, a bounded number at a time so that others have their turn."""
        try:
            self._deliver(ward, child, MESSAGES_PER_TURN)
        except PeerGone:
            self._loop.unwatch(child.socket)
            # its exit should follow; one that only closed its socket is of no use any more
            self._loop.call_later(RETIRE_TIMEOUT_S, lambda: child.kill("it closed its socket and did not end"))

    def _deliver(self, ward: _Ward, child: Child, limit: int) -> None:
        for _ in range(limit):
            message = child.receive()
            if message is None:
                return
            if ward.announced:
                ward.owner.on_message(child, message)

    def _orphan_watcher(self, order_id: int) -> Callable[[], None]:
        def ended() -> None:
            ward = self._living.pop(order_id)
            if ward.child is not None:
                self._loop.unwatch(ward.child.pidfd)
            self._finish(ward, None)

        return ended

    def _finish(self, ward: _Ward, code: int | None) -> None:
        """Deliver what the child still said, then its end; then forget or restart it."""
        child = ward.child
        if child is None:
            return
        with contextlib.suppress(PeerGone):
            self._deliver(ward, child, _LAST_MESSAGES_MAX)
        self._loop.unwatch(child.socket)
        _cancel(ward)
        cause = child.cause(code, retired=ward.retiring)
        worked_s = child.worked_s(self._loop.clock.mono_ns())
        child.close()
        ward.child = None
        if ward.announced:
            ward.owner.on_exited(child, cause)
        if self._wards.get(child.name) is not ward:
            return  # retired by its owner just now
        if ward.retiring:
            self._forget(ward)
        elif cause.kind is ExitKind.ZYGOTE_LOST:
            self._begin(ward)  # not its fault
        else:
            self._restart_later(ward, worked_s, cause)

    def _restart_later(self, ward: _Ward, worked_s: float, cause: ExitCause | None = None) -> None:
        decision = self._policy.decide(ward.failures, worked_s)
        ward.failures = decision.failures
        if cause is not None:
            logger.warning("%s; restart in %g s", cause.text, decision.delay_s)
        if decision.delay_s == 0:
            self._begin(ward)
        else:
            ward.timer = self._loop.call_later(decision.delay_s, lambda: self._begin(ward))

    def _forget(self, ward: _Ward) -> None:
        _cancel(ward)
        del self._wards[ward.spec.name]
        if ward.successor is not None and not self._stopped:
            self._wards[ward.spec.name] = ward.successor
            self._begin(ward.successor)

    # the zygote's life

    def _open_link(self) -> None:
        self._link_timer = None
        if self._stopped:
            return
        try:
            self._link = ZygoteLink(self._loop, self._preload, self)
        except OSError as error:
            logger.error("the zygote could not be started: %s", error)  # noqa: TRY400 - a fault of the box
            decision = self._policy.decide(self._link_failures, 0.0)
            self._link_failures = decision.failures
            self._link_timer = self._loop.call_later(max(0.2, decision.delay_s), self._open_link)
            return
        for ward in list(self._wards.values()):
            if ward.birth is None and ward.child is None and ward.timer is None:
                self._begin(ward)

    def _tick(self) -> None:
        self._tick_timer = self._loop.call_later(CHECK_INTERVAL_S, self._tick)
        if self._link is not None:
            self._link.check()
        now_ns = self._loop.clock.mono_ns()
        for ward in list(self._living.values()):
            if ward.child is not None:
                ward.child.check(now_ns)

    def _drop_births(self) -> None:
        births, self._births = self._births, {}
        for birth in births.values():
            birth.close()
            birth.ward.birth = None
            if birth.ward.retiring:
                self._forget(birth.ward)

    def _turn_until_childless(self, timeout_s: float) -> None:
        deadline_ns = self._loop.clock.mono_ns() + round(timeout_s * 1e9)
        while self._living and self._loop.clock.mono_ns() < deadline_ns:
            self._loop.turn(CHECK_INTERVAL_S)

    def _end_all(self) -> None:
        """End the zygote, and with it whatever is left; then account for that."""
        for timer in (self._tick_timer, self._link_timer):
            if timer is not None:
                timer.cancel()
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._drop_births()
        living, self._living = self._living, {}
        for ward in living.values():
            if ward.child is not None:
                ward.child.kill("the supervisor stopped", ExitKind.ZYGOTE_LOST)
                self._loop.unwatch(ward.child.pidfd)
            self._finish(ward, None)
        for ward in list(self._wards.values()):
            self._forget(ward)


def _cancel(ward: _Ward) -> None:
    if ward.timer is not None:
        ward.timer.cancel()
        ward.timer = None
