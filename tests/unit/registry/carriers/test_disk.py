"""A medium that fails while it is read, or that nobody gave us the right to."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError, EdgeError, PermissionDeniedError, StorageError, UnavailableError
from edge_runtime.registry.carriers import archive, directory
from edge_runtime.registry.carriers.directory import FileStream
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from edge_runtime.registry.carriers.source import part_of
from edge_runtime.registry.descriptor import describe

if TYPE_CHECKING:
    from pathlib import Path

BLOB = describe(b"weights", "x")


class Broken(io.BytesIO):
    """A file on a stick that was pulled out."""

    def __init__(self, error: int = errno.EIO) -> None:
        super().__init__(b"weights")
        self.error = error

    def fileno(self) -> int:
        return 0

    def read(self, _: int | None = -1) -> bytes:
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errno.EACCES, PermissionDeniedError),
        (errno.EPERM, PermissionDeniedError),
        (errno.EIO, UnavailableError),
        (errno.ESTALE, UnavailableError),
        (errno.ELOOP, DataError),
        (errno.ENXIO, DataError),
    ],
)
def test_what_the_kernel_says_about_a_file_becomes_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, kind: type[EdgeError]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    for module, url in ((directory, f"oci-layout:{tmp_path}"), (archive, f"oci-archive:{tmp_path}/x.tar")):
        monkeypatch.setattr(module, "open_beneath", refuse)
        for ask in (lambda one: one.listing(), lambda one: one.open("weld", BLOB)):
            with pytest.raises(EdgeError) as caught:
                ask(open_carrier(url, Access()))
            assert type(caught.value) is kind
            assert str(tmp_path) in caught.value.message


def test_a_stick_that_is_pulled_out_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FileStream(Broken(), "blob", offset=0, start=0, size=7)
    with pytest.raises(UnavailableError, match="Input/output error"):
        stream.read(10)
    for module, url in ((directory, f"oci-layout:{tmp_path}"), (archive, f"oci-archive:{tmp_path}/x.tar")):
        monkeypatch.setattr(module, "open_beneath", lambda *_: Broken())
        monkeypatch.setattr(module.os, "fstat", lambda _: os.stat_result((0o100644, *range(9))))
        with pytest.raises(UnavailableError, match="Input/output error"):
            open_carrier(url, Access()).listing()


def test_an_archive_whose_name_is_none_is_refused() -> None:
    with pytest.raises(EdgeError):
        open_carrier("oci-archive:/tmp/..", Access()).listing()


def test_a_source_that_cannot_be_read_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    place = open_publication(f"oci-layout:{tmp_path}", Access())
    with pytest.raises(StorageError, match="cannot read what is to be published: Input/output error"):
        place.put("weld", BLOB, Broken())
    assert list((tmp_path / "blobs" / "sha256").iterdir()) == []
    with pytest.raises(StorageError):
        list(part_of(Broken(), 0, 7)())


def test_a_directory_that_cannot_be_looked_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    place = open_publication(f"oci-layout:{tmp_path}", Access())
    for name in ("is_symlink", "glob"):
        with monkeypatch.context() as faulty:
            faulty.setattr(type(tmp_path), name, refuse)
            with pytest.raises(StorageError, match="Input/output error"):
                place.put("weld", BLOB, io.BytesIO(b"weights"))
    place.put("weld", BLOB, io.BytesIO(b"weights"))
    assert place.has("weld", BLOB) is True
