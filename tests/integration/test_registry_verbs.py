"""``edge-runtime registry`` as publishers use it: from an empty directory to boxes that follow, and what goes wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tuf.ngclient import Updater

from edge_runtime.cli import dispatch
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.push import OciPublication
from edge_runtime.registry.carriers.whole import read_blob
from edge_runtime.registry.carriers.writer import LayoutPublication
from edge_runtime.registry.documents import release_path, rollout_path
from edge_runtime.registry.package.pack import pack
from edge_runtime.registry.publisher.home import Home
from tests.publishers import ForeignBox, Publisher, stops_at_write
from tests.registries import Registry
from tests.servers import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = Path("models/surface-defects").absolute()
MODEL, SITE = "surface-defects", "plant-a"
COMMAND = [sys.executable, "-m", "edge_runtime", "registry"]


class Desk:
    """Runs actions in a directory of its own, as ``cd DIR; edge-runtime registry ...``; keeps what they said."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = path, capsys
        self.said = self.printed = ""

    def __call__(self, *words: object, code: int = 0) -> Any:
        """Run an action; return its JSON, else what it printed."""
        found = dispatch(["registry", *map(str, words)])
        self.printed, self.said = self._capsys.readouterr()
        assert found == code, self.said
        return json.loads(self.printed) if "--json" in words and code == 0 else self.printed

    def init(self, *more: object) -> Any:
        return self("init", "--url", "oci-layout:layout", "--site", SITE, "--yes", *more)

    @property
    def listing(self) -> object:
        return LayoutPublication(self.path / "layout").listing()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return Desk(tmp_path, capsys)


@pytest.fixture
def dev(desk: Desk) -> Desk:
    desk.init("--profile", "dev")
    return desk


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with LoopbackServer(partial(Quiet, directory=str(tmp_path / "layout"))) as server:
        yield f"http://127.0.0.1:{server.port}"


def package(path: Path, release: int, *, model: str = MODEL, word: str = "") -> Path:
    """Make a package of the shipped model with another number."""
    path.mkdir(parents=True)
    for one in PACKAGE.iterdir():
        if one.suffix in {".onnx", ".md"} or one.name == "LICENSE":
            shutil.copy(one, path / one.name)
    shutil.copytree(PACKAGE / "golden", path / "golden")
    manifest = json.loads((PACKAGE / "edge-model.json").read_text())
    (path / "edge-model.json").write_text(
        json.dumps(manifest | {"release": release, "name": model, "version": f"1{word}"})
    )
    return path


def test_check_7_a_client_that_is_not_ours_follows_a_static_server(dev: Desk, web: str, tmp_path: Path) -> None:
    """python-tuf's own Updater, over HTTP, from the root.json that a box is given: everything the publisher did."""
    assert dev("release", "add", PACKAGE, "--yes", "--json")["versions"]["targets"] == 2
    dev("release", "add", package(tmp_path / "p2", 2), "--yes")
    dev(
        "rollout",
        "set",
        "--model",
        MODEL,
        "--release",
        2,
        "--percent",
        10,
        "--ring",
        "lab",
        "--label",
        "ring=lab",
        "--yes",
    )
    dev("release", "floor", MODEL, 1, "--yes")
    state = tmp_path / "box"
    (state / "targets").mkdir(parents=True)
    root = (tmp_path / "registry" / "root.json").read_bytes()
    box = Updater(str(state), f"{web}/metadata/", str(state / "targets"), f"{web}/targets/", bootstrap=root)
    box.refresh()

    def fetch(path: str) -> bytes:
        info = box.get_targetinfo(path)
        assert info is not None, path
        return Path(box.download_target(info)).read_bytes()

    assert json.loads(fetch("floors.json"))["models"][MODEL]["min_release"] == 1
    wish = json.loads(fetch(rollout_path(SITE)))
    assert [(one["release"], one["percent"], one["match"]) for one in wish["assignments"]] == [
        (2, 10, {"labels": {"ring": ["lab"]}})
    ]
    for number, directory in ((1, PACKAGE), (2, tmp_path / "p2")):
        raw = fetch(release_path(MODEL, number))
        assert raw == pack(directory).manifest
        layout = LayoutPublication(tmp_path / "layout")
        assert all(layout.has(MODEL, blob) for blob in pack(directory).artifact.blobs)


def test_the_first_day_says_what_to_do_next(desk: Desk) -> None:
    printed = desk.init()
    assert "Take OFFLINE now" in printed
    assert [line for line in printed.splitlines() if "root-" in line] == [
        f"  registry/keys/root-{n}.pem" for n in (1, 2, 3)
    ]
    assert "Copy registry/root.json to every box" in printed
    assert f"registry: {{url: 'oci-layout:{desk.path}/layout', root: root.json}}" in printed
    assert "without a passphrase" in desk.said


def test_init_as_json_names_the_keys_by_where_they_belong(desk: Desk) -> None:
    found = desk.init("--json")
    assert [len(found["keys"][kind]) for kind in ("offline", "release", "online")] == [3, 3, 2]
    assert found["keys"]["operators"] == {f"rollout-{SITE}": [f"registry/keys/rollout-{SITE}.pem"]}
    assert (found["published"], found["pending"], found["root"]) == (True, None, "registry/root.json")


def test_two_people_release_together(desk: Desk, tmp_path: Path) -> None:
    desk.init()
    stick = tmp_path / "stick"
    stick.mkdir()
    for name in ("targets-2", "targets-3"):
        shutil.move(tmp_path / "registry" / "keys" / f"{name}.pem", stick / f"{name}.pem")
    printed = desk("release", "add", PACKAGE, "--yes")
    assert "signatures are missing (1 for targets)" in printed
    assert desk("release", "list", "--json")["releases"] == []
    file = desk("status", "--json")["pending"][0]
    desk("publish", file, "--yes", code=65)
    assert "still needs signatures: 1 for targets" in desk.said
    desk("sign", file, "--yes", code=65)
    assert "no key here can add a signature" in desk.said
    assert "it has all signatures now" in desk("sign", file, "--key", stick / "targets-2.pem", "--yes")
    assert f"+ release {MODEL} 1" in desk.said
    desk("publish", file, "--yes")
    assert [one["release"] for one in desk("release", "list", "--json")["releases"]] == [1]
    assert desk("status", "--json")["pending"] == []


def test_nothing_is_signed_without_a_terminal_or_yes(dev: Desk) -> None:
    before = dev.listing
    dev("release", "add", PACKAGE, code=65)
    assert "no terminal to ask at" in dev.said
    assert "--yes" in dev.said
    assert f"+ release {MODEL} 1" in dev.said, "it still says what it would have signed"
    assert dev.listing == before


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1), ("y\n", 0)])
def test_at_a_terminal_it_asks(dev: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    dev("rollout", "pause", code=code)
    assert dev.said.count("[y/N]") == 1
    assert ("nothing was signed" in dev.said) is bool(code)


def test_founding_twice_is_refused_and_changes_nothing(dev: Desk) -> None:
    before = dev.listing
    dev("init", "--url", "oci-layout:layout", "--site", SITE, "--yes", code=78)
    assert "founded already" in dev.said
    dev("init", "--url", "oci-layout:layout", "--site", SITE, "--yes", "--home", "other", code=78)
    assert "there is a registry at" in dev.said
    dev("init", "--url", "oci-layout:elsewhere", "--site", SITE, "--yes", code=78)
    assert "is the publisher's directory of" in dev.said
    assert dev.listing == before


@pytest.mark.parametrize("site", ["", "Plant", "a/b"])
def test_a_site_needs_a_name(desk: Desk, site: str) -> None:
    desk("init", "--url", "oci-layout:layout", *(["--site", site] if site else []), "--yes", code=78)
    assert "expected --site SITE" in desk.said
    assert not (desk.path / "registry").exists()


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.soak)])
def test_a_founding_that_is_killed_at_any_write_is_finished_by_the_next(
    desk: Desk, tmp_path: Path, stride: int
) -> None:
    for step in range(0, 100, stride):
        for directory in ("registry", "layout"):
            shutil.rmtree(tmp_path / directory, ignore_errors=True)
        words = ["registry", "init", "--url", "oci-layout:layout", "--site", SITE, "--profile", "dev", "--yes"]
        done = stops_at_write(step, partial(dispatch, words))
        told = (
            (tmp_path / "registry" / "root.json").read_bytes() if (tmp_path / "registry/root.json").exists() else None
        )
        if not done and dispatch(words) != 0:
            assert desk("status", "--json")["roles"], "it was done, and only its keeping of what it saw was not"
        desk("status")
        assert told in (None, (tmp_path / "registry" / "root.json").read_bytes()), "a root that boxes may have changed"
        if done:
            break
    assert step >= 15


def test_a_refresh_that_cannot_renew_fails_so_that_cron_tells(dev: Desk, tmp_path: Path) -> None:
    (tmp_path / "registry" / "keys" / "timestamp.pem").rename(tmp_path / "elsewhere.pem")
    dev("refresh", "--yes", code=65)
    assert "no key of timestamp is in registry/keys: nothing was renewed" in dev.said
    assert not (tmp_path / "registry" / "pending").exists()


def test_keys_that_cannot_be_read_are_not_taken_for_none(dev: Desk, tmp_path: Path) -> None:
    (tmp_path / "registry" / "keys").rename(tmp_path / "keys")
    (tmp_path / "registry" / "keys").touch()
    dev("release", "add", PACKAGE, "--yes", code=1)
    assert "registry/keys" in dev.said


def test_words_after_options_say_where_they_belong(dev: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dev("rollout", "kill", MODEL, "--yes", "2")
    assert "unrecognized arguments: 2; write words before options" in capsys.readouterr().err


def test_an_address_that_was_wrong_is_corrected_by_the_next_init(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with contextlib.suppress(AssertionError):
        desk("init", "--url", "oci-layout:file/layout", "--site", SITE, "--profile", "dev", "--yes", code=0)
    assert (tmp_path / "registry" / "keys" / "root.pem").exists()
    desk.init("--profile", "dev")
    assert desk("status", "--json")["url"] == f"oci-layout:{tmp_path / 'layout'}"


def test_a_rotation_with_a_typo_makes_no_key(dev: Desk, tmp_path: Path) -> None:
    dev("key", "rotate", "timestamp", "timestmap", "timestamp-2", "--yes", code=65)
    dev("key", "rotate", "timestmap", "timestamp", "timestamp-2", "--yes", code=65)
    assert not (tmp_path / "registry" / "keys" / "timestamp-2.pem").exists()


def test_a_change_that_was_put_aside_says_what_becomes_of_it(desk: Desk, tmp_path: Path) -> None:
    """Commands that are suggested can be typed as they are: with the directory that is not the usual one."""
    home = ("--home", "board")
    desk.init("--profile", "production", *home)
    assert "release add PACKAGE --home board" in desk.printed
    second = tmp_path / "second"
    second.mkdir()
    shutil.move("board/keys/targets-2.pem", second / "targets-2.pem")
    shutil.move("board/keys/targets-3.pem", second / "targets-3.pem")
    shutil.copy("board/root.json", second)
    desk("release", "add", PACKAGE, "--yes", *home)
    assert "publish board/pending/targets-2.json --home board" in desk.printed
    assert "waits for signatures (1 for targets)" in desk("status", *home)
    shutil.copy("board/pending/targets-2.json", "handed.json")
    sign = ("sign", "handed.json", "--home", "second", "--yes", "--key")
    desk(*sign, second / "targets-2.pem")
    desk(*sign, second / "targets-3.pem", code=65)
    assert "has all signatures already" in desk.said
    shutil.copy("handed.json", "board/pending/targets-2.json")
    assert "has all signatures: edge-runtime registry publish board/pending/targets-2.json --home board" in desk(
        "status", *home
    )
    desk("publish", "handed.json", "--yes", *home)
    assert "not needed any more" in desk("status", *home)
    root_keys = ("--key", "board/keys/root-1.pem", "--key", "board/keys/root-2.pem")
    desk("key", "rotate", "root", "root-3", "root-4", "--yes", *home, *root_keys)
    assert "not needed any more" in desk("status", *home)
    desk("publish", "handed.json", "--yes", *home, code=65)
    assert "make the change again" in desk.said


def test_keys_are_made_listed_rotated_and_revoked(dev: Desk) -> None:
    dev("key", "new", "targets-new", "--no-passphrase")
    dev("key", "import", "board", "--public", "registry/keys/targets-new.pub.json", "--uri", "hsm:2?label=board")
    assert dev("key", "list", "--json")["unused"] == ["board", "targets-new"]
    dev("key", "rotate", "timestamp", "timestamp", "timestamp-2", "snapshot", "snapshot", "snapshot-2", "--yes")
    assert "+ timestamp-2" in dev.said
    rows = {row["role"]: row["name"] for row in dev("key", "list", "--json")["keys"]}
    assert (rows["timestamp"], rows["snapshot"], rows["root"]) == ("timestamp-2", "snapshot-2", "root")
    dev("key", "grant", "targets", "targets-new", "--yes")
    keyid = next(
        row["keyid"] for row in dev("key", "list", "--json")["keys"] if row["name"] in {"board", "targets-new"}
    )
    dev("key", "revoke", keyid[:16], "--yes")
    assert len([row for row in dev("key", "list", "--json")["keys"] if row["role"] == "targets"]) == 1
    dev("key", "rotate", "timestamp", "timestamp-2", code=78)
    dev("key", "revoke", "nobody", code=65)
    assert "is neither the name of a key here" in dev.said
    dev("key", "new", "Root", "--no-passphrase", code=65)


def test_a_passphrase_file_locks_and_unlocks(desk: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    desk.init("--passphrase-file", secret)
    assert b"ENCRYPTED" in (tmp_path / "registry/keys/targets-1.pem").read_bytes()
    assert b"ENCRYPTED" not in (tmp_path / "registry/keys/timestamp.pem").read_bytes()
    desk("release", "add", PACKAGE, "--yes", code=65)
    assert "there is no terminal" in desk.said
    desk("release", "add", PACKAGE, "--yes", "--passphrase-file", secret)
    secret.write_text("swordfish\n")
    desk("release", "revoke", MODEL, 1, "--yes", "--passphrase-file", secret, code=65)
    assert "swordfish" not in desk.said + desk.printed
    desk("refresh", "--yes")


def test_a_release_never_changes(dev: Desk, tmp_path: Path) -> None:
    dev("release", "add", package(tmp_path / "one", 5), "--yes")
    assert "nothing to do" in dev("release", "add", tmp_path / "one", "--yes")
    before = dev.listing
    dev("release", "add", package(tmp_path / "two", 5, word="b"), "--yes", code=65)
    assert 'count up "release"' in dev.said
    dev("release", "add", tmp_path / "one", "--model", "other", "--yes", code=65)
    assert f"is model {MODEL}, expected other" in dev.said
    dev("release", "add", tmp_path / "nothing", "--yes", code=65)
    assert dev.listing == before


def test_a_release_that_was_packed_elsewhere_is_taken_as_it_is(dev: Desk, tmp_path: Path) -> None:
    packed = [pack(package(tmp_path / f"p{number}", number)) for number in (1, 2)]
    usb = LayoutPublication(tmp_path / "usb")
    for one in packed:
        one.publish(usb)
    dev("release", "add", tmp_path / "usb", "--yes", code=65)
    assert f"{MODEL}:1, {MODEL}:2" in dev.said
    dev("release", "add", tmp_path / "usb", "--release", 2, "--yes")
    listed = dev("release", "list", "--json")["releases"]
    assert [(one["release"], one["manifest"]) for one in listed] == [(2, packed[1].artifact.digest)]
    assert all(LayoutPublication(tmp_path / "layout").has(MODEL, blob) for blob in packed[1].artifact.blobs)
    blob = packed[0].artifact.files["model.onnx"]
    path = tmp_path / "usb" / "blobs" / "sha256" / blob.hex
    path.write_bytes(b"x" * blob.size)
    (tmp_path / "layout" / "blobs" / "sha256" / blob.hex).unlink()
    dev("release", "add", tmp_path / "usb", "--release", 1, "--yes", code=65)
    assert [one["release"] for one in dev("release", "list", "--json")["releases"]] == [2]


def test_rollouts_are_set_shown_paused_and_killed(dev: Desk) -> None:
    dev("release", "add", PACKAGE, "--yes")
    common = ("--model", MODEL, "--release", 1)
    dev("rollout", "set", *common, "--yes")
    dev("rollout", "set", *common, "--line", "l1", "--gate", "shadow_frames=80", "--bake", 60, "--yes")
    dev("rollout", "pause", "--yes")
    found = dev("rollout", "show", "--json")[SITE]
    assert [one.get("gates") for one in found["assignments"]] == [{"shadow_frames": 80}, None]
    assert (found["seq"], found["pause"]) == (4, True)
    shown = dev("rollout", "show")
    assert "PAUSED" in shown
    assert "for line l1 (60 s on probation, shadow_frames 80)" in shown
    dev("rollout", "resume", "--yes")
    dev("rollout", "unset", "--model", MODEL, "--line", "l1", "--yes")
    digest = dev("release", "list", "--json")["releases"][0]["manifest"]
    dev("rollout", "kill", MODEL, 1, "--yes")
    assert dev("rollout", "show", "--json")[SITE]["kill"] == [digest]
    assert dev("release", "list", "--json")["releases"][0]["killed"] == [SITE]
    assert f"killed on {SITE}" in dev("release", "list")
    shown = dev("rollout", "show")
    assert f"1. {MODEL} 1 for every slot that wants it  BANNED: no box takes it" in shown
    assert f"killed: {MODEL} 1 {digest}" in shown
    assert "nothing to do" in dev("rollout", "kill", digest, "--yes")
    for wrong in ((MODEL,), (digest, 1), ("sha256:12",)):
        dev("rollout", "kill", *wrong, "--yes", code=65 if wrong == ("sha256:12",) else 78)
    dev("rollout", "set", *common, "--label", "nothing", "--yes", code=78)
    for wrong_gate in ("x=y", "shadow_frames", "shadow_frames=true", "shadow_frame=80", "shadow_frames=0.5"):
        dev("rollout", "set", *common, "--gate", wrong_gate, "--yes", code=65)
    dev("rollout", "set", *common, "--window", "sometimes", "--yes", code=65)
    dev("rollout", "set", *common, "--window", "Mon,06:00-07:00", "--on-regression", "hold", "--yes")
    assert "window Mon,06:00-07:00, held after a regression" in dev("rollout", "show")
    dev("site", "plant-b", "--yes")
    dev("rollout", "pause", "--yes", code=78)
    assert "2 sites: plant-a, plant-b" in dev.said
    dev("rollout", "kill", "sha256:" + "0" * 64, "--yes")
    assert [len(one["kill"]) for one in dev("rollout", "show", "--json").values()] == [2, 1]


def test_bans_are_listed(dev: Desk, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        dev("release", "add", package(tmp_path / f"p{number}", number), "--yes")
    dev("release", "floor", MODEL, 2, "--yes")
    dev("release", "revoke", MODEL, 3, "--yes")
    states = [one["state"] for one in dev("release", "list", "--json")["releases"]]
    assert states == ["below the floor", "good", "revoked"]
    assert "floor 2, 1 revoked" in dev("status")


def test_what_expires_is_said_and_renewed(dev: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_runtime.cli import registry_desk

    now = registry_desk.utc_now()
    late: Callable[[], Any] = lambda: now + timedelta(days=20)  # noqa: E731
    for module in ("registry_desk", "registry_status"):
        monkeypatch.setattr(f"edge_runtime.cli.{module}.utc_now", late)
    dev("status", code=1)
    assert "timestamp has EXPIRED: boxes take nothing new" in dev.printed
    changed = dev("refresh", "--yes", "--json")["versions"]
    assert (changed["timestamp"], changed[f"rollout-{SITE}"], changed["targets"]) == (2, 2, 1)
    assert dev("status", "--json")["warnings"] == []
    assert dev("refresh", "--role", "targets", "--role", "root", "--yes", "--json")["versions"]["root"] == 2
    dev("refresh", "--role", "nobody", "--yes", code=65)


def test_a_registry_that_was_lost_comes_back(dev: Desk, tmp_path: Path) -> None:
    dev("release", "add", PACKAGE, "--yes")
    shutil.rmtree(tmp_path / "layout")
    dev("init", "--url", "oci-layout:layout", "--site", SITE, "--profile", "dev", "--yes", code=78)
    assert "registry restore" in dev.said
    assert dev("restore", "--yes", "--json")["versions"]["targets"] == 2
    assert f"no blobs of {MODEL} 1 any more" in dev.said
    assert "nothing to do" in dev("release", "add", PACKAGE, "--yes")
    layout = LayoutPublication(tmp_path / "layout")
    assert all(layout.has(MODEL, blob) for blob in pack(PACKAGE).artifact.blobs)
    dev("restore", "--yes", code=65)


def test_people_found_a_registry_with_keys_that_they_made_themselves(desk: Desk, tmp_path: Path) -> None:
    for home, names in (("anna", ("root-a", "board-a")), ("bert", ("root-b", "board-b"))):
        for name in names:
            desk("key", "new", name, "--no-passphrase", "--home", home)
    for name in ("root-b", "board-b"):
        desk("key", "import", name, "--public", f"bert/keys/{name}.pub.json", "--home", "anna")
    use = ("--use", "root=root-a,root-b", "--use", "targets=board-a,board-b", "--home", "anna")
    printed = desk.init(*use)
    assert "signatures are missing (1 for root, 1 for targets)" in printed
    file = next((tmp_path / "anna" / "pending").glob("*.json"))
    assert "it has all signatures now" in desk("sign", file, "--home", "bert", "--yes")
    assert "+ board-b" in desk.said
    desk("publish", file, "--home", "anna", "--yes")
    assert {one["name"] for one in desk("key", "list", "--home", "anna", "--json")["keys"]} >= {"root-a", "board-b"}
    desk("init", "--url", "oci-layout:x", "--site", SITE, "--use", "nobody=root-a", "--yes", code=78)
    assert "expected ROLE=KEY" in desk.said


def test_credentials_are_named_by_file_and_kept_nowhere_else(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    words = ["--username", "robot", "--password-file", "password", "--realm-host", "auth.plant", "--allow-http"]
    desk.init("--profile", "dev", *words)
    kept = (tmp_path / "registry" / "publisher.json").read_text()
    access = json.loads(kept)["access"]
    assert access.pop("password_file") == str(tmp_path / "password")
    assert access == {"username": "robot", "realm_hosts": ["auth.plant"], "allow_http": True}
    assert [
        path for path in (tmp_path / "registry").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()
    ] == []
    desk("status")
    (tmp_path / "password").write_text("\n")
    desk("status", code=78)
    assert "the first line of" in desk.said
    (tmp_path / "password").unlink()
    desk("status", code=78)


def test_what_is_no_publishers_directory_is_said(desk: Desk) -> None:
    desk("status", code=78)
    assert "registry init" in desk.said


def test_publishers_at_once_all_get_in_or_say_why_not(dev: Desk, tmp_path: Path) -> None:
    """Three processes add a release each to one layout; two of them under one number with different content."""
    words = [package(tmp_path / f"p{number}", number) for number in (1, 2)]
    words.append(package(tmp_path / "p2b", 2, word="b"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [
        subprocess.Popen(
            [*COMMAND, "release", "add", str(path), "--yes"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for path in words
    ]
    ends = [(one.communicate()[1].decode(), one.returncode) for one in running]
    codes = [code for _, code in ends]
    assert codes[0] == 0, ends
    assert sorted(codes[1:]) == [0, 65], ends
    assert "exists with another content" in next(said for said, code in ends if code)
    assert [one["release"] for one in dev("release", "list", "--json")["releases"]] == [1, 2]
    roles = {one["role"]: one["version"] for one in dev("status", "--json")["roles"]}
    assert roles["targets"] == 3, "one version for each release that got in: nothing was signed twice"


@pytest.fixture
def oci() -> Iterator[Registry]:
    registry = Registry().start()
    try:
        yield registry
    finally:
        registry.stop()
        shutil.rmtree(registry.directory)


@pytest.mark.usefixtures("dev")
def test_a_registry_is_founded_in_an_oci_registry(oci: Registry, tmp_path: Path) -> None:
    """What a desk does in a layout it does there too; the lock is given little time to settle, as one is alone."""
    publisher = Publisher(Home(tmp_path / "registry"), tmp_path / "layout", lambda: None)  # type: ignore[arg-type]
    files = dict(publisher.desk().read()[0].files)
    registry = OciPublication(f"oci://{oci.address}/vision", Access(), settle_s=0.1)
    try:
        registry.publish(files, None)
        listing = registry.listing()
        assert listing is not None
        found = {name: read_blob(registry, "tuf", blob) for name, blob in listing.files.items()}
    finally:
        registry.close()
    assert found == files


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_publisher_that_is_killed_at_any_moment_leaves_the_old_state_or_the_new_one(
    dev: Desk, tmp_path: Path
) -> None:
    """kill -9 of real processes, 60 times at random moments; a client that is not ours looks after each of them."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    box = ForeignBox(tmp_path / "box", tmp_path / "layout", (tmp_path / "registry" / "root.json").read_bytes())
    moments = random.Random(7)
    killed = 0
    for number in range(1, 61):
        path = package(tmp_path / f"p{number}", number)
        command = [*COMMAND, "release", "add", str(path), "--yes"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-3, stderr=-3) as running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(moments.uniform(0.3, 1.6))
            killed += running.poll() is None
            running.kill()
        box.at = datetime.now(UTC)
        box.look()
        before = {one["release"] for one in dev("release", "list", "--json")["releases"]}
        assert before in (set(range(1, number)), set(range(1, number + 1)))
        dev("release", "add", path, "--yes")
        assert box.read(release_path(MODEL, number)) == pack(path).manifest
    assert killed >= 20, "the moments were all after the end"


@pytest.mark.soak
def test_publishers_at_once_in_an_oci_registry(desk: Desk, oci: Registry, tmp_path: Path) -> None:
    desk("init", "--url", f"oci://{oci.address}/vision", "--site", SITE, "--profile", "dev", "--yes")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [
        subprocess.Popen(
            [*COMMAND, "release", "add", str(package(tmp_path / f"p{number}", number)), "--yes"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in (1, 2, 3)
    ]
    ends = [(one.communicate()[1].decode(), one.returncode) for one in running]
    done = {number for number, (_, code) in enumerate(ends, 1) if code == 0}
    assert all(code in (0, 75) for _, code in ends), ends
    assert {one["release"] for one in desk("release", "list", "--json")["releases"]} == done
    assert done
