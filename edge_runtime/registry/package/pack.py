"""A package directory becomes a release: which files go, what is made because it is missing, and the blobs of all.

Packed is what a package consists of and nothing that happens to lie beside it: `edge-model.json`, the weights it names,
the golden answers and their pictures, and its papers. The same content gives the same manifest, whenever, wherever and
by whomever it is packed, because only names and bytes go in.
"""

from __future__ import annotations

import errno
import hashlib
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from edge_runtime.core.description import CHAIN
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import ANSWERS_LIMIT_BYTES, FOLDER, parse_golden
from edge_runtime.core.jsonfields import load_object
from edge_runtime.core.manifest import MANIFEST_NAME, SIZE_LIMIT_BYTES, Manifest, parse_manifest
from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.descriptor import Descriptor, describe
from edge_runtime.registry.package import modelpack
from edge_runtime.registry.package.modelpack import (
    CONFIG,
    DATASET,
    DOC,
    LAYERS_MAX,
    WEIGHT,
    WEIGHT_CONFIG,
    Artifact,
    checked_path,
)
from edge_runtime.registry.package.papers import (
    CARD_NAME,
    LICENCE_NAME,
    PROVENANCE_NAME,
    SBOM_BYTES_MAX,
    SBOM_NAME,
    Subject,
    doubt_sbom,
    make_card,
    make_licence,
    make_provenance,
    make_sbom,
)
from edge_runtime.registry.package.unpack import GOLDEN, check_contents, weights_of
from edge_runtime.system.files import storage_error
from edge_runtime.system.regular import open_beneath

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from edge_runtime.registry.carriers.carrier import Publication

_NO_RELEASE_HELP: Final = 'write "release": N there, higher than any before, or let models pack add it with --release N'
_CHUNK_BYTES: Final = 1 << 20
_LICENCE: Final = re.compile(r"(LICEN[CS]E|COPYING)(\.(md|txt))?")
_PAPER: Final = re.compile(rf"{_LICENCE.pattern}|NOTICE(\.(md|txt))?")
_REPOSITORY: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
_NOT_A_FILE: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EISDIR})


@dataclass(frozen=True, slots=True)
class Packed:
    """A package that is ready to be published.

    Attributes:
        package: what its `edge-model.json` says; its `release` is not ``None``.
        manifest: the bytes of the OCI manifest.
        artifact: the same, read.
        made: papers that the directory lacks and that were made, by path.
        left_out: what lies in the directory and does not belong to the package; directories end with a slash.
        notes: what its publisher should know.
    """

    package: Manifest
    manifest: bytes
    artifact: Artifact
    made: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    _reader: _Reader

    @property
    def release(self) -> int:
        """Number of the release, which is its tag."""
        return self.package.release or 0

    def publish(self, registry: Publication) -> None:
        """Write all blobs that ``registry`` lacks, then the manifest, tagged with the number of the release.

        It does not become a release by that: boxes take what was signed, see `registry.publisher`.

        Raises:
            DataError: a file was changed since it was packed.
            EdgeError: it cannot be read or written.
        """
        repository = self.package.name
        for path, blob in (*self.artifact.files.items(), (CONFIG, self.artifact.config)):
            if not registry.has(repository, blob):
                with self._reader.open(path) as file:
                    registry.put(repository, blob, file)
        registry.tag(repository, str(self.release), self.manifest)


def pack(root: Path) -> Packed:
    """Return the package directory ``root`` as a release; its files are read and hashed, nothing is written.

    Raises:
        DataError: it is no package, has no release, lacks a file that it names, or would not be taken by a box; codes
            ``pack.*``, ``package.*``, ``manifest.*`` and ``golden.invalid``.
        EdgeError: a file cannot be read.
    """
    root = root.absolute()  # so that "." has a name
    reader = _Reader(root)
    raw = reader.keep(MANIFEST_NAME, SIZE_LIMIT_BYTES)
    package = parse_manifest(raw, where=f"{root.name}/{MANIFEST_NAME}")
    release = _checked_release(package, root)
    named = dict(_named(reader, package))
    files = {path: reader.describe(path, kind) for path, kind in named.items()}
    document = load_object(raw, MANIFEST_NAME, limit_bytes=SIZE_LIMIT_BYTES)
    weights = {path: blob.hex for path, blob in files.items() if blob.media_type == WEIGHT}
    subject = Subject(package, document, weights)
    made = dict(_missing(subject, named))
    reader.content |= made
    files |= {path: describe(content, DOC) for path, content in made.items()}
    if len(files) > LAYERS_MAX:
        message = f"{root.name}: {len(files)} files, a release holds up to {LAYERS_MAX}"
        raise DataError("pack.too_many", message, help=f"keep fewer pictures in {FOLDER}, those that tell most")
    config = modelpack.make_config(package, files, [] if subject.licence is None else [subject.licence])
    reader.content[CONFIG] = config
    manifest = modelpack.make_manifest(files, describe(config, CONFIG))
    artifact = modelpack.parse_manifest(manifest, root.name)
    check_contents(
        artifact, reader.content, model=package.name, release=release, digest=package.digest, where=root.name
    )
    return Packed(
        package=package,
        manifest=manifest,
        artifact=artifact,
        made=tuple(sorted(made)),
        left_out=tuple(_left_out(root, files.keys())),
        notes=tuple(_notes(reader, subject, files)),
        _reader=reader,
    )


@dataclass(slots=True)
class _Reader:
    """Reads files of a package, none of them through a link; small ones that were looked into are kept."""

    root: Path
    content: dict[str, bytes] = field(default_factory=dict)

    def open(self, path: str) -> BinaryIO:
        if path in self.content:
            return io.BytesIO(self.content[path])
        where = f"{self.root.name}/{path}"
        try:
            return open_beneath(self.root, *checked_path(path, where).split("/"))
        except FileNotFoundError as error:
            if path == MANIFEST_NAME:
                message = f"{self.root / path}: there is no such file, so {self.root} is no package"
                raise _no_package("pack.missing", message) from error
            help_ = "copy it there, or take it out of what names it"
            raise DataError("pack.missing", f"{where}: there is no such file", help=help_) from error
        except OSError as error:
            if error.errno == errno.ENOTDIR and path == MANIFEST_NAME:
                message = f"{self.root} is no package: it is no directory"
                raise _no_package("pack.not_a_file", message) from error
            if error.errno in _NOT_A_FILE:
                message = f"{where} is no regular file in regular directories"
                raise DataError("pack.not_a_file", message, help="copy the file into the package: no links") from error
            raise storage_error(error, self.root / path, "read") from error

    def keep(self, path: str, limit_bytes: int) -> bytes:
        with self.open(path) as file:
            raw = self._read(file, path, limit_bytes + 1)
        if len(raw) > limit_bytes:
            message = f"{self.root.name}/{path} has more than the {limit_bytes} bytes that are allowed"
            raise DataError("pack.too_large", message, help="no box would read it")
        self.content[path] = raw
        return raw

    def describe(self, path: str, kind: str) -> Descriptor:
        hasher, size = hashlib.sha256(), 0
        with self.open(path) as file:
            while chunk := self._read(file, path, _CHUNK_BYTES):
                hasher.update(chunk)
                size += len(chunk)
        return Descriptor(f"sha256:{hasher.hexdigest()}", size, kind)

    def has(self, path: str) -> bool:
        try:
            self.open(path).close()
        except DataError as error:
            if error.code == "pack.missing":
                return False
            raise
        return True

    def _read(self, file: BinaryIO, path: str, limit: int) -> bytes:
        try:
            return file.read(limit)
        except OSError as error:
            raise storage_error(error, self.root / path, "read") from error


def _no_package(code: str, message: str) -> DataError:
    help_ = "correct the path; edge-runtime models pack MODEL --out DIR --release N makes a package of a bare model"
    return DataError(code, message, help=help_)


def _checked_release(package: Manifest, root: Path) -> int:
    if not _REPOSITORY.fullmatch(package.name) or package.name == TUF:
        message = f"{root.name}: {package.name!r} cannot be the name of a repository in a registry"
        help_ = f"use letters and digits with single dots, dashes or underscores between them; {TUF!r} is taken"
        raise DataError("pack.name", message, help=help_)
    if package.release is None:
        message = f'{root / MANIFEST_NAME}: no "release", the number that orders the releases of a model'
        raise DataError("pack.no_release", message, help=_NO_RELEASE_HELP)
    return package.release


def _named(reader: _Reader, package: Manifest) -> Iterator[tuple[str, str]]:
    """Yield path and media type of all that belongs to the package and is there."""
    yield from _part(reader, package, "")
    for step in package.steps:
        path = f"{step.package}/{MANIFEST_NAME}"
        if not reader.has(path):
            message = f"{reader.root.name}/{step.package}: a step that is published is a package of its own"
            help_ = f"edge-runtime models pack {step.package} --out DIR makes one; pin its digest in {MANIFEST_NAME}"
            raise DataError("pack.bare_step", message, help=help_)
        part = parse_manifest(reader.keep(path, SIZE_LIMIT_BYTES), where=f"{reader.root.name}/{path}")
        if part.description.task == CHAIN:
            message = f"{reader.root.name}/{step.package} is a chain itself"
            raise DataError("pack.chain", message, help="write its steps into this chain")
        yield from _part(reader, part, f"{step.package}/")
    if reader.has(GOLDEN):
        answers = reader.keep(GOLDEN, ANSWERS_LIMIT_BYTES)
        yield GOLDEN, DATASET
        for frame in parse_golden(answers, f"{reader.root.name}/{GOLDEN}"):
            yield f"{FOLDER}/{frame.file}", DATASET


def _part(reader: _Reader, package: Manifest, prefix: str) -> Iterator[tuple[str, str]]:
    yield f"{prefix}{MANIFEST_NAME}", WEIGHT_CONFIG
    for path, _ in weights_of(package, prefix):
        yield path, WEIGHT
    for entry in _entries(reader.root / prefix):
        if _PAPER.fullmatch(entry.name) or entry.name in (CARD_NAME, SBOM_NAME, PROVENANCE_NAME):
            yield f"{prefix}{entry.name}", DOC


def _missing(subject: Subject, named: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    if CARD_NAME not in named:
        yield CARD_NAME, make_card(subject)
    if not any(_LICENCE.fullmatch(path) for path in named):
        yield LICENCE_NAME, make_licence(subject)
    if SBOM_NAME not in named:
        yield SBOM_NAME, make_sbom(subject)
    if PROVENANCE_NAME not in named:
        yield PROVENANCE_NAME, make_provenance(subject)


def _notes(reader: _Reader, subject: Subject, files: dict[str, Descriptor]) -> Iterator[str]:
    if subject.licence is None:
        yield f'no licence is stated: add "license" to {MANIFEST_NAME}, for example "Apache-2.0"'
    if GOLDEN not in files:
        yield "no golden answers: boxes cannot check that they see the same"
    if SBOM_NAME not in reader.content and files[SBOM_NAME].size <= SBOM_BYTES_MAX:
        doubt = doubt_sbom(reader.keep(SBOM_NAME, SBOM_BYTES_MAX), subject)
        if doubt is not None:
            yield f"{doubt}: without the file a right one is made"


def _left_out(root: Path, packed: Collection[str], prefix: str = "") -> Iterator[str]:
    for entry in _entries(root / prefix):
        path = f"{prefix}{entry.name}"
        if path in packed:
            continue
        if not entry.is_dir() or entry.is_symlink():
            yield path
        elif any(one.startswith(f"{path}/") for one in packed):
            yield from _left_out(root, packed, f"{path}/")
        else:
            yield f"{path}/"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise storage_error(error, folder, "read") from error
