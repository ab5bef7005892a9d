"""Make the `surface-defects` package: `python tools/surface_defects/make.py --work DIR --out models/surface-defects`.

Steps, in this order: data (render), train, export, evaluate, latency, golden, clip, card. Each reads what the earlier
ones left in the work directory, so one can be repeated alone with `--steps`.
"""

# ruff: noqa: PLC0415
# torch and the engines are imported by the steps that need them: the others start at once

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from surface_defects.dataset import CALIBRATION, TEST, TRAIN, Dataset, load_or_render

STEPS: Final = ("data", "train", "export", "evaluate", "latency", "golden", "clip", "card")

logger = logging.getLogger("surface_defects")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    work: Path
    out: Path
    seed: int
    epochs: int
    train_images: int
    test_images: int
    calibration_images: int
    threads: int
    workers: int
    emulator: str
    emulated_images: int
    encoder: str
    steps: tuple[str, ...]

    @property
    def fp32(self) -> Path:
        """The float model, which is not part of the package."""
        return self.work / "surface-defects-fp32.onnx"

    @property
    def int8(self) -> Path:
        """The model of the package."""
        return self.out / "model.onnx"

    @property
    def figures(self) -> Path:
        """Where the figures lie between `evaluate` and `card`."""
        return self.work / "figures.json"


def parse(arguments: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="directory for data and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="directory of the package")
    parser.add_argument("--seed", type=int, default=7, help="seed of everything random")
    parser.add_argument("--epochs", type=int, default=7, help="passes over the training images")
    parser.add_argument("--train-images", type=int, default=4000, help="rendered images to train on")
    parser.add_argument("--test-images", type=int, default=400, help="rendered images to judge with")
    parser.add_argument("--calibration-images", type=int, default=128, help="rendered images to find the ranges with")
    parser.add_argument("--threads", type=int, default=2, help="threads of training and inference")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument(
        "--emulator",
        default="",
        help="command that runs a program on a CPU without VNNI, e.g. 'qemu-x86_64 -cpu Haswell'; empty skips it",
    )
    parser.add_argument("--emulated-images", type=int, default=12, help="test images to run under the emulator")
    parser.add_argument("--encoder", default="ffmpeg", help="ffmpeg with libx264")
    parser.add_argument("--steps", default=",".join(STEPS), help="steps to run, separated by commas")
    values = vars(parser.parse_args(arguments))
    values["steps"] = tuple(values["steps"].split(","))
    unknown = set(values["steps"]) - set(STEPS)
    if unknown:
        parser.error(f"unknown steps {sorted(unknown)}; known are {', '.join(STEPS)}")
    return Options(**values)


def _data(options: Options, name: str) -> Dataset:
    counts = {
        "train": (TRAIN, options.train_images),
        "test": (TEST, options.test_images),
        "calibration": (CALIBRATION, options.calibration_images),
    }
    split, count = counts[name]
    return load_or_render(options.work, name, count, seed=options.seed, split=split, workers=options.workers)


def _step_data(options: Options) -> None:
    for name in ("train", "test", "calibration"):
        data = _data(options, name)
        logger.info("%s: %d images, %d defects", name, len(data.images), sum(len(t) for t in data.targets))


def _step_train(options: Options) -> None:
    from surface_defects.train import train  # torch is needed by two steps only

    train(
        _data(options, "train"),
        epochs=options.epochs,
        seed=options.seed,
        threads=options.threads,
        checkpoint=options.work / "weights.pt",
    )


def _step_export(options: Options) -> None:
    from surface_defects.export import export_float, quantize
    from surface_defects.train import load_weights

    options.out.mkdir(parents=True, exist_ok=True)
    export_float(load_weights(options.work / "weights.pt"), options.fp32)
    kept = quantize(options.fp32, options.int8, _data(options, "calibration"))
    logger.info("%d nodes stay in float: %s ...", len(kept), ", ".join(kept[:4]))


def _step_evaluate(options: Options) -> None:
    from surface_defects.measure import measure

    figures = measure(
        options.fp32,
        options.int8,
        _data(options, "test"),
        _data(options, "calibration"),
        threads=options.threads,
        emulator=tuple(options.emulator.split()),
        emulated_images=options.emulated_images,
    )
    figures["counts"].update(train_images=options.train_images, epochs=options.epochs)
    options.figures.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _step_latency(options: Options) -> None:
    from surface_defects.measure import measure_latency

    figures = json.loads(options.figures.read_text("utf-8"))
    figures["latency_ms"] = measure_latency(options.fp32, options.int8, _data(options, "test"), threads=options.threads)
    options.figures.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def _step_golden(options: Options) -> None:
    from surface_defects.engines import onnxruntime_engine, openvino_engine
    from surface_defects.golden import write_golden

    count = write_golden(
        options.out / "golden", onnxruntime_engine(options.int8), openvino_engine(options.int8), seed=options.seed
    )
    logger.info("%d golden frames", count)


def _step_clip(options: Options) -> None:
    from surface_defects.clip import write_clip

    target = options.out / "conveyor.mp4"
    frames = write_clip(target, seed=options.seed, encoder=options.encoder)
    logger.info("%s: %d frames, %d bytes", target.name, frames, target.stat().st_size)


def _step_card(options: Options) -> None:
    from surface_defects.card import write_bill_of_materials, write_card, write_manifest

    figures: dict[str, Any] = json.loads(options.figures.read_text("utf-8"))
    facts = {key: figures["counts"][key] for key in ("train_images", "test_images", "calibration_images", "epochs")}
    write_manifest(options.out, seed=options.seed, facts=facts)
    write_bill_of_materials(options.out)
    write_card(options.out, figures=figures, seed=options.seed)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    runners = {
        "data": _step_data,
        "train": _step_train,
        "export": _step_export,
        "evaluate": _step_evaluate,
        "latency": _step_latency,
        "golden": _step_golden,
        "clip": _step_clip,
        "card": _step_card,
    }
    for step in STEPS:
        if step in options.steps:
            logger.info("== %s", step)
            runners[step](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
