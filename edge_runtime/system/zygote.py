"""The warm parent of every child: imports the heavy libraries once, then forks (about 10 ms instead of 500).

Started by main as ``python -m edge_runtime.system.zygote CONTROL_FD HEARTBEAT_FD MAIN_PID``. It has one thread for
its whole life, because a fork copies locks but not the threads that hold them. It runs nothing of the children's
code before the fork, and reads nothing but main's orders. Legal order on the control socket (JSON, one per packet):

    main: preload -> fork ...                            end of file = end
    zygote: (forked | fork_failed) per fork, exited per child;  refused = it cannot work, and ends
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import logging
import os
import selectors
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.system import logs
from edge_runtime.system.child import ForkOrder, die_with_parent, reset_signals, run_child, set_process_name
from edge_runtime.system.heartbeat import Heartbeat
from edge_runtime.system.messages import MessageSocket, PeerGone, close_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.system.messages import Parcel

logger = logging.getLogger(__name__)

_BEAT_INTERVAL_S = 0.5

ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime >= 1.29 reports home otherwise
    "OMP_WAIT_POLICY": "PASSIVE",  # idle OpenMP workers must not spin on the cores of the line
    "OPENBLAS_NUM_THREADS": "1",  # else numpy and cv2 each start threads while being imported
    "OPENCV_LOG_LEVEL": "ERROR",
}


class Zygote:
    """Serves fork orders; see the module docstring."""

    def __init__(self, control: MessageSocket, heartbeat: Heartbeat) -> None:
        """Own both."""
        self._control = control
        self._heartbeat = heartbeat
        self._pid = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, int]] = {}  # pidfd -> (order id, pid)
        self._library_fds: set[int] = set()
        self._preloaded = False

    def serve(self) -> None:
        """Work until main is gone.

        Raises:
            PeerGone: that is how it ends.
        """
        while True:
            if self._preloaded:  # importing everything may take longer than main allows between two beats
                self._heartbeat.beat()
            for key, _ in self._selector.select(_BEAT_INTERVAL_S):
                if key.fd in self._children:
                    self._reap(key.fd)
                else:
                    self._obey()

    def _obey(self) -> None:
        parcel = self._control.receive_parcel(0)
        if parcel is None:
            return
        if parcel.message["op"] == "fork":
            try:
                self._fork(parcel)
            finally:
                close_all(parcel.fds)
        else:
            self._preload(parcel.message)

    def _preload(self, order: dict[str, object]) -> None:
        logs.configure_like(order.get("log"))
        own = open_fds()
        path, modules = order["path"], order["modules"]
        if isinstance(path, list):
            sys.path[:] = path
        for module in modules if isinstance(modules, list) else []:
            try:
                importlib.import_module(module)
            except Exception:  # the boundary to foreign code: the child that needs it will say what is wrong
                logger.warning("zygote could not preload %s", module, exc_info=True)
        self._require_one_thread()
        self._library_fds = open_fds() - own
        self._preloaded = True
        gc.collect()
        gc.freeze()  # what is here stays here: no collection shall copy the pages that children share

    def _fork(self, parcel: Parcel) -> None:
        order = ForkOrder.parse(parcel)
        self._require_one_thread()
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, no memory: main tries again later
            self._control.send({"op": "fork_failed", "id": order.id, "message": str(error)})
            return
        if pid == 0:
            run_child(order, parent_pid=self._pid, library_fds=self._library_fds)
        pidfd = os.pidfd_open(pid)  # nobody but us reaps the child, so the pid cannot be somebody else's
        self._children[pidfd] = (order.id, pid)
        self._selector.register(pidfd, selectors.EVENT_READ)
        self._control.send({"op": "forked", "id": order.id, "pid": pid}, fds=[pidfd])

    def _reap(self, pidfd: int) -> None:
        order_id, pid = self._children.pop(pidfd)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._control.send({"op": "exited", "id": order_id, "status": status})

    def _require_one_thread(self) -> None:
        names = thread_names()
        if len(names) > 1:
            message = (
                f"the zygote must have one thread to fork safely, but has {len(names)}: {', '.join(names)}; "
                "one of the preloaded libraries starts threads when it is imported"
            )
            self._control.send({"op": "refused", "message": message})
            logger.critical(message)
            sys.exit(os.EX_SOFTWARE)


def thread_names() -> list[str]:
    """Return the kernel's names of this process's threads, native ones included."""
    return [
        (task / "comm").read_text(encoding="utf-8", errors="replace").strip()
        for task in Path("/proc/self/task").iterdir()
    ]


def open_fds() -> set[int]:
    """Return the open descriptors of this process."""
    fds = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - names, not paths
    return {fd for fd in fds if Path(f"/proc/self/fd/{fd}").is_symlink()}  # not that of the listing itself


def main(argv: Sequence[str]) -> None:
    """Run the zygote; ``argv`` is CONTROL_FD HEARTBEAT_FD MAIN_PID."""
    control_fd, heartbeat_fd, main_pid = map(int, argv)
    die_with_parent(main_pid)
    reset_signals()
    set_process_name("zygote")
    faulthandler.enable()  # children inherit it: a crash in native code leaves a Python stack in the log
    os.environ.update(ENVIRONMENT)
    heartbeat = Heartbeat.attach(heartbeat_fd)
    os.close(heartbeat_fd)
    os.set_inheritable(control_fd, False)  # noqa: FBT003 - the function has no name for it
    control = MessageSocket(socket.socket(fileno=control_fd))
    with contextlib.suppress(PeerGone):
        Zygote(control, heartbeat).serve()
    os._exit(0)  # the children die with us, as the kernel promised them


if __name__ == "__main__":
    main(sys.argv[1:])
