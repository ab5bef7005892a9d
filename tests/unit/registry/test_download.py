from __future__ import annotations

import errno
import hashlib
import itertools
import logging
import os
import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import (
    BusyError,
    DataError,
    EdgeError,
    PermissionDeniedError,
    StorageError,
    UnavailableError,
)
from edge_runtime.registry.descriptor import MANIFEST, Descriptor, describe
from edge_runtime.registry.download import Downloader, Fetched, Limits
from edge_runtime.registry.store.garbage import Room
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.service import Stop
from tests.fakes.carriers import CUT, FakeCarrier, FakeStream, honest, pieces
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RAW = random.Random(5).randbytes(30_000)
BLOB = describe(RAW, "application/octet-stream")
QUICK = Limits(parallel=1, tries=3, pause_s=0.001, pause_max_s=0.002, room=Room(reserve_bytes=0))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path)
    made.prepare()
    return made


def fetch(store: ModelStore, *carriers: FakeCarrier, wanted: list[Descriptor] | None = None, **more: Any) -> Fetched:
    sources = [lambda carrier=carrier: carrier for carrier in carriers]
    more.setdefault("limits", QUICK)
    return Downloader(store.blobs, sources, **more).fetch("weld", [BLOB] if wanted is None else wanted)


def nothing_is_stored(store: ModelStore) -> bool:
    return list(store.blobs.stored()) == []


def test_a_blob_is_fetched_once(store: ModelStore) -> None:
    carrier = FakeCarrier(RAW)
    assert fetch(store, carrier) == Fetched(len(RAW), 0)
    assert store.blobs.read(BLOB.digest, 1 << 20) == RAW
    assert fetch(store, carrier) == Fetched(0, 0)
    assert carrier.asked == [(BLOB.digest, 0)]
    assert carrier.closed == 1
    assert all(stream.closed for stream in carrier.streams if isinstance(stream, FakeStream))


def test_a_blob_that_is_damaged_on_the_disk_is_fetched_again(store: ModelStore) -> None:
    fetch(store, FakeCarrier(RAW))
    store.blobs.path(BLOB.digest).chmod(0o640)
    store.blobs.path(BLOB.digest).write_bytes(RAW[:-1] + b"!")
    assert fetch(store, FakeCarrier(RAW)).read_bytes == len(RAW)
    assert store.blobs.is_sound(BLOB)


def test_an_empty_blob_asks_nobody(store: ModelStore) -> None:
    fetch(store, wanted=[describe(b"", "")])
    assert store.blobs.has(describe(b"", ""))


def test_several_blobs_arrive_in_parallel_each_once(store: ModelStore) -> None:
    raws = [random.Random(n).randbytes(5000 + n) for n in range(9)]
    wanted = [describe(raw, "") for raw in raws]
    carriers: list[FakeCarrier] = []

    def source() -> FakeCarrier:
        carriers.append(FakeCarrier(*raws))
        return carriers[-1]

    seen: list[tuple[int, int]] = []
    limits = Limits(parallel=3, room=QUICK.room)
    loader = Downloader(store.blobs, [source], limits=limits, on_progress=lambda *numbers: seen.append(numbers))
    total = sum(map(len, raws))
    assert loader.fetch("weld", wanted + wanted) == Fetched(total, 0)
    assert all(store.blobs.is_sound(blob) for blob in wanted)
    assert len(carriers) <= 3
    assert sum(len(one.asked) for one in carriers) == 9
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (total, total)


def test_the_first_failure_ends_the_other_threads_and_is_the_one_that_is_told(store: ModelStore) -> None:
    raws = [random.Random(n).randbytes(3000) for n in range(4)]
    begun = threading.Event()

    def attack(raw: bytes, start: int) -> FakeStream:
        def forever() -> Iterator[bytes | Exception]:
            if raw == raws[0]:
                begun.wait(10)
                yield b"!" * len(raw)
                return
            for at in range(len(raw)):
                begun.set()
                threading.Event().wait(0.001)
                yield raw[at : at + 1]

        return FakeStream(start, forever())

    with pytest.raises(DataError) as caught:
        fetch(
            store,
            FakeCarrier(*raws, attack=attack),
            wanted=[describe(raw, "") for raw in raws],
            limits=Limits(parallel=2, room=QUICK.room),
        )
    assert caught.value.code == "registry.digest_mismatch"
    assert nothing_is_stored(store), "the other thread went on to the end"


# --- attacks


def flipped(raw: bytes, start: int) -> FakeStream:
    return honest(raw[:-1] + bytes([raw[-1] ^ 1]), start)


def test_attack_01_a_flipped_byte_is_refused_and_the_mirror_is_not_asked_again(store: ModelStore) -> None:
    bad, good = FakeCarrier(RAW, attack=flipped), FakeCarrier(RAW)
    with pytest.raises(DataError) as caught:
        fetch(store, bad)
    assert caught.value.code == "registry.digest_mismatch"
    assert nothing_is_stored(store)
    assert store.blobs.part_bytes(BLOB) == 0
    other = random.Random(6).randbytes(10_000)
    bad.content[describe(other, "").digest] = good.content[describe(other, "").digest] = other
    bad.asked.clear()
    fetch(store, bad, good, wanted=[BLOB, describe(other, "")])
    assert store.blobs.is_sound(BLOB)
    assert bad.asked == [(BLOB.digest, 0)], "a source that sent other bytes was asked for something else"


def test_attack_02_a_truncated_blob_is_never_stored_and_asking_for_the_rest_ends(store: ModelStore) -> None:
    carrier = FakeCarrier(RAW, attack=lambda raw, start: honest(raw[:20_000], start))
    with pytest.raises(UnavailableError, match="ended after 20000 of 30000 bytes") as caught:
        fetch(store, carrier)
    assert caught.value.code == "registry.cut"
    assert nothing_is_stored(store)
    assert carrier.asked == [(BLOB.digest, 0)] + [(BLOB.digest, 20_000)] * 2


@pytest.mark.parametrize("extra", [1, 1 << 40])
def test_attack_03_one_byte_more_than_declared_is_not_written(store: ModelStore, extra: int) -> None:
    def endless(raw: bytes, start: int) -> FakeStream:
        def chunks() -> Iterator[bytes | Exception]:
            yield raw[start:]
            left = extra
            while left > 0:
                yield b"x" * min(left, 1 << 16)
                left -= 1 << 16

        return FakeStream(start, chunks())

    carrier = FakeCarrier(RAW, attack=endless)
    with pytest.raises(DataError) as caught:
        fetch(store, carrier)
    assert caught.value.code == "registry.too_long"
    assert carrier.given == len(RAW) + 1
    assert nothing_is_stored(store)


def test_attack_04_another_manifest_for_a_pinned_digest_is_refused(store: ModelStore) -> None:
    pinned = describe(b'{"schemaVersion":2,"layers":[1]}', MANIFEST)
    other = b'{"schemaVersion":2,"layers":[2]}'
    carrier = FakeCarrier(attack=lambda _, start: honest(other, start))
    carrier.content[pinned.digest] = other
    with pytest.raises(DataError) as caught:
        fetch(store, carrier, wanted=[pinned])
    assert caught.value.code == "registry.digest_mismatch"
    assert nothing_is_stored(store)


@pytest.mark.parametrize("sizes", [[10**15], [3 << 30, 2 << 30]])
def test_attack_06_what_is_larger_than_the_quota_is_refused_before_the_first_byte(
    store: ModelStore, sizes: list[int]
) -> None:
    carrier = FakeCarrier()
    wanted = [Descriptor(f"sha256:{n:064x}", size, "") for n, size in enumerate(sizes)]
    with pytest.raises(DataError, match="the quota is") as caught:
        fetch(store, carrier, wanted=wanted)
    assert caught.value.code == "registry.quota"
    assert carrier.asked == []


@pytest.mark.parametrize("wanted", [[Descriptor(BLOB.digest, -1, "")], [BLOB, Descriptor(BLOB.digest, 5, "")]])
def test_attack_06_a_size_that_cannot_be_is_refused_before_the_first_byte(
    store: ModelStore, wanted: list[Descriptor]
) -> None:
    carrier = FakeCarrier(RAW)
    with pytest.raises(DataError) as caught:
        fetch(store, carrier, wanted=wanted)
    assert caught.value.code == "registry.size"
    assert carrier.asked == []


def test_attack_30_a_byte_a_second_is_given_up_after_a_minute_and_the_mirror_is_asked(store: ModelStore) -> None:
    clock = ManualClock()

    def drip(raw: bytes, start: int) -> FakeStream:
        def slowly() -> Iterator[bytes | Exception]:
            for at in range(start, len(raw)):
                clock.advance_ms(1000)
                yield raw[at : at + 1]

        return FakeStream(start, slowly())

    slow, mirror = FakeCarrier(RAW, attack=drip), FakeCarrier(RAW)
    fetch(store, slow, mirror, clock=clock)
    assert store.blobs.is_sound(BLOB)
    assert slow.given == 60
    assert mirror.asked == [(BLOB.digest, 60)]
    with pytest.raises(UnavailableError, match="1 bytes a second, expected 4096") as caught:
        _only(store, slow, clock)
    assert caught.value.code == "registry.slow"


def _only(store: ModelStore, slow: FakeCarrier, clock: ManualClock) -> None:
    store.blobs.path(BLOB.digest).unlink()
    fetch(store, slow, clock=clock)


def test_attack_30_slow_but_fast_enough_is_not_given_up(store: ModelStore) -> None:
    clock = ManualClock()

    def steady(raw: bytes, start: int) -> FakeStream:
        def slowly() -> Iterator[bytes | Exception]:
            for piece in pieces(raw[start:], 500):
                clock.advance_ms(100)
                yield piece

        return FakeStream(start, slowly())

    limits = Limits(parallel=1, rate_window_s=1.0, room=QUICK.room)
    fetch(store, FakeCarrier(RAW, attack=steady), clock=clock, limits=limits)
    assert store.blobs.is_sound(BLOB)


@pytest.mark.parametrize("room", [Room(quota_bytes=20_000, reserve_bytes=0), Room(reserve_bytes=1 << 62)])
def test_attack_38_what_does_not_fit_beside_the_rest_is_refused_before_the_first_byte(
    store: ModelStore, room: Room
) -> None:
    there = describe(b"x" * 15_000, "")
    store.blobs.put(there, b"x" * 15_000)
    small, carrier = describe(RAW[:10_000], ""), FakeCarrier(RAW[:10_000])
    with pytest.raises(StorageError) as caught:
        fetch(store, carrier, wanted=[small], limits=Limits(parallel=1, room=room))
    assert caught.value.code == "storage.full"
    assert carrier.asked == []
    fetch(store, carrier, wanted=[there], limits=Limits(parallel=1, room=room))  # nothing to fetch, nothing to refuse


def test_attack_38_a_disk_that_fills_meanwhile_gets_back_what_had_arrived(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        written.append(1)
        if len(written) > 10:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    carrier = FakeCarrier(RAW)
    with pytest.raises(StorageError) as caught:
        fetch(store, carrier, FakeCarrier(RAW))
    monkeypatch.undo()
    assert caught.value.code == "storage.full"
    assert list(store.blobs.incoming.iterdir()) == []
    assert len(carrier.asked) == 1


def test_attack_39_a_second_updater_is_kept_out_by_name(store: ModelStore) -> None:
    with (
        store.updating(),
        pytest.raises(BusyError, match=f"held by process {os.getpid()}.*try again"),
        store.updating(),
    ):
        pass
    with store.updating():
        pass


# --- cuts, ranges, mirrors


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_after_a_cut_only_the_rest_is_asked_for(store: ModelStore, share: float) -> None:
    at = int(len(RAW) * share)

    def once(raw: bytes, start: int) -> FakeStream:
        return honest(raw, start) if start else FakeStream(0, [*pieces(raw[:at]), CUT])

    carrier = FakeCarrier(RAW, attack=once)
    assert fetch(store, carrier) == Fetched(len(RAW), 0)
    assert carrier.asked == [(BLOB.digest, 0), (BLOB.digest, at)]
    assert carrier.given == len(RAW)


def test_what_an_earlier_run_got_is_not_asked_for_again(store: ModelStore) -> None:
    store.blobs.part_path(BLOB).write_bytes(RAW[:20_000])
    assert fetch(store, FakeCarrier(RAW)) == Fetched(10_000, 20_000)
    assert store.blobs.is_sound(BLOB)


def test_what_an_earlier_run_completed_asks_nobody(store: ModelStore) -> None:
    store.blobs.part_path(BLOB).write_bytes(RAW)
    carrier = FakeCarrier(RAW)
    assert fetch(store, carrier) == Fetched(0, len(RAW))
    assert carrier.asked == []


@pytest.mark.parametrize("size", [20_000, 30_000])
def test_bytes_of_an_earlier_run_that_are_the_wrong_ones_do_not_ban_who_sent_the_rest(
    store: ModelStore, size: int
) -> None:
    store.blobs.part_path(BLOB).write_bytes(b"!" * size)
    carrier = FakeCarrier(RAW)
    fetch(store, carrier)
    assert store.blobs.is_sound(BLOB)
    assert carrier.asked[-1] == (BLOB.digest, 0)


def test_a_source_that_answers_from_the_beginning_is_taken_from_there(store: ModelStore) -> None:
    store.blobs.part_path(BLOB).write_bytes(RAW[:20_000])
    carrier = FakeCarrier(RAW, attack=lambda raw, _: honest(raw, 0))
    assert fetch(store, carrier) == Fetched(30_000, 20_000)
    assert store.blobs.is_sound(BLOB)


def test_attack_33_a_source_that_answers_from_somewhere_else_is_not_believed(store: ModelStore) -> None:
    store.blobs.part_path(BLOB).write_bytes(RAW[:20_000])
    liar = FakeCarrier(RAW, attack=lambda raw, _: honest(raw, 10_000))
    assert fetch(store, liar, FakeCarrier(RAW)) == Fetched(10_000, 20_000)
    with pytest.raises(DataError) as caught:
        _only(store, liar, ManualClock())
    assert caught.value.code == "registry.protocol"


def test_a_source_that_sends_all_and_then_does_not_end_has_sent_all(store: ModelStore) -> None:
    carrier = FakeCarrier(RAW, attack=lambda raw, start: FakeStream(start, [*pieces(raw[start:]), CUT]))
    assert fetch(store, carrier) == Fetched(len(RAW), 0)
    assert carrier.asked == [(BLOB.digest, 0)]


def test_a_source_that_always_cuts_the_wrong_bytes_it_sends_does_not_keep_us_for_ever(store: ModelStore) -> None:
    def attack(raw: bytes, start: int) -> FakeStream:
        wrong = b"!" * len(raw)
        return FakeStream(start, [wrong[start:-1], CUT] if start == 0 else [wrong[start:]])

    carrier = FakeCarrier(RAW, attack=attack)
    with pytest.raises(DataError) as caught:
        fetch(store, carrier)
    assert caught.value.code == "registry.digest_mismatch"
    assert len(carrier.asked) == 4


@pytest.mark.parametrize(
    "error",
    [
        DataError("registry.missing", "404"),
        DataError("registry.refused", "410 Gone"),
        PermissionDeniedError("registry.permission", "401"),
    ],
)
def test_who_says_no_is_asked_once_and_the_next_one_is_asked(store: ModelStore, error: EdgeError) -> None:
    def refuse(_raw: bytes, _start: int) -> FakeStream:
        raise error

    no, yes = FakeCarrier(RAW, attack=refuse), FakeCarrier(RAW)
    with pytest.raises(type(error)) as caught:
        fetch(store, no)
    assert caught.value is error
    assert len(no.asked) == 1
    fetch(store, no, yes)
    assert store.blobs.is_sound(BLOB)


def test_a_refusal_for_one_blob_is_none_for_another(store: ModelStore) -> None:
    other = RAW[:9_000]
    mirror, main = FakeCarrier(other), FakeCarrier(RAW, other)
    fetch(store, mirror, main, wanted=[BLOB, describe(other, "")])
    assert main.asked == [(BLOB.digest, 0)]


def test_sources_that_are_away_are_asked_again_a_few_times_with_pauses(store: ModelStore) -> None:
    def away(_raw: bytes, _start: int) -> FakeStream:
        raise UnavailableError("registry.unavailable", "503")

    first, second = FakeCarrier(RAW, attack=away), FakeCarrier(RAW, attack=away)
    with pytest.raises(UnavailableError, match="503"):
        fetch(store, first, second)
    assert (len(first.asked), len(second.asked)) == (3, 3)


def test_cuts_after_much_progress_do_not_use_up_the_tries(store: ModelStore) -> None:
    raw = random.Random(1).randbytes(6 << 20)
    carrier = FakeCarrier(raw, attack=lambda all_, start: FakeStream(start, [all_[start : start + (1 << 20)], CUT]))
    fetch(store, carrier, wanted=[describe(raw, "")])
    assert len(carrier.asked) == 6


def test_no_source_at_all_is_said(store: ModelStore) -> None:
    with pytest.raises(UnavailableError, match="no source"):
        fetch(store)


def test_a_carrier_that_cannot_be_opened_is_like_one_that_does_not_answer(store: ModelStore) -> None:
    def broken() -> FakeCarrier:
        raise DataError("registry.archive", "not a tar archive")

    good = FakeCarrier(RAW)
    Downloader(store.blobs, [broken, lambda: good], limits=QUICK).fetch("weld", [BLOB])
    assert store.blobs.is_sound(BLOB)


# --- stopping


def test_a_stop_ends_it_between_two_chunks_and_what_arrived_stays(store: ModelStore) -> None:
    stop = Stop()

    def progress(done: int, _total: int) -> None:
        if done >= 10_000:
            stop.set()

    with pytest.raises(UnavailableError) as caught:
        fetch(store, FakeCarrier(RAW), stop=stop, on_progress=progress)
    assert caught.value.code == "registry.stopped"
    assert store.blobs.part_bytes(BLOB) == 10_000
    assert fetch(store, FakeCarrier(RAW)) == Fetched(20_000, 10_000)


def test_a_stop_ends_a_pause(store: ModelStore) -> None:
    stop = Stop()

    def away(_raw: bytes, _start: int) -> FakeStream:
        stop.set()
        raise CUT

    with pytest.raises(UnavailableError) as caught:
        fetch(store, FakeCarrier(RAW, attack=away), stop=stop, limits=Limits(pause_s=1000.0, room=QUICK.room))
    assert caught.value.code == "registry.stopped"


def test_an_interrupt_ends_the_threads(store: ModelStore) -> None:
    def interrupted(_raw: bytes, _start: int) -> FakeStream:
        raise KeyboardInterrupt

    raws = [RAW[:100], RAW[100:300]]
    with pytest.raises(KeyboardInterrupt):
        fetch(
            store,
            FakeCarrier(*raws, attack=interrupted),
            wanted=[describe(raw, "") for raw in raws],
            limits=Limits(parallel=2, room=QUICK.room),
        )


# --- the disk


def test_a_right_that_we_lack_on_our_own_disk_is_not_the_fault_of_a_source(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    first, second = FakeCarrier(RAW), FakeCarrier(RAW)
    with pytest.raises(PermissionDeniedError) as caught:
        fetch(store, first, second)
    monkeypatch.undo()
    assert caught.value.code == "storage.permission"
    assert (len(first.asked), len(second.asked)) == (1, 0)
    assert fetch(store) == Fetched(0, len(RAW))


def errors(number: int, *names: str) -> Callable[[pytest.MonkeyPatch], list[int]]:
    """Make the n-th of these calls fail; the list holds n, and how many there were."""

    def install(monkeypatch: pytest.MonkeyPatch) -> list[int]:
        state = [0, 0]
        for name in names:
            real = getattr(os, name)

            def call(*args: Any, real: Any = real, **kwargs: Any) -> Any:
                state[1] += 1
                if state[1] == state[0]:
                    raise OSError(number, os.strerror(number))
                return real(*args, **kwargs)

            monkeypatch.setattr(os, name, call)
        return state

    return install


def test_whatever_step_of_a_fetch_the_disk_refuses_the_next_fetch_succeeds(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    raw = RAW[:2500]
    blob = describe(raw, "")
    for number in (5, 24, 28, 30):  # EIO, EMFILE, ENOSPC, EROFS
        failed = 0
        for n in range(1, 100):
            with monkeypatch.context() as patch:
                state = errors(number, "open", "write", "fsync", "fchmod", "rename", "ftruncate", "lseek")(patch)
                state[0] = n
                try:
                    fetch(store, FakeCarrier(raw), wanted=[blob])
                except StorageError:
                    failed += 1
            assert not store.blobs.has(blob) or store.blobs.is_sound(blob)
            fetch(store, FakeCarrier(raw), wanted=[blob])
            assert hashlib.sha256(store.blobs.path(blob.digest).read_bytes()).hexdigest() == blob.hex
            store.blobs.path(blob.digest).unlink()
            if state[1] < n:
                break
        assert failed >= 8


@pytest.mark.parametrize("step_ms", [1000, 700_000])
def test_attack_30_who_is_slow_or_begins_again_for_ever_is_left_after_a_while(store: ModelStore, step_ms: int) -> None:
    clock = ManualClock()
    raw = random.Random(7).randbytes(3 << 20)
    blob, sizes = describe(raw, ""), itertools.cycle([2 << 20, 1 << 18])

    def again(whole: bytes, start: int) -> FakeStream:
        """Send a megabyte or more every second time, as if there were progress, and never from where it was asked."""
        assert start >= 0
        clock.advance_ms(step_ms)
        return FakeStream(0, iter([whole[: next(sizes)], CUT]))

    limits = replace(QUICK, overall_s=10 * step_ms / 1000)
    with pytest.raises(UnavailableError) as caught:
        fetch(store, FakeCarrier(raw, attack=again), wanted=[blob], clock=clock, limits=limits)
    assert caught.value.code == "registry.slow"
    assert store.blobs.part_bytes(blob) > 0  # the next one goes on


def test_the_limit_is_for_all_fetches_of_a_downloader(store: ModelStore) -> None:
    clock = ManualClock()
    first, second = describe(RAW[:100], ""), describe(RAW[100:300], "")
    downloader = Downloader(
        store.blobs, [lambda: FakeCarrier(RAW[:100], RAW[100:300])], limits=replace(QUICK, overall_s=60), clock=clock
    )
    downloader.fetch("weld", [first])
    clock.advance_ms(61_000)
    with pytest.raises(UnavailableError, match=r"not all was here within 60 s"):
        downloader.fetch("weld", [second])
    assert downloader.fetch("weld", [first]) == Fetched(0, 0)  # what is here already needs no time
