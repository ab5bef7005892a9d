"""A publisher of releases for tests: the product's own desk with all keys at hand, at a registry anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from edge_runtime.registry.carriers.open import Access, open_publication
from edge_runtime.registry.carriers.push import OciPublication
from edge_runtime.registry.documents import Assignment, Match, Release
from edge_runtime.registry.package.pack import pack
from edge_runtime.registry.publisher import releases, rollouts
from edge_runtime.registry.publisher.desk import Desk
from edge_runtime.registry.publisher.draft import Draft
from edge_runtime.registry.publisher.home import PROFILES, Home
from edge_runtime.registry.publisher.keys import Keyring, make_key
from edge_runtime.registry.publisher.roots import TOP, found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.registry.carriers.carrier import Publication
    from edge_runtime.registry.publisher.desk import Outcome

SITE = "plant-a"
SETTLE_S = 0.05  # how long a lock waits for a rival's write; on loopback nothing takes longer


class ReleaseDesk:
    """A registry with one key for each role, founded at once; a block that closes its carrier.

    Args:
        directory: for keys and root; is made.
        url: of the registry.
        sites: their names.
        access: to the registry.
        now: tells the time in UTC.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        *,
        sites: tuple[str, ...] = (SITE,),
        access: Access | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.url, self.root = url, directory / "root.json"
        self._profile, self._now = PROFILES["dev"], now
        home = Home(directory)
        for name in (*TOP, *sites):
            make_key(home.keys, name, None)
        keyring = Keyring(home.keys, lambda what: what)
        self.registry = _publication(url, access or Access())
        self._desk = Desk(home, self.registry, keyring, now=now, confirm=lambda _: None)
        draft = Draft(None, now(), self._profile)
        keys = {name: [keyring.named(name)] for name in TOP}
        found(draft, keys | {f"rollout-{site}": [keyring.named(site)] for site in sites}, sites)
        self._desk.found(draft)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the registry."""
        self.registry.close()

    def publish(self, package: Path) -> tuple[str, int]:
        """Pack a directory, push it and sign it as a release; return the digest of its manifest and its number."""
        packed = pack(package)
        release = self._release(packed.package.name, packed.release, packed.package.digest)
        self.edit(
            lambda draft: releases.add_release(draft, release, packed.manifest), lambda: packed.publish(self.registry)
        )
        return packed.artifact.digest, packed.release

    def list_manifest(self, model: str, number: int, manifest: bytes, digest: str) -> None:
        """Sign a manifest that somebody else pushed, or nobody; ``digest`` is that of its `edge-model.json`."""
        release = self._release(model, number, digest)

        def edit(draft: Draft) -> None:
            releases.add_release(draft, release, manifest)
            draft.manifests.clear()  # it is there already, or is not to be

        self.edit(edit)

    def assign(self, model: str, release: int, site: str = SITE, match: Match | None = None, **more: Any) -> None:
        """Let the slots of a site that match run a release; ``more`` as in `Assignment`."""
        wanted = Assignment(model, release, match or Match(), **more)
        self.edit(lambda draft: rollouts.assign(draft, site, wanted))

    def pause(self, site: str = SITE, *, paused: bool = True) -> None:
        """Let boxes of a site begin nothing new, or go on."""
        self.edit(lambda draft: rollouts.pause(draft, site, paused=paused))

    def kill(self, model: str, number: int, site: str = SITE) -> None:
        """Forbid a release on a site."""
        self.edit(lambda draft: rollouts.kill(draft, site, releases.find(draft, model, number)[1]))

    def raise_floor(self, model: str, number: int) -> None:
        """Ban all releases of a model below ``number``."""
        self.edit(lambda draft: releases.raise_floor(draft, model, number))

    def revoke(self, model: str, number: int) -> None:
        """Ban one release."""
        self.edit(lambda draft: releases.revoke(draft, model, number))

    def edit(self, change: Callable[[Draft], None], push: Callable[[], None] | None = None) -> Outcome:
        """Make any change, sign and publish it; no connection is left open."""
        try:
            return self._desk.carry_out(change, self._profile, push=push)
        finally:
            self.registry.close()

    def _release(self, model: str, number: int, digest: str) -> Release:
        return Release(model, number, f"1.0.{number}", digest, model, self._now().replace(microsecond=0))


def _publication(url: str, access: Access) -> Publication:
    return OciPublication(url, access, settle_s=SETTLE_S) if url.startswith("oci://") else open_publication(url, access)
