"""What may not run on a box, by what its disk alone knows: an answer at once, without a look and without its lock."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import parse_rollout, rollout_path
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.trust.decide import ban
from edge_runtime.registry.trust.floors import Floors

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.box.report import Held
    from edge_runtime.registry.statements import Rollout

logger = logging.getLogger(__name__)


def banned(root: Path, site: str, model: str, wanted: Held) -> DataError | None:
    """Return why a release must not run, ``None`` = it may.

    The rollout that was kept last counts however old it is: a frozen or expired one gives no rights any more, but what
    it killed stays dead until a newer one takes that back.

    Args:
        root: directory of the releases.
        site: of the box.
        model: whose release it is.
        wanted: the release.

    Raises:
        PermissionDeniedError, StorageError: the disk does not say; then nothing may be run that does not run already.
    """
    kept = TrustStore(root).read()
    raw = kept.files.get(f"targets/{rollout_path(site)}")
    return ban(
        kept.floors or Floors(), None if raw is None else _rollout(raw, site), wanted.release, model, wanted.manifest
    )


def _rollout(raw: bytes, site: str) -> Rollout | None:
    try:
        return parse_rollout(raw, rollout_path(site))
    except DataError as error:
        logger.warning("the rollout that was kept cannot be read: %s", error)
        return None
