"""What a site needs travels in one layout or one archive, and boxes judge it as they judge a registry."""

from __future__ import annotations

import argparse
import json
import shutil
import tarfile
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.cli import dispatch
from edge_runtime.cli.registry_desk import open_desk
from edge_runtime.core.errors import EdgeError, StorageError
from edge_runtime.engine.package import open_package
from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Contact, Standing
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.carriers.index import parse_index
from edge_runtime.registry.carriers.open import open_carrier
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.documents import release_at
from edge_runtime.registry.package.modelpack import parse_manifest
from edge_runtime.registry.publisher import bundle_file
from edge_runtime.registry.publisher.bundle import collect
from edge_runtime.registry.trust.refresh import refresh
from edge_runtime.registry.trust.sigstore import read_bundle_key, verify_bundle
from tests.assets.make_models import write_package
from tests.registries import skopeo
from tests.required import needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.registry.box.report import Report
    from edge_runtime.registry.trust.trusted import Outcome, Trusted

SITE, OTHER = "plant-a", "plant-b"
NOW = datetime.now(UTC)


def do(*arguments: str) -> int:
    return dispatch(["registry", *arguments])


def packaged(folder: Path, name: str, number: int) -> str:
    root = write_package(folder / f"{name}-{number}", name)
    document = json.loads((root / "edge-model.json").read_bytes()) | {"name": name, "release": number}
    (root / "edge-model.json").write_text(json.dumps(document))
    return str(root)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A publisher's directory and a registry: `colours` 7 for one site, 8 for the other, `brightness` 1 for nobody."""
    root = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        sites = ["--site", SITE, "--site", OTHER]
        assert do("init", "--url", "oci-layout:shared", *sites, "--profile", "dev", "--yes") == 0
        assert do("key", "new", "board", "--type", "ecdsa", "--no-passphrase") == 0
        key = ["--sigstore-key", "registry/sigstore/board.pem", "--yes"]
        assert do("release", "add", packaged(root, "colours", 7), *key) == 0
        assert do("release", "add", packaged(root, "colours", 8), "--yes") == 0
        assert do("release", "add", packaged(root, "brightness", 1), "--yes") == 0
        for site, number in ((SITE, "7"), (OTHER, "8")):
            assert do("rollout", "set", "--site", site, "--model", "colours", "--release", number, "--yes") == 0
    return root


@pytest.fixture
def place(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "publisher"
    shutil.copytree(prepared, root)
    settings = root / "registry" / "publisher.json"
    settings.write_text(settings.read_text().replace(str(prepared), str(root)))
    monkeypatch.chdir(root)
    return root


def seen(url: str, before: Outcome | None = None, site: str = SITE, now: datetime = NOW) -> Outcome:
    """What a box of ``site`` makes of a registry or a bundle, after what it saw ``before``."""
    with closing(open_carrier(url, Access())) as carrier:
        listing = carrier.listing()
        assert listing is not None
        files = {name: read_blob(carrier, TUF, blob) for name, blob in listing.files.items()}
    kept, floors = ({}, None) if before is None else (before.kept, before.floors)
    root = Path("registry/root.json").read_bytes()
    return refresh(kept, lambda name, _: files.get(name), root, floors, now=now, site=site)


def held(url: str, trusted: Trusted) -> dict[tuple[str, int], int]:
    """Which of all signed releases a carrier has whole, and of how many blobs."""
    found = {}
    with closing(open_carrier(url, Access())) as carrier:
        for path in trusted.targets:
            if (named := release_at(path)) is None:
                continue
            signed = trusted.release(*named)
            try:
                manifest = read_blob(carrier, named[0], signed.manifest)
            except Exception:  # noqa: BLE001 - that it is not there is an answer
                continue
            blobs = parse_manifest(manifest, "m").blobs
            assert all(len(read_blob(carrier, named[0], blob)) == blob.size for blob in blobs)
            found[named] = len(blobs)
    return found


def versions(trusted: Trusted) -> tuple[int, int]:
    return trusted.versions["snapshot"], trusted.versions["timestamp"]


def blobs_of(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs" / "sha256").iterdir()}


def exported(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert do("bundle", "export", "--site", SITE, *arguments, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_bundle_has_what_a_box_of_the_site_reads_and_nothing_else(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = exported(capsys, "--out", "stick")
    assert told["releases"] == [{"model": "colours", "release": 7}]
    assert told["limit"] == "timestamp"
    trusted = seen("oci-layout:stick").believed()
    assert trusted.rollout is not None
    assert [(one.model, one.release) for one in trusted.rollout.assignments] == [("colours", 7)]
    counts = held("oci-layout:stick", trusted)
    assert list(counts) == [("colours", 7)]
    with closing(open_carrier("oci-layout:stick", Access())) as carrier:
        listing = carrier.listing()
        assert listing is not None
        sigstore = trusted.release("colours", 7)
        assert sigstore.release.bundle is not None
        raw = read_blob(carrier, "colours", sigstore.release.bundle)
    assert not any(OTHER in name for name in listing.files)
    key = read_bundle_key(Path("registry/sigstore/board.pub").read_bytes(), "board")
    assert verify_bundle(raw, sigstore.manifest.digest, [key], "colours 7") == key
    assert len(blobs_of(place / "stick") - blobs_of(place / "shared")) == 1  # its own listing
    # listing, its files, its empty config; manifest, blobs and Sigstore bundle of the release, what points at that
    assert len(blobs_of(place / "stick")) == 1 + len(listing.files) + 1 + 1 + counts["colours", 7] + 1 + 2
    tag = f"colours:{sigstore.manifest.digest.replace(':', '-')}"
    shared, stick = (parse_index((place / one / "index.json").read_bytes(), one) for one in ("shared", "stick"))
    assert shared[tag] == stick[tag]
    assert do("bundle", "verify", "stick", "--site", SITE) == 0
    assert "colours 7" in capsys.readouterr().out


def test_an_archive_is_the_same_twice_and_the_same_as_the_directory(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.tar", "two.tar", "stick"):
        exported(capsys, "--out", name)
    assert (place / "one.tar").read_bytes() == (place / "two.tar").read_bytes()
    with tarfile.open(place / "one.tar") as archive:
        members = archive.getmembers()
        assert [one.name for one in members[:2]] == ["oci-layout", "index.json"]
        assert all((one.mtime, one.uid, one.isreg()) == (0, 0, True) for one in members)
        for one in members:
            file = archive.extractfile(one)
            assert file is not None
            with file:
                assert file.read() == (place / "stick" / one.name).read_bytes()
    assert len(members) == len([one for one in (place / "stick").rglob("*") if one.is_file()])
    trusted = seen("oci-archive:one.tar").believed()
    assert list(held("oci-archive:one.tar", trusted)) == [("colours", 7)]
    assert do("bundle", "verify", "one.tar") == 0


class _Clock:
    def mono_ns(self) -> int:
        return 0

    def utc_ns(self) -> int:
        return int((datetime.now(UTC) + timedelta(seconds=2)).timestamp() * 1e9)

    def followed(self) -> Any:
        return "ntp"


def test_a_box_takes_its_release_from_a_bundle_and_refuses_an_older_bundle(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(capsys, "--out", "old", "--valid-days", "60", "--yes")
    exported(capsys, "--out", "new.tar", "--valid-days", "60", "--yes")

    def look(url: str) -> Report:
        order = Order(
            root=place / "models",
            anchor=place / "registry" / "root.json",
            urls=(url,),
            access=Access(),
            site=SITE,
            line="line-3",
            edge="box-17",
            wants=(Want("defects", "colours"),),
            publisher_keys=(place / "registry" / "sigstore" / "board.pub",),
        )
        return Pull(order, clock=_Clock()).run()

    (slot,) = look(f"oci-archive:{place}/new.tar").slots
    assert slot.standing is Standing.CURRENT
    package = open_package(place / "models" / "slots" / "defects" / "current")
    assert (package.ref.name, package.manifest and package.manifest.release) == ("colours", 7)
    report = look(f"oci-layout:{place}/old")
    assert report.contact is not Contact.OK
    assert report.slots[0].standing is Standing.CURRENT  # what runs goes on


def test_skopeo_reads_both_forms(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs(shutil.which("skopeo"), "skopeo")
    for name in ("one.tar", "stick"):
        exported(capsys, "--out", name)
    digest = seen("oci-layout:stick").believed().release("colours", 7).manifest.hex
    for source in (f"oci-archive:{place}/one.tar:colours:7", f"oci:{place}/stick:colours:7"):
        raw = skopeo("inspect", "--raw", source)
        assert (place / "stick" / "blobs" / "sha256" / digest).read_bytes() == raw


def test_a_bundle_that_lives_longer_does_not_go_before_the_registry(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = exported(capsys, "--out", "stick", "--valid-days", "90", "--yes")
    assert told["expires"] > f"{NOW + timedelta(days=89):%Y-%m-%dT%H:%M:%SZ}"
    later = datetime.now(UTC) + timedelta(seconds=2)
    first = seen("oci-layout:stick", now=later)
    online = seen("oci-layout:shared", now=later)
    assert all(one < other for one, other in zip(versions(first.believed()), versions(online.believed()), strict=True))
    assert online.believed().expires < later + timedelta(days=8)
    assert seen("oci-layout:stick", now=later + timedelta(days=80)).trusted is not None
    assert seen("oci-layout:shared", first, now=later).trusted is not None  # the stick first, the registry afterwards
    refused = seen("oci-layout:stick", online, now=later).refusal  # the registry first: the stick is older
    assert refused is not None
    assert refused.code.startswith("trust.")
    assert do("bundle", "verify", "stick", "--site", SITE) == 0
    assert place.exists()


def test_attack_09_an_older_bundle_after_a_newer_one_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.exists()
    exported(capsys, "--out", "old", "--valid-days", "90", "--yes")
    exported(capsys, "--out", "new", "--valid-days", "90", "--yes")
    later = datetime.now(UTC) + timedelta(seconds=2)
    old = seen("oci-layout:old", now=later)
    new = seen("oci-layout:new", old, now=later)
    assert new.trusted is not None
    assert seen("oci-layout:old", new, now=later).trusted is None


def test_attack_11_a_bundle_that_has_expired_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    exported(capsys, "--out", "stick")
    refused = seen("oci-layout:stick", now=NOW + timedelta(days=8)).refusal
    assert refused is not None
    assert refused.code == "trust.frozen"


def test_without_the_online_keys_a_bundle_is_as_long_good_as_the_registry(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "registry" / "keys" / "timestamp.pem").unlink()
    before = seen("oci-layout:shared").believed().versions
    capsys.readouterr()
    assert do("bundle", "export", "--site", SITE, "--out", "stick", "--valid-days", "90", "--yes") == 0
    said = capsys.readouterr()
    assert "the keys of snapshot and timestamp are not here" in said.err
    assert "when timestamp expires" in said.out
    assert seen("oci-layout:stick").believed().versions == before
    assert seen("oci-layout:shared").believed().versions == before


def test_without_the_key_of_the_site_its_rollout_limits_a_bundle(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "registry" / "keys" / f"rollout-{SITE}.pem").unlink()
    capsys.readouterr()
    assert do("bundle", "export", "--site", SITE, "--out", "stick", "--valid-days", "90", "--yes") == 0
    said = capsys.readouterr()
    assert f"the keys of rollout-{SITE} are not all here" in said.err
    assert f"when rollout-{SITE} expires" in said.out


def test_a_site_that_wants_nothing_gets_its_metadata(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    assert do("rollout", "unset", "--site", SITE, "--model", "colours", "--yes") == 0
    told = exported(capsys, "--out", "stick")
    assert (told["releases"], "only metadata are carried" in told["notes"][0]) == ([], True)
    assert do("bundle", "verify", "stick") == 0


def test_more_releases_are_carried_when_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    told = exported(capsys, "--out", "stick", "--model", "brightness", "--model", "colours:8")
    names = [("brightness", 1), ("colours", 7), ("colours", 8)]
    assert [(one["model"], one["release"]) for one in told["releases"]] == names
    assert list(held("oci-layout:stick", seen("oci-layout:stick").believed())) == names


def test_what_is_banned_is_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    assert do("release", "revoke", "colours", "7", "--yes") == 0
    told = exported(capsys, "--out", "stick", "--model", "colours")
    assert told["releases"] == [{"model": "colours", "release": 8}]
    assert told["notes"] == [f"colours 7 is banned: it is left out, no box of {SITE} would take it"]
    capsys.readouterr()
    assert do("bundle", "verify", "stick", "--site", SITE) == 1
    assert "missing: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--site", "plant-z", "--out", "stick"], "no site 'plant-z'"),
        (["--out", "stick"], "this registry has 2 sites: plant-a, plant-b"),
        (["--site", SITE, "--out", "stick", "--model", "colours:9"], "no release 9 of 'colours'"),
        (["--site", SITE, "--out", "stick", "--model", "nuts"], "no release of 'nuts'"),
        (["--site", SITE, "--out", "stick", "--model", "nuts:x"], "names no release"),
        (["--site", SITE, "--out", "shared"], "exists already"),
        (["--site", SITE, "--out", "registry"], "its keys would travel"),
        (["--site", SITE, "--out", "media/stick"], "mount the stick"),
        (["--site", SITE, "--out", "media/stick.tar"], "mount the stick"),
    ],
)
def test_an_export_that_cannot_be_made_says_why(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = seen("oci-layout:shared").believed().versions
    assert do("bundle", "export", *arguments, "--valid-days", "90", "--yes") != 0
    assert message in capsys.readouterr().err
    assert not (place / "stick").exists()
    assert not (place / "media").exists()
    assert not (place / "registry" / "blobs").exists()
    assert seen("oci-layout:shared").believed().versions == before  # nothing was signed for it


@pytest.mark.parametrize("name", ["stick", "one.tar"])
def test_a_bundle_that_was_not_written_to_its_end_is_none(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    manifest = seen("oci-layout:shared").believed().release("colours", 7).manifest
    files = parse_manifest((place / "shared/blobs/sha256" / manifest.hex).read_bytes(), "m").files
    digest = next(one.hex for path, one in files.items() if path.endswith(".onnx"))
    blob = place / "shared" / "blobs" / "sha256" / digest
    blob.write_bytes(b"!" + blob.read_bytes()[1:])
    assert do("bundle", "export", "--site", SITE, "--out", name) != 0
    assert digest in capsys.readouterr().err
    assert not (place / "one.tar").exists()
    assert not (place / "stick" / "index.json").exists()
    assert not list(place.glob(".*.tmp"))


def test_an_export_that_is_broken_off_anywhere_leaves_no_bundle(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = 0

    def counted(write: Callable[..., None]) -> Callable[..., None]:
        def refuse_in_the_end(*arguments: Any, **options: Any) -> None:
            nonlocal allowed
            if allowed == 0:
                raise StorageError("storage.io", "the stick was pulled out")
            allowed -= 1
            write(*arguments, **options)

        return refuse_in_the_end

    desk, _ = open_desk(argparse.Namespace(home=place / "registry", closing=ExitStack()))  # of a layout nothing is open
    bundle = collect(desk.registry, desk.read()[0], SITE)
    for name in ("write_chunks", "write_atomic"):
        monkeypatch.setattr(bundle_file, name, counted(getattr(bundle_file, name)))
    writes = len({*bundle.small, *(blob.digest for _, blob in bundle.large)}) + 2
    for number in sorted({*range(0, writes, 6), writes - 2, writes - 1}):
        allowed, stick = number, place / f"stick-{number}"
        with pytest.raises(StorageError):
            bundle_file.write_directory(stick, bundle, desk.registry)
        with pytest.raises(EdgeError), closing(open_carrier(f"oci-layout:{stick}", Access())) as carrier:
            carrier.listing()
    allowed = writes
    bundle_file.write_directory(place / "stick", bundle, desk.registry)
    assert seen("oci-layout:stick").trusted is not None


def test_a_flipped_byte_on_the_stick_is_found(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(capsys, "--out", "stick")
    blobs = place / "stick" / "blobs" / "sha256"
    blob = max(blobs.iterdir(), key=lambda one: one.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert do("bundle", "verify", "stick", "--site", SITE) != 0
    said = capsys.readouterr().err
    assert blob.name in said
    assert "export it again" in said


def test_a_bundle_is_for_one_site(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.exists()
    exported(capsys, "--out", "stick")
    assert do("bundle", "verify", "stick", "--site", OTHER) != 0
    assert f"made for {SITE}" in capsys.readouterr().err


def test_a_bundle_is_believed_from_the_root_of_the_boxes_only(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(capsys, "--out", "stick")
    init = ["init", "--url", "oci-layout:other", "--site", SITE, "--profile", "dev", "--yes", "--home", "another"]
    assert do(*init) == 0
    assert do("bundle", "verify", "stick", "--site", SITE, "--root", "another/root.json") != 0
    assert "that of another registry" in capsys.readouterr().err
    assert do("bundle", "verify", "stick", "--site", SITE, "--root", "registry/root.json", "--json") == 0
    assert do("bundle", "verify", "stick", "--site", SITE, "--root", "nothing.json") == 78
    assert do("bundle", "verify", "stick", "--site", SITE, "--home", str(place / "nowhere")) == 78
