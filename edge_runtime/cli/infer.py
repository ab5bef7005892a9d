"""``edge-runtime infer``: one Result as JSON for each image, in order, on stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.values import MODEL_HELP

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "infer",
        help="judge image files with a model",
        description="One JSON object for each image, in order. Exit 65 when an image or the model cannot be used.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help=MODEL_HELP)
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="jpg, png, bmp, tiff or webp")
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, gpu or npu (default: auto)")
    parser.add_argument(
        "--backend", default="auto", choices=("auto", "openvino", "onnxruntime"), help="inference engine"
    )
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: the output is always JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge the images; 0 when each got a verdict from the model, 65 when one could not be used.

    Raises:
        DataError: the name of an image is not UTF-8, which no result could hold.
    """
    from edge_runtime.app.infer import InferOptions, infer  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.core.errors import DataError  # noqa: PLC0415
    from edge_runtime.core.result import Evaluation  # noqa: PLC0415
    from edge_runtime.system.logs import configure  # noqa: PLC0415

    configure(style="text", level="critical", journal=False)
    for image in args.images:
        shown = os.fsencode(image).decode(errors="backslashreplace")
        if shown != str(image):  # it was escaped
            message = f"the name of the image {shown} is not UTF-8"
            raise DataError("infer.file_name", message, help="rename it, or judge its folder as a camera: images:DIR")
    unusable = 0
    for body, evaluation in infer(InferOptions(args.model, args.device, args.backend), args.images):
        sys.stdout.buffer.write(body + b"\n")
        sys.stdout.flush()
        unusable += evaluation is Evaluation.NOT_DECIDABLE
    return 65 if unusable else 0
