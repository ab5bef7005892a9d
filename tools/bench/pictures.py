"""What one look at a picture costs: milliseconds of CPU in the camera process, by size, with and without a reference.

    python tools/bench/pictures.py [--looks 300]

A camera process looks four times a second (``camera.looks``). The last column is a picture that was moved, for which
the shift is looked for.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import cv2
import numpy as np

from edge_runtime.camera.measure import Measure
from edge_runtime.camera.reference import Comparison, ReferenceMaker
from tests import scenes

SIZES = ((640, 480), (1280, 720), (1920, 1080), (3840, 2160), (7680, 4320))
POOL = 5


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--looks", type=int, default=300)
    looks: int = parser.parse_args().looks
    cv2.setNumThreads(1)  # as in a camera process
    print(f"{'size':>12}  {'p50 / p99 ms':>16}  {'with reference':>16}  {'and moved':>16}")
    for width, height in SIZES:
        scene = cv2.resize(scenes.bench_scene(960, 540), (width, height), interpolation=cv2.INTER_CUBIC)
        images = [scenes.noisy(scene, 2, number) for number in range(POOL)]
        plain, compared = Measure(), Measure()
        maker = ReferenceMaker()
        for number in range(2 * POOL):
            maker.add(*plain.measure(images[number % POOL], 1, 0.0))
        compared.comparison = Comparison(maker.finish(1))
        moved = [scenes.moved(image) for image in images]
        figures = (time_of(plain, images, looks), time_of(compared, images, looks), time_of(compared, moved, looks))
        print(f"{f'{width}x{height}':>12}  " + "  ".join(f"{figure:>16}" for figure in figures))


def time_of(measure: Measure, images: list[Any], looks: int) -> str:
    """Return the 50th and 99th percentile of ``looks``."""
    taken = []
    for number in range(looks):
        began = time.thread_time()
        measure.measure(images[number % POOL], number, float(number))
        taken.append((time.thread_time() - began) * 1e3)
    return "{:.2f} / {:.2f}".format(*np.percentile(taken, [50, 99]))


if __name__ == "__main__":
    main()
