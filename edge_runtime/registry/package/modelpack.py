"""A release as one OCI image manifest of the CNCF ModelPack kind: written, and read with every limit. Pure.

ModelPack (github.com/modelpack/model-spec, docs/spec.md) says ``artifactType``, the media type and the closed schema of
the config, and one media type for each kind of file. Only its ``.raw`` forms are used: a layer is a file as it is, so
nothing on a box ever unpacks an archive. Its annotation with times and owners is left out, because the same files shall
always give the same digest.

A path becomes the name of a file on a box. So it is plain ASCII, at most four names deep, cannot lead anywhere else,
and stays itself where upper and lower case are the same.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.core.manifest import MANIFEST_NAME
from edge_runtime.registry.descriptor import MANIFEST, TITLE, Descriptor, checked_digest, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_runtime.core.manifest import Manifest

MANIFEST_BYTES_MAX: Final = 1 << 20
CONFIG_BYTES_MAX: Final = 256 << 10
LAYERS_MAX: Final = 128
DEPTH_MAX: Final = 16
QUOTA_BYTES: Final = 4 << 30
"""Default limit for all files of a release together."""

ARTIFACT: Final = "application/vnd.cncf.model.manifest.v1+json"
CONFIG: Final = "application/vnd.cncf.model.config.v1+json"
WEIGHT: Final = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_CONFIG: Final = "application/vnd.cncf.model.weight.config.v1.raw"
DATASET: Final = "application/vnd.cncf.model.dataset.v1.raw"
DOC: Final = "application/vnd.cncf.model.doc.v1.raw"
FILEPATH: Final = "org.cncf.model.filepath"

VERIFIED_NAME: Final = "verified.json"
"""What a box writes into the directory of a release that it verified; no release may bring it."""

ENDINGS: Final[dict[str, frozenset[str]]] = {
    WEIGHT: frozenset({"onnx", "xml", "bin"}),
    WEIGHT_CONFIG: frozenset({"json", "yaml", "yml", "txt"}),
    DATASET: frozenset({"jpg", "jpeg", "png", "json"}),
    DOC: frozenset({"", "md", "txt", "json", "pdf"}),
}
"""The media types a layer may have, and the endings of its files: nothing that anybody could load as a program."""

_PATH = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,63}(/[0-9A-Za-z_][0-9A-Za-z._-]{0,63}){0,3}")
_HELP: Final = "its publisher has to correct the package and pack it again: edge-runtime models pack"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One release, as its manifest describes it.

    Attributes:
        digest: of the manifest, which is what a release is signed by.
        config: the blob that other tools read; a box needs it only to pass the artifact on whole.
        files: by relative path below the directory of the release, sorted; the media type tells the kind.
    """

    digest: str
    config: Descriptor
    files: Mapping[str, Descriptor]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """All that has to be fetched, each once, largest first: a large one alone at the end would keep all waiting."""
        distinct = {blob.digest: blob for blob in (*self.files.values(), self.config)}
        return tuple(sorted(distinct.values(), key=lambda blob: (-blob.size, blob.digest)))

    @property
    def size_bytes(self) -> int:
        """Bytes of all blobs, each counted once."""
        return sum(blob.size for blob in self.blobs)


def make_config(package: Manifest, files: Mapping[str, Descriptor], licenses: Iterable[str] = ()) -> bytes:
    """Return the ModelPack config of ``package``: for the eyes of other tools, as nothing here reads it.

    Args:
        package: whose first form of weights is described.
        files: by path, as for `make_manifest`.
        licenses: SPDX expressions.
    """
    form = package.weights[0] if package.weights else None
    technical = {
        "architecture": package.description.decoder or package.description.task,
        "format": form.format if form else None,
        "precision": form.precision if form else None,
        "capabilities": {"inputTypes": ["image"], "outputTypes": ["other"]},
    }
    described = {
        "name": package.name,
        "version": package.version,
        "revision": None if package.release is None else str(package.release),
        "licenses": list(licenses) or None,
    }
    document = {
        "descriptor": {key: value for key, value in described.items() if value is not None},
        "config": {key: value for key, value in technical.items() if value is not None},
        # the layers as they are before compression, which none of them has
        "modelfs": {"type": "layers", "diffIds": [blob.digest for _, blob in sorted(files.items())]},
    }
    return _written(document)


def make_manifest(files: Mapping[str, Descriptor], config: Descriptor) -> bytes:
    """Return the manifest of ``files``; the same files give the same bytes.

    Args:
        files: by relative path; the media type is one of `ENDINGS`.
        config: the blob that `make_config` made.

    Raises:
        DataError: a box would not take it, as `parse_manifest` says.
    """
    layers = [
        Descriptor(blob.digest, blob.size, blob.media_type, {FILEPATH: path, TITLE: path}).as_fields()
        for path, blob in sorted(files.items())
    ]
    fields = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": Descriptor(config.digest, config.size, CONFIG).as_fields(),
        "layers": layers,
    }
    raw = _written(fields)
    parse_manifest(raw, "this package")
    return raw


def parse_manifest(raw: bytes, where: str, *, quota_bytes: int = QUOTA_BYTES) -> Artifact:
    """Return the release in the bytes of its manifest, or refuse it before any of its files is fetched.

    Args:
        raw: the manifest; that its digest is the wanted one is the caller's to check.
        where: which release, for messages.
        quota_bytes: limit for all files together.

    Raises:
        DataError: codes ``manifest.unreadable`` (not JSON, nested too deep, a key twice, too large),
            ``registry.digest`` (an algorithm other than sha256), ``package.kind`` (media types), ``package.path``,
            ``package.quota`` and ``package.invalid`` (everything else).
    """
    data = load_object(raw, where, limit_bytes=MANIFEST_BYTES_MAX, depth_max=DEPTH_MAX)
    if data.get("schemaVersion") != 2 or data.get("mediaType", MANIFEST) != MANIFEST:  # noqa: PLR2004 - image-spec
        _refuse("kind", f"{where}: expected an OCI image manifest, found {_short(data.get('mediaType'))}")
    if data.get("artifactType") != ARTIFACT:
        _refuse("kind", f"{where}: expected an artifact of type {ARTIFACT}, found {_short(data.get('artifactType'))}")
    layers = data.get("layers")
    if not isinstance(layers, list) or not 1 <= len(layers) <= LAYERS_MAX:
        found = f"{len(layers)}" if isinstance(layers, list) else "none"
        _refuse("invalid", f"{where}: expected 1 to {LAYERS_MAX} layers, found {found}")
    config = _descriptor(data.get("config"), f"{where}: config")
    if config.media_type != CONFIG:
        _refuse("kind", f"{where}: expected a config of type {CONFIG}, found {_short(config.media_type)}")
    if config.size > CONFIG_BYTES_MAX:
        _refuse("invalid", f"{where}: the config has {config.size} bytes, allowed are {CONFIG_BYTES_MAX}")
    pairs = [_layer(layer, f"{where}: layer {number}") for number, layer in enumerate(layers, 1)]
    _check_paths([path for path, _ in pairs], where)
    files = dict(sorted(pairs, key=lambda pair: pair[0]))
    _check_sizes([config, *files.values()], where, quota_bytes)
    if MANIFEST_NAME not in files or files[MANIFEST_NAME].media_type != WEIGHT_CONFIG:
        _refuse("invalid", f"{where}: no {MANIFEST_NAME} among its layers of type {WEIGHT_CONFIG}")
    return Artifact(digest_of(raw), config, files)


def checked_path(path: object, where: str) -> str:
    """Return ``path`` if a release may have a file there.

    Raises:
        DataError: code ``package.path``.
    """
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        _refuse(
            "path",
            f"{where}: {_short(path)} is no path of a file in a release; expected up to four names of up to 64 "
            "letters, digits, underscores, dots and dashes, none of which begins with one of the latter two",
        )
    return path


def _layer(layer: object, where: str) -> tuple[str, Descriptor]:
    blob = _descriptor(layer, where)
    path = checked_path(blob.annotations.get(FILEPATH), where)
    endings = ENDINGS.get(blob.media_type)
    if endings is None:
        _refuse("kind", f"{where}: {path} is of type {_short(blob.media_type)}, allowed are {', '.join(ENDINGS)}")
    name = path.rpartition("/")[2]
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if ending not in endings:
        allowed = ", ".join(f".{one}" if one else "none" for one in sorted(endings))
        _refuse("kind", f"{where}: {path} has an ending that {blob.media_type} may not have; allowed are {allowed}")
    return path, blob


def _descriptor(value: object, where: str) -> Descriptor:
    fields = value if isinstance(value, dict) else {}
    size, kind, notes = fields.get("size"), fields.get("mediaType"), fields.get("annotations", {})
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        _refuse("invalid", f"{where}: expected a size in bytes, found {_short(size)}")
    if not isinstance(kind, str):
        _refuse("kind", f"{where}: no media type")
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        _refuse("invalid", f"{where}: expected annotations that are texts")
    return Descriptor(checked_digest(fields.get("digest"), where), size, kind, notes)


def _check_paths(paths: Iterable[str], where: str) -> None:
    """Refuse two paths that would be one file, or a file and a directory, also where case makes no difference."""
    files = {VERIFIED_NAME: f"the {VERIFIED_NAME} that each box writes itself"}
    folders: dict[str, str] = {}
    for path in paths:
        if path.lower() in files:
            _refuse("path", f"{where}: {path} and {files[path.lower()]} would be one file")
        files[path.lower()] = path
        names = path.split("/")
        for depth in range(1, len(names)):
            folder = "/".join(names[:depth])
            if folders.setdefault(folder.lower(), folder) != folder:
                _refuse("path", f"{where}: {folder} and {folders[folder.lower()]} would be one directory")
    both = sorted(files.keys() & folders.keys())
    if both:
        _refuse("path", f"{where}: {files[both[0]]} would be a file and a directory")


def _check_sizes(blobs: Iterable[Descriptor], where: str, quota_bytes: int) -> None:
    sizes: dict[str, int] = {}
    for blob in blobs:
        if sizes.setdefault(blob.digest, blob.size) != blob.size:
            _refuse("invalid", f"{where}: {blob.digest} has both {sizes[blob.digest]} and {blob.size} bytes")
    total = sum(sizes.values())
    if total > quota_bytes:
        message = f"{where}: its files have {total} bytes together, allowed are {quota_bytes}"
        raise DataError("package.quota", message, help="smaller weights, or a higher registry.quota_mb")


def _short(value: object) -> str:
    return repr(value)[:80] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def _refuse(code: str, message: str) -> NoReturn:
    raise DataError(f"package.{code}", message, help=_HELP)


def _written(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()
