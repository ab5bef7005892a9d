"""A broker of our own on loopback, for ``demo`` and ``bench``: mosquitto when it is installed, else ``iotcore``."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

logger = logging.getLogger(__name__)

START_S = 10.0
STOP_S = 3.0
MOSQUITTO_PLACES = ("mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto")

_MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 64
max_queued_messages 100000
log_type error
"""

# rumqttd speaks MQTT 5 only on listeners that are configured for it; its own default listens on every interface
_IOTCORE = """\
id = 0
[router]
id = 0
max_connections = 64
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "demo"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 200
dynamic_filters = true
"""

# the bootstrap keeps a directory named iotcore in the working directory from shadowing the package
_IOTCORE_CHILD = (
    "import sys; sys.path[:] = [p for p in sys.path if p not in ('', '.')]; from iotcore._serve import main; main()"
)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LocalBroker:
    """A broker process that lives as long as the ``with`` block; never touches a broker that is there already."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        """Keep its configuration in ``directory``; listen on ``port`` of 127.0.0.1, or on a free one."""
        self.port = port or free_port()
        self.name = "mosquitto" if _mosquitto() else "iotcore"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it accepts connections.

        Raises:
            UnavailableError: there is no broker to start, or it does not come up.
        """
        command = self._command()
        if _accepts(self.port):
            raise UnavailableError(
                "broker.port", f"port {self.port} of 127.0.0.1 is taken", help="leave --port out and a free one is used"
            )
        logger.debug("starting %s on port %d", self.name, self.port)
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while not _accepts(self.port):
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                reason = "did not listen in time" if code is None else f"ended with code {code}"
                raise UnavailableError("broker.start", f"{self.name} on port {self.port} {reason}")
            threading.Event().wait(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
        if process.stdin is not None:
            process.stdin.close()

    def _command(self) -> list[str]:
        mosquitto = _mosquitto()
        if mosquitto is not None:
            path = self._directory / "mosquitto.conf"
            # as root it would change to a user of its own, upon which the kernel forgets to end it with us
            user = "user root\n" if os.geteuid() == 0 else ""
            path.write_text(_MOSQUITTO.format(port=self.port) + user)
            # setpriv (util-linux) makes the kernel end it with us, also when we are killed
            setpriv = shutil.which("setpriv")
            return [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), mosquitto, "-c", str(path)]
        if importlib.util.find_spec("iotcore") is None:
            raise UnavailableError(
                "broker.absent",
                "there is no MQTT broker to start",
                help="sudo apt-get install -y mosquitto, or pip install 'edge-runtime[demo]'",
            )
        path = self._directory / "iotcore.toml"
        path.write_text(_IOTCORE.format(port=self.port))
        return [sys.executable, "-c", _IOTCORE_CHILD, f'{{"config_path": "{path}"}}']


def _mosquitto() -> str | None:
    return next((found for place in MOSQUITTO_PLACES if (found := shutil.which(place))), None)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
