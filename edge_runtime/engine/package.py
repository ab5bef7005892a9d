"""Opening a model: a package or foreign directory, or a bare file. Bytes are read once, checked, and kept.

What is hashed is what is compiled: the engines get the very bytes that were verified, never a path they would read
again.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.description import CHAIN
from edge_runtime.core.errors import DataError
from edge_runtime.core.layouts import reader_files
from edge_runtime.core.manifest import (
    MANIFEST_NAME,
    Manifest,
    Weights,
    WeightsFile,
    bare_digest,
    parse_manifest,
)
from edge_runtime.core.result import ModelRef
from edge_runtime.core.steps import Step
from edge_runtime.engine.base import BACKENDS
from edge_runtime.engine.gates.irgate import inspect_ir
from edge_runtime.engine.gates.onnxgate import SIZE_LIMIT_BYTES, OnnxFacts, inspect_onnx
from edge_runtime.engine.joined import TURNS, join, reads_text
from edge_runtime.engine.layouts import Foreign, check_signature, find_around, find_foreign
from edge_runtime.engine.metadata import Graph, Sourced, other_labels, resolve
from edge_runtime.engine.sidecars import Sidecars, read_sidecars
from edge_runtime.system.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.engine.spec import ModelSpec

BARE_VERSION: Final = "0"
_MODELS_TOLD: Final = 5
_FORMATS: Final = {".onnx": "onnx", ".xml": "openvino-ir"}


@dataclass(frozen=True, slots=True)
class Package:
    """A verified model that is ready to be compiled.

    Attributes:
        ref: name, version and digest as results state them.
        manifest: what the package says, ``None`` for a bare file.
        spec: the complete description.
        sources: each value of it with its source, by dotted name.
        format: one of `core.manifest.FORMATS`, or `chain`.
        model: bytes of the `.onnx`, or of the IR's `.xml`.
        parts: bytes of the IR's `.bin`, else empty.
        backends: engines that can load this form, best first.
        precision: what the publisher says it was quantized to, or ``None``.
        notes: what a reader of the log should know.
        chain: the models of a chain, in their order, which has no bytes of its own; empty for a single model.
        steps: what each of them is shown, as many.
        origin: of a model without a manifest, what is known of where it came from: the ``system`` that laid it out, the
            hex SHA-256 of the ``files`` that were read, and what the directory states.
    """

    ref: ModelRef
    manifest: Manifest | None
    spec: ModelSpec
    sources: dict[str, Sourced]
    format: str
    model: bytes
    parts: bytes
    backends: tuple[str, ...]
    precision: str | None
    notes: tuple[str, ...]
    chain: tuple[Package, ...] = ()
    steps: tuple[Step, ...] = ()
    origin: Mapping[str, object] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes of all weights."""
        return len(self.model) + len(self.parts) + sum(one.size_bytes for one in self.chain)

    @property
    def reads_text(self) -> bool:
        """Whether predictions may carry text."""
        return reads_text(self.chain[-1].spec if self.chain else self.spec)


def open_package(path: str | Path, wanted: Sequence[str] = ()) -> Package:
    """Read, verify and describe the model at ``path``.

    Args:
        path: a directory with an `edge-model.json` or as `layouts` knows them, or a `.onnx` or `.xml` file; a file that
            an `edge-model.json` beside it names is opened as that package.
        wanted: backends, best first; the form that is meant for the first of them for which there is one is taken.
            Without any it is the package's first.

    Raises:
        DataError: anything about the model is wrong; codes ``model.missing``, ``model.digest_mismatch``,
            ``model.no_form``, ``manifest.*`` and those of `layouts`, `onnxgate`, `irgate` and `metadata`.
    """
    try:
        return _open(Path(path), wanted)
    except OSError as error:
        raise _unreadable(Path(path), error) from error


def _open(path: Path, wanted: Sequence[str]) -> Package:
    if path.is_dir():
        found = None if (path / MANIFEST_NAME).exists() else find_foreign(path)
        return _open_directory(path, wanted) if found is None else _open_foreign(found)
    beside = path.with_name(MANIFEST_NAME)
    if path.is_file() and beside.is_file():
        manifest = _manifest(beside)
        if any(path.name == form.files[0].file for form in manifest.weights):
            return _open_directory(path.parent, wanted, only=path.name)
    around = find_around(path) if path.is_file() else None
    return _open_bare(path) if around is None else _open_foreign(around)


def _open_directory(root: Path, wanted: Sequence[str], only: str | None = None) -> Package:
    if not os.path.lexists(root / MANIFEST_NAME):
        if readers := _readers(root):
            return _join_readers(root, readers)
        raise _no_manifest(root)
    manifest = _manifest(root / MANIFEST_NAME)
    if manifest.description.task == CHAIN:
        return _open_chain(root, manifest, wanted)
    forms = [form for form in manifest.weights if only in (None, form.files[0].file)]
    fitting = [form for backend in wanted for form in forms if backend in form.backends] if wanted else forms
    if not fitting:
        has = ", ".join(f"{form.files[0].file} for {'/'.join(form.backends)}" for form in forms)
        message = f"{root.name}: no weights for backend {' or '.join(wanted)}, the package has {has}"
        raise DataError("model.no_form", message, help="use backend auto, or a package with ONNX weights")
    form = fitting[0]
    contents = [_read_verified(root, part) for part in form.files]
    ref = ModelRef(manifest.name, manifest.version, manifest.digest)
    return _describe(ref, manifest, form, contents, f"{root.name}/{form.files[0].file}", Sidecars())


def _no_manifest(root: Path) -> DataError:
    """Return what to say about a directory that is no package; mostly somebody meant the model inside."""
    models = sorted(one.relative_to(root).as_posix() for one in root.glob("*") if one.suffix.lower() in _FORMATS)
    inside = sorted(one.relative_to(root).as_posix() for one in root.glob("*/*") if one.suffix.lower() in _FORMATS)
    found = ", ".join((models or inside)[:_MODELS_TOLD])
    message = f"{root}: a directory without {MANIFEST_NAME}, with {found or 'no .onnx or .xml file in it'}"
    help_ = f"name the model itself, like {root / found.partition(', ')[0]}" if found else "correct the path"
    return DataError("model.missing", message, help=f"{help_}; a package has an {MANIFEST_NAME}")


def _open_chain(root: Path, manifest: Manifest, wanted: Sequence[str]) -> Package:
    """Open the steps and hold each to the digest that the chain's manifest pins it by."""
    chain = []
    for step in manifest.steps:
        path = _inside(root, step.package)
        if path.is_dir() and not (path / MANIFEST_NAME).is_file():
            message = f"{root.name}/{step.package}: no {MANIFEST_NAME}"
            raise DataError("model.missing", message, help="a step is a package of its own, or a model file")
        one = _open(path, wanted)
        if one.chain:
            message = f"{root.name}/{step.package} is a chain itself"
            raise DataError("model.wrong_chain", message, help="write its steps into this chain")
        if one.ref.digest != step.digest:
            message = f"{root.name}/{step.package}: expected {step.digest}, found {one.ref.digest}"
            help_ = "the step was changed; copy the package again, or pin it anew (models inspect prints its digest)"
            raise DataError("model.digest_mismatch", message, help=help_)
        chain.append(one)
    return _join(ModelRef(manifest.name, manifest.version, manifest.digest), manifest, chain, manifest.steps)


def _readers(root: Path) -> list[Package]:
    """Return the models of a directory without a manifest that read text together, in their order; else none.

    They are a text detector and a recogniser, and perhaps a direction classifier, in the directory or one in each of
    its directories. All say themselves what they are.

    Raises:
        DataError: code ``model.ambiguous``, there are more than these.
    """
    files = reader_files(root)
    by_task: dict[str, list[Package]] = {}
    for path in files:
        try:
            one = _open_bare(path)
        except DataError:  # needs a manifest to be understood, so it is none of them
            continue
        by_task.setdefault(one.spec.task, []).append(one)
    if not {"text_detection", "text_recognition"} <= by_task.keys():
        return []
    turners = [one for one in by_task.get("classification", []) if set(one.spec.labels) == TURNS]
    chain = [*by_task["text_detection"], *turners, *by_task["text_recognition"]]
    if len(chain) != len(files) or any(len(some) > 1 for some in by_task.values()):
        names = ", ".join(path.relative_to(root).as_posix() for path in files)
        message = f"{root.name}: expected one text detector, one recogniser and nothing else, found {names}"
        raise DataError("model.ambiguous", message, help=f"take the others out, or write an {MANIFEST_NAME} with steps")
    return chain


def _join_readers(root: Path, chain: Sequence[Package]) -> Package:
    digest = bare_digest([one.ref.digest.removeprefix("sha256:") for one in chain])
    steps = tuple(Step(one.ref.name, one.ref.digest) for one in chain)
    return _join(ModelRef(root.resolve().name, BARE_VERSION, digest), None, chain, steps)


def _join(ref: ModelRef, manifest: Manifest | None, chain: Sequence[Package], steps: tuple[Step, ...]) -> Package:
    backends = tuple(one for one in chain[0].backends if all(one in other.backends for other in chain))
    if not backends:
        has = ", ".join(f"{one.ref.name} for {'/'.join(one.backends)}" for one in chain)
        message = f"{ref.name}: no backend runs every step: {has}"
        raise DataError("model.no_form", message, help="use steps with ONNX weights")
    names = [f"step {number}" for number in range(1, len(chain) + 1)]
    return Package(
        ref=ref,
        manifest=manifest,
        spec=join([one.spec for one in chain], steps, ref.name),
        sources={
            f"{name}: {key}": value
            for name, one in zip(names, chain, strict=True)
            for key, value in one.sources.items()
        },
        format=CHAIN,
        model=b"",
        parts=b"",
        backends=backends,
        precision=None,
        notes=tuple(f"{name}: {note}" for name, one in zip(names, chain, strict=True) for note in one.notes),
        chain=tuple(chain),
        steps=steps,
    )


def _open_bare(path: Path, found: Foreign | None = None) -> Package:
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        what = "no such file" if not path.exists() else "not a model"
        message = f"{path}: {what}; expected a package directory, a .onnx or a .xml file"
        raise DataError("model.missing", message, help="correct the path")
    files = [path, path.with_suffix(".bin")] if kind == "openvino-ir" else [path]
    contents = [_read(one) for one in files]
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    form = Weights(
        files=tuple(WeightsFile(one.name, digest) for one, digest in zip(files, hashes, strict=True)),
        format=kind,
        precision=None,
        backends=BACKENDS if kind == "onnx" else ("openvino",),
    )
    beside = read_sidecars(path)
    if found is not None:
        beside.add(found.beside)
    package = _describe(ModelRef(path.stem, BARE_VERSION, bare_digest(hashes)), None, form, contents, path.name, beside)
    used = {one.source for one in package.sources.values()}
    pinned = {name: digest for name, digest in sorted(beside.sha256.items()) if name in used}
    origin = {
        "system": "file" if found is None else found.system,
        **({} if found is None else found.facts),
        "files": {
            **{one.name: digest for one, digest in zip(files, hashes, strict=True)},
            **(pinned if found is None else found.read),
        },
    }
    ref = replace(package.ref, digest=bare_digest([*hashes, *pinned.values()]))
    return replace(package, ref=ref, origin=origin)


def _open_foreign(found: Foreign) -> Package:
    package = _open_bare(found.file, found)
    if found.signature is not None:
        where = f"{found.name}/{found.file.name}"
        check_signature(found.signature, inspect_onnx(package.model, where).inputs, where)
    ref = replace(package.ref, name=found.name, version=found.version or BARE_VERSION)
    return replace(package, ref=ref, notes=(*package.notes, *found.notes))


def _describe(
    ref: ModelRef,
    manifest: Manifest | None,
    form: Weights,
    contents: list[bytes],
    where: str,
    beside: Sidecars,
) -> Package:
    facts = (
        inspect_onnx(contents[0], where)
        if form.format == "onnx"
        else inspect_ir(contents[0], where, len(contents[1]) if len(contents) > 1 else 0)
    )
    graph = Graph({**facts.metadata, **beside.metadata}, facts.inputs, facts.outputs, sha256=form.files[0].sha256)
    if isinstance(facts, OnnxFacts):
        graph = replace(graph, operators=facts.operators, producer=facts.producer or facts.graph_name)
    spec, sources = resolve(manifest, graph, where)
    notes = [*beside.notes, *(() if manifest else other_labels(graph, spec.labels))]
    notes += (
        [] if manifest is None or not manifest.ignored else [f"unknown keys ignored: {', '.join(manifest.ignored)}"]
    )
    if spec.input.fit != "fixed":
        notes.append("the size of the input follows from each picture; input.size fixes it")
    label, count = next(iter(Counter(spec.labels).most_common(1)), ("", 0))
    if count > 1:
        notes.append(f"label {label!r} stands there {count} times; only the id tells them apart")
    return Package(
        ref=ref,
        manifest=manifest,
        spec=spec,
        sources=sources,
        format=form.format,
        model=contents[0],
        parts=contents[1] if len(contents) > 1 else b"",
        backends=form.backends,
        precision=form.precision,
        notes=tuple(notes),
    )


def _manifest(path: Path) -> Manifest:
    return parse_manifest(_read(path), where=f"{path.parent.name}/{path.name}")


def read_weights(root: Path, file: str) -> bytes:
    """Return the content of ``file`` in the package ``root``.

    Raises:
        DataError: code ``model.missing`` (also for what leads out of the package) or ``model.unreadable``.
    """
    return _read(_inside(root, file))


def _read_verified(root: Path, part: WeightsFile) -> bytes:
    content = read_weights(root, part.file)
    found = hashlib.sha256(content).hexdigest()
    if found != part.sha256:
        message = f"{root.name}/{part.file}: expected sha256 {part.sha256}, found {found}"
        raise DataError(
            "model.digest_mismatch", message, help="the file was changed or cut off; copy the package again"
        )
    return content


def _inside(root: Path, name: str) -> Path:
    path = root / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):  # resolve() raises at links in a circle
        message = f"{root.name}/{name} leads out of the package"
        raise DataError("model.missing", message, help="copy the file into the package")
    return path


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > SIZE_LIMIT_BYTES:
                message = f"{path}: {size} bytes, the limit is {SIZE_LIMIT_BYTES}"
                raise DataError("model.unreadable", message, help="use a smaller model")
            return file.read()
    except FileNotFoundError as error:
        raise DataError(
            "model.missing", f"{path}: no such file", help="the package is incomplete; copy it again"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    message = f"{path}: cannot be read: {error.strerror}"
    return DataError("model.missing", message, help="check the path and its permissions")
