"""Gets blobs from a carrier into the store: resumed, hashed while they are written, bounded in size, time and space.

What a carrier sends is written only up to the size that was declared, and gets a name only if it has the digest that
was declared (OCI distribution-spec 1.1, Pulling blobs: "Clients SHOULD verify"; here nothing else exists). Which
sources are asked, and what becomes of their faults:

    cut, stalled, too slow, 5xx     the next source, then again after a pause; what has arrived is kept
    4xx, missing, no permission     the next source, and this one no more for this blob
    other bytes, too many of them   the next source, and this one no more at all
    our disk                        the end: nobody else can help
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, EdgeError, PermissionDeniedError, UnavailableError
from edge_runtime.registry.pace import Pace
from edge_runtime.registry.store.garbage import Room, admit
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_runtime.registry.carriers.carrier import Carrier, Stream
    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.store.blobs import Blobs
    from edge_runtime.registry.store.part import Part
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 1 << 20
_PROGRESS_BYTES: Final = 1 << 20  # whoever delivers that much between two faults has not used up a try
_SLICE_S: Final = 0.2  # how late a stop is seen during a pause
_OUR_DISK: Final = "storage.permission"
_WRONG: Final = frozenset({"registry.digest_mismatch", "registry.too_long"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may take.

    Attributes:
        parallel: blobs at the same time, >= 1; each has a connection and, beyond one, a thread.
        tries: rounds through all sources without a megabyte of progress, before it is given up.
        pause_s: before the second round; doubled each time, up to ``pause_max_s``, and of random length around it.
        rate_min_bytes_s: slower than that over ``rate_window_s`` is as good as nothing (Uptane standard: "SHALL monitor
            the download speed").
        overall_s: limit for all that one `Downloader` fetches. While it fetches, nobody asks what was revoked, so who
            serves slowly, or the same bytes again and again, must not decide how long that is; the next one goes on.
        room: quota and reserve of the disk.
    """

    parallel: int = 2
    tries: int = 5
    pause_s: float = 1.0
    pause_max_s: float = 30.0
    rate_min_bytes_s: int = 4096
    rate_window_s: float = 60.0
    overall_s: float = 3600.0
    room: Room = field(default_factory=Room)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch cost: bytes that were asked of sources, and those that an earlier one had left us."""

    read_bytes: int
    resumed_bytes: int


class Downloader:
    """Fetches blobs into a store whose lock the caller holds; one `fetch` at a time.

    Args:
        blobs: where they go.
        sources: each opens a carrier, for one thread, without waiting for it; mirrors in order of preference.
        limits: what it may take.
        stop: ends a fetch between two chunks.
        on_progress: called with the bytes that are there and those there will be, from the threads of a fetch, one at a
            time; has to be quick.
        clock: for rates.
    """

    def __init__(
        self,
        blobs: Blobs,
        sources: Sequence[Callable[[], Carrier]],
        *,
        limits: Limits | None = None,
        stop: Stop | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Ask nobody yet."""
        self._blobs = blobs
        self._sources = sources
        self._limits = limits or Limits()
        self._stop = stop or Stop()
        self._on_progress = on_progress
        self._clock = clock or SystemClock()
        self._until_ns: int | None = None  # from the first fetch on

    def fetch(self, repository: str, wanted: Iterable[Descriptor]) -> Fetched:
        """Bring all of ``wanted`` into the store; what is there and sound already is not fetched again.

        Raises:
            DataError: no source has what was declared (``registry.digest_mismatch``, ``registry.too_long``,
                ``registry.missing`` ...), or it is more than the quota allows (``registry.quota``).
            UnavailableError: no source answers well enough, ``registry.slow`` among them; ``registry.stopped``.
            PermissionDeniedError: the sources refuse us, or the disk does.
            StorageError: the disk refuses; ``storage.full`` before the first byte when there is not enough room.
        """
        missing = [blob for blob in _distinct(wanted) if not self._blobs.is_sound(blob)]
        admit(self._blobs, self._limits.room, missing)
        missing.sort(key=lambda blob: blob.size, reverse=True)
        if self._until_ns is None:
            self._until_ns = self._clock.mono_ns() + int(self._limits.overall_s * 1e9)
        until_ns, told = self._until_ns, self._on_progress
        errand = _Errand(self._blobs, repository, missing, self._limits, self._stop, self._clock, until_ns, told)
        threads = min(self._limits.parallel, len(missing))
        if threads <= 1:
            errand.run(self._sources)
            return errand.result()
        with ThreadPoolExecutor(threads, thread_name_prefix="registry/fetch") as pool:
            try:
                wait([pool.submit(errand.run, self._sources) for _ in range(threads)])
            finally:
                errand.halt.set()  # an interrupt of this thread ends the others
        return errand.result()


class _Errand:
    """One fetch: what its threads share."""

    def __init__(
        self,
        blobs: Blobs,
        repository: str,
        missing: Sequence[Descriptor],
        limits: Limits,
        stop: Stop,
        clock: Clock,
        until_ns: int,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self.blobs = blobs
        self.repository = repository
        self.limits = limits
        self.clock = clock
        self.halt = threading.Event()  # a thread failed: the others need not go on
        self.banned: set[int] = set()  # sources that sent other bytes; adding is atomic
        self._stop = stop
        self._until_ns = until_ns
        self._on_progress = on_progress
        self._queue = deque(missing)
        self._lock = threading.Lock()  # guards what is below, and lets one thread at a time report
        self._error: BaseException | None = None
        self._total = sum(blob.size for blob in missing)
        self._there = 0
        self._read = 0
        self._resumed = 0

    def run(self, sources: Sequence[Callable[[], Carrier]]) -> None:
        """Fetch blobs until there are none left; what one thread does."""
        carriers = _Carriers(sources)
        try:
            while True:
                self.check()
                try:
                    blob = self._queue.popleft()
                except IndexError:
                    return
                _Fetch(self, carriers, blob).run()
        except BaseException as error:
            with self._lock:
                self._error = self._error or error  # those of the others, who are halted, come later
            self.halt.set()
            raise
        finally:
            carriers.close()

    def check(self) -> None:
        """Raise when it is not to go on."""
        if self._stop.is_set() or self.halt.is_set():
            raise UnavailableError("registry.stopped", "the download was stopped; it goes on where it is")
        if self._total > self._there and self.clock.mono_ns() >= self._until_ns:
            message = f"not all was here within {self.limits.overall_s:g} s; the next look goes on where it is"
            raise UnavailableError("registry.slow", message, help="look at the network, or name a mirror")

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        while seconds > 0:
            self._stop.wait(min(seconds, _SLICE_S))
            self.check()
            seconds -= _SLICE_S

    def count(self, *, read: int = 0, resumed: int = 0, lost: int = 0) -> None:
        """Note what arrived, was there before, or has to come again."""
        with self._lock:
            self._read += read
            self._resumed += resumed
            self._there += read + resumed - lost
            if self._on_progress is not None:
                self._on_progress(self._there, self._total)

    def result(self) -> Fetched:
        """Return what it cost, or raise what ended it."""
        if self._error is not None:
            raise self._error
        return Fetched(self._read, self._resumed)


class _Carriers:
    """The carriers of one thread, opened when they are needed."""

    def __init__(self, sources: Sequence[Callable[[], Carrier]]) -> None:
        self._sources = sources
        self._open: dict[int, Carrier] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def get(self, index: int) -> Carrier:
        if index not in self._open:
            self._open[index] = self._sources[index]()
        return self._open[index]

    def close(self) -> None:
        for carrier in self._open.values():
            carrier.close()


class _Fetch:
    """One blob: who is asked for it, and what became of that."""

    def __init__(self, errand: _Errand, carriers: _Carriers, blob: Descriptor) -> None:
        self._errand = errand
        self._carriers = carriers
        self._blob = blob
        self._refused: set[int] = set()  # sources that will not give it
        self._restarted: set[int] = set()  # sources that completed what another one, or an earlier run, had begun
        self._error: EdgeError | None = None

    def run(self) -> None:
        """Ask the sources, again and again, until it is stored or there is no hope."""
        limits, failures = self._errand.limits, 0
        with self._errand.blobs.part(self._blob) as part:
            self._errand.count(resumed=part.resume())
            if self._is_done(part):
                return
            while True:
                before = part.size
                if self._round(part):
                    return
                if not self._left():
                    raise self._given_up()
                failures = 0 if part.size - before >= _PROGRESS_BYTES else failures + 1
                if failures >= limits.tries:
                    raise self._given_up()
                pause_s = min(limits.pause_s * 2**failures, limits.pause_max_s)
                self._errand.pause(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads boxes, no secret

    def _left(self) -> list[int]:
        return [n for n in range(len(self._carriers)) if n not in self._refused | self._errand.banned]

    def _round(self, part: Part) -> bool:
        """Ask every source once; return whether the blob is stored."""
        for index in self._left():
            while index in self._left():
                self._errand.check()
                start = part.size
                try:
                    self._read_from(index, part)
                    part.commit()
                except UnavailableError as error:
                    self._errand.check()
                    self._note(index, error)
                    break
                except (DataError, PermissionDeniedError) as error:
                    if error.code == _OUR_DISK:
                        raise
                    self._judge(index, part, error, begun=start > 0)
                else:
                    return True
        return False

    def _judge(self, index: int, part: Part, error: DataError | PermissionDeniedError, *, begun: bool) -> None:
        """Decide what a fault says about the source; afterwards it is asked again only if it has not been refused."""
        self._note(index, error)
        if error.code not in _WRONG:
            self._refused.add(index)
            return
        self._errand.count(lost=part.size)
        part.restart()
        if begun and index not in self._restarted:
            self._restarted.add(index)  # the bytes that were there before may be the wrong ones
        else:
            self._errand.banned.add(index)

    def _note(self, index: int, error: EdgeError) -> None:
        self._error = error
        logger.warning("source %d of %s: %s", index + 1, self._blob.digest, error.message)

    def _given_up(self) -> EdgeError:
        if self._error is None:
            return UnavailableError("registry.unavailable", f"no source is left that may serve {self._blob.digest}")
        return self._error

    def _is_done(self, part: Part) -> bool:
        """Give the blob its name if all of it was there before; one with other bytes begins anew."""
        if part.size < self._blob.size:
            return False
        try:
            part.commit()
        except DataError:
            self._errand.count(lost=part.size)
            part.restart()
            return False
        return True

    def _read_from(self, index: int, part: Part) -> None:
        """Append what a source sends, to the end."""
        blob = self._blob
        if part.size == blob.size:
            return  # the last source sent all of it, and then did not end
        carrier = self._carriers.get(index)
        stream = carrier.open(self._errand.repository, blob, part.size)
        try:
            if stream.start not in (0, part.size):
                message = f"{carrier.name}: asked for {blob.digest} from byte {part.size}, got it from {stream.start}"
                raise DataError("registry.protocol", message)
            if stream.start != part.size:
                self._errand.count(lost=part.size)
                part.restart()
            self._copy(stream, part, carrier.name)
        finally:
            stream.close()

    def _copy(self, stream: Stream, part: Part, name: str) -> None:
        limits = self._errand.limits
        pace = Pace(self._errand.clock, limits.rate_min_bytes_s, limits.rate_window_s)
        while chunk := stream.read(min(CHUNK_BYTES, self._blob.size - part.size + 1)):
            part.write(chunk)
            self._errand.count(read=len(chunk))
            self._errand.check()
            pace.check(len(chunk), name)
        if part.size < self._blob.size:
            message = f"{name}: {self._blob.digest} ended after {part.size} of {self._blob.size} bytes"
            raise UnavailableError("registry.cut", message)


def _distinct(wanted: Iterable[Descriptor]) -> list[Descriptor]:
    """Return each blob once, however often it is part of a release.

    Raises:
        DataError: code ``registry.size``: negative, or two sizes for one digest.
    """
    found: dict[str, Descriptor] = {}
    for blob in wanted:
        known = found.setdefault(blob.digest, blob)
        if blob.size < 0 or known.size != blob.size:
            message = f"{blob.digest}: {known.size} and {blob.size} bytes cannot both be its size"
            raise DataError("registry.size", message)
    return list(found.values())
