"""``edge-runtime bench MODEL --choose TARGET``: tries every way to run a model here and names the best of them."""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli.output import EXIT_FAILED, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.app.choose import Target, Trial
    from edge_runtime.config.loader import Loaded

_PART = re.compile(r"(fps)=([0-9.]+)|(p99)=([0-9.]+)ms")
NUMBER_MAX = 100_000.0


def target(text: str) -> Target:
    """Read ``fps=30``, ``p99=20ms`` or both with a comma between.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    from edge_runtime.app.choose import Target  # noqa: PLC0415 - --help needs none of it

    found: dict[str, float] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        name, value = (match[1] or match[3], match[2] or match[4]) if match else ("", "")
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if name in found or not 0 < number <= NUMBER_MAX:
            raise argparse.ArgumentTypeError(f"expected fps=30, p99=20ms or both with a comma between, found {text!r}")
        found[name] = number
    return Target(found.get("fps"), found.get("p99"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what belongs to choosing."""
    group = parser.add_argument_group(
        "choosing",
        "Tries each device, engine and form of the model in one stream and in several, and picks what costs the least "
        "of the processor among all that meet the target; exit code 1 when nothing does.",
    )
    group.add_argument(
        "--choose",
        type=target,
        metavar="TARGET",
        help="fps=30, p99=20ms (of a frame in the engine) or fps=30,p99=20ms",
    )
    group.add_argument(
        "--write", type=Path, metavar="CONFIG", help="write the choice into config.d/ beside this configuration"
    )
    group.add_argument("--model", dest="name", metavar="NAME", help="of which model in CONFIG, if it has several")


def run_choose(args: argparse.Namespace) -> int:
    """Measure, print the table, write the choice.

    Raises:
        ConfigError: ``--write`` names a configuration that is not valid or has another model.
        DataError: the model cannot be used.
        UnavailableError: no such device is here.
    """
    from edge_runtime.app.choice_file import model_named, settings_of, write_choice  # noqa: PLC0415 - as above
    from edge_runtime.app.choose import Task, cheapest, try_all, why_none  # noqa: PLC0415
    from edge_runtime.app.trials import Trials  # noqa: PLC0415

    cores = len(os.sched_getaffinity(0))
    loaded, name = None, ""
    if args.write is not None:
        loaded = _loaded(args.write)
        name = model_named(loaded, args.write, args.name, args.model)
        cores = max(1, cores // len(loaded.settings.models))  # the others need theirs
    width, height = map(int, args.size.split("x"))
    with ExitStack() as stack:
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-runtime-choose-")))
        task = Task(args.model, args.choose, args.device, args.backend, cores, args.seconds, (width, height), cache)
        trials = stack.enter_context(Trials([args.model.absolute()], cache_dir=cache))
        found = try_all(task, trials, lambda text: say(f"{text}\n"))
    best = cheapest(found, args.choose)
    document: dict[str, object] = {
        "target": str(args.choose),
        "candidates": [_fields(one) for one in found],
        "chosen": None,
    }
    written = None
    if best is not None:
        document["chosen"] = _fields(best)
        if loaded is not None:
            wanted = settings_of(best.candidate, loaded.settings.models[name].path or args.model)
            why = f"{args.choose} on {time.strftime('%Y-%m-%d')}: {best.candidate}: {_figures(best)}"
            written = write_choice(args.write, name, wanted, why, os.environ)
    if args.json:
        print(json.dumps(document | {"written": None if written is None else str(written)}))
    else:
        _print_table(found, best)
    if best is None:
        say(why_none(found, args.choose).report())
        return EXIT_FAILED
    if not args.json:
        print(f"chosen: {best.candidate}: {_figures(best)}")
        if written is not None:
            print(f"written: {written}; it counts after a reload of the daemon")
    return os.EX_OK


def _loaded(config: Path) -> Loaded:
    from edge_runtime.config.loader import load  # noqa: PLC0415 - pydantic costs 0.1 s

    return load(config, environ=os.environ)


def _figures(trial: Trial) -> str:
    return f"{trial.fps:.1f} frames per second, p99 {trial.p99_ms:.1f} ms, {trial.cpu_ms:.1f} ms of CPU per frame"


def _fields(trial: Trial) -> dict[str, object]:
    one = trial.candidate
    fields: dict[str, object] = {
        "device": one.device,
        "backend": one.backend,
        "file": one.form.path.name,
        "precision": trial.precision or one.form.precision,
        "threads": one.threads if one.device == "CPU" else None,
        "streams": one.streams,
        "failure": trial.failure or None,
    }
    if trial.usable:
        figures = {"fps": trial.fps, "p50_ms": trial.p50_ms, "p99_ms": trial.p99_ms, "cpu_ms_per_frame": trial.cpu_ms}
        fields |= {key: round(value, 2) for key, value in figures.items()} | {"rounds": len(trial.rounds)}
    return fields


def _print_table(found: Sequence[Trial], best: Trial | None) -> None:
    columns = "  {:8} {:12} {:24} {:9} {:>7} {:>7}  {}"
    figures = "{:>8} {:>8} {:>8} {:>12}"
    heads = figures.format("fps", "p50 ms", "p99 ms", "CPU ms/frame")
    print(columns.format("device", "backend", "file", "precision", "threads", "streams", heads))
    for trial in found:
        fields = _fields(trial)
        shown = [
            str(fields[key] if fields[key] is not None else "-")
            for key in ("device", "backend", "file", "precision", "threads", "streams")
        ]
        text = f"failed: {trial.failure}"
        if trial.usable:
            text = figures.format(*(f"{value:.1f}" for value in (trial.fps, trial.p50_ms, trial.p99_ms, trial.cpu_ms)))
        line = columns.format(*shown, text)
        print("*" + line[1:] if trial is best else line)
