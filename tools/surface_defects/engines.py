"""The two engines that must agree, and the reading of their raw output."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Infer = Callable[[Floats], Floats]
"""Maps (1, 3, H, W) to the raw output (4 + classes, N)."""

ENGINES: Final = ("onnxruntime", "openvino")
INPUT_NAME: Final = "images"
OUTPUT_NAME: Final = "output0"


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of one image, best first: label indices (K,), scores (K,), left/top/right/bottom (K, 4) in input pixels."""

    labels: NDArray[np.int64]
    scores: Floats
    corners: Floats


def onnxruntime_engine(model: Path, *, threads: int = 2) -> Infer:
    """ONNX Runtime on the CPU."""
    import onnxruntime as ort  # noqa: PLC0415

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def infer(tensor: Floats) -> Floats:
        return np.asarray(session.run(None, {INPUT_NAME: tensor})[0][0], np.float32)

    return infer


def openvino_engine(model: Path, *, threads: int = 2, own_precision: bool = False) -> Infer:
    """OpenVINO on the CPU.

    OpenVINO computes the float parts in bfloat16 where the CPU can, unless told not to; the answers then depend on the
    CPU, so f32 is asked for unless `own_precision` leaves the choice to OpenVINO.
    """
    import openvino as ov  # noqa: PLC0415

    settings: dict[str, str | int] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if not own_precision:
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = ov.Core().compile_model(str(model), "CPU", settings).create_infer_request()

    def infer(tensor: Floats) -> Floats:
        request.infer({INPUT_NAME: tensor})
        return np.array(request.get_output_tensor(0).data[0], np.float32)

    return infer


def open_engine(name: str, model: Path, *, threads: int = 2) -> Infer:
    """The engine of this name, one of `ENGINES`."""
    return {"onnxruntime": onnxruntime_engine, "openvino": openvino_engine}[name](model, threads=threads)


def _overlaps(box: Floats, others: Floats) -> Floats:
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    area = np.prod(np.clip(shared, 0, None), axis=1)
    whole = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - area
    return np.asarray(area / np.maximum(whole, 1e-9), np.float32)


def overlap_matrix(a: Floats, b: Floats) -> Floats:
    """IoU of every box of `a` (K, 4) with every box of `b` (M, 4)."""
    return np.stack([_overlaps(box, b) for box in a]) if len(a) and len(b) else np.zeros((len(a), len(b)), np.float32)


def read_output(raw: Floats, *, score_min: float, iou_max: float, size: tuple[int, int]) -> Detections:
    """Boxes of a raw output after suppression within each label.

    Args:
        raw: (4 + classes, N): centre x, centre y, width, height in input pixels, then scores.
        score_min: Boxes with a smaller score are dropped.
        iou_max: Of two boxes of one label that overlap by more, the weaker is dropped.
        size: Height and width of the input; boxes are clipped to it.
    """
    scores = raw[4:].max(axis=0)
    cells = np.flatnonzero(scores >= score_min)
    cells = cells[np.argsort(-scores[cells], kind="stable")][:300]
    labels, middle, half = raw[4:, cells].argmax(axis=0), raw[:2, cells].T, raw[2:4, cells].T / 2
    corners = np.concatenate([middle - half, middle + half], axis=1)
    corners = np.clip(corners, 0, (size[1], size[0], size[1], size[0])).astype(np.float32)
    kept: list[int] = []
    alive = np.ones(len(cells), np.bool_)
    for index in range(len(cells)):
        if alive[index]:
            kept.append(index)
            alive &= (_overlaps(corners[index], corners) <= iou_max) | (labels != labels[index])
    chosen = np.array(kept, np.int64)
    return Detections(labels[chosen], scores[cells][chosen], corners[chosen])


def run_probe(
    engine: str,
    model: Path,
    tensors: Floats,
    *,
    prefix: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> list[Floats]:
    """Raw outputs of (N, 3, H, W) from a process of its own.

    Args:
        engine: One of `ENGINES`.
        model: The model.
        tensors: The inputs.
        prefix: Command that starts the process, for example an emulator.
        environment: Variables to add to those of this process.

    Raises:
        RuntimeError: The process failed.
    """
    package = Path(__file__).resolve().parent
    places = [str(package.parent), *(p for p in sys.path if p.endswith("site-packages"))]
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npy", Path(folder) / "outputs.npy"
        np.save(inputs, tensors)
        python = os.path.realpath(sys.executable)
        command = [*prefix, python, "-m", "surface_defects.probe", str(model.resolve()), str(inputs), str(outputs)]
        command += ["--engine", engine]
        variables = {**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(places)}
        done = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
        if done.returncode:
            message = f"{' '.join(command[:3])} ended with {done.returncode}: {done.stderr[-400:]}"
            raise RuntimeError(message)
        return list(np.asarray(np.load(outputs), np.float32))
