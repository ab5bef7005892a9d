"""What is going to be a release, taken from where somebody packed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from edge_runtime.registry.carriers.writer import LayoutPublication
from edge_runtime.registry.descriptor import Descriptor, digest_of
from edge_runtime.registry.package.pack import pack
from edge_runtime.registry.publisher.intake import take_in
from tests.fakes.packages import write_weld

if TYPE_CHECKING:
    from pathlib import Path


class Uploads:
    """Reads each blob twice, as a registry does that hashes before it sends."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}

    def has(self, _repository: str, blob: Descriptor) -> bool:
        return blob.digest in self.blobs

    def put(self, _repository: str, blob: Descriptor, source: BinaryIO) -> None:
        begin = source.tell()
        assert digest_of(source.read()) == blob.digest
        source.seek(begin)
        self.blobs[blob.digest] = source.read()

    def tag(self, repository: str, tag: str, manifest: bytes) -> None:
        self.tags[f"{repository}:{tag}"] = manifest


def test_a_release_of_a_layout_is_copied_to_a_registry_that_reads_it_twice(tmp_path: Path) -> None:
    packed = pack(write_weld(tmp_path / "weld"))
    packed.publish(LayoutPublication(tmp_path / "layout"))
    incoming, there = take_in(tmp_path / "layout", None, None), Uploads()
    incoming.publish(there)  # type: ignore[arg-type]  # the methods that a copy needs
    assert there.blobs.keys() == {blob.digest for blob in packed.artifact.blobs}
    assert there.tags == {f"{packed.package.name}:{packed.release}": packed.manifest}
