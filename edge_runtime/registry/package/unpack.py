"""What must hold between a release's files before they become a package on a box. Pure: nothing is loaded here.

The manifest of a release vouches for the bytes of each file, its signature for the manifest. What neither says is that
the files are one package: that `edge-model.json` is the one that was signed for, that the weights it names are the ones
that came, and that nothing else came in their place. Whether the weights themselves may be parsed by native code (data
outside the file, operators of strangers) is judged by `engine.gates` when the package is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.core.description import CHAIN
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import ANSWERS_NAME, FOLDER, parse_golden
from edge_runtime.core.manifest import MANIFEST_NAME, SIZE_LIMIT_BYTES, Manifest, parse_manifest
from edge_runtime.registry.descriptor import digest_of
from edge_runtime.registry.package.modelpack import DATASET, WEIGHT, WEIGHT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.package.modelpack import Artifact

GOLDEN: Final = f"{FOLDER}/{ANSWERS_NAME}"
_HELP: Final = "its publisher has to correct the package and release it again, with a higher number"


def described_in(artifact: Artifact, where: str) -> dict[str, Descriptor]:
    """Return the files, by path, whose content `check_contents` wants to see: JSON documents of at most 1 MiB each.

    Larger golden answers are left to who tries the package: reading them would hold up the process that serves.

    Raises:
        DataError: code ``package.contents``, an `edge-model.json` is larger.
    """
    found = {path: blob for path, blob in artifact.files.items() if path.rpartition("/")[2] == MANIFEST_NAME}
    for path, blob in found.items():
        if blob.size > SIZE_LIMIT_BYTES:
            _refuse(f"{where}: {path} has {blob.size} bytes, allowed are {SIZE_LIMIT_BYTES}")
    if GOLDEN in artifact.files and artifact.files[GOLDEN].size <= SIZE_LIMIT_BYTES:
        found[GOLDEN] = artifact.files[GOLDEN]
    return found


def check_contents(
    artifact: Artifact, contents: Mapping[str, bytes], *, model: str, release: int, digest: str, where: str
) -> Manifest:
    """Return what the package in a release says about itself, if its files are that package and nothing else.

    Args:
        artifact: the release.
        contents: the bytes of all files of `described_in`.
        model: name that was signed for.
        release: its number that was signed for.
        digest: of `edge-model.json`, that was signed for.
        where: which release, for messages.

    Raises:
        DataError: code ``package.contents``, or those of `core.manifest.parse_manifest` and `core.golden.parse_golden`.
    """
    for path, blob in described_in(artifact, where).items():
        if path not in contents or digest_of(contents[path]) != blob.digest:
            _refuse(f"{where}: {path} is not what the manifest says: expected {blob.digest}")
    package = parse_manifest(contents[MANIFEST_NAME], where=f"{where}: {MANIFEST_NAME}")
    if package.digest != digest:
        _refuse(f"{where}: expected {MANIFEST_NAME} with the digest {digest}, found {package.digest}")
    if (package.name, package.release) != (model, release):
        found = f"{package.name} {'without a release' if package.release is None else package.release}"
        _refuse(f"{where}: expected the package of {model} {release}, found {found}")
    packages = {"": package, **dict(_steps(package, artifact, contents, where))}
    named = dict(one for prefix, part in packages.items() for one in weights_of(part, prefix))
    for path, sha256 in named.items():
        _check_file(artifact, path, WEIGHT, f"sha256:{sha256}", where)
    _refuse_strays(artifact, WEIGHT, named.keys(), where)
    if GOLDEN in contents:
        for frame in parse_golden(contents[GOLDEN], f"{where}: {GOLDEN}"):
            _check_file(artifact, f"{FOLDER}/{frame.file}", DATASET, None, where)
    return package


def weights_of(package: Manifest, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and hex SHA-256 of all weights of a package that lies at ``prefix`` (empty, or ``NAME/``)."""
    for form in package.weights:
        for file in form.files:
            yield f"{prefix}{file.file}", file.sha256


def _steps(
    package: Manifest, artifact: Artifact, contents: Mapping[str, bytes], where: str
) -> Iterator[tuple[str, Manifest]]:
    for step in package.steps:
        path = f"{step.package}/{MANIFEST_NAME}"
        if path not in contents:
            _refuse(f"{where}: step {step.package} is no package with an {MANIFEST_NAME} of its own")
        _check_file(artifact, path, WEIGHT_CONFIG, step.digest, where)
        part = parse_manifest(contents[path], where=f"{where}: {path}")
        if part.description.task == CHAIN:
            _refuse(f"{where}: step {step.package} is a chain itself")
        yield f"{step.package}/", part


def _check_file(artifact: Artifact, path: str, kind: str, digest: str | None, where: str) -> None:
    blob = artifact.files.get(path)
    if blob is None:
        _refuse(f"{where}: {path} is named but not among its files")
    if blob.media_type != kind:
        _refuse(f"{where}: {path} is of type {blob.media_type}, expected {kind}")
    if digest is not None and blob.digest != digest:
        _refuse(f"{where}: {path}: expected {digest}, found {blob.digest}")


def _refuse_strays(artifact: Artifact, kind: str, named: Iterable[str], where: str) -> None:
    strays = sorted({path for path, blob in artifact.files.items() if blob.media_type == kind} - set(named))
    if strays:
        _refuse(f"{where}: {strays[0]} is of type {kind}, but nothing in {MANIFEST_NAME} names it")


def _refuse(message: str) -> NoReturn:
    raise DataError("package.contents", message, help=_HELP)
