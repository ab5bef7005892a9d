"""A model of a Triton or OpenVINO Model Server repository: `NAME/VERSION/model.onnx`, or `.xml` and `.bin`.

The highest version is taken, of those that `config.pbtxt` offers; another one is taken when its directory is named.
Of `config.pbtxt` is read what says which file it is and what its answers are called (Triton `docs/user_guide/`
`model_configuration.md`); how pictures are made into tensors stands in no file of a repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.layouts import REPOSITORY_NAME, version_number
from edge_runtime.engine.layouts.foreign import FORMATS, Directory, Foreign, names_in, refuse, some
from edge_runtime.engine.layouts.pbtxt import NotTextFormatError, messages, only_text, parse_pbtxt
from edge_runtime.engine.sidecars import LABELS_NAME, Sidecars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.engine.layouts.pbtxt import Message

_RUNS: Final = ("onnxruntime", "onnxruntime_onnx", "openvino")
_LAYOUTS: Final = {"FORMAT_NCHW": "NCHW", "FORMAT_NHWC": "NHWC"}
_MODELS_LIMIT: Final = 1000
_AXES: Final = 3
_HELP: Final = "put the model there as model.onnx, or as model.xml and model.bin"


def open_model(root: Path, versions: Sequence[str]) -> Foreign:
    """Return one version of the model in the directory ``root``.

    Args:
        root: directory of the model, in which those of its versions are.
        versions: those that may be taken.

    Raises:
        DataError: codes ``model.no_form``, ``model.missing``, ``model.unreadable``.
        OSError: it cannot be read.
    """
    folder = Directory(root)
    config = _config(folder) if (root / REPOSITORY_NAME).exists() else {}
    _check_platform(root, config)
    version, notes = _version(root, config, versions)
    file = _file(folder, config, root / version)
    beside = Sidecars()
    notes += _labels(folder, config, beside)
    _input(config, beside)
    if REPOSITORY_NAME in folder.read:
        beside.sha256[REPOSITORY_NAME] = folder.read[REPOSITORY_NAME]
    return Foreign(
        file,
        root.name,
        "triton",
        version,
        beside=beside,
        read=folder.read,
        notes=tuple(notes),
        facts={"model": root.name, "version": version},
    )


def refuse_several(root: Path, names: Sequence[str]) -> None:
    """Refuse a directory whose directories are models of a repository: one of them has to be named.

    Raises:
        DataError: code ``model.ambiguous``.
    """
    models = [name for name in names[:_MODELS_LIMIT] if _is_model(root / name)]
    if models:
        message = f"{root}: a repository of several models, not one: {some(models)}"
        refuse("ambiguous", message, f"name the one that is meant, like {root / models[0]}")


def _is_model(place: Path) -> bool:
    if not place.is_dir():
        return False
    if (place / REPOSITORY_NAME).exists():
        return True
    versions = [one for one in names_in(place) if version_number(one) is not None and (place / one).is_dir()]
    return any(Path(name).suffix.lower() in FORMATS for one in versions for name in names_in(place / one))


def _config(folder: Directory) -> Message:
    text = folder.text(REPOSITORY_NAME)
    try:
        return parse_pbtxt(text)
    except NotTextFormatError as error:
        message = f"{folder.root.name}/{REPOSITORY_NAME}: {error}"
        refuse("unreadable", message, "correct it: it is in protocol buffers' text format")


def _check_platform(root: Path, config: Message) -> None:
    for key in ("platform", "backend"):
        found = only_text(config, key)
        if found and found not in _RUNS:
            message = f"{root.name}/{REPOSITORY_NAME}: {key} {found[:40]!r} does not run here"
            help_ = "name the model of a step" if found == "ensemble" else f"export the model to ONNX; {_HELP}"
            refuse("no_form", message, help_)


def _version(root: Path, config: Message, versions: Sequence[str]) -> tuple[str, list[str]]:
    specific = [one for policy in messages(config, "version_policy") for one in messages(policy, "specific")]
    named = {text for one in specific for text in one.get("versions", []) if isinstance(text, str)}
    offered = [one for one in versions if not specific or one in named or len(versions) == 1]
    if not offered:
        found = some(sorted(versions, key=lambda one: version_number(one) or 0))
        wanted = f"version {', '.join(sorted(named))}, as {REPOSITORY_NAME} says" if specific else "a version, like 1"
        refuse("no_form", f"{root.name}: expected {wanted}, found {found}", _HELP)
    best = max(offered, key=lambda one: version_number(one) or 0)
    if len(versions) == 1:
        return best, []
    which = "the highest" if not specific else f"the highest that {REPOSITORY_NAME} offers"
    return best, [f"version {best} of {len(versions)} is {which}; for another one name its directory"]


def _file(folder: Directory, config: Message, place: Path) -> Path:
    names = names_in(folder.inside(place))
    wanted = only_text(config, "default_model_filename")
    models = [name for name in names if Path(name).suffix.lower() in FORMATS and wanted in (None, name)]
    if len(models) != 1:
        expected = "one .onnx or .xml file" if wanted is None else f"{wanted[:80]!r}, a .onnx or .xml file,"
        message = f"{folder.root.name}/{place.name}: expected {expected} found {some(names)}"
        refuse("no_form", message.replace("file found", "file, found"), _HELP)
    file = folder.inside(place / models[0])
    if file.suffix.lower() == ".xml":
        folder.inside(file.with_suffix(".bin"))
    return file


def _labels(folder: Directory, config: Message, beside: Sidecars) -> list[str]:
    """Read the file of labels, if there is one: a label in each line, in the model's directory."""
    files = {name for one in messages(config, "output") if (name := only_text(one, "label_filename")) is not None}
    if len(files) != 1:
        return [f"labels of {some(sorted(files))} are not read: they are of several outputs"] if files else []
    (name,) = files
    beside.metadata[f"{LABELS_NAME}/labels"] = folder.text(name).removeprefix("\ufeff").rstrip()
    beside.sha256[LABELS_NAME] = folder.read[name]
    return [] if name == LABELS_NAME else [f"labels are those of {name}, as {REPOSITORY_NAME} says"]


def _input(config: Message, beside: Sidecars) -> None:
    inputs = messages(config, "input")
    layout = _LAYOUTS.get(only_text(inputs[0], "format") or "") if len(inputs) == 1 else None
    if layout is None:
        return
    beside.metadata[f"{REPOSITORY_NAME}/layout"] = layout
    dims = [one for one in inputs[0].get("dims", []) if isinstance(one, str)][-_AXES:]
    sides = dims[1:] if layout == "NCHW" else dims[:2]
    if len(dims) == _AXES and all(one.isascii() and one.isdecimal() for one in sides):
        beside.metadata[f"{REPOSITORY_NAME}/size"] = f"[{', '.join(sides)}]"
