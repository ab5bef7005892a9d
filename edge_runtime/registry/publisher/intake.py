"""What is going to be a release: a package directory, or one that somebody packed into an image layout before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import MANIFEST_NAME
from edge_runtime.core.manifest import parse_manifest as parse_package
from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.carriers.directory import Directory
from edge_runtime.registry.carriers.index import INDEX_BYTES_MAX, parse_index
from edge_runtime.registry.carriers.layout import Layout, blob_path
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.package.modelpack import MANIFEST_BYTES_MAX, parse_manifest
from edge_runtime.registry.package.pack import pack
from edge_runtime.registry.package.unpack import check_contents, described_in

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.core.manifest import Manifest
    from edge_runtime.registry.carriers.carrier import Publication
    from edge_runtime.registry.package.modelpack import Artifact


class Incoming(Protocol):
    """A release before it is one; `package.pack.Packed` is another.

    Attributes:
        package: what its `edge-model.json` says.
        manifest: the bytes of its OCI manifest.
        artifact: the same, read.
        notes: what its publisher should know.
    """

    @property
    def package(self) -> Manifest:
        """See the class."""
        ...

    @property
    def manifest(self) -> bytes:
        """See the class."""
        ...

    @property
    def artifact(self) -> Artifact:
        """See the class."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """See the class."""
        ...

    def publish(self, registry: Publication) -> None:
        """Push blobs and manifest."""
        ...


class Copied:
    """A release that lies in a layout; see `Incoming`."""

    notes: tuple[str, ...] = ()

    def __init__(self, directory: Directory, package: Manifest, manifest: bytes, artifact: Artifact) -> None:
        """Keep the parts; the blobs stay where they are."""
        self.package, self.manifest, self.artifact = package, manifest, artifact
        self._directory = directory

    def publish(self, registry: Publication) -> None:
        """See `Incoming`; what is not as its digest says is not written.

        Raises:
            DataError: a blob is not what the manifest says.
            EdgeError: it cannot be read or written.
        """
        repository = self.package.name
        for blob in (*self.artifact.files.values(), self.artifact.config):
            if not registry.has(repository, blob):
                with self._directory.file(blob_path(blob)) as file:
                    registry.put(repository, blob, file)
        registry.tag(repository, str(self.package.release), self.manifest)


def take_in(path: Path, model: str | None, number: int | None) -> Incoming:
    """Return the release that ``path`` holds.

    Args:
        path: a package directory, or an image layout.
        model: what it must be a release of; chooses among those of a layout.
        number: of the release; likewise.

    Raises:
        DataError: it is no package that a box would take, or it is another one than was asked for.
        EdgeError: it cannot be read.
    """
    incoming: Incoming = _from_layout(path, model, number) if (path / "oci-layout").exists() else pack(path)
    package = incoming.package
    for what, wanted, found in (("model", model, package.name), ("release", number, package.release)):
        if wanted is not None and wanted != found:
            message = f"{path} is {what} {found}, expected {wanted}"
            raise DataError("release.other", message, help=f"correct --{what}, or edge-model.json")
    return incoming


def _from_layout(path: Path, model: str | None, number: int | None) -> Copied:
    directory = Directory(path)
    layout = Layout(directory)
    index = parse_index(directory.read("index.json", INDEX_BYTES_MAX), layout.name)
    named = {name: blob for name, blob in index.items() if not name.startswith(f"{TUF}:")}
    chosen = [
        (name, blob)
        for name, blob in named.items()
        if (model is None or name.rpartition(":")[0] == model) and (number is None or name.endswith(f":{number}"))
    ]
    if len(chosen) != 1:
        message = f"{path} holds {len(chosen)} such releases; all it holds: {', '.join(sorted(named)) or 'none'}"
        raise DataError("release.choose", message, help="--model MODEL --release N say which")
    name, blob = chosen[0]
    if blob.size > MANIFEST_BYTES_MAX:
        raise DataError("release.manifest", f"{path}: the manifest of {name} has {blob.size} bytes")
    manifest = read_blob(layout, TUF, blob)
    artifact = parse_manifest(manifest, name)
    contents = {file: read_blob(layout, TUF, one) for file, one in described_in(artifact, name).items()}
    if MANIFEST_NAME not in contents:
        raise DataError("release.manifest", f"{path}: {name} has no {MANIFEST_NAME}: it is no package of ours")
    said = parse_package(contents[MANIFEST_NAME], where=f"{name}: {MANIFEST_NAME}")
    package = check_contents(
        artifact, contents, model=said.name, release=said.release or 0, digest=said.digest, where=name
    )
    if name != f"{package.name}:{package.release}":
        message = f"{path}: what is named {name} is release {package.release} of {package.name}"
        raise DataError("release.other", message, help="pack it again: edge-runtime models pack DIR --oci LAYOUT")
    return Copied(directory, package, manifest, artifact)
