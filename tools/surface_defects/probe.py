"""Run an ONNX model on stored inputs and store the raw outputs; small enough to run under a CPU emulator.

`python -m surface_defects.probe MODEL INPUTS.npy OUTPUTS.npy` needs onnxruntime and numpy only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("inputs", type=Path, help="float32 array (N, 3, H, W)")
    parser.add_argument("outputs", type=Path, help="gets the raw outputs, (N, rows, cells)")
    options = parser.parse_args(arguments)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    session = ort.InferenceSession(str(options.model), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [session.run(None, {name: image[None]})[0][0] for image in np.load(options.inputs)]
    np.save(options.outputs, np.stack(outputs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
