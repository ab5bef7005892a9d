"""A directory of Hugging Face's transformers: `config.json`, `preprocessor_config.json` and an export to ONNX.

Optimum writes `model.onnx` beside them or into `onnx/`, and quantized ones as `model_quantized.onnx` and the like.
Which of several is meant has to be said, since they do not judge alike. Weights of other kinds are not looked at. A
snapshot in the cache of huggingface_hub is read through its links, and named as its repository is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.layouts import HUGGING_FACE_NAME, ONNX_FOLDER, home_of
from edge_runtime.engine.layouts.foreign import Directory, Foreign, names_in, refuse, some
from edge_runtime.engine.sidecars import Sidecars

if TYPE_CHECKING:
    from pathlib import Path

PREPROCESSOR_NAME: Final = "preprocessor_config.json"
CARD_NAME: Final = "README.md"
_MODEL: Final = re.compile(r"model(_[a-z0-9_]+)?\.onnx")
_LICENCE: Final = re.compile(r"""^license: *["']?([0-9A-Za-z][0-9A-Za-z.+-]{0,63})["']? *$""", re.MULTILINE)
_CACHED: Final = re.compile(r"models--(?:.+--)?(.+)")


def open_directory(root: Path) -> Foreign:
    """Return the only export in the directory ``root``.

    Raises:
        DataError: codes ``model.no_form``, ``model.ambiguous``, ``model.missing``, ``model.unreadable``.
        OSError: it cannot be read.
    """
    places = [root, root / ONNX_FOLDER] if (root / ONNX_FOLDER).is_dir() else [root]
    files = [place / name for place in places for name in names_in(place) if _MODEL.fullmatch(name)]
    if not files:
        message = f"{root.name}: no model.onnx in it or in {ONNX_FOLDER}, found {some(names_in(root))}"
        help_ = "other weights are not loaded here: export it, like optimum-cli export onnx --model DIRECTORY OUT"
        refuse("no_form", message, help_)
    if len(files) > 1:
        found = some([one.relative_to(root).as_posix() for one in files])
        message = f"{root.name}: {len(files)} exports of the model: {found}"
        refuse("ambiguous", message, f"name the one that is meant, like {files[0]}")
    return _described(root, files[0])


def open_file(file: Path) -> Foreign | None:
    """Return the export ``file`` of a directory of transformers, ``None`` when it lies in none.

    Raises:
        DataError: codes ``model.missing``, ``model.unreadable``.
        OSError: it cannot be read.
    """
    if not _MODEL.fullmatch(file.name):
        return None
    place = file.absolute().parent
    for root in [place.parent, place] if place.name == ONNX_FOLDER else [place]:
        if (root / HUGGING_FACE_NAME).exists() and (root / PREPROCESSOR_NAME).exists():
            return _described(root, file)
    return None


def _described(root: Path, file: Path) -> Foreign:
    root = root.absolute()
    boundary = home_of(root)
    folder = Directory(root, boundary)
    beside = Sidecars()
    for name in (HUGGING_FACE_NAME, PREPROCESSOR_NAME):
        if (root / name).exists():
            beside.metadata[f"{name}/text"] = folder.text(name)
            beside.sha256[name] = folder.read[name]
    cached = _CACHED.fullmatch(boundary.name) if boundary != root else None
    facts = {"repository": boundary.name, "revision": root.name} if cached else {}
    facts |= _licence(folder)
    name = cached[1] if cached else root.name
    return Foreign(folder.inside(file), name, "huggingface", beside=beside, read=folder.read, facts=facts)


def _licence(folder: Directory) -> dict[str, str]:
    """Return the licence that the model card states in its front matter, if there is a card that can be read."""
    try:
        head = folder.text(CARD_NAME).split("\n---", 1)[0]
    except (DataError, OSError):  # for people: nothing that runs depends on it
        return {}
    found = _LICENCE.search(head) if head.startswith("---\n") else None
    return {"license": found[1]} if found else {}
