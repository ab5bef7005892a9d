"""Which metadata files there are: one manifest, written the same each time, and believed only as it should be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers import listing as module
from edge_runtime.registry.carriers.index import EMPTY_INDEX, INDEX_BYTES_MAX, with_name
from edge_runtime.registry.carriers.listing import FILE_BYTES_MAX, make_listing, parse_listing
from edge_runtime.registry.descriptor import MANIFEST, describe, digest_of

FILES = {"timestamp.json": b"t", "1.root.json": b"root", "targets/rollout/plant-a/desired.json": b"{}"}


def test_what_is_listed_is_read_and_always_written_the_same() -> None:
    raw = make_listing(FILES)
    listing = parse_listing(raw, "here")
    assert listing.token == digest_of(raw)
    assert {name: (blob.digest, blob.size) for name, blob in listing.files.items()} == {
        name: (digest_of(content), len(content)) for name, content in FILES.items()
    }
    assert make_listing(dict(reversed(FILES.items()))) == raw


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../x", "a/../b", ".hidden", "a/.b", "UPPER", "a b", "a\n", "a//b", "x" * 200, "a/b/c/d/e/f/g"],
)
def test_names_that_could_lead_elsewhere_are_neither_written_nor_read(name: str) -> None:
    with pytest.raises(DataError):
        make_listing({name: b""})
    with pytest.raises(DataError, match="is no name of a metadata file"):
        parse_listing(changed(lambda layer: layer["annotations"].update({"tuf.io/filename": name})), "here")


def changed(change: Any) -> bytes:
    fields = json.loads(make_listing({"1.root.json": b"root"}))
    change(fields["layers"][0])
    return json.dumps(fields).encode()


@pytest.mark.parametrize("size", [-1, True, 1.0, None, "4", FILE_BYTES_MAX + 1])
def test_a_size_that_is_none_or_too_large_is_refused(size: object) -> None:
    with pytest.raises(DataError, match="bytes, allowed are"):
        parse_listing(changed(lambda layer: layer.update(size=size)), "here")


@pytest.mark.parametrize("digest", ["md5:" + "0" * 32, "sha256:" + "A" * 64, None, 7])
def test_another_digest_than_sha256_is_refused(digest: object) -> None:
    with pytest.raises(DataError):
        parse_listing(changed(lambda layer: layer.update(digest=digest)), "here")


@pytest.mark.parametrize("notes", [None, [], {}, {"tuf.io/filename": 1}])
def test_a_layer_without_a_name_is_refused(notes: object) -> None:
    with pytest.raises(DataError):
        parse_listing(changed(lambda layer: layer.update(annotations=notes)), "here")


@pytest.mark.parametrize("change", [{"artifactType": "application/other"}, {"layers": {}}, {"layers": [1]}])
def test_another_artifact_is_refused(change: dict[str, object]) -> None:
    fields = json.loads(make_listing(FILES))
    with pytest.raises(DataError) as caught:
        parse_listing(json.dumps({**fields, **change}).encode(), "here")
    assert caught.value.code == "registry.listing"


def test_a_name_that_is_there_twice_is_refused() -> None:
    fields = json.loads(make_listing(FILES))
    fields["layers"] += fields["layers"][:1]
    with pytest.raises(DataError, match="is listed twice"):
        parse_listing(json.dumps(fields).encode(), "here")


def test_files_and_the_listing_itself_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError):
        make_listing({"x.json": bytes(FILE_BYTES_MAX + 1)})
    with pytest.raises(DataError):
        make_listing({f"{n}.root.json": b"" for n in range(1025)})
    monkeypatch.setattr(module, "LIMIT_BYTES", 100)
    with pytest.raises(DataError, match="the listing of 3 files would have"):
        make_listing(FILES)


def test_an_index_is_bounded_too() -> None:
    full = EMPTY_INDEX.replace(b"[]", b"[" + b" " * (INDEX_BYTES_MAX - len(EMPTY_INDEX) - 5) + b"]")
    grown = with_name(full, "weld:7", describe(b"{}", MANIFEST), "here")
    assert len(grown) < 1000  # blanks do not count
    padded = json.dumps({"manifests": [], "annotations": {"x": "y" * (INDEX_BYTES_MAX - 200)}}).encode()
    with pytest.raises(DataError, match="its index would have"):
        with_name(padded, "weld:7", describe(b"{}", MANIFEST), "here")


@pytest.mark.parametrize("change", [{"artifactType": "a\n\x1b[2Jb"}, {"layers": [{"size": "a\nb"}]}])
def test_what_a_listing_says_of_itself_stays_in_its_line(change: dict[str, object]) -> None:
    fields = json.loads(make_listing(FILES))
    change = {key: [{**fields["layers"][0], **one[0]}] if isinstance(one, list) else one for key, one in change.items()}
    with pytest.raises(DataError) as caught:
        parse_listing(json.dumps({**fields, **change}).encode(), "here")
    assert "\n" not in caught.value.message
