"""Looks at the box: what the product needs, what is there, and the command that mends the difference."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_runtime.system.sandbox import landlock_abi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.config.schema import Settings

PROBE_TIMEOUT_S = 60.0
FREE_MIN_MB = 1024
LANDLOCK_NETWORK_ABI = 4
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "paho-mqtt", "PyYAML", "pydantic")
OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: ``mend`` is the command or step that helps, empty when nothing is wrong."""

    level: Literal["ok", "warn", "fail"]
    what: str
    mend: str = ""


def examine(settings: Settings | None) -> list[Finding]:
    """Look at everything; ``settings`` adds broker, cameras' directories and the state directory."""
    checks: list[Callable[[], Iterator[Finding]]] = [_python, _packages, _processor, _devices, _clock, _kernel]
    findings = [finding for check in checks for finding in check()]
    if settings is not None:
        findings += [*_state_dir(settings.state_dir), *_broker(settings.mqtt.host, settings.mqtt.port)]
    return findings


def _python() -> Iterator[Finding]:
    yield Finding("ok", f"Python {sys.version.split()[0]} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding("ok", f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            level: Literal["warn", "fail"] = "warn" if name in ("onnxruntime", "openvino") else "fail"
            yield Finding(level, f"{name} is not installed", f"pip install {name}")
    wheels = [name for name in OPENCV_WHEELS if _installed(name)]
    if len(wheels) > 1:
        yield Finding(
            "fail",
            f"{' and '.join(wheels)} are installed over each other",
            f"pip uninstall -y {' '.join(wheels)} && pip install opencv-python-headless",
        )


def _processor() -> Iterator[Finding]:
    text = _read("/proc/cpuinfo")
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    flags = set(next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), []))
    cores = len(os.sched_getaffinity(0))
    yield Finding("ok", f"{cores} usable cores, {model}")
    if "avx2" not in flags:
        yield Finding("warn", "the processor has no AVX2: inference will be slow", "use a processor with AVX2")
    if flags & {"avx512_vnni", "avx_vnni"}:
        yield Finding("ok", "VNNI: INT8 models run at full speed")
    else:
        yield Finding("warn", "no VNNI: INT8 gains less, and models quantized without reduce-range may answer wrong")


def _devices() -> Iterator[Finding]:
    """Ask the engines, in a process of their own: a broken driver may take it down."""
    command = [sys.executable, "-m", "edge_runtime.engine.devices"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)  # noqa: S603 - our own
        found = json.loads(done.stdout) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        found = None
    if not isinstance(found, dict):
        yield Finding("fail", "the inference engines cannot be asked for their devices", "edge-runtime version")
        return
    for backend, devices in found.items():
        if isinstance(devices, list):
            yield Finding("ok", f"{backend} runs on {', '.join(map(str, devices))}")
        else:
            yield Finding("warn", f"{backend} cannot be used: {devices}", f"pip install {backend}")
    render = Path("/dev/dri/renderD128")
    if render.exists() and not os.access(render, os.R_OK | os.W_OK):
        yield Finding("warn", f"{render} exists and may not be used", f"sudo usermod -aG render {_user()}")
    accel = Path("/dev/accel/accel0")
    if accel.exists() and not os.access(accel, os.R_OK | os.W_OK):
        yield Finding("warn", f"{accel} exists and may not be used", f"sudo usermod -aG render {_user()}")


def _clock() -> Iterator[Finding]:
    if Path("/run/systemd/timesync/synchronized").exists():
        yield Finding("ok", "the clock is synchronised")
    elif shutil.which("chronyc") or shutil.which("ntpq"):
        yield Finding("ok", "a time service is installed")
    else:
        mend = "sudo timedatectl set-ntp true"
        yield Finding("warn", "nothing says that the clock is right; results carry its time", mend)


def _kernel() -> Iterator[Finding]:
    abi = landlock_abi()
    if abi >= LANDLOCK_NETWORK_ABI:
        yield Finding("ok", f"Landlock ABI {abi}: cameras and engine are confined to their files and ports")
    elif abi > 0:
        yield Finding("warn", f"Landlock ABI {abi}: files are confined, TCP is not", "use a kernel of 6.7 or newer")
    else:
        yield Finding(
            "warn", "no Landlock: cameras and engine are not confined", "boot with lsm=landlock,... (kernel 5.13)"
        )


def _state_dir(path: Path) -> Iterator[Finding]:
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK):
        yield Finding("fail", f"{path} cannot be written", f"sudo install -d -o {_user()} {path}")
        return
    free_mb = shutil.disk_usage(place).free >> 20
    level: Literal["ok", "warn"] = "ok" if free_mb >= FREE_MIN_MB else "warn"
    yield Finding(level, f"{path}: {free_mb} MB free", "" if level == "ok" else f"du -sh {path}/* | sort -h")


def _broker(host: str, port: int) -> Iterator[Finding]:
    try:
        with socket.create_connection((host, port), timeout=2.0):
            yield Finding("ok", f"something listens at the broker's address {host}:{port}")
    except OSError as error:
        yield Finding(
            "fail",
            f"the broker {host}:{port} does not answer ({error})",
            "systemctl status mosquitto, or mend mqtt.host",
        )


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _user() -> str:
    return os.environ.get("USER", "edge-runtime")
