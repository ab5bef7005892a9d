"""Every figure of the model card, from both models on both engines."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from surface_defects.card import TOLERANCES, tables
from surface_defects.engines import ENGINES, Floats, open_engine, openvino_engine, run_probe
from surface_defects.evaluate import Agreement, compare, judge, latency_ms, run_all
from surface_defects.export import quantize, to_tensor

if TYPE_CHECKING:
    from surface_defects.dataset import Dataset

_AVX2: Final = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Keeps OpenVINO's kernels from AVX-512 and VNNI."""

logger = logging.getLogger(__name__)


def _compare(a: list[Floats], b: list[Floats]) -> Agreement:
    return compare(a, b, iou=TOLERANCES["iou"], score=TOLERANCES["score"])


def _without_vnni(
    fp32: Path, int8: Path, native: dict[str, list[Floats]], test: Dataset, calibration: Dataset, how: tuple[str, ...]
) -> dict[str, Agreement]:
    """The engines with and without VNNI; and, as the proof that this tells anything, with all 8 weight bits."""
    count = len(native["onnxruntime"])
    tensors = np.concatenate([to_tensor(image) for image in test.images[:count]])
    slow = {engine: run_probe(engine, int8, tensors, prefix=how) for engine in ENGINES}
    found = {f"int8: {e} / {e} emulated without VNNI": _compare(native[e], slow[e]) for e in ENGINES}
    found["int8: onnxruntime / openvino, both emulated without VNNI"] = _compare(slow["onnxruntime"], slow["openvino"])
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "control.onnx"
        quantize(fp32, control, calibration, reduce_range=False)
        fast = run_probe("onnxruntime", control, tensors)
        other = run_probe("onnxruntime", control, tensors, prefix=how)
        found["control with 8-bit weights: onnxruntime / onnxruntime emulated without VNNI"] = _compare(fast, other)
        fast = run_probe("openvino", control, tensors)
        other = run_probe("openvino", control, tensors, prefix=how)
        found["control with 8-bit weights: openvino / openvino emulated without VNNI"] = _compare(fast, other)
        other = run_probe("openvino", control, tensors, environment=_AVX2)
        found["control with 8-bit weights: openvino / openvino limited to AVX2"] = _compare(fast, other)
    return found


def _limited_openvino(int8: Path, test: Dataset) -> list[Floats]:
    tensors = np.concatenate([to_tensor(image) for image in test.images])
    return run_probe("openvino", int8, tensors, environment=_AVX2)


def _cpu() -> str:
    import openvino as ov  # noqa: PLC0415

    return str(ov.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


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
    """Judge both models on both engines, compare the engines, and print the tables.

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
    own = run_all(openvino_engine(int8, threads=threads, own_precision=True), test)
    agreement["int8: openvino f32 / openvino with the precision it chooses"] = _compare(raws["int8, openvino"], own)
    limited = _limited_openvino(int8, test)
    agreement["int8: openvino / openvino limited to AVX2"] = _compare(raws["int8, openvino"], limited)
    agreement["int8: onnxruntime / openvino limited to AVX2"] = _compare(raws["int8, onnxruntime"], limited)
    if emulator:
        native = {e: raws[f"int8, {e}"][:emulated_images] for e in ENGINES}
        agreement |= _without_vnni(fp32, int8, native, test, calibration, emulator)
    counts = {
        "test_images": len(test.images),
        "test_defects": sum(len(t) for t in test.targets),
        "calibration_images": len(calibration.images),
        "fp32_bytes": fp32.stat().st_size,
        "int8_bytes": int8.stat().st_size,
        "threads": threads,
        "cpu": _cpu(),
        "emulation": f"`{' '.join(emulator)}`, {emulated_images} images" if emulator else "not run",
    }
    figures = {
        "accuracy": {name: asdict(value) for name, value in accuracy.items()},
        "agreement": {name: asdict(value) for name, value in agreement.items()},
        "counts": counts,
    }
    shown = tables({**figures, "latency_ms": {}})
    logger.info("%s\n\n%s", shown["accuracy"], shown["agreement"])
    return figures


def measure_latency(fp32: Path, int8: Path, test: Dataset, *, threads: int) -> dict[str, tuple[float, float]]:
    """Time both models on both engines in turn, and print the table."""
    models = {"fp32": fp32, "int8": int8}
    engines = {f"{kind}, {e}": open_engine(e, models[kind], threads=threads) for kind in models for e in ENGINES}
    found = latency_ms(engines, test)
    logger.info("%s", tables({"accuracy": {}, "agreement": {}, "latency_ms": found})["latency"])
    return found
