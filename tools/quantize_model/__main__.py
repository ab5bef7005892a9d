"""Make INT8 of an fp32 model, and hand it out only when it still answers like the original.

    tools/quantize MODEL --out DIR --calibration FRAMES --labelled PICTURES

Recipes are tried in order until the INT8 form loses at most --max-drop points, both engines agree about it, and its
answers make sense. Exit code 0: the package is in --out. 65: none was good enough, or the data cannot be used; nothing
was written. 69: a quantizer or an engine is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.core.errors import EdgeError
from edge_runtime.engine.base import BACKENDS
from quantize_model.gates import Gates
from quantize_model.recipe import METHODS
from quantize_model.report import Report, table
from quantize_model.run import Wish, execute

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DEFAULTS: Final = Gates()


class _Parser(argparse.ArgumentParser):
    """Ends with the exit code that the product's verbs have for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"error: {message}\n")


def _list_of(allowed: Sequence[str], text: str) -> tuple[str, ...]:
    found = tuple(text.split(","))
    if not set(found) <= set(allowed) or len(set(found)) != len(found):
        message = f"{text!r}: write some of {','.join(allowed)}"
        raise argparse.ArgumentTypeError(message)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tools/quantize", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", type=Path, help="package directory, or a bare .onnx whose metadata says enough")
    add("--out", type=Path, required=True, help="directory of the new package; must not exist")
    add("--calibration", type=Path, required=True, help="frames of the camera, in any folders below this one")
    add("--calibration-limit", type=int, default=200, help="frames to use, spread over the tree (default 200)")
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument(
        "--labelled", type=Path, help="one folder per label, or pictures with a COCO file; not those of --calibration"
    )
    truth.add_argument(
        "--agreement-only", type=Path, help="pictures without labels: only tells whether INT8 says what fp32 says"
    )
    add("--annotations", type=Path, help="COCO file (default: the only .json in --labelled)")
    add("--limit", type=int, help="pictures to judge, spread evenly (default all)")
    add("--method", type=lambda t: _list_of(METHODS, t), default=("ort",), help=f"in order: {', '.join(METHODS)}")
    add("--engines", type=lambda t: _list_of(BACKENDS, t), default=BACKENDS, help="judge on these (default both)")
    add("--max-drop", type=float, default=_DEFAULTS.max_drop_points, help="points of 100 it may lose (default 1)")
    add("--min-agreement", type=float, default=_DEFAULTS.min_agreement, help="of the engines, 0..1 (default 0.98)")
    add("--min-fidelity", type=float, default=_DEFAULTS.min_fidelity, help="to fp32, with --agreement-only (0.98)")
    add("--require-faster", action="store_true", help="refuse what is slower than fp32, instead of a warning")
    add("--max-attempts", type=int, default=6, help="recipes to try (default 6)")
    add("--target-vnni", choices=("auto", "yes", "no"), default="auto", help="of the box; auto = like this machine")
    add("--from-int8", action="store_true", help="accept a QDQ model and make it fp32 again first")
    add("--keep-fp32", action="store_true", help="put the fp32 form into the package, too")
    add("--set-version", help="version of the new package (default: that of the source and +int8)")
    add("--threads", type=int, default=1, help="cores of inference while judging (default 1)")
    add("--rounds", type=int, default=15, help="turns of the race of fp32 and INT8 (default 15)")
    add("--json", action="store_true", help="print the report as one JSON object on stdout")
    return parser


def _wish(arguments: argparse.Namespace) -> Wish:
    return Wish(
        model=arguments.model,
        out=arguments.out,
        calibration=arguments.calibration,
        calibration_limit=arguments.calibration_limit,
        truth=arguments.labelled or arguments.agreement_only,
        annotations=arguments.annotations,
        truth_limit=arguments.limit,
        agreement_only=arguments.agreement_only is not None,
        methods=arguments.method,
        engines=arguments.engines,
        gates=Gates(
            arguments.max_drop, arguments.min_agreement, arguments.min_fidelity, must_be_faster=arguments.require_faster
        ),
        attempts=arguments.max_attempts,
        target_vnni=arguments.target_vnni,
        from_int8=arguments.from_int8,
        keep_fp32=arguments.keep_fp32,
        version=arguments.set_version,
        threads=arguments.threads,
        rounds=arguments.rounds,
    )


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Quantizers print: with --json only the report may be on stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _print(report: Report) -> None:
    for attempt in report.attempts:
        print(f"\n{attempt.recipe}\n{table(attempt)}")
    for doubt in report.doubts:
        print(f"\nwarning: {doubt}")
    print(f"\nwritten: {report.package}" if report.package else "\nrefused: no recipe passed; nothing was written")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if min(parsed.calibration_limit, parsed.max_attempts, parsed.threads, parsed.rounds, parsed.limit or 1) < 1:
        parser.error("numbers must be at least 1")
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # takes the unfinished package along
    try:
        with _stdout_to_stderr():
            report = execute(_wish(parsed), lambda text: print(text, file=sys.stderr, flush=True))
    except EdgeError as error:
        sys.stderr.write(error.report())
        return error.exit_code
    if parsed.json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        _print(report)
    return os.EX_OK if report.package else os.EX_DATAERR


if __name__ == "__main__":
    sys.exit(main())
