"""``edge-runtime bench``: how fast a model runs here, bare and as a whole product."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.choose import add_arguments, run_choose
from edge_runtime.cli.output import EXIT_FAILED, EXIT_USAGE, say
from edge_runtime.cli.values import MODEL_HELP, number, size, whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

SECONDS_MAX = 3600.0  # a turn of the bare engine takes a fraction of it; the engine takes orders up to 120 s
IN_FLIGHT_MAX = 16  # requests that the engine opens at most


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "bench",
        help="how fast a model runs here, bare and as a whole product",
        description="Measures the bare engine and the whole product (camera process, engine process, spool, broker on "
        "loopback) in turn on the same model in the same run; then what the steps around the inference cost beside it; "
        "then, at 30 frames per second, the time from capture to the broker's acknowledgement.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help=MODEL_HELP)
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, gpu or npu (default: auto)")
    parser.add_argument(
        "--backend", default="auto", choices=("auto", "openvino", "onnxruntime"), help="inference engine"
    )
    parser.add_argument(
        "--seconds", type=number(0.1, SECONDS_MAX), default=20.0, metavar="N", help="how long to measure (default: 20)"
    )
    parser.add_argument(
        "--in-flight",
        "--streams",  # its first name, which scripts may use
        type=whole(1, IN_FLIGHT_MAX),
        default=3,
        metavar="N",
        help="frames in the engine at a time (default: 3); --streams is its older name",
    )
    parser.add_argument(
        "--size", type=size, default="1024x576", metavar="WxH", help="size of the frames (default: 1024x576)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print; 1 when the product gave no verdict to measure, or nothing meets the target of ``--choose``."""
    if args.choose is not None:
        return run_choose(args)
    if args.write is not None or args.name is not None:
        say("error: --write and --model belong to --choose\n   = help: add --choose fps=30, for example\n")
        return EXIT_USAGE
    from edge_runtime.app.bench import BenchOptions, run_bench  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.system.logs import configure  # noqa: PLC0415

    sys.setswitchinterval(0.0005)
    configure(style="text", level="warning", journal=False)
    found = run_bench(BenchOptions(args.model, args.device, args.backend, args.seconds, args.in_flight, args.size))
    if args.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:20} {json.dumps(value)}")
    if measured(found):
        return os.EX_OK
    say("error: nothing was measured: no frame got a verdict in time\n   = help: give it more --seconds\n")
    return EXIT_FAILED


def measured(found: Mapping[str, object]) -> bool:
    """Tell whether a result of ``run_bench`` rests on verdicts; without any its ratios mean nothing."""
    paced, throughput = found.get("paced"), found.get("throughput")
    judged = isinstance(paced, dict) and bool(paced.get("frames"))
    return judged and isinstance(throughput, list) and all(one.get("product_fps") for one in throughput)
