"""What a camera process gives up before it touches untrusted bytes: every file, port and right it does not need.

A camera's stream is decoded by a large native library, so the process that does it may only read its own source: the
directory of its file, its pictures, its device, or TCP to its camera's port (and name servers). What it reads of the
system are libraries and the files of name resolution.

A grant holds for what exists when it is made. A source that does not exist yet is therefore waited for first; one that
was replaced later (a camera plugged in again) needs a new process, which the reader asks for by ending.
"""

from __future__ import annotations

import logging
import os
import resource
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.camera.network import parse_address
from edge_runtime.core.source import parse_source
from edge_runtime.system.sandbox import landlock, rlimits

if TYPE_CHECKING:
    from edge_runtime.camera.arguments import ReaderArgs

logger = logging.getLogger(__name__)

MEMORY_BYTES: Final = 3 << 30
"""What decoding may take beyond what the process has at its start: 40 megapixels in 16 reference frames take one."""
OPEN_FILES: Final = 64
_DNS_PORT: Final = 53
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_NAME_RESOLUTION: Final = (
    *("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services"),
    *("/run/systemd/resolve", "/run/nscd"),
)
_CERTIFICATES: Final = ("/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates")


@dataclass(frozen=True, slots=True)
class Grants:
    """What one source needs.

    Attributes:
        targets: the source itself; all must exist.
        read_only: further files and directories, where they exist.
        read_write: devices.
        ports: TCP ports to connect to.
    """

    targets: tuple[Path, ...] = ()
    read_only: tuple[str, ...] = ()
    read_write: tuple[Path, ...] = ()
    ports: tuple[int, ...] = ()


def grants_for(args: ReaderArgs) -> Grants:
    """Return what the source of ``args`` needs; opens nothing.

    Raises:
        ConfigError: there is no such kind of source.
    """
    if args.source is None:
        return Grants(targets=tuple(sorted({_real(name).parent for name in args.files})))
    source = parse_source(args.source)
    path = Path(source.location)
    match source.kind:
        case "rtsp" | "rtsps" | "http" | "https":
            port = parse_address(source.location).port
            certificates = _CERTIFICATES if source.kind in ("rtsps", "https") else ()
            return Grants(read_only=_NAME_RESOLUTION + certificates, ports=tuple(sorted({port, _DNS_PORT})))
        case "v4l2":
            return Grants(targets=(path,), read_write=(path,), read_only=("/sys/class/video4linux", "/sys/devices"))
        case "file":
            # the directory, because a file that is replaced by another is no longer the one that was granted
            return Grants(targets=(_real(path).parent,))
        case "images":
            return Grants(targets=(_real(path),))
        case "sim":
            return Grants()


class Confinement:
    """Confines this process once, as soon as its source exists."""

    def __init__(self, args: ReaderArgs) -> None:
        """Confine nothing yet.

        Raises:
            ConfigError: there is no such kind of source.
        """
        self._camera = args.camera
        self._grants = grants_for(args)
        self.is_made = False

    def make(self) -> None:
        """Confine the process for good if its source exists; call it before every attempt to open. One thread only.

        Raises:
            ConfigError: the source vanished this very moment.
            PermissionDeniedError: the kernel has Landlock but refuses.
        """
        if self.is_made or not all(_is_there(path) for path in self._grants.targets):
            return  # opening will fail too and say what is missing
        grants = self._grants
        system = {*_LIBRARIES, *sysconfig.get_paths().values(), *grants.read_only}
        read_only = [path for path in sorted(system) if Path(path).exists()]
        # before Landlock, which also closes /proc
        rlimits(address_space_bytes=_address_space_bytes() + MEMORY_BYTES, open_files=OPEN_FILES)
        made = landlock(
            read_only=[*read_only, *(path for path in grants.targets if path not in grants.read_write)],
            read_write=["/dev/null", *grants.read_write],
            connect_ports=grants.ports,
        )
        if made.reason:
            logger.warning("camera %s is not fully confined: %s", self._camera, made.reason)
        self.is_made = True


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises RuntimeError for a link that leads to itself


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises PermissionError behind a closed directory
