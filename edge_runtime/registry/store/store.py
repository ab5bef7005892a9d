"""What a box keeps of registries, in one directory: blobs, releases made of them, slots, and what failed.

Truth is in names and digests, so there is nothing to keep in step: a crash leaves at most something that is half and
has no name yet, or that nobody refers to any more. `ModelStore.prepare` removes the former, `garbage` the latter.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge_runtime.registry.descriptor import INDEX, MANIFEST, REF_NAME, Descriptor
from edge_runtime.registry.store.blobs import Blobs, entries
from edge_runtime.registry.store.quarantine import Quarantine
from edge_runtime.registry.store.releases import Releases
from edge_runtime.registry.store.slots import Slots
from edge_runtime.system.files import LockFile, make_directory, storage_error, write_atomic
from edge_runtime.system.names import remove_tree

if TYPE_CHECKING:
    from pathlib import Path


LOCK: Final = "update.lock"


class ModelStore:
    """The parts, below ``root`` (``state_dir``/models)."""

    def __init__(self, root: Path) -> None:
        """Touch nothing yet."""
        self.root = root
        self.blobs = Blobs(root)
        self.releases = Releases(root, self.blobs)
        self.slots = Slots(root)
        self.quarantine = Quarantine(root)

    def updating(self) -> LockFile:
        """Return the lock that whoever writes holds, for ``with``: the daemon's updater, or a verb.

        Entering it raises ``BusyError`` while another process, or another updater of this one, holds it.

        Raises:
            PermissionDeniedError, StorageError: the directory cannot be made.
        """
        make_directory(self.root)
        return LockFile(
            self.root / LOCK, way_out="it looks at the registry or switches a release: try again when it ended"
        )

    def prepare(self) -> None:
        """Make what is missing and remove what is half; to be called with the lock held.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        make_directory(self.root)
        self.blobs.prepare()
        with self.slots.changing():
            for directory in (self.root, self.blobs.layout):
                for name, _ in list(entries(directory)):
                    if name.startswith(".") and name.endswith(".tmp"):  # of `write_atomic`, and nobody else is at it
                        remove_tree(directory / name)
        self.releases.prepare()
        self.slots.prepare()
        self.write_index()

    def write_index(self) -> None:
        """List the releases in ``store/index.json``, for tools that read OCI layouts; we never do.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        manifests = []
        for release in self.releases.all():
            fields = Descriptor(release.digest, release.manifest_size, MANIFEST).as_fields()
            model, number = release.facts.get("model"), release.facts.get("release")
            if isinstance(model, str) and isinstance(number, int):
                fields["annotations"] = {REF_NAME: f"{model}:{number}"}
            manifests.append(fields)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        raw, path = json.dumps(index).encode(), self.blobs.layout / "index.json"
        try:
            if path.is_file() and path.read_bytes() == raw:
                return  # a box looks once a minute, and flash wears
        except OSError as error:
            raise storage_error(error, path, "read") from error
        write_atomic(path, raw)
