"""Looks at the box: what the product needs, what is there, and the command that mends the difference."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app.accelerators import Box
from edge_runtime.app.delivery import mqtt_settings
from edge_runtime.app.devices import examine_devices, list_devices
from edge_runtime.app.finding import Finding
from edge_runtime.app.picture_references import ReferenceFiles
from edge_runtime.app.plan import LIVE, picture_rules
from edge_runtime.app.processor import describe_processor
from edge_runtime.app.sparkplug import connections
from edge_runtime.app.trials import Trials
from edge_runtime.config.loader import load, load_part
from edge_runtime.config.report import InvalidConfigError, summary
from edge_runtime.core.errors import DataError, EdgeError, PermissionDeniedError, StorageError, UnavailableError
from edge_runtime.pipeline.picture_health import unjudged
from edge_runtime.publish.mqtt.client import Address, MqttDial
from edge_runtime.publish.mqtt.knock import knock
from edge_runtime.system.redact import redact
from edge_runtime.system.sandbox import landlock_abi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_runtime.app.finding import Level
    from edge_runtime.config.schema import Settings
    from edge_runtime.publish.mqtt.client import MqttSettings

FREE_MIN_MB = 1024
LANDLOCK_NETWORK_ABI = 4
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "PyYAML", "pydantic")
OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def examine(config: Path | None, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything; ``config`` names a configuration whose broker and state directory are looked at too."""
    checks: list[Callable[[], Iterator[Finding]]] = [_python, _packages, _processor, _devices, _clock, _kernel]
    findings = [finding for check in checks for finding in check()]
    if config is not None:
        findings += _configuration(config, environ)
    return findings


def _configuration(path: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with one part of a configuration keeps nobody from looking at the others."""
    settings = None
    try:
        settings = load(path, environ=environ).settings
        yield Finding("ok", f"{path} is valid")
        yield from _wanted_devices(settings)
        yield from _references(settings)
    except InvalidConfigError as error:
        yield Finding("fail", summary(str(path), error.problems), f"edge-runtime check --config {path}")
    wanted = [("state_dir",), ("mqtt", "host"), ("mqtt", "port"), ("mqtt", "tls")]
    try:
        part = load_part(path, environ=environ, wanted=wanted)
    except InvalidConfigError:
        return  # it was said
    yield from _state_dir(part.state_dir)
    listening = list(_broker(part.mqtt.host, part.mqtt.port))
    yield from listening
    if settings is not None:
        yield from ask_registry(settings)
        yield from _updates(settings)
    if settings is not None and (settings.mqtt.fallback or all(one.level == "ok" for one in listening)):
        yield from ask_brokers(settings)


def _wanted_devices(settings: Settings) -> Iterator[Finding]:
    """Say which models name a GPU or NPU that is not here: they will have no verdicts."""
    wanted = {name: one.device_name.upper() for name, one in settings.models.items()}
    wanted = {name: device for name, device in wanted.items() if device not in ("AUTO", "CPU")}
    if not wanted:
        return
    with Trials() as trials:
        try:
            here = {one.device for one in list_devices(trials)[0]}
        except UnavailableError:
            return  # it was said when all devices were tried
    for name, device in wanted.items():
        if device not in here and f"{device}.0" not in here:
            what = f"models.{name} wants device {device}, which cannot be used here: it will judge nothing"
            yield Finding("fail", what, f"see what is said about the {device} above, or write  device: cpu")


def _references(settings: Settings) -> Iterator[Finding]:
    """Say which cameras have no reference picture: only faults that nobody can miss are told of them."""
    files = ReferenceFiles(settings.state_dir)
    for name, camera in settings.cameras.items():
        rules = picture_rules(camera)
        if rules is None or camera.source.kind not in LIVE:
            continue
        mend = f"edge-runtime cameras reference {name}"
        try:
            reference = files.load(name)
        except (DataError, StorageError, PermissionDeniedError) as error:
            yield Finding("fail", f"the reference picture of camera {name}: {error.message}", mend)
            continue
        if reference is None:
            what = f"camera {name} has no reference picture: that it was moved is not told, other faults late"
            yield Finding("warn", what, mend)
            continue
        cannot = unjudged(reference)
        what = f"camera {name} has a reference picture" + (f", which cannot tell {', '.join(cannot)}" if cannot else "")
        yield Finding("ok", what)


def ask_brokers(settings: Settings) -> Iterator[Finding]:
    """Connect to each as the daemon does and take leave; under another client id, to leave a running daemon alone."""
    client_id = f"{settings.client_id}-check-{os.getpid()}"
    mqtt = replace(mqtt_settings(settings.mqtt, client_id), session_expiry_s=0)
    for address in (Address(mqtt.host, mqtt.port), *mqtt.fallback):
        yield _ask(replace(mqtt, host=address.host, port=address.port, fallback=()), "")
    for one in connections(settings):
        yield _ask(replace(one, client_id=f"{one.client_id}-check-{os.getpid()}"), " for Sparkplug")


def _ask(mqtt: MqttSettings, use: str) -> Finding:
    name = "without a user name" if mqtt.username is None else f"as {mqtt.username}"
    try:
        knock(MqttDial(mqtt))
    except UnavailableError as error:
        return Finding("fail", error.message, error.help or "")
    return Finding("ok", f"the broker at {Address(mqtt.host, mqtt.port)} takes this box in{use}, {name}")


def ask_registry(settings: Settings) -> Iterator[Finding]:
    """Read and verify what each place of the registry says, without keeping it: a daemon that runs is left alone."""
    if settings.registry is None:
        return
    from edge_runtime.app.registry_order import order_of_settings  # noqa: PLC0415 - not without a registry
    from edge_runtime.registry.box.probe import probe  # noqa: PLC0415

    order = order_of_settings(settings)
    if order is None:
        yield Finding(
            "warn", "a registry is configured, and no model has its releases from it", "models.SLOT.release: MODEL"
        )
        return
    for url in order.urls:
        try:
            found = probe(order, url)
        except EdgeError as error:
            yield Finding("fail", f"registry {redact(url)}: {error.message}", error.help or "mend registry.url")
            continue
        yield Finding("ok", f"registry {redact(url)}: {found.text}")
        for doubt in found.doubts:
            help_ = "compare site and models.SLOT.release with edge-runtime registry status"
            yield Finding("warn", f"registry {redact(url)}: {doubt}", help_)


def _updates(settings: Settings) -> Iterator[Finding]:
    if settings.registry is not None:
        from edge_runtime.app.update_hints import update_hints  # noqa: PLC0415 - not without a registry

        yield from update_hints(settings)


def _python() -> Iterator[Finding]:
    yield Finding("ok", f"Python {sys.version.split()[0]} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding("ok", f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            level: Level = "warn" if name in ("onnxruntime", "openvino") else "fail"
            yield Finding(level, f"{name} is not installed", f"pip install {name}")
    wheels = [name for name in OPENCV_WHEELS if _installed(name)]
    if len(wheels) > 1:
        yield Finding(
            "fail",
            f"{' and '.join(wheels)} are installed over each other",
            f"pip uninstall -y {' '.join(wheels)} && pip install opencv-python-headless",
        )


def _processor() -> Iterator[Finding]:
    return describe_processor(_read("/proc/cpuinfo"), len(os.sched_getaffinity(0)))


def _devices() -> Iterator[Finding]:
    with Trials() as trials:
        yield from examine_devices(trials, Box())


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
    level: Level = "ok" if free_mb >= FREE_MIN_MB else "warn"
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
