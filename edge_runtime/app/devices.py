"""What each inference engine can run on here: every device and precision is tried by really running a model on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.app.accelerators import Box, why_no_gpu, why_no_npu
from edge_runtime.app.finding import Finding
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.app.trials import Trials

LIST_TIMEOUT_S: Final = 60.0
TRY_TIMEOUT_S: Final = 180.0
"""The first compilation for a GPU or NPU takes more than a minute."""
TRY_CPU_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a backend, and the precisions that it says it has."""

    backend: str
    device: str
    name: str
    precisions: tuple[str, ...]


def list_devices(trials: Trials) -> tuple[list[Device], dict[str, str]]:
    """Return every device, and for each backend that cannot be used why.

    Raises:
        UnavailableError: the engines cannot even be asked.
    """
    found: list[Device] = []
    unusable: dict[str, str] = {}
    for backend, devices in trials.ask({"op": "devices"}, LIST_TIMEOUT_S).items():
        if not isinstance(devices, list):
            unusable[backend] = str(devices)
            continue
        found += [Device(backend, one["device"], one["name"], tuple(one["precisions"])) for one in devices]
    return found, unusable


def examine_devices(trials: Trials, box: Box) -> Iterator[Finding]:
    """Try everything, and say why what is missing is missing."""
    try:
        devices, unusable = list_devices(trials)
    except UnavailableError as error:
        what = f"the inference engines cannot be asked for their devices: {error}"
        yield Finding("fail", what, "edge-runtime version")
        return
    for backend, why in unusable.items():
        yield Finding("warn", f"{backend} cannot be used: {why}", f"pip install {backend}")
    for device in devices:
        yield from _try(trials, device)
    if "openvino" in unusable:
        return
    seen = {one.device.partition(".")[0] for one in devices}
    if "GPU" not in seen:
        yield why_no_gpu(box)
    if "NPU" not in seen:
        yield why_no_npu(box)


def _try(trials: Trials, device: Device) -> Iterator[Finding]:
    runs: list[str] = []
    failures: list[Finding] = []
    on_cpu = device.device == "CPU"
    for precision in device.precisions:
        order = {"op": "try", "backend": device.backend, "device": device.device, "precision": precision}
        what = f"{device.backend} on {device.device} cannot run {precision.upper()}"
        mend = f"{'reinstall' if on_cpu else 'update the driver of'} {device.backend if on_cpu else device.device}"
        try:
            answer = trials.ask(order, TRY_CPU_TIMEOUT_S if on_cpu else TRY_TIMEOUT_S)
        except UnavailableError as error:
            failures.append(Finding("fail" if on_cpu else "warn", f"{what}: {error.message}", error.help or mend))
            continue
        if not answer.get("right"):
            failures.append(Finding("fail", f"{what}: it answers wrong", f"{mend}, and do not use it before"))
        elif answer.get("precision") != precision:
            runs.append(f"{precision.upper()} (computed in {str(answer.get('precision')).upper()})")
        else:
            runs.append(precision.upper())
    if runs:
        name = f" ({device.name})" if device.name else ""
        yield Finding("ok", f"{device.backend} runs on {device.device}{name}: {', '.join(runs)}")
    yield from failures
