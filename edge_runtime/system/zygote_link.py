"""Main's side of the zygote: starts it, talks to it, notices when it is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import edge_runtime
from edge_runtime.core.errors import InvariantError
from edge_runtime.system import logs
from edge_runtime.system.heartbeat import Heartbeat, Watchdog
from edge_runtime.system.messages import MalformedMessage, Parcel, PeerGone, close_all, pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.system.child import ForkOrder
    from edge_runtime.system.loop import Loop

logger = logging.getLogger(__name__)

PRELOAD_TIMEOUT_S = 120.0  # a cold import of every engine on a slow box
HEARTBEAT_TIMEOUT_S = 5.0
_END_TIMEOUT_S = 0.5


# What a child may know of our environment. Any other variable may hold a secret: a configuration may name any.
_INHERITED = frozenset(
    {"HOME", "LANG", "PATH", "RES_OPTIONS", "TMPDIR", "TZ", "VIRTUAL_ENV", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"}
)
_INHERITED_PREFIXES = (
    *("LC_", "LD_", "MALLOC_", "GLIBC_", "PYTHON", "COV_", "COVERAGE_", "SSL_CERT_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_", "TBB"),  # threads and kernels of the libraries
    *("OPENCV_", "ORT_", "OV_", "OPENVINO_"),
    *("OCL_", "CL_CONFIG_", "NEO", "IGC_", "ZE_", "ZEL_", "SYCL_", "ONEAPI_", "LIBVA_"),  # drivers of GPU and NPU
)


class ZygoteOwner(Protocol):
    """Gets the news; every call comes in the loop's thread."""

    def on_forked(self, order_id: int, pid: int, pidfd: int) -> None:
        """A child runs; ``pidfd`` belongs to the callee."""
        ...

    def on_fork_failed(self, order_id: int, message: str) -> None:
        """The kernel refused a fork."""
        ...

    def on_child_exited(self, order_id: int, status: int) -> None:
        """A child ended with this wait status and was reaped."""
        ...

    def on_zygote_lost(self, text: str, worked_s: float) -> None:
        """The zygote ended, and the kernel is ending its children; the link is closed."""
        ...


class ZygoteLink:
    """One zygote process, from its start to its end.

    Make it in the thread that drives ``loop``: the kernel kills the zygote when that thread ends.
    """

    def __init__(self, loop: Loop, preload: Sequence[str], owner: ZygoteOwner) -> None:
        """Start a zygote; takes milliseconds, because its imports happen while the caller goes on.

        Raises:
            OSError: no process or descriptors.
        """
        self._loop = loop
        self._owner = owner
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            self._control, far_end = pair()
            undo.callback(self._control.close)
            theirs.callback(far_end.close)
            self._heartbeat, heartbeat_fd = Heartbeat.create()
            undo.callback(self._heartbeat.close)
            theirs.callback(os.close, heartbeat_fd)
            self._process, self._pidfd = _spawn(far_end.fileno(), heartbeat_fd)
            undo.pop_all()  # nothing failed: ours stays open
        self._watchdog = Watchdog(
            start_timeout_s=PRELOAD_TIMEOUT_S, heartbeat_timeout_s=HEARTBEAT_TIMEOUT_S, now_ns=loop.clock.mono_ns()
        )
        self._why = ""
        self.closed = False
        loop.watch(self._control, self._on_control)
        loop.watch(self._pidfd, self._on_ended)
        with contextlib.suppress(PeerGone):  # then it has ended already, which _on_ended will see
            order = {"op": "preload", "modules": list(preload), "path": sys.path, "log": logs.describe()}
            self._control.send(order, timeout_s=0)

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    def fork(self, order: ForkOrder) -> bool:
        """Ask for a child; return ``False`` when the zygote cannot take the order (then it is being ended)."""
        try:
            self._control.send(order.message(), fds=list(order.fds.values()), timeout_s=0)
        except PeerGone as error:
            self._end(str(error))
            return False
        return True

    def check(self) -> None:
        """Kill the zygote if it hangs; call it every ``heartbeat.CHECK_INTERVAL_S``."""
        alarm = self._watchdog.check(self._heartbeat.last_ns, self._loop.clock.mono_ns())
        if alarm is not None:
            self._end(f"it gave no sign of life ({alarm.value})")

    def close(self) -> None:
        """End the zygote and with it every child; blocks at most 0.5 s. Idempotent."""
        if self.closed:
            return
        self._loop.unwatch(self._control)
        self._control.close()
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(_END_TIMEOUT_S * 1000):
            self._kill()
        self._release()

    def _end(self, why: str) -> None:
        self._why = self._why or why
        self._kill()

    def _kill(self) -> None:
        if self.closed:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _on_control(self) -> None:
        try:
            self._drain()
        except PeerGone:
            self._loop.unwatch(self._control)
            # it is ending, and how it ended says more than this; or else it is of no use any more
            self._loop.call_later(_END_TIMEOUT_S, self._kill)
        except MalformedMessage as error:
            self._end(str(error))

    def _drain(self) -> None:
        while not self.closed:
            parcel = self._control.receive_parcel(0)
            if parcel is None:
                return
            self._dispatch(parcel)

    def _dispatch(self, parcel: Parcel) -> None:
        match parcel.message, parcel.fds:
            case {"op": "forked", "id": int(order_id), "pid": int(pid)}, (pidfd,):
                self._owner.on_forked(order_id, pid, pidfd)
            case {"op": "fork_failed", "id": int(order_id), "message": str(message)}, ():
                self._owner.on_fork_failed(order_id, message)
            case {"op": "exited", "id": int(order_id), "status": int(status)}, ():
                self._owner.on_child_exited(order_id, status)
            case {"op": "refused", "message": str(message)}, ():
                raise InvariantError("system.zygote_threads", message)
            case _:
                close_all(parcel.fds)
                self._end(f"it sent {parcel.message}")

    def _on_ended(self) -> None:
        with contextlib.suppress(PeerGone, MalformedMessage):
            self._drain()  # what it still had to say comes first
        if self.closed:
            return
        self._release()
        first_ns = self._watchdog.first_beat_ns
        worked_s = 0.0 if first_ns is None else (self._loop.clock.mono_ns() - first_ns) / 1e9
        self._owner.on_zygote_lost(self._why or f"it ended with {self._process.returncode}", worked_s)

    def _release(self) -> None:
        self.closed = True
        self._loop.unwatch(self._control)
        self._loop.unwatch(self._pidfd)
        self._process.wait()  # it has ended or was sent SIGKILL
        self._control.close()
        self._heartbeat.close()
        os.close(self._pidfd)


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }


def child_environment() -> dict[str, str]:
    """Return what a process of ours may know of our environment, and where it finds this package."""
    package_parent = str(Path(edge_runtime.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH")]))
    return {**_inherited(os.environ), "PYTHONPATH": path}


def _spawn(control_fd: int, heartbeat_fd: int) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "edge_runtime.system.zygote", str(control_fd), str(heartbeat_fd), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=2,  # stdout is for data (`--json`); whatever a child prints is a log
        pass_fds=(control_fd, heartbeat_fd),
        env=child_environment(),
        # Ctrl-C is for main, which then asks the children to end. No session of their own: Linux weighs sessions
        # against each other first (autogroups), so that a low priority of a child would mean nothing to main
        process_group=0,
    )
    try:
        return process, os.pidfd_open(process.pid)
    except OSError:
        process.kill()
        process.wait()
        raise
