"""A disk that is really full: a small tmpfs."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.spool.limits import SpoolLimits
from edge_runtime.publish.spool.spool import Spool
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.clock import ManualClock
from tests.fakes.publishing import proving, running_box
from tests.fakes.results import BOOT, IDENTITY, make_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 4096


@contextmanager
def small_disk(directory: Path, size: int, inodes: int = 0) -> Iterator[Path]:
    """A tmpfs of ``size`` bytes, and so many inodes (0: any number); needs root."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs", str(directory)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let us mount a tmpfs: {mounted.stderr.decode()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def resize(directory: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(directory)], check=True)


def test_wherever_the_disk_gets_full_nothing_committed_is_lost_and_it_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    """The write that fails is another one at each size, from the first page of the file on."""
    failed = 0
    with small_disk(tmp_path, PAGE) as disk:
        for pages in [*range(1, 40), *range(40, 200, 8)]:
            resize(disk, pages * PAGE)
            clock = ManualClock()
            spool = Spool(disk / "spool.db", IDENTITY, BOOT, clock, limits=SpoolLimits(queue=1000))
            frames: list[int] = []
            spool._writer.on_committed = lambda found: frames.extend(frame for _, frame in found)  # noqa: B023 - this turn's
            with closing(spool):
                spool.open()
                taken = []
                for frame in range(1, 101):
                    spool.put(make_result(frame, clock))
                    spool.step(0.0)
                    taken += spool.take(10)
                    assert [row.seq for row in taken] == frames[: len(taken)]  # only what is committed is handed out
                failed += spool.stats().state == "degraded"
                resize(disk, 100 << 20)
                for _ in range(4):
                    spool.step(0.0)
                    taken += spool.take(1000)
                assert spool.stats().state == "ok"
                assert frames == [*range(1, 101)]
                assert [row.seq for row in taken if row.stream == "result/top"] == frames
            again = Spool(disk / "spool.db", IDENTITY, BOOT, clock)
            again.open()
            with closing(again):
                assert again.last_committed("top") == (100, 100)
                assert again.stats().depth == len(taken)
            for path in disk.iterdir():
                path.unlink()
    assert failed > 30


def test_the_line_goes_on_while_the_disk_is_full_and_the_broker_gets_everything_afterwards(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with (
        small_disk(disk, 8 << 20),
        Broker(persistent=False) as broker,
        proving(broker.port) as prover,
        running_box(disk, broker.port) as box,
    ):
        box.put(10)
        box.wait_acked(10)
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(8 << 20))
        while box.spool.stats().state == "ok":
            box.put(100)
            wait_until(lambda: box.spool.stats().queued == 0 or box.spool.stats().state != "ok")
        assert box.spool.stats().reason == "storage.full"
        box.put(100)
        ballast.unlink()
        wait_until(lambda: box.spool.stats().state == "ok", timeout_s=5.0, what="recovery")
        box.wait_acked(box.frame)
        wait_until(lambda: prover.proof().distinct == box.frame)
        assert prover.proof().complete
        assert box.spool.stats().lost == 0


def test_a_read_only_disk_degrades_and_recovers(tmp_path: Path) -> None:
    with small_disk(tmp_path, 8 << 20) as disk:
        clock = ManualClock()
        spool = Spool(disk / "spool.db", IDENTITY, BOOT, clock)
        spool.open()
        with closing(spool):
            spool.put(make_result(1, clock))
            spool.step(0.0)
            spool.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        spool = Spool(disk / "spool.db", IDENTITY, BOOT, clock)
        spool.open()
        with closing(spool):
            spool.put(make_result(2, clock))
            spool.step(0.0)
            assert spool.stats().state == "degraded"
            assert spool.take(10) == []
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            spool.step(0.0)
            spool.step(0.0)
            assert spool.stats().state == "ok"
            assert [row.seq for row in spool.take(10)] == [1, 2]


@pytest.mark.parametrize("inodes", range(2, 8))
def test_a_disk_without_inodes_loses_nothing_and_the_spool_goes_on_when_there_are_some(
    tmp_path: Path, inodes: int
) -> None:
    """The directory takes one; then there is none for the file, the log, the floors or the floors' temporary file."""
    with small_disk(tmp_path, 8 << 20, inodes) as disk:
        clock = ManualClock()
        spool = Spool(disk / "spool.db", IDENTITY, BOOT, clock)
        spool.open()
        with closing(spool):
            taken = []
            for frame in range(1, 6):
                spool.put(make_result(frame, clock))
                spool.step(0.0)
                spool._writer.syncer._flush()
                taken += spool.take(10)
            assert (spool.stats().state == "degraded") == (inodes < 5)
            subprocess.run(["mount", "-o", "remount,nr_inodes=100", str(disk)], check=True)
            for _ in range(4):
                spool.step(0.0)
                spool._writer.syncer.kick()
                spool._writer.syncer._flush()
                taken += spool.take(10)
            assert spool.stats().state == "ok"
            assert [row.seq for row in taken] == [1, 2, 3, 4, 5]


class SteppingClock(ManualClock):
    """UTC may step; the monotonic clock does not know of it."""

    def __init__(self) -> None:
        super().__init__()
        self.step_ns = 0

    def utc_ns(self) -> int:
        return super().utc_ns() + self.step_ns


HOUR_NS = 3600 * 1_000_000_000


def test_steps_of_the_clock_evict_nothing_prune_nothing_and_skip_no_number(tmp_path: Path) -> None:
    clock = SteppingClock()
    limits = SpoolLimits(max_age_s=1800.0, keep_s=1800.0)
    steps = {"right": 0, "behind": -HOUR_NS, "ahead": 3 * HOUR_NS, "1970": -clock.utc_ns() + 1_000_000_000}
    frame, kept = 0, 0
    for boot_at in ("right", "1970", "right", "1970", "right"):
        clock.step_ns = steps[boot_at]
        spool = Spool(tmp_path / "spool.db", IDENTITY, f"{BOOT}-{frame}", clock, limits=limits)
        spool.open()
        with closing(spool):
            spool.step(0.0)
            for name in (boot_at, "behind", "ahead", "1970", "right"):
                clock.step_ns = steps[name]
                clock.advance_ms(1100)
                for _ in range(10):
                    frame += 1
                    spool.put(make_result(frame, clock))
                for _ in range(3):
                    spool.step(0.0)
                assert spool.stats().evicted == 0
                assert spool.stats().kept_bytes >= kept
                kept = spool.stats().kept_bytes
            assert spool.last_committed("top") == (frame, frame)
            spool.acked(spool.take(10))
            spool.step(0.0)
            kept = spool.stats().kept_bytes
            assert kept > 0
        with closing(spool_on(tmp_path, clock)) as again:
            assert again.stats().depth == frame - 10 * (frame // 50)


def spool_on(directory: Path, clock: ManualClock) -> Spool:
    spool = Spool(directory / "spool.db", IDENTITY, BOOT, clock)
    spool.open()
    return spool
