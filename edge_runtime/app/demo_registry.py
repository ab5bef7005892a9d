"""The demo's registry: a directory, a publisher with keys that live as long as the demo, and releases made on demand.

Everything but the keys' short life is the product's own: founded, signed, published and believed as in a plant.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge_runtime.app.assets import model_package
from edge_runtime.app.demo_packages import ANSWERS, CARD, Kind, release_files
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import FOLDER
from edge_runtime.core.manifest import MANIFEST_NAME
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.open import open_publication
from edge_runtime.registry.documents import Assignment, Release, rollout_role
from edge_runtime.registry.package.pack import pack
from edge_runtime.registry.publisher import releases, rollouts
from edge_runtime.registry.publisher.desk import Desk
from edge_runtime.registry.publisher.draft import Draft
from edge_runtime.registry.publisher.home import PROFILES, Home
from edge_runtime.registry.publisher.keys import Keyring, make_key
from edge_runtime.registry.publisher.roots import TOP, found
from edge_runtime.system.files import make_directory, read_limited, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.core.manifest import Manifest

PROFILE: Final = PROFILES["dev"]
GATES: Final = {
    "shadow_frames": 20,
    "shadow_s": 120,
    "probation_frames": 40,
    "score_shift_max": 20,
    # what else runs on a machine where somebody tries the demo is not the model's fault
    "latency_ratio_max": 20,
    "undecided_max": 1,
}
_BYTES_MAX: Final = 64 << 20
BAKE_S: Final = 1.0
MODES: Final = {Kind.FIRST: "active", Kind.GOOD: "shadow", Kind.BLIND: "active"}
"""The bad one is let past shadow, which would stop it before it judges, to show the way back."""


class DemoRegistry:
    """See the module docstring. One thread at a time."""

    def __init__(self, directory: Path, site: str) -> None:
        """Found it below ``directory``.

        Raises:
            EdgeError: the disk refuses, or the installation lacks the model.
        """
        self.url = f"oci-layout:{directory / 'registry'}"
        source = model_package()
        names = (MANIFEST_NAME, CARD, "LICENSE", "model.onnx", "sbom.cdx.json", ANSWERS)
        pictures = (f"{FOLDER}/{one.name}" for one in sorted((source / FOLDER).glob("*.jpg")))
        self._shipped = {name: _read(source / name) for name in (*names, *pictures)}
        self._packages = directory / "packages"
        self._site = site
        self._home = Home(directory / "publisher")
        self._last = 0
        role = rollout_role(site)
        for name in (*TOP, role):
            make_key(self._home.keys, name, None)
        keyring = Keyring(self._home.keys, str)
        self._registry = open_publication(self.url, Access())
        self._desk = Desk(self._home, self._registry, keyring, now=_utc_now, confirm=lambda _: None)
        draft = Draft(None, _utc_now(), PROFILE)
        found(draft, {name: [keyring.named(name)] for name in (*TOP, role)}, [site])
        with closing(self._registry):
            self._desk.found(draft)

    @property
    def root(self) -> Path:
        """The file with the root of trust, for boxes."""
        return self._home.path / "root.json"

    def roll_out(self, kind: Kind) -> Manifest:
        """Make the next release, sign it, and let all slots of the site run it; return what its package says.

        Raises:
            EdgeError: the disk refuses.
        """
        number = self._last + 1
        folder = self._packages / str(number)
        for name, content in release_files(self._shipped, kind, number).items():
            make_directory((folder / name).parent)
            write_atomic(folder / name, content, durable=False)
        packed = pack(folder)
        package = packed.package

        def edit(draft: Draft) -> None:
            release = Release(
                model=package.name,
                release=number,
                version=package.version,
                digest=package.digest,
                repository=package.name,
                issued=draft.now.replace(microsecond=0),
                hardware=package.hardware,
            )
            releases.add_release(draft, release, packed.manifest)
            wanted = Assignment(package.name, number, mode=MODES[kind], gates=GATES, bake_s=BAKE_S)
            rollouts.assign(draft, self._site, wanted)

        with closing(self._registry):
            self._desk.carry_out(edit, PROFILE, push=lambda: packed.publish(self._registry))
        self._last = number
        return package


def _read(path: Path) -> bytes:
    try:
        return read_limited(path, _BYTES_MAX)
    except FileNotFoundError as error:
        message = f"{path} is not in this installation"
        raise DataError("assets.absent", message, help="install it again") from error


def _utc_now() -> datetime:
    return datetime.now(UTC)
