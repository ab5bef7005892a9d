"""What every engine promises, and how people name backends and devices.

An engine is one model compiled by one backend for one device. Requests are the lanes into it: each belongs to one
thread at a time and owns the canvas its frames are written to. Rules that hold for both backends:

- an engine uses at most ``threads`` cores for inference at any moment, however many requests are in flight, so that
  models which were given disjoint shares of the cores never fight for one (see `threads_per_model`); at most
  ``streams`` requests run at a time, the others wait;
- what was asked for is what runs, or there is an error: no silent fallback to another device or backend;
- backend, device and precision are read back from the compiled model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

BACKENDS: Final = ("openvino", "onnxruntime")
RUN_TIMEOUT_S: Final = 10.0
"""A frame that takes longer than this in the model has no answer."""
INSTALL: Final = {"openvino": 'pip install "openvino>=2026.1"', "onnxruntime": 'pip install "onnxruntime>=1.24,<2"'}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, element type (`float32`, `uint8` ...) and shape of an input or output; ``None`` = not fixed.

    OpenVINO gives a tensor several names when operators that only pass it on were removed; all are in ``aliases``.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    aliases: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """``images float32 [1,3,640,640]``."""
        shape = "[?]" if self.shape is None else "[" + ",".join("?" if d is None else str(d) for d in self.shape) + "]"
        return f"{self.name} {self.dtype} {shape}"


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a backend says about a device: its name for us (`CPU`, `GPU.1`), its maker's, the precisions it states."""

    device: str
    name: str
    precisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Facts read back from the compiled model.

    Attributes:
        backend: one of `BACKENDS`.
        backend_version: version of the library.
        device: where it executes: `CPU`, `GPU`, `GPU.0`, `NPU`.
        precision: what the compute layers run in: `fp32`, `bf16`, `fp16`, `int8`; of a device that does not tell it,
            what it was told to use, or `unknown`.
        threads: cores it may use; 0 = decided by the device.
        streams: runs that go on at a time, as the device has it.
        outputs: outputs in the model's order.
        notes: what a reader of the log should know.
    """

    backend: str
    backend_version: str
    device: str
    precision: str
    threads: int
    streams: int
    outputs: tuple[TensorInfo, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the caller decides.

    Attributes:
        device: `CPU`, `GPU`, `GPU.1`, `NPU`.
        threads: cores for inference, of all streams together.
        streams: runs that may go on at a time; they divide ``threads`` among them. One answers soonest; several cost
            less time of the processor for a frame, because a run on fewer cores waits less for the others.
        cache_dir: where compiled models may be kept; ``None`` = nowhere.
        precision: what to compute in, `fp32`, `bf16` or `fp16`; ``None`` = what is usual (see `ov`).
    """

    device: str = "CPU"
    threads: int = 1
    streams: int = 1
    cache_dir: str | None = None
    precision: str | None = None


class Request(Protocol):
    """One lane into an engine; used by one thread at a time."""

    def canvas(self) -> NDArray[np.uint8]:
        """Return the (H, W, C) uint8 array to write the next frame into; to be called once before every `infer`."""
        ...

    def infer(self) -> Sequence[NDArray[np.float32]]:
        """Run the model on the canvas; the arrays are valid until the next call.

        Raises:
            InvariantError: `canvas` was not called since the last run, so the answer would be about an old frame.
            DataError: the backend failed, code ``model.run_failed``.
        """
        ...

    def infer_bare(self) -> None:
        """Run the model on whatever its input tensor holds, with no conversion: what `bench` measures."""
        ...


class Engine(Protocol):
    """A compiled model; `open_request` and `close` from any thread."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        ...

    def open_request(self) -> Request:
        """Make another lane."""
        ...

    def close(self) -> None:
        """Free the model; no request may be running."""
        ...


def refuse_endless(backend: str, cause: Exception | None = None) -> NoReturn:
    """Raise: the model did not answer within `RUN_TIMEOUT_S`.

    Raises:
        DataError: code ``model.run_failed``.
    """
    message = f"{backend} did not finish a frame within {RUN_TIMEOUT_S:g} s"
    raise DataError("model.run_failed", message, help="the device hangs or the model has a loop without end") from cause


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """What the operator asked for: a backend or ``None`` (the best that is installed), and a device in upper case."""

    backend: str | None
    device: str


def parse_device(device: str, backend: str = "auto") -> DeviceChoice:
    """Read `auto | cpu | gpu | npu | <backend>:<device>` and a backend `auto | openvino | onnxruntime`.

    `auto` is the CPU: an accelerator is used only when it is asked for by name.

    Raises:
        DataError: code ``device.unknown``, or the two contradict each other.
    """
    prefix, colon, rest = device.strip().partition(":")
    named, wanted = (prefix.lower(), rest.strip()) if colon else (backend.lower(), prefix)
    if colon and backend.lower() not in ("auto", named):
        message = f"device {device!r} names the backend {named!r}, backend says {backend!r}"
        raise DataError("device.unknown", message, help="write the backend once")
    if named not in ("auto", *BACKENDS):
        allowed = ", ".join(("auto", *BACKENDS))
        raise DataError("device.unknown", f"backend {named!r} is not known", help=f"use one of {allowed}")
    kind = wanted.upper().partition(".")[0]
    if kind not in ("AUTO", "CPU", "GPU", "NPU"):
        help_ = "use auto, cpu, gpu, npu, or <backend>:<device>, for example openvino:GPU.1"
        raise DataError("device.unknown", f"device {device!r} is not known", help=help_)
    return DeviceChoice(None if named == "auto" else named, "CPU" if kind == "AUTO" else wanted.upper())


def threads_per_model(cores: int, models: int) -> int:
    """Return the ``threads`` to load each of ``models`` models with on ``cores`` cores.

    Every model gets an equal whole share and at least one core, so the shares are disjoint as long as there are no
    more models than cores. With more models than cores each has one thread and the kernel shares the cores out.
    """
    return max(1, cores // max(1, models))
