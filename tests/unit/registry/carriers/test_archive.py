"""A registry in a tar archive, and archives that say two things at once."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.carriers import archive as module
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from edge_runtime.registry.descriptor import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHTS = bytes(range(256)) * 40
BLOB = describe(WEIGHTS, "application/octet-stream")
BLOB_NAME = f"blobs/sha256/{BLOB.hex}"
FILES = {"1.root.json": b"root"}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    place = open_publication(f"oci-layout:{tmp_path / 'dir'}", Access())
    place.put("weld", BLOB, io.BytesIO(WEIGHTS))
    place.publish(FILES, None)
    return tmp_path / "dir"


def write(
    path: Path, layout: Path, change: Callable[[tarfile.TarFile], None] = lambda _: None, *, form: int = 1
) -> str:
    """Write the layout into an archive, after what ``change`` adds, and return its address."""
    with tarfile.open(path, "w", format=form) as tar:
        change(tar)
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(layout / name, name)
    return f"oci-archive:{path}"


def member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **more: object
) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("start", [0, 5000])
def test_a_layout_is_read_in_place(tmp_path: Path, layout: Path, form: int, start: int) -> None:
    carrier = open_carrier(write(tmp_path / "x.tar", layout, form=form), Access())
    listing = carrier.listing()
    assert listing is not None
    assert carrier.listing(listing.token) is None
    stream = carrier.open("weld", BLOB, start)
    assert (stream.start, b"".join(iter(lambda: stream.read(999), b""))) == (start, WEIGHTS[start:])
    stream.close()
    root = carrier.open("tuf", listing.files["1.root.json"])
    assert root.read(100) == b"root"
    root.close()
    carrier.close()


def test_an_archive_that_was_replaced_is_looked_through_again(tmp_path: Path, layout: Path) -> None:
    carrier = open_carrier(write(tmp_path / "x.tar", layout), Access())
    first = carrier.listing()
    place = open_publication(f"oci-layout:{layout}", Access())
    assert first is not None
    second = place.publish({**FILES, "timestamp.json": b"t"}, first.token)
    write(tmp_path / "y.tar", layout)
    (tmp_path / "y.tar").rename(tmp_path / "x.tar")
    found = carrier.listing(first.token)
    assert found is not None
    assert found.token == second


HOSTILE: dict[str, Callable[[tarfile.TarFile], None]] = {
    "symbolic link": lambda tar: tar.addfile(member("index.json", tarfile.SYMTYPE, linkname="/etc/passwd")[0]),
    "hard link": lambda tar: tar.addfile(member(BLOB_NAME, tarfile.LNKTYPE, linkname="/etc/shadow")[0]),
    "device": lambda tar: tar.addfile(member("blobs/zero", tarfile.CHRTYPE, devmajor=1, devminor=5)[0]),
    "block device": lambda tar: tar.addfile(member("blobs/disk", tarfile.BLKTYPE)[0]),
    "pipe": lambda tar: tar.addfile(member("index.json", tarfile.FIFOTYPE)[0]),
    "sparse file": lambda tar: tar.addfile(*member("blobs/x", tarfile.GNUTYPE_SPARSE)),
    "contiguous file": lambda tar: tar.addfile(*member("blobs/x", tarfile.CONTTYPE)),
    "long name": lambda tar: tar.addfile(*member("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"index.json\0")),
    "unknown type": lambda tar: tar.addfile(*member("x", b"Z")),
    "name twice": lambda tar: tar.addfile(*member("index.json", content=b"{}")),
    "name twice, spelled otherwise": lambda tar: tar.addfile(*member("./index.json", content=b"{}")),
    "way up": lambda tar: tar.addfile(*member("blobs/../../escape", content=b"x")),
    "way up first": lambda tar: tar.addfile(*member("../escape", content=b"x")),
    "root": lambda tar: tar.addfile(*member("/etc/passwd", content=b"x")),
    "letter of a drive": lambda tar: tar.addfile(*member("C:\\x", content=b"x")),
    "another alphabet": lambda tar: tar.addfile(*member("index.js\N{CYRILLIC SMALL LETTER O}n", content=b"x")),
    "renaming header": lambda tar: tar.addfile(*member("p", tarfile.XHDTYPE, b"19 path=index.json\n")),
    "resizing header": lambda tar: tar.addfile(*member("p", tarfile.XHDTYPE, b"10 size=1\n")),
    "resizing header for all": lambda tar: tar.addfile(*member("p", tarfile.XGLTYPE, b"10 size=1\n")),
    "header of a sparse file": lambda tar: tar.addfile(*member("p", tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n")),
    "headers that are none": lambda tar: tar.addfile(*member("p", tarfile.XHDTYPE, b"\xff" * 40)),
    "header without end": lambda tar: tar.addfile(*member("p", tarfile.XHDTYPE, b"20 comment=xxxxxxxx\n" * 4000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_attack_24_an_archive_that_says_two_things_is_refused(tmp_path: Path, layout: Path, name: str) -> None:
    carrier = open_carrier(write(tmp_path / "x.tar", layout, HOSTILE[name], form=tarfile.GNU_FORMAT), Access())
    with pytest.raises(DataError) as caught:
        carrier.listing()
    assert caught.value.code == "registry.archive"


def test_what_is_cut_off_or_no_archive_is_refused(tmp_path: Path, layout: Path) -> None:
    path = tmp_path / "x.tar"
    url = write(path, layout)
    whole = path.read_bytes()
    end = whole.rindex(WEIGHTS) + len(WEIGHTS)
    for broken in (whole[: end - 1], b"\x1f\x8b" + whole, b"{}", whole[:100], whole[512:]):
        path.write_bytes(broken)
        with pytest.raises(DataError):
            _everything(url)
    path.write_bytes(whole[:end])  # what marks the end may be missing
    _everything(url)


def _everything(url: str) -> None:
    carrier = open_carrier(url, Access())
    carrier.listing()
    stream = carrier.open("weld", BLOB)
    stream.close()


@pytest.mark.parametrize("size", [b"-0000000001\0", b"\xff" * 12, b"\x80" + b"\0" * 3 + b"\xff" * 8])
def test_a_size_that_leads_out_of_the_archive_is_refused(tmp_path: Path, layout: Path, size: bytes) -> None:
    path = tmp_path / "x.tar"
    url = write(path, layout)
    raw = bytearray(path.read_bytes())
    raw[124:136] = size
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"cut off|no tar archive"):
        _everything(url)


def test_members_are_bounded(tmp_path: Path, layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMBERS_MAX", 4)
    with pytest.raises(DataError, match="more than 4 members"):
        _everything(write(tmp_path / "x.tar", layout))


def test_a_member_of_another_size_or_none_is_said(tmp_path: Path, layout: Path) -> None:
    carrier = open_carrier(write(tmp_path / "x.tar", layout), Access())
    longer, missing = describe(WEIGHTS, "x"), describe(b"missing", "x")
    object.__setattr__(longer, "size", len(WEIGHTS) + 1)
    for blob, code in ((longer, "registry.size"), (missing, "registry.missing")):
        with pytest.raises(DataError) as caught:
            carrier.open("weld", blob)
        assert caught.value.code == code


def test_an_index_that_is_too_large_is_not_read(tmp_path: Path, layout: Path) -> None:
    (layout / "index.json").write_bytes(bytes((4 << 20) + 1))
    with pytest.raises(DataError, match="allowed are 4194304"):
        open_carrier(write(tmp_path / "x.tar", layout), Access()).listing()


def test_attack_25_an_archive_that_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path, layout: Path) -> None:
    url = write(tmp_path / "x.tar", layout)
    carrier = open_carrier(url, Access())
    (tmp_path / "x.tar").rename(tmp_path / "y.tar")
    with pytest.raises(UnavailableError, match="there is no such file"):
        carrier.listing()
    (tmp_path / "link.tar").symlink_to("y.tar")
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "directory.tar").mkdir()
    for name in ("link", "pipe", "directory"):
        with pytest.raises(DataError, match="is no regular file"):
            open_carrier(f"oci-archive:{tmp_path / name}.tar", Access()).listing()
