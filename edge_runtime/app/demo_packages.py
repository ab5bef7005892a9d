"""The releases that the demo makes while it runs, out of the model package that ships with the product. Pure.

No weights change: what a release finds depends on its `edge-model.json` as well, and a publisher who errs there has
golden answers that err with it. Each release has a number, a version and so a digest of its own.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import ANSWERS_NAME, FOLDER
from edge_runtime.core.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

CARD: Final = "model-card.md"
ANSWERS: Final = f"{FOLDER}/{ANSWERS_NAME}"
GOOD_SCORE: Final = 0.3  # below that of the demo's recipe, so all verdicts stay
BLIND_SCORE: Final = 0.99  # above whatever the model says of a defect


class Kind(Enum):
    """What a release is like.

    ``FIRST`` is the package as it ships. ``GOOD`` leaves weak findings out, no verdict changes. ``BLIND`` finds no
    defect any more, and its golden answers say that this is right: no test before the line can see it.
    """

    FIRST = "first"
    GOOD = "good"
    BLIND = "blind"


_WORDS: Final = {
    Kind.GOOD: f"Findings with a score below {GOOD_SCORE} are left out. No verdict of the demo changes.",
    Kind.BLIND: "Made to be wrong: the threshold is so high that no defect is found, and the golden answers agree.",
}


def release_files(shipped: Mapping[str, bytes], kind: Kind, number: int) -> dict[str, bytes]:
    """Return the files of the release ``number``, by path.

    Args:
        shipped: those of the package as it ships, which is release 1.
        kind: of the release; ``FIRST`` is the package itself.
        number: of the release, 2 or more for the others.

    Raises:
        DataError: the package is not as it was shipped.
    """
    files = dict(shipped)
    if kind is Kind.FIRST:
        return files
    try:
        manifest = json.loads(files[MANIFEST_NAME])
        manifest |= {"release": number, "version": f"1.{number - 1}.0"}
        manifest["thresholds"]["score"] = BLIND_SCORE if kind is Kind.BLIND else GOOD_SCORE
        title = f"# {manifest['name']} {manifest['version']}\n\n{_WORDS[kind]}\n\n"
        files[CARD] = title.encode() + files[CARD]
        if kind is Kind.BLIND:
            golden = json.loads(files[ANSWERS])
            golden["frames"] = [{**one, "predictions": []} for one in golden["frames"]]
            files[ANSWERS] = _written(golden)
    except (ValueError, KeyError, TypeError) as error:
        message = f"the model package of this installation is not as it was shipped: {error!r}"
        raise DataError("assets.damaged", message, help="install it again") from error
    files[MANIFEST_NAME] = _written(manifest)
    return files


def _written(document: object) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()
