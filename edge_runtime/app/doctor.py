"""Looks at the box: what the product needs, what is there, and the command that mends the difference."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_runtime.app.delivery import mqtt_settings
from edge_runtime.config.loader import load, load_part
from edge_runtime.config.report import InvalidConfigError, summary
from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.knock import knock
from edge_runtime.publish.mqtt import MqttDial
from edge_runtime.system.sandbox import landlock_abi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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

    def __str__(self) -> str:
        """The line for people."""
        return f"{self.level:5} {self.what}" + (f"  -> {self.mend}" if self.mend else "")


def examine(config: Path | None, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything; ``config`` names a configuration whose broker and state directory are looked at too."""
    checks: list[Callable[[], Iterator[Finding]]] = [_python, _packages, _processor, _devices, _clock, _kernel]
    findings = [finding for check in checks for finding in check()]
    if config is not None:
        findings += _configuration(config, environ)
    return findings


def _configuration(path: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with one part of a configuration keeps nobody from looking at the others."""
    try:
        load(path, environ=environ)
        yield Finding("ok", f"{path} is valid")
    except InvalidConfigError as error:
        yield Finding("fail", summary(str(path), error.problems), f"edge-runtime check --config {path}")
    wanted = [("state_dir",), ("mqtt", "host"), ("mqtt", "port"), ("mqtt", "tls")]
    try:
        part = load_part(path, environ=environ, wanted=wanted)
    except InvalidConfigError:
        return  # it was said
    yield from _state_dir(part.state_dir)
    yield from _broker(part.mqtt.host, part.mqtt.port)


def ask_broker(settings: Settings) -> Finding:
    """Connect as the daemon does and take leave; under another client id, so that a running daemon is left alone."""
    client_id = f"{settings.client_id}-check-{os.getpid()}"
    mqtt = replace(mqtt_settings(settings.mqtt, client_id), session_expiry_s=0)
    name = "without a user name" if mqtt.username is None else f"as {mqtt.username}"
    try:
        knock(MqttDial(mqtt))
    except UnavailableError as error:
        return Finding("fail", error.message, error.help or "")
    return Finding("ok", f"the broker at {mqtt.host}:{mqtt.port} takes this box in, {name}")


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
    while not os.path.lexists(place) and place != place.parent:
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
            f"the broker {host}:{port} does not answer ({error.strerror or error})",
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
