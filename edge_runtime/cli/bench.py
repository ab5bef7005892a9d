"""``edge-runtime bench``: how fast a model runs here, bare and as a whole product."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.values import seconds, size

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "bench",
        help="how fast a model runs here, bare and as a whole product",
        description="Measures the bare engine and the whole product (camera process, engine process, spool, broker on "
        "loopback) in turn on the same model in the same run; then, at 30 frames per second, the time from capture "
        "to the broker's acknowledgement.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="package directory, or a bare .onnx or .xml file")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, gpu or npu (default: auto)")
    parser.add_argument(
        "--backend", default="auto", choices=("auto", "openvino", "onnxruntime"), help="inference engine"
    )
    parser.add_argument("--seconds", type=seconds, default=20.0, metavar="N", help="how long to measure (default: 20)")
    parser.add_argument(
        "--streams", type=int, default=3, metavar="N", help="frames in the engine at a time (default: 3)"
    )
    parser.add_argument(
        "--size", type=size, default="1024x576", metavar="WxH", help="size of the frames (default: 1024x576)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edge_runtime.app.bench import BenchOptions, run_bench  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.system.logs import configure  # noqa: PLC0415

    sys.setswitchinterval(0.0005)
    configure(style="text", level="warning", journal=False)
    found = run_bench(BenchOptions(args.model, args.device, args.backend, args.seconds, args.streams, args.size))
    if args.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:20} {json.dumps(value)}")
    return 0
