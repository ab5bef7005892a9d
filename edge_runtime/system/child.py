"""What a forked child sees and does: its context, and the few steps between fork and its entry point."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edge_runtime.core.errors import EdgeError, InvariantError
from edge_runtime.system.heartbeat import Heartbeat
from edge_runtime.system.messages import MessageSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.system.messages import Parcel

logger = logging.getLogger(__name__)

SOCKET_FD = "socket"  # names of the descriptors that every child gets
HEARTBEAT_FD = "heartbeat"
OOM_SCORE = 500  # out of memory, the kernel shall end a child rather than main
_STD_FDS = {0, 1, 2}
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_NAME = 15
_NAME_BYTES = 15  # the kernel keeps no more of a process name


@dataclass(frozen=True, slots=True)
class ForkOrder:
    """One child to be forked.

    Attributes:
        id: of the order, chosen by main.
        name: of the child.
        entry: ``package.module:function``.
        args: for the entry point.
        fds: name to descriptor, including ``SOCKET_FD`` and ``HEARTBEAT_FD``.
    """

    id: int
    name: str
    entry: str
    args: dict[str, object]
    fds: dict[str, int]

    def message(self) -> dict[str, object]:
        """Return the order as it is sent to the zygote, beside ``fds.values()``."""
        return {
            "op": "fork",
            "id": self.id,
            "name": self.name,
            "entry": self.entry,
            "args": self.args,
            "fds": list(self.fds),
        }

    @classmethod
    def parse(cls, parcel: Parcel) -> ForkOrder:
        """Read back what ``message`` made.

        Raises:
            InvariantError: it is not what ``message`` makes.
        """
        match parcel.message:
            case {
                "id": int(order_id),
                "name": str(name),
                "entry": str(entry),
                "args": dict(args),
                "fds": list(names),
            } if len(names) == len(parcel.fds):
                fds = dict(zip(map(str, names), parcel.fds, strict=True))
                return cls(order_id, name, entry, args, fds)
            case _:
                pass
        msg = f"fork order with {len(parcel.fds)} descriptors not understood: {parcel.message}"
        raise InvariantError("system.fork_order", msg)


@dataclass(frozen=True, slots=True)
class ChildContext:
    """What an entry point ``main(context)`` gets.

    The rules for a child: call ``beat`` at least every ``ChildSpec.heartbeat_timeout_s`` (also while idle), and for
    the first time within ``start_timeout_s``; end by returning when ``socket`` says ``{"op": "stop"}`` or raises
    ``PeerGone``. To run it in a thread, make a context by hand; the default heartbeat is private.

    Attributes:
        name: of the child, for example ``camera/top``.
        args: ``ChildSpec.args``, as they come out of JSON.
        fds: name to open descriptor; the child owns them.
        socket: to main.
        heartbeat: shared with main.
    """

    name: str
    args: dict[str, object]
    fds: dict[str, int]
    socket: MessageSocket
    heartbeat: Heartbeat = field(default_factory=Heartbeat.private)

    def beat(self) -> None:
        """Tell main that this process lives and moves; costs less than a microsecond; from any thread."""
        self.heartbeat.beat()


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel SIGKILL this process when the thread that made it ends; end at once if that has happened.

    The parent is a thread, not a process (prctl(2), PR_SET_PDEATHSIG), so it must live as long as this process shall.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before the call above
        os._exit(os.EX_UNAVAILABLE)


def set_process_name(name: str) -> None:
    """Show ``edge:<name>`` in ps and top, cut to the 15 bytes that the kernel keeps."""
    raw = f"edge:{name}".encode()[:_NAME_BYTES]
    ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(raw), 0, 0, 0)


def close_foreign_fds(keep: set[int]) -> None:
    """Close every descriptor of this process that is not in ``keep``."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, not paths
        if int(name) not in keep:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))


def run_child(order: ForkOrder, *, parent_pid: int, library_fds: set[int]) -> NoReturn:
    """Become the child: called in the forked process, never returns.

    Exit code 0 when the entry point returns, the documented one for an ``EdgeError``, 1 for any other exception
    (whose traceback goes to stderr). Descriptors other than the order's, ``library_fds`` and 0, 1, 2 are closed.
    """
    code = 1
    try:
        _settle(order.name, parent_pid, _STD_FDS | library_fds | set(order.fds.values()))
        _resolve(order.entry)(_context(order))
        code = 0
    except EdgeError as error:
        logger.error("%s: %s", order.name, error)  # noqa: TRY400 - a fault of the world, not of the code
        code = error.exit_code
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # the boundary of a process; main sees the exit code, people the traceback
        logger.critical("%s failed", order.name, exc_info=True)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # no exit handlers: they belong to the zygote


def _context(order: ForkOrder) -> ChildContext:
    fds = dict(order.fds)
    sock = socket.socket(fileno=fds.pop(SOCKET_FD))
    heartbeat_fd = fds.pop(HEARTBEAT_FD)
    heartbeat = Heartbeat.attach(heartbeat_fd)
    os.close(heartbeat_fd)
    return ChildContext(order.name, order.args, fds, MessageSocket(sock), heartbeat)


def _settle(name: str, parent_pid: int, keep_fds: set[int]) -> None:
    die_with_parent(parent_pid)
    reset_signals()
    close_foreign_fds(keep_fds)
    set_process_name(name)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core holds pictures
    with contextlib.suppress(OSError):  # /proc may be read-only; then the kernel chooses as it likes
        Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE}\n", encoding="ascii")


def reset_signals() -> None:
    """Undo what the parent did with signals; SIGINT is ignored because Ctrl-C is for main, which then asks us."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)


def _resolve(entry: str) -> Callable[[ChildContext], None]:
    module, _, function = entry.partition(":")
    main: Callable[[ChildContext], None] = getattr(importlib.import_module(module), function)
    return main
