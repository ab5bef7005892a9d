"""What a child gives up for good before it touches untrusted bytes: files, network, resources (Landlock, rlimits).

Landlock needs no privilege and cannot be undone. Numbers are from linux/landlock.h and the generic syscall table
(the same on x86_64 and aarch64). What a kernel cannot do is said in the answer, never silently skipped.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from edge_runtime.core.errors import ConfigError, InvariantError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH, _RULE_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV  # the rest is for directories only
_READ = _READ_FILE | _READ_DIR
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPES = 0b11  # abstract unix sockets and signals stay inside the sandbox

# the first ABI of Landlock that can restrict something -> all file rights it knows
_FILE_RIGHTS_BY_ABI = ((5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1), (1, (1 << 13) - 1))
_ABI_NETWORK, _ABI_SCOPES = 4, 6


@dataclass(frozen=True, slots=True)
class Confinement:
    """What ``landlock`` achieved; true when files are confined.

    Attributes:
        applied: whether files are confined.
        network: whether TCP is confined.
        abi: version of the kernel's Landlock, 0 without.
        reason: what is missing, for people; empty when everything asked for is in force.
    """

    applied: bool
    network: bool
    abi: int
    reason: str

    def __bool__(self) -> bool:
        return self.applied


def landlock_abi() -> int:
    """Return the version of the kernel's Landlock, 0 without; confines nothing."""
    return max(0, _syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def landlock(
    *,
    read_only: Iterable[str | Path] = (),
    read_write: Iterable[str | Path] = (),
    connect_ports: Iterable[int] | None = (),
) -> Confinement:
    """Confine this process, and all it will ever start, to the given files and TCP ports.

    From then on only files under ``read_only`` and ``read_write`` (directories or files, which must exist; devices
    of ``read_write`` take ioctls) can be opened, no program can be executed, no TCP port be listened on, and only
    ``connect_ports`` be connected to (``None``: TCP is not confined). What is open stays open. UDP is not covered.

    Call it in the only thread of the process: Landlock confines threads, and those that exist would stay free.

    Raises:
        ConfigError: a path does not exist.
        InvariantError: the process has more than one thread, or a port is out of range.
        PermissionDeniedError: the kernel has Landlock but refuses; nothing may be assumed then.
    """
    _require_one_thread()
    _no_new_privileges()
    abi = landlock_abi()
    if abi < 1:
        return Confinement(applied=False, network=False, abi=0, reason="this kernel has no Landlock (or it is off)")
    handled = next(rights for first_abi, rights in _FILE_RIGHTS_BY_ABI if abi >= first_abi)
    with_network = connect_ports is not None and abi >= _ABI_NETWORK
    ruleset = _create_ruleset(abi, handled, with_network=with_network)
    try:
        for path in read_only:
            _allow_path(ruleset, path, handled & _READ)
        for path in read_write:
            _allow_path(ruleset, path, handled & ~_EXECUTE)
        for port in connect_ports or () if with_network else ():
            _allow_port(ruleset, port)
        if _syscall(_RESTRICT_SELF, ruleset, 0):
            _refused("landlock_restrict_self")
    finally:
        os.close(ruleset)
    missing = "" if with_network or connect_ports is None else f"Landlock ABI {abi} cannot confine TCP, 4 can"
    return Confinement(applied=True, network=with_network, abi=abi, reason=missing)


def rlimits(
    *,
    address_space_bytes: int | None = None,
    data_bytes: int | None = None,
    open_files: int | None = None,
    file_size_bytes: int | None = None,
    cpu_s: int | None = None,
) -> None:
    """Limit the resources of this process for good; ``None`` leaves one as it is. Core dumps are always off.

    A limit that is already lower stays. ``data_bytes`` counts private memory that can be written (setrlimit(2),
    RLIMIT_DATA): what a process allocates, but not the libraries and device memory that it maps, which
    ``address_space_bytes`` counts too.

    Raises:
        OSError: the kernel refuses.
    """
    wishes = {
        resource.RLIMIT_CORE: 0,  # a core holds pictures
        resource.RLIMIT_AS: address_space_bytes,
        resource.RLIMIT_DATA: data_bytes,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_FSIZE: file_size_bytes,
        resource.RLIMIT_CPU: cpu_s,
    }
    for kind, wish in wishes.items():
        if wish is None:
            continue
        _, hard = resource.getrlimit(kind)
        limit = wish if hard == resource.RLIM_INFINITY else min(wish, hard)
        resource.setrlimit(kind, (limit, limit))


def _create_ruleset(abi: int, handled: int, *, with_network: bool) -> int:
    network = _BIND_TCP | _CONNECT_TCP if with_network else 0
    attributes = struct.pack("=QQQ", handled, network, _SCOPES if abi >= _ABI_SCOPES else 0)
    size = 8 if abi < _ABI_NETWORK else 16 if abi < _ABI_SCOPES else 24
    ruleset = _syscall(_CREATE_RULESET, attributes, size, 0)
    if ruleset < 0:
        _refused("landlock_create_ruleset")
    return ruleset


def _allow_path(ruleset: int, path: str | Path, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        msg = f"the sandbox cannot grant {path}: {error.strerror}"
        raise ConfigError("system.sandbox_path", msg, help="create it or leave it out") from error
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FILE_RIGHTS
        if _syscall(_ADD_RULE, ruleset, _RULE_PATH, struct.pack("=Qi", rights, fd), 0):
            _refused(f"landlock_add_rule for {path}")
    finally:
        os.close(fd)


def _allow_port(ruleset: int, port: int) -> None:
    if not 0 < port < 1 << 16:
        msg = f"TCP port {port} is not in 1..65535"
        raise InvariantError("system.sandbox_port", msg)
    if _syscall(_ADD_RULE, ruleset, _RULE_PORT, struct.pack("=QQ", _CONNECT_TCP, port), 0):
        _refused(f"landlock_add_rule for TCP port {port}")


def _no_new_privileges() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        _refused("prctl(PR_SET_NO_NEW_PRIVS)")


def _require_one_thread() -> None:
    with contextlib.suppress(FileNotFoundError):  # no /proc: then the caller's word must do
        count = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names, not paths
        if count > 1:
            msg = f"Landlock confines only the calling thread, but this process has {count}"
            raise InvariantError("system.sandbox_threads", msg)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call; ints are passed as C longs, bytes by their address; -1 with errno on failure."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    raw = [ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value) for value in arguments]
    return int(libc.syscall(ctypes.c_long(number), *raw))


def _refused(what: str) -> NoReturn:
    code = ctypes.get_errno()
    msg = f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})"
    raise PermissionDeniedError("system.sandbox", msg)
