"""`edge-model.json`: what a model package says about itself, parsed from bytes and checked.

The identity of a package is ``sha256:`` and the hex SHA-256 of the bytes of its `edge-model.json`, exactly as they
lie in the file. The manifest lists the SHA-256 of every weights file, so the one digest pins the whole model.

A value that is missing stays ``None``: `engine.metadata` may find it inside the model; nothing is invented here.
Unknown keys are kept in `Manifest.ignored` (a newer publisher may add some), but a key that resembles a known one is
refused as a slip of the pen.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_runtime.core.acceptance import Gates, Tolerances, read_gates, read_tolerances
from edge_runtime.core.description import CHAIN, Description, read_description
from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.core.reference import ModelReference, read_reference
from edge_runtime.core.steps import Step, parse_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA: Final = "edge-model/1"
MANIFEST_NAME: Final = "edge-model.json"
SIZE_LIMIT_BYTES: Final = 1 << 20
FORMATS: Final = ("onnx", "openvino-ir")
PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8")
BACKENDS: Final = ("openvino", "onnxruntime")

_HELP: Final = "correct the model package; a package that was signed must be published again"
_HELP_HASH: Final = "edge-runtime models pack DIRECTORY adds the hashes of files that you trust"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"(?!.*(^|/)\.\.?(/|$))[0-9A-Za-z_.-][0-9A-Za-z_./-]{0,199}")


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file of the weights: relative path in the package and lower-case hex SHA-256 of its bytes."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Weights:
    """One form of the model.

    Attributes:
        files: the model file first, then what belongs to it (the `.bin` of an OpenVINO IR).
        format: one of `FORMATS`.
        precision: one of `PRECISIONS`, what the publisher quantized to; ``None`` when not stated.
        backends: engines this form is meant for, best first; a subset of `BACKENDS`.
    """

    files: tuple[WeightsFile, ...]
    format: str
    precision: str | None
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole `edge-model.json`; `digest` is the identity of the package.

    Attributes:
        release: counter of the publisher, >= 0; orders releases of the same name.
        hardware: free names of boxes this was measured on.
        requires: minimal versions by library, as written.
        steps: of a chain, which has no weights of its own.
        golden: the section as written; `tolerances` and `gates` are its checked parts.
        reference: what the model answers when all is well, ``None`` when nobody wrote it down.
        ignored: dotted names of keys this version does not know.
    """

    name: str
    version: str
    digest: str
    weights: tuple[Weights, ...]
    release: int | None = None
    description: Description = field(default_factory=Description)
    tolerances: Tolerances = field(default_factory=Tolerances)
    gates: Gates = field(default_factory=Gates)
    hardware: tuple[str, ...] = ()
    requires: Mapping[str, object] = field(default_factory=dict)
    golden: Mapping[str, object] = field(default_factory=dict)
    reference: ModelReference | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    ignored: tuple[str, ...] = ()


def parse_manifest(raw: bytes, *, where: str = MANIFEST_NAME) -> Manifest:
    """Return the manifest in ``raw`` or say everything that is wrong with it at once.

    Args:
        raw: the bytes of the file.
        where: name of the file for messages.

    Raises:
        DataError: code ``manifest.unreadable`` (not one JSON object) or ``manifest.invalid`` (all problems).
    """
    data = load_object(raw, where, limit_bytes=SIZE_LIMIT_BYTES)
    problems: list[str] = []
    ignored: list[str] = []
    top = Section(data, "", problems, ignored)
    schema = top.text("schema", required=True)
    if schema is not None and schema != SCHEMA:
        problems.append(f"schema: expected {SCHEMA!r}, found {schema!r}")
    description = read_description(top)
    is_chain = description.task == CHAIN
    manifest = Manifest(
        name=top.text("name", required=True, pattern=_NAME) or "",
        version=top.text("version", required=True, pattern=_VERSION) or "",
        digest="sha256:" + hashlib.sha256(raw).hexdigest(),
        release=top.integer("release", 0, 2**53),
        weights=() if is_chain else _weights(top),
        description=description,
        tolerances=read_tolerances(top.section("golden", open_ended=True)),
        gates=read_gates(top.section("golden", open_ended=True)),
        hardware=top.texts("hardware") or (),
        requires=top.mapping("requires"),
        golden=top.mapping("golden"),
        reference=read_reference(top),
        provenance=top.mapping("provenance"),
        steps=parse_steps(top) if is_chain else (),
    )
    top.close(also=("description", "license", "$schema", "created"))
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise DataError(
            "manifest.invalid",
            f"{where}: {count}\n  " + "\n  ".join(problems),
            help=_HELP_HASH if all("sha256: expected a text, found null" in one for one in problems) else _HELP,
        )
    return replace(manifest, ignored=tuple(ignored))


def bare_digest(sha256: Sequence[str]) -> str:
    """Return the identity of weights that came without a manifest.

    One file: ``sha256:`` and its hex SHA-256. Several (an IR's `.xml`, then its `.bin`; then the files beside the model
    that a value was read from, by name): the SHA-256 of their hex digests in that order, each followed by a line feed.
    """
    if len(sha256) == 1:
        return f"sha256:{sha256[0]}"
    return "sha256:" + hashlib.sha256("".join(f"{one}\n" for one in sha256).encode()).hexdigest()


def _weights(top: Section) -> tuple[Weights, ...]:
    forms = []
    for section in top.sections("weights"):
        files = [_weights_file(section)]
        files += (
            [_weights_file(part, close=True) for part in section.sections("parts")] if "parts" in section.data else []
        )
        kind = section.choice("format", FORMATS)
        name = files[0].file
        if kind is None:
            kind = {"onnx": "onnx", "xml": "openvino-ir"}.get(name.rpartition(".")[2])
        if kind is None and "format" not in section.data:
            section.wrong("format", "one of " + ", ".join(FORMATS), None)
        backends = section.texts("backends")
        default = BACKENDS if kind == "onnx" else ("openvino",)
        if backends is not None and (not backends or not set(backends) <= set(default)):
            section.wrong("backends", f"some of {', '.join(default)} for {kind}", list(backends))
        forms.append(Weights(tuple(files), kind or "", section.choice("precision", PRECISIONS), backends or default))
        section.close(also=("size_bytes", "quantization"))
    return tuple(forms)


def _weights_file(section: Section, *, close: bool = False) -> WeightsFile:
    found = WeightsFile(
        section.text("file", required=True, pattern=_FILE) or "",
        section.text("sha256", required=True, pattern=_SHA256) or "",
    )
    if close:
        section.close(also=("size_bytes",))
    return found
