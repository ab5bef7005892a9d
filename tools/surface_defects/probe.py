"""Run an ONNX model on stored inputs and store the raw outputs; small enough to run under a CPU emulator.

`python -m surface_defects.probe MODEL INPUTS.npy OUTPUTS.npy [--engine openvino]`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("inputs", type=Path, help="float32 array (N, 3, H, W)")
    parser.add_argument("outputs", type=Path, help="gets the raw outputs, (N, rows, cells)")
    parser.add_argument("--engine", choices=("onnxruntime", "openvino"), default="onnxruntime")
    options = parser.parse_args(arguments)
    # each engine is imported only when it is asked for: under an emulator an import takes seconds
    from surface_defects import engines  # noqa: PLC0415

    infer = engines.open_engine(options.engine, options.model, threads=1)
    np.save(options.outputs, np.stack([infer(image[None]) for image in np.load(options.inputs)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
