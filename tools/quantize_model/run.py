"""The whole way: calibrate, quantize, judge, and either hand a package out or say why not."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_runtime.core.errors import DataError
from quantize_model.bundle import REPORT_NAME, form, publish, staging, write_manifest
from quantize_model.calibration import Calibration
from quantize_model.cpu import cpu_name, needs_reduced_range, vnni_flags
from quantize_model.gates import Figures, Gates, drops, refusals, warnings
from quantize_model.judge import Contender, Run, accuracy, agreement, open_form, race, seen
from quantize_model.quantizers import Job, is_transformer, quantize, require
from quantize_model.recipe import Recipe, recipes
from quantize_model.report import Attempt, Measured, Report
from quantize_model.source import Source, open_source, write_float
from quantize_model.truth import Example, labelled, unlabelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TOOLS: Final = ("onnxruntime", "openvino", "nncf", "onnx", "numpy", "opencv-python-headless")
_KEPT: Final = ("LICENSE*", "NOTICE*")
"""Files of the source that stay true; a model card, golden answers and a bill of materials are of its own weights."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The command line.

    Attributes:
        model: package directory or bare `.onnx`.
        out: directory of the new package, must not exist.
        calibration: directory tree of pictures; ``calibration_limit`` of them are used.
        truth: directory of labelled pictures, or of any pictures when ``agreement_only``.
        methods: see `recipe.METHODS`, in the order of trying.
        engines: see `engine.base.BACKENDS`.
        target_vnni: `auto`, `yes` or `no`.
    """

    model: Path
    out: Path
    calibration: Path
    calibration_limit: int
    truth: Path
    annotations: Path | None
    truth_limit: int | None
    agreement_only: bool
    methods: tuple[str, ...]
    engines: tuple[str, ...]
    gates: Gates
    attempts: int
    target_vnni: str
    from_int8: bool
    keep_fp32: bool
    version: str | None
    threads: int
    rounds: int


@dataclass(frozen=True, slots=True)
class _Judged:
    measured: Measured
    run: Run


def execute(wish: Wish, say: Callable[[str], None]) -> Report:
    """Try recipes until one passes the gates; write the package then, and nothing otherwise.

    Args:
        wish: the command line.
        say: told what goes on, in words.

    Raises:
        DataError: source, pictures or labels cannot be used, or ``out`` exists.
        UnavailableError: a quantizer or an engine is not installed.
    """
    require(wish.methods)
    source = open_source(wish.model, from_int8=wish.from_int8)
    calibration = Calibration(wish.calibration, wish.calibration_limit)
    examples = _examples(wish, source)
    with staging(wish.out) as folder:
        return _Session(wish, source, calibration, examples, folder, say).run()


def _examples(wish: Wish, source: Source) -> list[Example]:
    if wish.agreement_only:
        return unlabelled(wish.truth, wish.truth_limit)
    spec = source.package.spec
    return labelled(wish.truth, spec.task, spec.labels, annotations=wish.annotations, limit=wish.truth_limit)


class _Session:
    """One run, with what every attempt needs."""

    def __init__(
        self,
        wish: Wish,
        source: Source,
        calibration: Calibration,
        examples: Sequence[Example],
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self._wish, self._source, self._calibration, self._examples = wish, source, calibration, examples
        self._folder, self._say = folder, say
        self._reduce = needs_reduced_range(wish.target_vnni)
        self._report = Report(str(wish.model), self._facts(), calibration.doubts(examples))
        self._float: dict[str, Contender] = {}
        self._float_judged: dict[str, _Judged] = {}

    def run(self) -> Report:
        """Judge fp32, then try the recipes."""
        wish, report = self._wish, self._report
        path = write_float(self._source, self._folder / "fp32")
        self._say(f"fp32: {len(self._examples)} pictures on {' and '.join(wish.engines)}")
        for backend in wish.engines:
            self._float[backend] = self._open(path, backend)
            self._float_judged[backend] = self._judge(self._float[backend])
        self._check_float()
        listed = recipes(
            wish.methods,
            is_transformer=is_transformer(self._source.model),
            has_more_frames=self._calibration.has_more,
        )
        for number, recipe in enumerate(listed[: wish.attempts], 1):
            self._say(f"attempt {number} of at most {min(len(listed), wish.attempts)}: {recipe}")
            candidate = self._folder / f"attempt-{number}"
            attempt = self._try(recipe, candidate)
            report.attempts.append(attempt)
            if not attempt.refusals:
                report.package = str(wish.out)
                self._hand_out(candidate)
                break
        for one in self._float.values():
            one.close()
        return report

    def _check_float(self) -> None:
        """Refuse to judge by what cannot show a loss."""
        gates, package = self._wish.gates, self._source.package
        for backend, one in self._float_judged.items():
            found = one.measured.accuracy
            if found is not None and 100 * found.value <= gates.max_drop_points:
                message = f"the fp32 model itself has {found.metric} {found.value:.4f} on {backend}: nothing to lose"
                help_ = "the labels are not those of the pictures, or the preprocessing is wrong"
                raise DataError("quantize.labels", message, help=help_)
            if found is None and not seen(one.run, package):
                message = f"the fp32 model sees nothing in {len(self._examples)} pictures on {backend}"
                raise DataError("quantize.labels", message, help="give pictures of what it is meant to find")

    def _try(self, recipe: Recipe, folder: Path) -> Attempt:
        folder.mkdir()
        try:
            self._write(recipe, folder)
            contenders = {one: self._open(folder, one) for one in self._wish.engines}
        except DataError as error:
            return Attempt(str(recipe), (), None, {}, (str(error),))
        judged = {backend: self._judge(one) for backend, one in contenders.items()}
        figures = self._figures(judged)
        if not refusals(figures, self._wish.gates):  # how fast a wrong answer comes does not matter
            figures = self._timed(figures, contenders)
        for one in contenders.values():
            one.close()
        return Attempt(
            recipe=str(recipe),
            rows=(*figures.fp32.values(), *figures.new.values()),
            drop_points=drops(figures),
            agreement=self._agreements(figures),
            refusals=refusals(figures, self._wish.gates),
            warnings=warnings(figures, self._wish.gates),
        )

    def _figures(self, judged: Mapping[str, _Judged]) -> Figures:
        package = self._source.package
        runs = [one.run for one in judged.values()]
        return Figures(
            fp32={backend: one.measured for backend, one in self._float_judged.items()},
            new={backend: one.measured for backend, one in judged.items()},
            engines=agreement(runs[0], runs[1], package) if len(runs) > 1 else None,
            fidelity={b: agreement(self._float_judged[b].run, one.run, package) for b, one in judged.items()},
            images=len(self._examples),
        )

    def _timed(self, figures: Figures, contenders: Mapping[str, Contender]) -> Figures:
        paces = {b: race({"fp32": self._float[b], "new": one}, self._wish.rounds) for b, one in contenders.items()}
        return replace(
            figures,
            fp32={b: replace(one, pace=paces[b]["fp32"]) for b, one in figures.fp32.items()},
            new={b: replace(one, pace=paces[b]["new"]) for b, one in figures.new.items()},
        )

    def _agreements(self, figures: Figures) -> dict[str, float]:
        found = {f"fp32 / new package, {backend}": share for backend, share in figures.fidelity.items()}
        if figures.engines is not None:
            first, second = self._wish.engines
            runs = [self._float_judged[one].run for one in (first, second)]
            found[f"{first} / {second}, fp32"] = agreement(runs[0], runs[1], self._source.package)
            found[f"{first} / {second}, new package"] = figures.engines
        return found

    def _open(self, path: Path, backend: str) -> Contender:
        return open_form(path, backend, self._wish.threads, doubtful=not self._wish.agreement_only)

    def _judge(self, one: Contender) -> _Judged:
        run = one.run(self._examples)
        right = None if self._wish.agreement_only else accuracy(run, self._examples, one.package)
        size = len(one.package.model) + len(one.package.parts)
        said = one.package.precision or "fp32"
        measured = Measured(said, one.model.info.backend, size, right, None, run.invalid)
        return _Judged(measured, run)

    def _write(self, recipe: Recipe, folder: Path) -> None:
        wish, source = self._wish, self._source
        frames = self._calibration.frames(recipe.frames)
        job = Job(source.model, source.package.spec.input, frames, self._reduce)
        files = quantize(job, recipe, folder / "model-int8")
        forms = [form(files, "int8")]
        plain = folder.parent / "fp32" / "model-fp32.onnx"
        if recipe.method == "nncf-ir" or wish.keep_fp32:
            shutil.copy(plain, folder / plain.name)
            backends = ["onnxruntime"] if recipe.method == "nncf-ir" and not wish.keep_fp32 else None
            forms.append(form([folder / plain.name], "fp32", backends))
        provenance = {
            "tool": "tools/quantize",
            "source": {"name": source.package.ref.name, "digest": source.package.ref.digest},
            "recipe": str(recipe),
            **self._report.facts,
            "calibration_frames": len(frames),
        }
        changes: dict[str, Any] = {
            "version": wish.version or f"{source.package.ref.version}+int8",
            "provenance": provenance,
            "golden": {key: one for key, one in source.written.get("golden", {}).items() if key == "tolerances"},
        }
        if (release := source.written.get("release")) is not None:
            changes["release"] = release + 1
        write_manifest(folder, source.package, source.written, weights=forms, changes=changes)
        for pattern in _KEPT if source.root is not None else ():
            for path in source.root.glob(pattern) if source.root is not None else ():
                shutil.copy(path, folder / path.name)

    def _hand_out(self, candidate: Path) -> None:
        text = json.dumps(self._report.to_json(), indent=2) + "\n"
        (candidate / REPORT_NAME).write_text(text, "utf-8")
        publish(candidate, self._wish.out)

    def _facts(self) -> dict[str, Any]:
        return {
            "calibration_frames": len(self._calibration.used),
            "calibration_sha256": self._calibration.digest(),
            "calibration_brightness": round(self._calibration.brightness, 1),
            "judged_pictures": len(self._examples),
            "labels": not self._wish.agreement_only,
            "reduce_range": self._reduce,
            "target_vnni": self._wish.target_vnni,
            "cpu": cpu_name(),
            "cpu_vnni": list(vnni_flags(Path("/proc/cpuinfo").read_text("utf-8"))),
            "threads": self._wish.threads,
            "tools": {name: _installed(name) for name in _TOOLS},
        }


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
