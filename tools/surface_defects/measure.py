"""Every figure of the model card, from both models on both engines."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from surface_defects.card import TOLERANCES, tables
from surface_defects.engines import ENGINES, Floats, open_engine, run_probe
from surface_defects.evaluate import Agreement, compare, judge, latency_ms, run_all
from surface_defects.export import quantize, to_tensor

if TYPE_CHECKING:
    from surface_defects.dataset import Dataset

logger = logging.getLogger(__name__)


def _compare(a: list[Floats], b: list[Floats]) -> Agreement:
    return compare(a, b, iou=TOLERANCES["iou"], score=TOLERANCES["score"])


def _emulated(
    fp32: Path, int8: Path, native: dict[str, list[Floats]], test: Dataset, calibration: Dataset, how: tuple[str, ...]
) -> dict[str, Agreement]:
    """ONNX Runtime with and without VNNI; and, as the proof that this tells anything, with all 8 weight bits."""
    count = len(native["onnxruntime"])
    tensors = np.concatenate([to_tensor(image) for image in test.images[:count]])
    found = {}
    slow = list(run_probe(int8, tensors, prefix=how))
    found["int8: onnxruntime on this CPU / emulated without VNNI"] = _compare(native["onnxruntime"], slow)
    found["int8: openvino on this CPU / onnxruntime emulated without VNNI"] = _compare(native["openvino"], slow)
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "control.onnx"
        quantize(fp32, control, calibration, reduce_range=False)
        fast = list(run_probe(control, tensors))
        slow = list(run_probe(control, tensors, prefix=how))
        found["control, int8 with 8-bit weights: onnxruntime on this CPU / emulated"] = _compare(fast, slow)
    return found


def measure(
    fp32: Path,
    int8: Path,
    test: Dataset,
    calibration: Dataset,
    *,
    threads: int,
    emulator: tuple[str, ...],
    emulated_images: int,
) -> dict[str, Any]:
    """Judge both models on both engines, compare the engines, time them, and print the tables.

    Args:
        fp32: The float model.
        int8: The model of the package.
        test: Held-out images.
        calibration: Images for the control model of the emulation.
        threads: Threads of inference.
        emulator: Command that runs a program on a CPU without VNNI; empty leaves this out.
        emulated_images: Test images to run under it.
    """
    models = {"fp32": fp32, "int8": int8}
    engines = {f"{kind}, {e}": open_engine(e, models[kind], threads=threads) for kind in models for e in ENGINES}
    raws = {name: run_all(infer, test) for name, infer in engines.items()}
    accuracy = {name: judge(outputs, test) for name, outputs in raws.items()}
    agreement = {
        f"{kind}: onnxruntime / openvino": _compare(raws[f"{kind}, onnxruntime"], raws[f"{kind}, openvino"])
        for kind in models
    }
    agreement["onnxruntime: fp32 / int8"] = _compare(raws["fp32, onnxruntime"], raws["int8, onnxruntime"])
    if emulator:
        native = {e: raws[f"int8, {e}"][:emulated_images] for e in ENGINES}
        agreement |= _emulated(fp32, int8, native, test, calibration, emulator)
    counts = {
        "test_images": len(test.images),
        "test_defects": sum(len(t) for t in test.targets),
        "calibration_images": len(calibration.images),
        "fp32_bytes": fp32.stat().st_size,
        "int8_bytes": int8.stat().st_size,
        "threads": threads,
        "emulation": f"`{' '.join(emulator)}`, {emulated_images} images" if emulator else "not run",
    }
    figures = {
        "accuracy": {name: asdict(value) for name, value in accuracy.items()},
        "agreement": {name: asdict(value) for name, value in agreement.items()},
        "latency_ms": latency_ms(engines, test),
        "counts": counts,
    }
    for name, table in tables(figures).items():
        logger.info("%s\n%s", name, table)
    return figures
