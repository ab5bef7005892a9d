"""Downloads over HTTP from a registry that does harm, from one that dies, and by a process that is killed."""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError, EdgeError, UnavailableError
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from edge_runtime.registry.descriptor import MANIFEST, describe
from edge_runtime.registry.download import Downloader, Fetched, Limits
from edge_runtime.registry.store.garbage import Room
from edge_runtime.registry.store.store import ModelStore
from tests.hostile_registry import (
    Call,
    HostileRegistry,
    cut_in_the_middle,
    endless,
    flipped,
    giant_length,
    longer,
    never_answers,
    other_content,
    range_ignored,
    range_lies,
    range_refused,
    refuse,
    stalls,
    truncated,
)
from tests.registries import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.registry.descriptor import Descriptor

ROOT = Path(__file__).resolve().parents[2]
RAW = random.Random(3).randbytes(3_000_000)
BLOB = describe(RAW, "application/octet-stream")
MIB = 1 << 20
ACCESS = Access(gap_s=0.3, answer_s=0.5)
LIMITS = Limits(parallel=1, tries=2, pause_s=0.001, rate_window_s=0.3, room=Room(reserve_bytes=0))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "models")
    made.prepare()
    return made


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry(on="/blobs/") as made:
        made.put("plant/weld", RAW)
        yield made


@pytest.fixture
def mirror() -> Iterator[HostileRegistry]:
    with HostileRegistry() as made:
        made.put("plant/weld", RAW)
        yield made


def fetch(store: ModelStore, *registries: HostileRegistry, wanted: Descriptor = BLOB) -> Fetched:
    addresses = [f"oci://127.0.0.1:{one.port}/plant" for one in registries]
    sources = [lambda address=address: open_carrier(address, ACCESS) for address in addresses]
    return Downloader(store.blobs, sources, limits=LIMITS).fetch("weld", [wanted])


def blobs_asked(registry: HostileRegistry) -> int:
    return sum("/blobs/" in str(request) for request in registry.requests)


def loris(call: Call) -> None:
    """A byte at a time, each sooner than would be a stall."""
    call.begin(call.last + 1 - call.first)
    for at in range(call.first, call.last + 1):
        call.handler.wfile.write(call.body[at : at + 1])
        if call.handler.owner.ending.wait(0.05):
            break
    call.cut()


REFUSED = {
    "attack_01_flipped": (flipped, DataError, 1),
    "attack_02_truncated": (truncated, DataError, 1),
    "attack_03_longer": (longer, DataError, 1),
    "attack_03_endless": (endless, DataError, 1),
    "attack_03_giant": (giant_length, DataError, 1),
    "attack_30_loris": (loris, UnavailableError, 2),
    "attack_30_stall": (stalls, UnavailableError, 2),
    "attack_30_silence": (never_answers, UnavailableError, 2),
    "404": (refuse(404), DataError, 1),
    "403": (refuse(403), EdgeError, 1),
    "410": (refuse(410), DataError, 1),
    "503": (refuse(503), UnavailableError, 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_registry_that_does_harm_ends_and_the_mirror_has_its_turn(
    store: ModelStore, registry: HostileRegistry, mirror: HostileRegistry, name: str
) -> None:
    attack, kind, asked = REFUSED[name]
    registry.attack = attack
    with pytest.raises(kind):
        fetch(store, registry)
    assert list(store.blobs.stored()) == []
    assert store.blobs.part_bytes(BLOB) < 100, "more is kept than what arrived before it stalled"
    assert blobs_asked(registry) == asked
    fetch(store, registry, mirror)
    assert store.blobs.is_sound(BLOB)
    assert list(store.blobs.incoming.iterdir()) == []


def test_attack_04_another_manifest_for_a_pinned_digest_is_refused(
    store: ModelStore, registry: HostileRegistry
) -> None:
    pinned = registry.tag("plant/weld", "1", b'{"schemaVersion":2,"layers":[]}')
    registry.attack, registry.on = other_content(b'{"schemaVersion":2,"layers":[1]}'), "/manifests/"
    assert pinned.media_type == MANIFEST
    with pytest.raises(DataError):
        fetch(store, registry, wanted=pinned)
    assert list(store.blobs.stored()) == []
    registry.attack = None
    fetch(store, registry, wanted=pinned)
    assert store.blobs.is_sound(pinned)


def test_attack_30_nothing_waits_longer_for_a_byte_than_it_is_promised() -> None:
    assert Access().gap_s <= 20
    assert Access().answer_s <= 20


def cut_at(share: float) -> Callable[[Call], None]:
    def attack(call: Call) -> None:
        call.begin(call.last + 1 - call.first)
        call.handler.wfile.write(call.body[call.first : int(len(call.body) * share)])
        call.cut()

    return attack


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_registry_that_dies_costs_no_byte_twice(store: ModelStore, registry: HostileRegistry, share: float) -> None:
    registry.attack, registry.times = cut_at(share), 1
    assert fetch(store, registry).read_bytes <= len(RAW) + MIB
    assert store.blobs.is_sound(BLOB)
    assert blobs_asked(registry) == 2


def test_a_registry_that_dies_again_and_again_is_gone_on_with(store: ModelStore, registry: HostileRegistry) -> None:
    registry.attack, registry.times = cut_in_the_middle, 3
    with pytest.raises(UnavailableError):  # the third half is less than a megabyte
        fetch(store, registry)
    assert fetch(store, registry).read_bytes < len(RAW) // 4
    assert store.blobs.is_sound(BLOB)


@pytest.mark.parametrize("attack", [range_ignored, range_refused], ids=["200", "416"])
def test_a_registry_without_ranges_gives_the_blob_all_the_same(
    store: ModelStore, registry: HostileRegistry, attack: Callable[[Call], None]
) -> None:
    store.blobs.part_path(BLOB).write_bytes(RAW[:2_000_000])
    registry.attack = attack
    assert fetch(store, registry) == Fetched(len(RAW), 2_000_000)
    assert store.blobs.is_sound(BLOB)


def test_a_registry_that_lies_about_the_range_spoils_nothing(
    store: ModelStore, registry: HostileRegistry, mirror: HostileRegistry
) -> None:
    store.blobs.part_path(BLOB).write_bytes(RAW[:2_000_000])
    registry.attack = range_lies
    assert fetch(store, registry, mirror) == Fetched(1_000_000, 2_000_000)
    assert store.blobs.is_sound(BLOB)


KILLED = """
import json, os, signal, sys
from pathlib import Path
from edge_runtime.registry.carriers.open import Access, open_carrier
from edge_runtime.registry.descriptor import Descriptor
from edge_runtime.registry.download import Downloader
from edge_runtime.registry.store.store import ModelStore
root, address, digest, size = sys.argv[1:]
store = ModelStore(Path(root))
def progress(done, total):
    if done >= 0.67 * total:
        os.kill(os.getpid(), signal.SIGKILL)
with store.updating():
    store.prepare()
    loader = Downloader(store.blobs, [lambda: open_carrier(address, Access())], on_progress=progress)
    loader.fetch("weld", [Descriptor(digest, int(size), "")])
"""


def test_after_a_kill_at_67_percent_no_more_than_the_rest_and_a_mebibyte_is_fetched(
    store: ModelStore, registry: HostileRegistry
) -> None:
    command = [sys.executable, "-c", KILLED, str(store.root), f"oci://127.0.0.1:{registry.port}/plant"]
    done = subprocess.run([*command, BLOB.digest, str(BLOB.size)], cwd=ROOT, timeout=50, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(store.blobs.stored()) == []
    with store.updating():
        assert fetch(store, registry).read_bytes <= 0.33 * len(RAW) + MIB
    assert store.blobs.is_sound(BLOB)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_real_registry_that_is_killed_and_comes_back_is_gone_on_with(store: ModelStore, share: float) -> None:
    raw = random.Random(4).randbytes(12_000_000)
    killed: list[int] = []
    with Registry() as registry:
        blob = push(registry, raw)

        def progress(done: int, total: int) -> None:
            if not killed and done >= share * total:
                killed.append(done)
                registry.kill()
                registry.start()

        address = f"oci://{registry.address}/plant"
        sources = [lambda: open_carrier(address, Access())]
        got = Downloader(store.blobs, sources, limits=LIMITS, on_progress=progress).fetch("weld", [blob])
    assert killed
    assert got.read_bytes <= len(raw) + MIB
    assert store.blobs.is_sound(blob)


def push(registry: Registry, raw: bytes) -> Descriptor:
    publication = open_publication(f"oci://{registry.address}/plant", Access())
    blob = describe(raw, "application/octet-stream")
    publication.put("weld", blob, io.BytesIO(raw))
    publication.close()
    return blob
