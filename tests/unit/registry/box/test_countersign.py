"""With keys of publishers in its configuration a box takes only what one of them has signed as well."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from edge_runtime.registry.box.report import SlotReport, Standing
from edge_runtime.registry.carriers.writer import LayoutPublication
from edge_runtime.registry.descriptor import Descriptor, describe, digest_of
from edge_runtime.registry.documents import Assignment
from edge_runtime.registry.package.modelpack import CONFIG, make_manifest
from edge_runtime.registry.publisher.sigstore import BundleSigner, make_bundle_key
from edge_runtime.registry.trust.sigstore import BUNDLE
from tests.fakes.published import KINDS, Published, make_files
from tests.unit.registry.box.test_pull import Box

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def registry(tmp_path: Path) -> Published:
    return Published(tmp_path / "publisher")


@pytest.fixture
def signer(tmp_path: Path) -> BundleSigner:
    return make_bundle_key(tmp_path / "board.pem", None)


@pytest.fixture
def box(tmp_path: Path, registry: Published, signer: BundleSigner) -> Box:
    assert signer.public.name == "board.pem"
    box = Box(tmp_path / "models", registry)
    box.changed = {"publisher_keys": (tmp_path / "board.pub",)}
    return box


def digest_of_release(number: int) -> str:
    """Which manifest `Published.release` makes."""
    blobs = {path: describe(raw, KINDS[path.rpartition(".")[2]]) for path, raw in make_files("weld", number).items()}
    return digest_of(make_manifest(blobs, describe(b"{}", CONFIG)))


def roll_out(registry: Published, raw: bytes | None, number: int = 1, kind: str = BUNDLE) -> Descriptor:
    """Publish a release with these bytes as its bundle; return what names the manifest."""
    bundle = None if raw is None else describe(raw, kind)
    if raw is not None and bundle is not None:
        LayoutPublication(registry.directory / "registry").put("weld", bundle, io.BytesIO(raw))
    manifest = registry.release("weld", number, bundle=bundle)
    registry.roll_out(Assignment("weld", number))
    return manifest


def refused(box: Box) -> SlotReport:
    slot = box.slot()
    assert (slot.standing, slot.current) == (Standing.REFUSED, None)
    return slot


def test_a_release_with_the_signature_of_the_publisher_is_taken(
    box: Box, registry: Published, signer: BundleSigner
) -> None:
    manifest = roll_out(registry, signer.sign(digest_of_release(1)))
    slot = box.slot()
    assert slot.current is not None
    assert slot.current.manifest == manifest.digest == digest_of_release(1)


def test_attack_27_a_release_without_a_bundle(box: Box, registry: Published) -> None:
    manifest = roll_out(registry, None)
    assert "has no Sigstore bundle" in str(refused(box).message)
    assert not box.store.blobs.path(manifest.digest).exists()  # nothing of it was fetched


def test_attack_27_a_release_with_the_bundle_of_another(box: Box, registry: Published, signer: BundleSigner) -> None:
    roll_out(registry, signer.sign(digest_of_release(2)))
    assert refused(box).reason == "registry.bundle"


def test_attack_27_a_release_with_the_bundle_of_a_stranger(box: Box, registry: Published, tmp_path: Path) -> None:
    stranger = make_bundle_key(tmp_path / "stranger.pem", None)
    roll_out(registry, stranger.sign(digest_of_release(1)))
    assert "it is signed with the key" in str(refused(box).message)


@pytest.mark.parametrize("kind", ["application/json", BUNDLE])
def test_a_bundle_of_another_kind_or_size_is_not_fetched(box: Box, registry: Published, kind: str) -> None:
    roll_out(registry, b" " * (1 << 17) if kind == BUNDLE else b"{}", kind=kind)
    assert "expected a bundle of type" in str(refused(box).message)


def test_other_keys_in_the_configuration_lift_the_refusal(
    box: Box, registry: Published, signer: BundleSigner, tmp_path: Path
) -> None:
    make_bundle_key(tmp_path / "other.pem", None)
    right, box.changed = box.changed, {"publisher_keys": (tmp_path / "other.pub",)}
    roll_out(registry, signer.sign(digest_of_release(1)))
    assert refused(box).reason == "registry.bundle"
    box.changed = right
    assert box.slot().standing is Standing.CURRENT


def test_a_key_that_is_not_there_is_no_fault_of_the_release(box: Box, registry: Published, tmp_path: Path) -> None:
    box.changed = {"publisher_keys": (tmp_path / "lost.pub",)}
    roll_out(registry, None)
    slot = box.slot()
    assert (slot.standing, slot.reason) == (Standing.RETRY, "key.missing")


def test_a_release_that_lies_here_already_is_not_given_to_a_slot_without_it(box: Box, registry: Published) -> None:
    keys, box.changed = box.changed, {}
    roll_out(registry, None)
    assert box.slot().standing is Standing.CURRENT
    roll_out(registry, None, 2)
    assert box.slot().standing is Standing.STAGED
    box.changed = keys
    slot = box.slot()
    assert (slot.standing, slot.reason) == (Standing.REFUSED, "registry.bundle")
    assert slot.current is not None
    assert slot.current.release == 1  # what runs goes on
