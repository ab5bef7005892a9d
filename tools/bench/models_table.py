"""Write the table of docs/models.md: model x engine x precision, with size, time, accuracy or parity, and agreement.

    python tools/bench/models_table.py MODEL ... [--labelled NAME=DIR] [--pictures DIR] [--real DIR] [--out PAGE]

MODEL is a package, a bare file, or a directory of them. Every form of a package is a row on every engine it is meant
for; a form that cannot be opened or run is a row with its error. --real DIR adds the real models of the integration
tests, made into packages in DIR, and `DIR/*` beside them. Accuracy needs labelled pictures (--labelled, by name of the
model); without them parity says how far a form answers --pictures like the fp32 form on ONNX Runtime does. --with-float
adds fp32, made of the INT8 weights, where a package has INT8 only; --bf16 adds what OpenVINO would choose by itself.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quantize_model.cpu import cpu_name, vnni_flags
from quantize_model.judge import TASKS, Accuracy, Contender, Pace, Run, accuracy, agreement, race
from quantize_model.source import open_source, write_float
from quantize_model.truth import Example, labelled, unlabelled

from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.core.manifest import MANIFEST_NAME, parse_manifest
from edge_runtime.engine.base import BACKENDS
from edge_runtime.engine.package import Package, open_package

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BEGIN: Final = "<!-- models_table.py: begin -->"
END: Final = "<!-- models_table.py: end -->"
_ROOT: Final = Path(__file__).resolve().parents[2]
_HEAD: Final = (
    "| model | task | engine | precision | MB | p50 ms | p99 ms | speed | accuracy or parity | engines agree |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, slots=True)
class Form:
    """One file of one model: its name, where it is, the engines it is meant for, a precision to ask for or ``None``."""

    name: str
    path: Path
    backends: tuple[str, ...]
    precision: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What was found out about a form on an engine.

    Attributes:
        key: of the form; rows of one form on two engines share it.
        error: why nothing was, else ``None``.
    """

    form: Form
    backend: str
    key: str
    package: Package | None = None
    precision: str = "?"
    run: Run | None = None
    pace: Pace | None = None
    right: Accuracy | None = None
    error: str | None = None


def forms(path: Path) -> Iterator[Form]:
    """Yield every form of the models at ``path``."""
    if path.is_dir() and not (path / MANIFEST_NAME).exists():
        for one in sorted(path.iterdir()):
            if one.name.startswith("."):  # a package that is still being made
                continue
            if one.is_dir() or one.suffix in (".onnx", ".xml"):
                yield from forms(one)
    elif path.is_dir():
        try:
            manifest = parse_manifest((path / MANIFEST_NAME).read_bytes(), where=str(path))
        except EdgeError:
            yield Form(path.name, path, BACKENDS)  # opening it again says what is wrong
            return
        for weights in manifest.weights:
            yield Form(manifest.name, path / weights.files[0].file, weights.backends)
    else:
        yield Form(path.stem, path, ("openvino",) if path.suffix == ".xml" else BACKENDS)


def with_float(found: Sequence[Form], folder: Path) -> list[Form]:
    """Add fp32, made of the INT8 weights, for packages without it."""
    added: list[Form] = []
    for one in found:
        if one.path.suffix != ".onnx" or sum(other.name == one.name for other in found) > 1:
            continue
        try:
            source = open_source(one.path, from_int8=True)
        except EdgeError:
            continue  # its own row says why
        if source.was_int8:
            write_float(source, folder / one.name)
            added.append(Form(one.name, folder / one.name / "model-fp32.onnx", BACKENDS))
    return [*added, *found]


def with_bf16(found: Sequence[Form]) -> list[Form]:
    """Add for each fp32 form what OpenVINO would compute in by itself where the CPU has bfloat16."""
    flags = Path("/proc/cpuinfo").read_text("utf-8")
    if "avx512_bf16" not in flags and "amx_bf16" not in flags:
        return list(found)
    added = []
    for one in found:
        added.append(one)
        try:
            is_float = open_package(one.path, ("openvino",)).precision == "fp32"
        except EdgeError:
            continue  # its own row says why
        if is_float:
            added.append(replace(one, backends=("openvino",), precision="bf16"))
    return added


class Table:
    """Judges forms; pictures are the same for all forms of a model."""

    def __init__(self, truth: dict[str, Path], pictures: Path | None, limit: int, threads: int, rounds: int) -> None:
        self._truth, self._pictures, self._limit = truth, pictures, limit
        self._threads, self._rounds = threads, rounds

    def rows(self, found: Sequence[Form]) -> list[Row]:
        """Judge the forms of one model, and time them against the first that runs."""
        opened: dict[int, Contender] = {}
        rows: list[Row] = []
        for form in found:
            for backend in form.backends:
                row = Row(form, backend, f"{form.path}{form.precision}")
                try:
                    package = open_package(form.path, (backend,))
                    package = replace(package, precision=form.precision or package.precision)
                    contender = Contender(package, backend, self._threads, doubtful=form.name in self._truth)
                    row = self._judged(row, contender)
                    opened[len(rows)] = contender
                except EdgeError as error:
                    row = replace(row, error=error.message)
                rows.append(row)
                print(f"{form.name} {form.path.name} {backend}: {row.error or row.precision}", file=sys.stderr)
        paces = race({str(number): one for number, one in opened.items()}, self._rounds) if opened else {}
        for one in opened.values():
            one.close()
        return [replace(row, pace=paces.get(str(number))) for number, row in enumerate(rows)]

    def _judged(self, row: Row, contender: Contender) -> Row:
        package = contender.package
        examples, is_labelled = self._examples(row.form.name, package)
        run = contender.run(examples) if examples else None
        right = accuracy(run, examples, package) if run and is_labelled else None
        return replace(row, package=package, precision=contender.model.info.precision, run=run, right=right)

    def _examples(self, name: str, package: Package) -> tuple[list[Example], bool]:
        if (folder := self._truth.get(name)) is not None:
            spec = package.spec
            return labelled(folder, spec.task, spec.labels, annotations=None, limit=self._limit), True
        return (unlabelled(self._pictures, self._limit) if self._pictures else []), False


def lines(rows: Sequence[Row]) -> list[str]:
    """Return the rows of one model in Markdown; parity is to its first fp32 form on ONNX Runtime."""
    reference = next((r for r in rows if r.precision == "fp32" and r.backend == "onnxruntime" and r.run), None)
    return [_line(row, reference, [r for r in rows if r.key == row.key and r is not row and r.run]) for row in rows]


def _line(row: Row, reference: Row | None, others: Sequence[Row]) -> str:
    if row.error is not None or row.package is None:
        error = (row.error or "").replace("|", "\\|").replace("\n", " ")
        return f"| {row.form.name} | ? | {row.backend} | {row.form.precision or '?'} | | | | | failed: {error} | |"
    size = (len(row.package.model) + len(row.package.parts)) / 1e6
    times = [f"{row.pace.p50_ms:.2f}", f"{row.pace.p99_ms:.2f}", f"{row.pace.speedup:.2f}"] if row.pace else ["-"] * 3
    quality = "-"
    if row.right is not None:
        quality = f"{row.right.metric} {row.right.value:.4f}"
    elif row.run is not None and reference is not None and reference.run is not None:
        kind = "" if row.package.spec.task in TASKS else " (raw outputs)"
        quality = "reference" if row is reference else f"parity {_same(reference, row):.4f}{kind}"
    if row.run is not None and row.run.invalid:
        quality += f", {row.run.invalid} answers make no sense"
    agree = f"{_same(others[0], row):.4f}" if others else "-"
    cells = [row.form.name, row.package.spec.task, row.backend, row.precision, f"{size:.2f}", *times, quality, agree]
    return "| " + " | ".join(cells) + " |"


def _same(first: Row, second: Row) -> float:
    if first.run is None or second.run is None or second.package is None:
        raise ValueError("only rows with answers are compared")
    return agreement(first.run, second.run, second.package)


def real_models(folder: Path) -> list[str]:
    """Make packages of the real models of the tests in ``folder``; return what is not there, in words."""
    import pytest  # noqa: PLC0415 - its skip is how the tests say that a file is missing

    from tests.integration import real_assets  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    for name in sorted(one for one in dir(real_assets) if one.endswith("_package")):
        try:
            getattr(real_assets, name)(folder)
        except FileExistsError:
            continue  # of an earlier run
        except pytest.skip.Exception as absent:
            missing.append(f"| {name.removesuffix('_package')} | ? | ? | ? | | | | | failed: {absent.msg} | |")
    return missing


def check_marks(page: Path) -> None:
    """Find out before an hour of measuring whether there is a place for its result.

    Raises:
        DataError: the page has no marks.
    """
    text = page.read_text("utf-8") if page.is_file() else ""
    if not 0 <= text.find(BEGIN) < text.find(END):
        message = f"{page}: expected the lines {BEGIN} and {END}"
        raise DataError("table.no_marks", message, help="add them where the table shall stand")


def write(page: Path, text: str) -> None:
    """Put ``text`` between the marks of ``page``, see `check_marks`."""
    old = page.read_text("utf-8")
    page.write_text(old[: old.index(BEGIN)] + f"{BEGIN}\n{text}\n" + old[old.index(END) :], "utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--labelled", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--with-float", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--limit", type=int, default=200, help="pictures per model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="page with the marks; default: print")
    return parser.parse_args()


def main() -> int:
    """Judge, then print or write."""
    options = _parse()
    try:
        return _make(options)
    except EdgeError as error:
        sys.stderr.write(error.report())
        return error.exit_code


def _make(options: argparse.Namespace) -> int:
    if options.out:
        check_marks(options.out)
    missing = real_models(options.real) if options.real else []
    paths = [*options.models, *([options.real] if options.real else [])]
    table = Table(
        {name: Path(folder) for name, _, folder in (one.partition("=") for one in options.labelled)},
        options.pictures,
        options.limit,
        options.threads,
        options.rounds,
    )
    with tempfile.TemporaryDirectory() as folder:
        found = [form for path in paths for form in forms(path)]
        found = with_float(found, Path(folder)) if options.with_float else found
        found = with_bf16(found) if options.bf16 else found
        names = list(dict.fromkeys(form.name for form in found))
        body = [line for name in names for line in lines(table.rows([one for one in found if one.name == name]))]
    flags = vnni_flags(Path("/proc/cpuinfo").read_text("utf-8"))
    told = " ".join(shlex.quote(one) for one in sys.argv[1:])
    note = (
        f"Measured on {cpu_name()} ({', '.join(flags) or 'no VNNI'}), {options.threads} thread(s), by\n\n"
        f"    python tools/bench/models_table.py {told}\n"
    )
    text = "\n".join([note, _HEAD, *body, *missing])
    if options.out:
        write(options.out, text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
