"""The plain tree beside a layout: what a client needs stays, what nobody can be about to read goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.descriptor import Descriptor, digest_of
from edge_runtime.registry.publisher.home import PROFILES
from edge_runtime.registry.publisher.tree import KEPT_VERSIONS, write_tree
from tests.publishers import MODEL, foreign_box, founded, manifest

if TYPE_CHECKING:
    from pathlib import Path


def _versions(directory: Path, role: str) -> list[int]:
    return sorted(int(path.name.split(".")[0]) for path in (directory / "metadata").glob(f"*.{role}.json"))


def test_old_versions_go_and_roots_stay(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    for _ in range(KEPT_VERSIONS + 3):
        publisher.do(lambda _: None, renew=True)
    publisher.do(lambda draft: draft.renew("root"))
    assert _versions(publisher.directory, "snapshot") == list(range(5, KEPT_VERSIONS + 6))
    assert _versions(publisher.directory, "root") == [1, 2]
    foreign_box(publisher, tmp_path / "box").look()


def test_what_a_crash_left_out_is_added(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.desk(tree=False).carry_out(lambda draft: draft.renew("targets"), PROFILES["dev"])
    assert _versions(publisher.directory, "targets") == [1]
    publisher.release(1)
    assert _versions(publisher.directory, "targets") == [1, 3]
    assert foreign_box(publisher, tmp_path / "box").read(f"releases/{MODEL}/1.json") == manifest(1)


def test_a_manifest_that_was_lost_is_left_out_and_one_that_was_changed_is_said(tmp_path: Path) -> None:
    publisher = founded(tmp_path)
    publisher.release(1)
    state, registry = publisher.state(), publisher.desk().registry
    blob = publisher.directory / "blobs" / "sha256" / digest_of(manifest(1)).removeprefix("sha256:")
    blob.write_bytes(manifest(1).replace(b"1", b"7", 1)[: len(manifest(1))])
    with pytest.raises(DataError, match="with the digest"):
        write_tree(tmp_path / "other", state, registry)
    blob.unlink()
    write_tree(tmp_path / "third", state, registry)
    assert not list((tmp_path / "third" / "targets" / "releases").rglob("*.json"))


def test_nothing_is_read_for_an_empty_blob(tmp_path: Path) -> None:
    registry = founded(tmp_path).desk().registry
    assert read_blob(registry, "tuf", Descriptor(digest_of(b""), 0, "x/y")) == b""
