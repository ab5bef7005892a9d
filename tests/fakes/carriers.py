"""A carrier in memory, whose streams do what a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_runtime.registry.carriers.carrier import Stream
    from edge_runtime.registry.carriers.listing import Listing
    from edge_runtime.registry.descriptor import Descriptor

CUT = UnavailableError("registry.unavailable", "the connection was cut")


class FakeStream:
    """Gives the pieces; an error among them is raised."""

    def __init__(self, start: int, pieces: Iterable[bytes | Exception]) -> None:
        self.start = start
        self.closed = False
        self.given = 0
        self._pieces = iter(pieces)
        self._left = b""

    def read(self, limit: int) -> bytes:
        if not self._left:
            piece = next(self._pieces, b"")
            if isinstance(piece, Exception):
                raise piece
            self._left = piece
        part, self._left = self._left[:limit], self._left[limit:]
        self.given += len(part)
        return part

    def close(self) -> None:
        self.closed = True


class FakeCarrier:
    """Serves ``blobs``; ``attack`` makes the stream of (all bytes, start), by default an honest one."""

    def __init__(
        self, *blobs: bytes, attack: Callable[[bytes, int], Stream] | None = None, name: str = "fake", piece: int = 1000
    ) -> None:
        from edge_runtime.registry.descriptor import digest_of

        self.name = name
        self.content = {digest_of(raw): raw for raw in blobs}
        self.attack = attack
        self.piece = piece
        self.asked: list[tuple[str, int]] = []
        self.streams: list[Stream] = []
        self.closed = 0

    def listing(self, known: str | None = None) -> Listing | None:
        raise NotImplementedError

    def open(self, repository: str, blob: Descriptor, start: int = 0) -> Stream:
        assert repository
        assert start < blob.size or start == 0
        self.asked.append((blob.digest, start))
        if blob.digest not in self.content:
            raise DataError("registry.missing", f"{self.name} has no {blob.digest}")
        raw = self.content[blob.digest]
        stream = honest(raw, start, self.piece) if self.attack is None else self.attack(raw, start)
        self.streams.append(stream)
        return stream

    def close(self) -> None:
        self.closed += 1

    @property
    def given(self) -> int:
        """Bytes that were read from it."""
        return sum(stream.given for stream in self.streams if isinstance(stream, FakeStream))


def honest(raw: bytes, start: int, piece: int = 1000) -> FakeStream:
    return FakeStream(start, pieces(raw[start:], piece))


def pieces(raw: bytes, size: int = 1000) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]
