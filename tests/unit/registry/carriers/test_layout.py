"""A registry in a directory: what one writes the other reads, whatever else a stranger put there."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import BusyError, ConfigError, DataError, PermissionDeniedError, UnavailableError
from edge_runtime.registry.carriers.listing import make_listing
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from edge_runtime.registry.descriptor import MANIFEST, Descriptor, describe, digest_of

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = bytes(range(256)) * 4096
BLOB = describe(WEIGHTS, "application/vnd.cncf.model.weight.v1.raw")
CONFIG = describe(b"{}", "application/vnd.cncf.model.config.v1+json")
FILES = {"1.root.json": b"root", "timestamp.json": b"time", "targets/floors.json": b"{}"}


def manifest(*layers: Descriptor) -> bytes:
    fields = {"schemaVersion": 2, "mediaType": MANIFEST, "config": CONFIG.as_fields()}
    return json.dumps({**fields, "layers": [layer.as_fields() for layer in layers]}).encode()


def published(root: Path) -> str:
    """Fill ``root`` with one release and its metadata and return the token of the listing."""
    place = open_publication(f"oci-layout:{root}", Access())
    with place.lock():
        place.put("weld", BLOB, io.BytesIO(WEIGHTS))
        place.put("weld", CONFIG, io.BytesIO(b"{}"))
        place.tag("weld", "7", manifest(BLOB))
        return place.publish(FILES, None)


def everything(stream: object, limit: int = 1 << 16) -> bytes:
    chunks = iter(lambda: stream.read(limit), b"")  # type: ignore[attr-defined]
    return b"".join(chunks)


def test_what_was_published_is_read_back(tmp_path: Path) -> None:
    token = published(tmp_path / "reg")
    carrier = open_carrier(f"oci-layout:{tmp_path / 'reg'}", Access())
    listing = carrier.listing()
    assert listing is not None
    assert listing.token == token
    for name, raw in FILES.items():
        stream = carrier.open("tuf", listing.files[name])
        assert (stream.start, everything(stream)) == (0, raw)
        stream.close()
    assert carrier.listing(token) is None
    carrier.close()


def test_a_blob_is_read_from_where_one_left_off(tmp_path: Path) -> None:
    published(tmp_path)
    stream = open_carrier(f"oci-layout:{tmp_path}", Access()).open("weld", BLOB, 1_000_000)
    assert (stream.start, everything(stream, 999)) == (1_000_000, WEIGHTS[1_000_000:])
    stream.close()
    stream.close()


def test_skopeo_reads_what_we_wrote_and_we_read_what_it_wrote(tmp_path: Path) -> None:
    published(tmp_path / "ours")
    name = f"oci:{tmp_path / 'ours'}:weld:7"
    raw = subprocess.run(["skopeo", "inspect", "--raw", name], check=True, capture_output=True).stdout
    assert raw == manifest(BLOB)
    for tag in ("weld:7", "tuf:latest"):
        command = ["skopeo", "copy", "-q", "--preserve-digests", f"oci:{tmp_path / 'ours'}:{tag}"]
        subprocess.run([*command, f"oci:{tmp_path / 'theirs'}:{tag}"], check=True, capture_output=True)
    theirs = open_carrier(f"oci-layout:{tmp_path / 'theirs'}", Access())
    listing = theirs.listing()
    assert listing is not None
    assert listing.token == digest_of(make_listing(FILES))
    for blob, expected in ((BLOB, WEIGHTS), (describe(raw, MANIFEST), raw)):
        stream = theirs.open("weld", blob)
        assert everything(stream) == expected
        stream.close()


def test_publishing_again_replaces_the_listing_and_keeps_what_others_named(tmp_path: Path) -> None:
    first = published(tmp_path)
    place = open_publication(f"oci-layout:{tmp_path}", Access())
    second = place.publish({**FILES, "timestamp.json": b"later"}, first)
    names = [m["annotations"]["org.opencontainers.image.ref.name"] for m in _index(tmp_path)["manifests"]]
    assert (second != first, names) == (True, ["weld:7", "tuf:latest"])
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("[!.]*")}
    place.put("weld", BLOB, io.BytesIO(b"never read: it is there"))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("[!.]*")} == before


@pytest.mark.parametrize("replaces", [None, digest_of(b"what another one replaced")])
def test_a_publisher_that_was_slower_changes_nothing(tmp_path: Path, replaces: str | None) -> None:
    token = published(tmp_path)
    place = open_publication(f"oci-layout:{tmp_path}", Access())
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(BusyError, match=r"another publisher was faster") as caught:
        place.publish({"1.root.json": b"mine"}, replaces)
    assert (caught.value.code, place.listing(token)) == ("registry.changed", None)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_one_publisher_at_a_time(tmp_path: Path) -> None:
    url = f"oci-layout:{tmp_path}"
    mine, other = open_publication(url, Access()), open_publication(url, Access())
    with mine.lock():
        with mine.lock(), pytest.raises(BusyError, match=f"held by process {os.getpid()}") as caught, other.lock():
            pass
        with pytest.raises(BusyError):
            other.tag("weld", "7", manifest(BLOB))
    assert caught.value.code == "registry.locked"
    with other.lock():
        pass


@pytest.mark.parametrize("given", [b"", WEIGHTS[:-1], WEIGHTS + b"x", b"x" + WEIGHTS[1:]])
def test_other_bytes_than_described_are_not_written(tmp_path: Path, given: bytes) -> None:
    place = open_publication(f"oci-layout:{tmp_path}", Access())
    with pytest.raises(DataError) as caught:
        place.put("weld", BLOB, io.BytesIO(given))
    assert (caught.value.code, place.has("weld", BLOB)) == ("registry.digest", False)
    assert list((tmp_path / "blobs" / "sha256").iterdir()) == []


def test_what_a_publisher_that_died_left_half_is_removed(tmp_path: Path) -> None:
    published(tmp_path)
    left = (tmp_path / ".index.json.77.00ff00ff.tmp", tmp_path / "blobs" / "sha256" / f".{BLOB.hex}.77.00ff00ff.tmp")
    for path in left:
        path.write_bytes(b"half")
    with open_publication(f"oci-layout:{tmp_path}", Access()).lock():
        assert [path for path in left if path.exists()] == []


def test_a_torn_blob_is_not_there_and_written_again(tmp_path: Path) -> None:
    published(tmp_path)
    _blob(tmp_path, BLOB).write_bytes(WEIGHTS[:10])
    place = open_publication(f"oci-layout:{tmp_path}", Access())
    with pytest.raises(DataError, match=r"has 10 bytes, expected 1048576"):
        place.open("weld", BLOB)
    assert place.has("weld", BLOB) is False
    place.put("weld", BLOB, io.BytesIO(WEIGHTS))
    assert place.has("weld", BLOB) is True


@pytest.mark.parametrize("name", ["index.json", "blobs", "blobs/sha256", "blob", "listing"])
@pytest.mark.parametrize("kind", ["link", "fifo", "socket", "directory"])
def test_attack_25_what_is_no_regular_file_is_neither_read_nor_waited_for(
    tmp_path: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "usb"
    token = published(root)
    listed = Descriptor(token, 0, MANIFEST)
    path = {"blob": _blob(root, BLOB), "listing": _blob(root, listed)}.get(name, root / name)
    path.rename(tmp_path / "elsewhere")  # a link leads to the true bytes, and is refused all the same
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        monkeypatch.chdir(path.parent)  # its path may have 108 bytes
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    elif name.startswith("blobs"):
        path.write_bytes(b"a file in place of a directory")
    else:
        path.mkdir()
    carrier = open_carrier(f"oci-layout:{root}", Access())
    with pytest.raises(DataError, match=r"is no regular file") as caught:
        carrier.open("weld", BLOB) if name == "blob" else carrier.listing()
    assert caught.value.code == "registry.not_a_file"


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", ".lock"])
def test_attack_25_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    root, victim = tmp_path / "usb", tmp_path / "victim"
    published(root)
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(victim)
    if name != ".lock":
        victim.mkdir()
    place = open_publication(f"oci-layout:{root}", Access())
    with pytest.raises(Exception, match=r"is a link|symbolic links|no regular file"):
        place.tag("weld", "8", b"{}")
    assert not victim.exists() or list(victim.rglob("*")) == []


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (b"", "not JSON"),
        (b"[]", "expected an object"),
        (b"{}", "no list of manifests"),
        (b'{"manifests":[1]}', "no list of manifests"),
        (b'{"manifests":[]}', "holds no manifest named tuf:latest"),
        (b'{"manifests":[{}]}', "holds no manifest named tuf:latest"),
        (b'{"manifests":' + b"[" * 100_000, "not a sensible JSON document"),
        (b" " * ((4 << 20) + 1), "has 4194305 bytes, allowed are 4194304"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, index: bytes, expected: str) -> None:
    published(tmp_path)
    (tmp_path / "index.json").write_bytes(index)
    with pytest.raises(DataError, match=expected):
        open_carrier(f"oci-layout:{tmp_path}", Access()).listing()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"digest": "md5:" + "0" * 32}, "expected sha256:"),
        ({"size": -1}, "has no size"),
        ({"size": True}, "has no size"),
        ({"size": 1e9}, "has no size"),
        ({"mediaType": None}, "no media type"),
        ({"digest": digest_of(WEIGHTS)}, "not UTF-8"),
    ],
)
def test_an_entry_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    published(tmp_path)
    index = _index(tmp_path)
    index["manifests"][1].update(change)
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=expected):
        open_carrier(f"oci-layout:{tmp_path}", Access()).listing()


def test_a_listing_with_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = _blob(tmp_path, Descriptor(published(tmp_path), 0, MANIFEST))
    path.write_bytes(path.read_bytes().replace(b"1.root", b"2.root"))
    with pytest.raises(DataError, match=r"the listing has the digest sha256:\w+, expected"):
        open_carrier(f"oci-layout:{tmp_path}", Access()).listing()


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    published(tmp_path)
    index = _index(tmp_path)
    index["manifests"] *= 2
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"two manifests are named 'weld:7'"):
        open_carrier(f"oci-layout:{tmp_path}", Access()).listing()


def test_a_medium_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    url = f"oci-layout:{tmp_path / 'usb'}"
    carrier = open_carrier(url, Access())
    with pytest.raises(UnavailableError, match=r"there is no such directory"):
        carrier.listing()
    (tmp_path / "usb").mkdir()
    with pytest.raises(DataError, match=r"index\.json: there is no such file"):
        carrier.listing()
    assert open_publication(url, Access()).has("weld", BLOB) is False
    published(tmp_path / "usb")
    assert carrier.listing() is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_missing_right_is_said(tmp_path: Path) -> None:
    published(tmp_path)
    (tmp_path / "index.json").chmod(0)
    with pytest.raises(PermissionDeniedError, match=r"index\.json"):
        open_carrier(f"oci-layout:{tmp_path}", Access()).listing()


def test_a_layout_of_another_version_is_left_alone(tmp_path: Path) -> None:
    published(tmp_path)
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(DataError, match=r"version '2\.0\.0', expected 1\.0\.0"):
        open_publication(f"oci-layout:{tmp_path}", Access()).tag("weld", "7", b"{}")


@pytest.mark.parametrize("url", ["", "oci-layout:", "ftp://host/x", "/srv/registry"])
def test_what_is_no_address_says_what_one_looks_like(url: str) -> None:
    for function in (open_carrier, open_publication):
        with pytest.raises(ConfigError, match=r"is no address of a registry") as caught:
            function(url, Access())
        assert "oci-layout:DIRECTORY" in str(caught.value.help)


def test_secrets_are_not_in_the_repr() -> None:
    access = Access(username="robot", password="hunter2", proxy="http://me:hunter3@proxy")
    assert "hunter" not in repr(access)


def _index(root: Path) -> dict[str, list[dict[str, dict[str, str]]]]:
    return dict(json.loads((root / "index.json").read_bytes()))


def _blob(root: Path, blob: Descriptor) -> Path:
    return root / "blobs" / "sha256" / blob.hex
