"""Publishers for tests: a home with keys, a desk at a layout, a clock that is set by hand, and a box that is not ours.

The box is python-tuf's own ``ngclient.Updater`` over the plain tree, which shares no code with the publisher's desk.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from edge_runtime.registry.carriers.writer import LayoutPublication
from edge_runtime.registry.documents import Release
from edge_runtime.registry.publisher.desk import Desk, Outcome, Preview
from edge_runtime.registry.publisher.draft import Draft
from edge_runtime.registry.publisher.home import PROFILES, Home
from edge_runtime.registry.publisher.keys import Keyring, PublisherKey, make_key
from edge_runtime.registry.publisher.releases import add_release
from edge_runtime.registry.publisher.roots import TOP, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.registry.publisher.repository import Repository

SITE = "plant-a"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MODEL = "weld"


@dataclass
class Clock:
    """Tells the time that it is set to."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: int) -> None:
        self.now += timedelta(**span)


@dataclass
class Publisher:
    """One person with a home, at the registry in ``directory``."""

    home: Home
    directory: Path
    clock: Clock
    profile: str = "dev"
    secret: str = "sesame"
    asked: list[Preview] = field(default_factory=list)

    def keyring(self, *extra: Path) -> Keyring:
        return Keyring(self.home.keys, lambda _: self.secret, extra)

    def desk(self, *extra: Path, tree: bool = True, patience_s: float = 0.0) -> Desk:
        return Desk(
            self.home,
            LayoutPublication(self.directory),
            self.keyring(*extra),
            now=self.clock,
            confirm=self.asked.append,
            tree=self.directory if tree else None,
            patience_s=patience_s,
        )

    def do(self, edit: Any, **options: Any) -> Outcome:
        return self.desk().carry_out(edit, PROFILES[self.profile], **options)

    def release(self, number: int, content: str = "", **options: Any) -> Outcome:
        return self.do(lambda draft: add(draft, number, content), **options)

    def state(self, *, recover: bool = False) -> Repository:
        return self.desk().read(recover=recover)[0]

    def key(self, name: str) -> PublisherKey:
        return self.keyring().named(name)

    def new_key(self, name: str) -> PublisherKey:
        return make_key(self.home.keys, name, None)

    def colleague(self, path: Path, *keys: str) -> Publisher:
        """Return another person who knows the registry; ``keys`` move to their home."""
        other = Publisher(Home(path), self.directory, self.clock, self.profile)
        other.home.keys.mkdir(parents=True)
        root = self.home.root()
        assert root is not None
        other.home.keep_root(root)
        for shown in self.home.keys.glob("*.pub.json"):
            shutil.copy(shown, other.home.keys / shown.name)
        for name in keys:
            shutil.move(self.home.keys / f"{name}.pem", other.home.keys / f"{name}.pem")
        return other


def founded(path: Path, profile: str = "dev", sites: tuple[str, ...] = (SITE,)) -> Publisher:
    """Return a publisher of a registry that was just founded, as each time in this run: with the same keys."""
    origin = _origin(profile, sites)
    shutil.copytree(origin, path, dirs_exist_ok=True)
    return Publisher(Home(path / "home"), path / "layout", Clock(), profile)


@functools.cache
def _origin(profile: str, sites: tuple[str, ...]) -> Path:
    path = Path(tempfile.mkdtemp(prefix="publishers-"))
    atexit.register(shutil.rmtree, path)
    stranger(path, profile, sites)
    return path


def stranger(path: Path, profile: str = "dev", sites: tuple[str, ...] = (SITE,)) -> Publisher:
    """Return a publisher of a registry that was just founded, with keys that nobody else has."""
    one = Publisher(Home(path / "home"), path / "layout", Clock(), profile)
    keys: dict[str, list[PublisherKey]] = {}
    counts = {"root": PROFILES[profile].root_keys[0], "targets": PROFILES[profile].targets_keys[0]}
    for role in (*TOP, *(f"rollout-{site}" for site in sites)):
        names = [role] if counts.get(role, 1) == 1 else [f"{role}-{n + 1}" for n in range(counts[role])]
        keys[role] = [one.new_key(name) for name in names]
    draft = Draft(None, one.clock(), PROFILES[profile])
    found(draft, keys, sites)
    one.desk().found(draft)
    one.asked.clear()
    return one


def manifest(number: int, content: str = "") -> bytes:
    return f'{{"schemaVersion":2,"n":{number},"content":"{content}"}}'.encode()


def add(draft: Draft, number: int, content: str = "", model: str = MODEL) -> None:
    """Add a release whose manifest is made up."""
    digest = "sha256:" + f"{number:064x}"
    add_release(draft, Release(model, number, f"1.{number}.0", digest, model, draft.now), manifest(number, content))


class _KilledError(BaseException):
    """Nothing may catch it: a killed process runs no handler."""


def stops_at_write(step: int, work: Callable[[], object]) -> bool:
    """Do ``work`` until its file number ``step`` (from 0) gets its name; return whether it was done before that."""
    original, count = Path.rename, itertools.count()

    def rename(path: Path, target: Any) -> Path:
        if next(count) == step:
            raise _KilledError
        return original(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        try:
            work()
        except _KilledError:
            return False
    return True


class Files(FetcherInterface):
    """Fetches ``file:`` addresses."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        if not path.is_file():
            raise DownloadHTTPError(f"{path} is not there", 404)
        yield path.read_bytes()


@dataclass
class ForeignBox:
    """A box with python-tuf's Updater, which knows the first root and keeps what it saw."""

    state: Path
    tree: Path
    root: bytes
    at: datetime = NOW

    def look(self) -> Updater:
        """Return an Updater after a look at the registry.

        Raises:
            RepositoryError: it refuses what it sees.
        """
        self.state.mkdir(exist_ok=True)
        (self.state / "targets").mkdir(exist_ok=True)
        updater = Updater(
            str(self.state),
            f"file://{self.tree}/metadata/",
            str(self.state / "targets"),
            f"file://{self.tree}/targets/",
            fetcher=Files(),
            bootstrap=self.root,
        )
        updater._trusted_set.reference_time = self.at
        updater.refresh()
        return updater

    def read(self, path: str) -> bytes:
        """Return a target after a look."""
        updater = self.look()
        info = updater.get_targetinfo(path)
        assert info is not None, f"{path} is no target"
        return Path(updater.download_target(info)).read_bytes()


def foreign_box(publisher: Publisher, path: Path) -> ForeignBox:
    root = publisher.home.root()
    assert root is not None
    return ForeignBox(path, publisher.directory, root, publisher.clock())
