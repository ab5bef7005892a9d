"""What a confined process can still do, tried for real: each test confines a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import edge_runtime

PROLOGUE = """
import ctypes, json, os, resource, signal, socket, sys, threading
from edge_runtime.core.errors import ConfigError, InvariantError, PermissionDeniedError
from edge_runtime.system import sandbox
from edge_runtime.system.sandbox import landlock, rlimits

def attempt(what):
    try:
        what()
    except OSError as error:
        return error.errno
    return "done"

def emulate(abi):
    real = sandbox._syscall
    def older(number, *arguments):
        return abi if arguments[-1] == 1 and arguments[0] is None else real(number, *arguments)
    sandbox._syscall = older

def connect(port):
    with socket.socket() as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))

def listen():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()

def write(path):
    with open(path, "w") as file:
        file.write("x")
"""
EACCES, EPERM, ECONNREFUSED = 13, 1, 111


def run(body: str, **values: object) -> dict[str, object]:
    """Run ``body`` in a process of its own and return what it puts into ``out``."""
    names = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    script = f"{PROLOGUE}\n{names}\nout = {{}}\n{textwrap.dedent(body)}\nprint(json.dumps(out))\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(Path(edge_runtime.__file__).parent.parent), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="session")
def abi() -> int:
    """The kernel's Landlock; a kernel without it cannot run these tests."""
    out = run("status = landlock(connect_ports=None); out['abi'] = status.abi; out['reason'] = status.reason")
    if not out["abi"]:
        pytest.skip(f"no Landlock here: {out['reason']}")
    return int(str(out["abi"]))


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    for name in ("model", "cache", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "secret" / "file")
    return {name: str(tmp_path / name) for name in ("model", "cache", "secret", "link")}


def test_only_what_was_granted_can_be_read_or_written(abi: int, places: dict[str, str]) -> None:
    assert abi
    out = run(
        """
        held = open(secret + "/file")
        status = landlock(read_only=[model], read_write=[cache])
        out["status"] = [bool(status), status.applied, status.network, status.reason]
        out["read_model"] = open(model + "/file").read()
        out["list_model"] = os.listdir(model)
        out["write_model"] = attempt(lambda: write(model + "/file"))
        out["new_in_model"] = attempt(lambda: write(model + "/new"))
        out["write_cache"] = attempt(lambda: write(cache + "/new"))
        out["remove_in_cache"] = attempt(lambda: os.unlink(cache + "/new"))
        out["read_secret"] = attempt(lambda: open(secret + "/file"))
        out["list_secret"] = attempt(lambda: os.listdir(secret))
        out["read_passwd"] = attempt(lambda: open("/etc/passwd"))
        out["truncate_secret"] = attempt(lambda: os.truncate(secret + "/file", 0))
        out["unlink_secret"] = attempt(lambda: os.unlink(secret + "/file"))
        out["through_link"] = attempt(lambda: open(link))
        out["execute"] = attempt(lambda: os.execv("/bin/true", ["true"]))
        out["already_open"] = held.read()
        """,
        **places,
    )
    reason = "" if abi >= 4 else f"Landlock ABI {abi} cannot confine TCP, 4 can"
    assert out == {
        "status": [True, True, abi >= 4, reason],
        "read_model": "content",
        "list_model": ["file"],
        "write_model": EACCES,
        "new_in_model": EACCES,
        "write_cache": "done",
        "remove_in_cache": "done",
        "read_secret": EACCES,
        "list_secret": EACCES,
        "read_passwd": EACCES,
        "truncate_secret": EACCES if abi >= 3 else "done",
        "unlink_secret": EACCES,
        "through_link": EACCES,
        "execute": EACCES,
        "already_open": "content",
    }


def test_single_files_can_be_granted(abi: int, places: dict[str, str]) -> None:
    assert abi
    out = run(
        """
        out["applied"] = landlock(read_only=[model + "/file"], read_write=[cache + "/file"]).applied
        out["read"] = open(model + "/file").read()
        out["write"] = attempt(lambda: write(cache + "/file"))
        out["write_read_only"] = attempt(lambda: write(model + "/file"))
        out["neighbour"] = attempt(lambda: os.listdir(model))
        """,
        **places,
    )
    assert out == {"applied": True, "read": "content", "write": "done", "write_read_only": EACCES, "neighbour": EACCES}


def test_only_the_ports_that_were_granted_can_be_connected_to(abi: int) -> None:
    if abi < 4:
        pytest.skip(f"Landlock ABI {abi} cannot confine TCP")
    with socket.create_server(("127.0.0.1", 0)) as camera, socket.create_server(("127.0.0.1", 0)) as other:
        out = run(
            """
            out["network"] = landlock(connect_ports=[camera]).network
            out["camera"] = attempt(lambda: connect(camera))
            out["other"] = attempt(lambda: connect(other))
            out["listen"] = attempt(listen)
            """,
            camera=camera.getsockname()[1],
            other=other.getsockname()[1],
        )
    assert out == {"network": True, "camera": "done", "other": EACCES, "listen": EACCES}


def test_without_ports_there_is_no_tcp_and_with_none_it_is_not_confined(abi: int) -> None:
    if abi < 4:
        pytest.skip(f"Landlock ABI {abi} cannot confine TCP")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        closed = run("landlock(); out['connect'] = attempt(lambda: connect(port))", port=port)
        free = run(
            """
            status = landlock(connect_ports=None)
            out.update(network=status.network, reason=status.reason, connect=attempt(lambda: connect(port)))
            """,
            port=port,
        )
    assert closed == {"connect": EACCES}
    assert free == {"network": False, "reason": "", "connect": "done"}


def test_a_confined_process_cannot_signal_its_parent(abi: int) -> None:
    if abi < 6:
        pytest.skip(f"Landlock ABI {abi} does not scope signals")
    out = run("landlock(); out['kill'] = attempt(lambda: os.kill(os.getppid(), 0))")
    assert out == {"kill": EPERM}


@pytest.mark.parametrize("older", [1, 2, 3, 4, 5])
def test_an_older_kernel_confines_what_it_can_and_says_what_it_cannot(
    abi: int, older: int, places: dict[str, str]
) -> None:
    if abi < older:
        pytest.skip(f"this kernel has ABI {abi}")
    out = run(
        """
        emulate(older)
        status = landlock(read_only=[model], read_write=[cache])
        out.update(applied=status.applied, network=status.network, abi=status.abi, missing=bool(status.reason))
        out["read"] = open(model + "/file").read()
        out["write"] = attempt(lambda: write(cache + "/file"))
        out["secret"] = attempt(lambda: open(secret + "/file"))
        """,
        older=older,
        **places,
    )
    assert out == {
        "applied": True,
        "network": older >= 4,
        "abi": older,
        "missing": older < 4,
        "read": "content",
        "write": "done",
        "secret": EACCES,
    }


def test_a_kernel_without_landlock_is_told_and_new_privileges_are_given_up_anyway(places: dict[str, str]) -> None:
    out = run(
        """
        emulate(-1)
        status = landlock(read_only=[model])
        out.update(applied=bool(status), abi=status.abi, reason=status.reason)
        out["secret"] = attempt(lambda: open(secret + "/file"))
        out["no_new_privs"] = [line for line in open("/proc/self/status") if line.startswith("NoNewPrivs")]
        """,
        **places,
    )
    assert out == {
        "applied": False,
        "abi": 0,
        "reason": "this kernel has no Landlock (or it is off)",
        "secret": "done",
        "no_new_privs": ["NoNewPrivs:\t1\n"],
    }


def test_a_path_that_does_not_exist_is_refused_and_named(abi: int) -> None:
    assert abi
    out = run(
        """
        try:
            landlock(read_only=["/no/such/model"])
        except ConfigError as error:
            out.update(code=error.code, text=str(error))
        """
    )
    assert out["code"] == "system.sandbox_path"
    assert out["text"] == (
        "the sandbox cannot grant /no/such/model: No such file or directory; create it or leave it out"
    )


def test_a_port_out_of_range_is_refused(abi: int) -> None:
    if abi < 4:
        pytest.skip(f"Landlock ABI {abi} cannot confine TCP")
    out = run(
        """
        for port in (0, 65536, -1):
            try:
                landlock(connect_ports=[port])
            except InvariantError as error:
                out[str(port)] = error.code
        """
    )
    assert out == dict.fromkeys(("0", "65536", "-1"), "system.sandbox_port")


def test_a_process_with_threads_is_refused_because_they_would_stay_free() -> None:
    out = run(
        """
        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        try:
            landlock()
        except InvariantError as error:
            out.update(code=error.code, text=str(error))
        end.set()
        """
    )
    assert out["code"] == "system.sandbox_threads"
    assert "has 2" in str(out["text"])


@pytest.mark.parametrize("failing", [444, 445, 446])
def test_a_kernel_that_refuses_is_an_error_and_never_a_sandbox(abi: int, failing: int, places: dict[str, str]) -> None:
    assert abi
    out = run(
        """
        real = sandbox._syscall
        def refusing(number, *arguments):
            if number == failing and arguments[0] is not None:
                ctypes.set_errno(1)
                return -1
            return real(number, *arguments)
        sandbox._syscall = refusing
        try:
            landlock(read_only=[model], connect_ports=[1] if failing == 446 else ())
        except PermissionDeniedError as error:
            out.update(code=error.code, refused="EPERM" in str(error))
        out["secret"] = attempt(lambda: open(secret + "/file"))
        """,
        failing=failing,
        **places,
    )
    assert out == {"code": "system.sandbox", "refused": True, "secret": "done"}


def test_landlock_leaves_no_descriptor_open(abi: int, places: dict[str, str]) -> None:
    assert abi
    out = run(
        """
        before = os.listdir("/proc/self/fd")
        landlock(read_only=[model, "/proc"], read_write=[cache], connect_ports=[1, 2])
        out["same"] = os.listdir("/proc/self/fd") == before
        """,
        **places,
    )
    assert out == {"same": True}


def test_limits_hold_and_cores_are_always_off() -> None:
    out = run(
        """
        rlimits(address_space_bytes=1 << 30, open_files=64, file_size_bytes=1000, cpu_s=30)
        kinds = ("CORE", "AS", "NOFILE", "FSIZE", "CPU")
        out["limits"] = [resource.getrlimit(getattr(resource, "RLIMIT_" + kind)) for kind in kinds]
        try:
            bytearray(2 << 30)
        except MemoryError:
            out["memory"] = "refused"
        try:
            held = [os.dup(0) for _ in range(100)]
        except OSError as error:
            out["files"] = error.errno
        """
    )
    assert out == {
        "limits": [[0, 0], [1 << 30] * 2, [64, 64], [1000, 1000], [30, 30]],
        "memory": "refused",
        "files": 24,
    }


def test_memory_that_may_be_allocated_is_limited_but_not_what_is_mapped() -> None:
    out = run(
        """
        import mmap
        rlimits(data_bytes=256 << 20)
        out["limit"] = resource.getrlimit(resource.RLIMIT_DATA)
        with mmap.mmap(-1, 1 << 30, mmap.MAP_SHARED) as shared:
            out["mapped"] = len(shared) >> 20
        try:
            bytearray(512 << 20)
        except MemoryError:
            out["memory"] = "refused"
        """
    )
    assert out == {"limit": [256 << 20] * 2, "mapped": 1024, "memory": "refused"}


def test_a_limit_that_is_lower_already_stays_and_others_are_left_alone() -> None:
    out = run(
        """
        before = resource.getrlimit(resource.RLIMIT_AS)
        rlimits(open_files=50)
        rlimits(open_files=5000)
        out["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
        out["untouched"] = resource.getrlimit(resource.RLIMIT_AS) == before
        """
    )
    assert out == {"files": [50, 50], "untouched": True}
