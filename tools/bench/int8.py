"""How much faster is the shipped detector in INT8 than in fp32, and what does it lose?

    python tools/bench/int8.py --work DIR [--fp32 FILE] [--images 400] [--threads N] [--rounds N] [--json]

Throughput is that of the bare engine (`engine.bench`, as `edge-runtime bench` has it): fp32 in true float32, not in the
bfloat16 that OpenVINO would choose by itself on CPUs with AMX; that is a row of its own. The forms take short turns, so
that all see the same machine; the ratio is the median over the rounds of each round's own ratio. Accuracy is mAP on the
renderer's test set, through the product's engines and decoder.

The fp32 model is not in the package. Without --fp32 it is made of the INT8 one: weights dequantized, activations not
rounded. That is the same network at the same speed; its accuracy is within 0.2 points of the trained one's, which the
model card states.

Exit code 1: below 1.5 times on an engine, or more than one point lost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quantize_model.cpu import cpu_name, vnni_flags
from quantize_model.judge import Contender, accuracy, agreement
from quantize_model.source import open_source, write_float
from quantize_model.truth import Example, labelled
from surface_defects.dataset import TEST, load_or_render

from edge_runtime.engine.base import BACKENDS
from edge_runtime.engine.bench import bench
from edge_runtime.engine.package import open_package

PACKAGE: Final = Path(__file__).resolve().parents[2] / "models" / "surface-defects"
GOAL_RATIO: Final = 1.5
GOAL_POINTS: Final = 1.0
_SEED: Final = 7
_TURN_S: Final = 0.3


def contenders(package: Path, fp32: Path | None, threads: int) -> dict[str, Contender]:
    """Open fp32, INT8 and (OpenVINO only) bfloat16 on each engine."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        if fp32 is None:
            plain = write_float(open_source(package, from_int8=True), Path(folder) / "fp32")
        for backend in BACKENDS:
            int8 = open_package(package, (backend,))
            if fp32 is None:
                float32 = open_package(plain, (backend,))
            else:
                float32 = replace(int8, model=fp32.read_bytes(), precision="fp32")
            found[f"{backend} fp32"] = Contender(float32, backend, threads, doubtful=True)
            found[f"{backend} int8"] = Contender(int8, backend, threads, doubtful=True)
            if backend == "openvino":
                found[f"{backend} bf16"] = Contender(
                    replace(float32, precision="bf16"), backend, threads, doubtful=True
                )
    return found


def _turns(models: dict[str, Contender], rounds: int, requests: int) -> dict[str, list[float]]:
    """Frames per second of each model in each round."""
    found: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, one in models.items():
            found[name].append(bench(one.model, seconds=_TURN_S, requests=requests).throughput_fps)
    return found


def measure(models: dict[str, Contender], examples: list[Example], rounds: int, requests: int) -> dict[str, Any]:
    """Return by model: precision that really ran, frames per second, ratio to fp32, mAP and agreement with fp32."""
    runs = {name: one.run(examples) for name, one in models.items()}
    rates = _turns(models, rounds, requests)
    found = {}
    for name, one in models.items():
        base = f"{name.split()[0]} fp32"
        right = accuracy(runs[name], examples, one.package)
        found[name] = {
            "runs_in": one.model.info.precision,
            "fps": round(statistics.median(rates[name]), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(rates[name], rates[base], strict=True)), 2),
            "map50_95": round(right.value, 4),
            "map50": round(right.map50 or 0.0, 4),
            "drop_points": round(100 * (accuracy(runs[base], examples, models[base].package).value - right.value), 2),
            "agreement_with_fp32": round(agreement(runs[base], runs[name], one.package), 4),
        }
    return found


def main() -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--work", type=Path, required=True, help="where the rendered test set is kept")
    parser.add_argument("--fp32", type=Path, help="the trained fp32 model of tools/surface_defects/make.py")
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--requests", type=int, default=1, help="in flight at once")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    models = contenders(options.package, options.fp32, options.threads)
    load_or_render(options.work, "test", options.images, seed=_SEED, split=TEST, workers=cores)
    spec = next(iter(models.values())).package.spec
    examples = labelled(options.work, spec.task, spec.labels, annotations=None, limit=options.images)
    rows = measure(models, examples, options.rounds, options.requests)
    flags = vnni_flags(Path("/proc/cpuinfo").read_text("utf-8"))
    if options.json:
        facts = {"cpu": cpu_name(), "vnni": flags, "threads": options.threads, "requests": options.requests}
        print(json.dumps({**facts, "images": len(examples), "rows": rows}, indent=1))
    else:
        print(f"{cpu_name()} ({', '.join(flags) or 'no VNNI'}), {options.threads} threads, {len(examples)} images")
        for name, row in rows.items():
            print(f"{name:<18}" + "".join(f"  {key} {value}" for key, value in row.items()))
    good = [r["ratio"] >= GOAL_RATIO and r["drop_points"] <= GOAL_POINTS for n, r in rows.items() if "int8" in n]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
