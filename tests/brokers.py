"""A real mosquitto on a loopback port, for tests and benchmarks: start, stop, kill, freeze, restart."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.required import needs

if TYPE_CHECKING:
    from types import TracebackType

EXECUTABLE = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
READY_S = 10.0


def free_port() -> int:
    """Return a TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A mosquitto process; its data (persistence, password and access lists) lives in a directory of its own.

    Args:
        port: where it listens on 127.0.0.1; a free one by default. Restarts use the same.
        config: more lines of mosquitto.conf; ``{dir}`` becomes the data directory.
        files: name -> text of files to put there first.
        anonymous: let clients in without a password.
        persistent: keep sessions and messages over stop/start (saved at a clean stop and after every change).
    """

    def __init__(
        self,
        port: int | None = None,
        config: str = "",
        *,
        files: dict[str, str] | None = None,
        anonymous: bool = True,
        persistent: bool = True,
    ) -> None:
        needs(EXECUTABLE, "mosquitto: apt-get install mosquitto")
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="broker-"))
        for name, text in (files or {}).items():
            (self.directory / name).write_text(text)
            (self.directory / name).chmod(0o600)
        lines = [
            f"listener {self.port} {self.host}",
            f"allow_anonymous {'true' if anonymous else 'false'}",
            f"log_dest file {self.directory}/broker.log",
            "log_type all",
            "max_queued_messages 0",
            config.replace("{dir}", str(self.directory)),
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # mosquitto would change to its own user, who cannot read our directory
        if persistent:
            lines += [
                "persistence true",
                f"persistence_location {self.directory}/",
                "autosave_on_changes true",
                "autosave_interval 1",
            ]
        (self.directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> Self:
        """Start and wait until it accepts connections."""
        assert EXECUTABLE is not None
        assert self.process is None
        self.process = subprocess.Popen(
            [EXECUTABLE, "-c", str(self.directory / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await()
        return self

    def stop(self) -> None:
        """End it cleanly (SIGTERM): it saves what it keeps and tells its clients."""
        self._signal(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self._reap()

    def freeze(self) -> None:
        """Stop it without closing anything (SIGSTOP): a half-open connection."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """Make it read its password and access lists again (SIGHUP)."""
        self._signal(signal.SIGHUP)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def log(self) -> str:
        """Return what it logged so far, all starts together."""
        path = self.directory / "broker.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and remove its directory."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self._reap()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "the broker does not run"
        self.process.send_signal(number)

    def _reap(self) -> None:
        assert self.process is not None
        self.process.wait(READY_S)
        self.process = None

    def _await(self) -> None:
        """Try to connect until it accepts; between the tries wait for its death, which ends the waiting at once."""
        assert self.process is not None
        deadline = time.monotonic() + READY_S
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while time.monotonic() < deadline:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection((self.host, self.port), 1.0):
                    return
                if select.select([pidfd], [], [], 0.01)[0]:
                    break
        finally:
            os.close(pidfd)
        self.process.kill()
        self._reap()
        msg = f"mosquitto did not start on port {self.port}:\n{self.log()}"
        raise RuntimeError(msg)
