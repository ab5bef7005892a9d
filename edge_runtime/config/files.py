"""Looks at the files a configuration names: is the model there, can it be read. Opens cameras no more than brokers."""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from edge_runtime.config.checks import Mistake, entries, section
from edge_runtime.config.types import LOCAL_REGISTRIES
from edge_runtime.core.errors import ConfigError, EdgeError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.core.layouts import (
    HUGGING_FACE_NAME,
    METADATA_NAME,
    MLMODEL_NAME,
    REPOSITORY_NAME,
    reader_files,
    version_number,
)
from edge_runtime.core.publickey import demand_p256, public_key_bytes
from edge_runtime.core.source import SIM_SCENES, parse_source
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_runtime.config.checks import Loc

MANIFEST: Final = "edge-model.json"
MANIFEST_BYTES: Final = 4 << 20
PUBLIC_KEY_BYTES: Final = 4096
_DESCRIBED: Final = (MLMODEL_NAME, METADATA_NAME, HUGGING_FACE_NAME, REPOSITORY_NAME)
ROOT_BYTES: Final = 1 << 20
ANY_LABEL: Final = "*"
BARE_MODELS: Final = (".onnx", ".xml")
_LOOK: Final = "it must be a path that the user of the daemon can reach"
_ED25519: Final = "edge-runtime command keygen FILE makes a pair; here belongs FILE.pub"
_ECDSA: Final = "edge-runtime registry key new NAME --type ecdsa makes a pair; here belongs NAME.pub"
PATH_SHOWN: Final = 200  # characters of a path that are repeated


def missing_files(data: Mapping[str, object], base: Path) -> Iterator[Mistake]:
    """Check every path of ``data``; relative ones start at ``base``. What has the wrong type is left to validation."""
    for name, model in entries(data, "models"):
        for kind in ("path", "factory"):
            yield from _model(("models", name, kind), model.get(kind), base)
    for connection in ("mqtt", "sparkplug"):
        tls = section(section(data, connection), "tls")
        for name in ("ca_file", "cert_file", "key_file"):
            yield from _readable((connection, "tls", name), tls.get(name), base)
    for name, path in section(section(data, "commands"), "keys").items():
        yield from _public_key(("commands", "keys", str(name)), path, base, public_key_bytes, _ED25519)
    yield from _registry(section(data, "registry"), base)
    for name, camera in entries(data, "cameras"):
        yield from _source(("cameras", name, "source"), camera.get("source"), base)
    for name, inspection in entries(data, "inspections"):
        yield from _labels(("inspections", name, "recipe", "not_ok"), inspection, section(data, "models"), base)
    yield from _state_dir(("state_dir",), data.get("state_dir"), base)


def _labels(loc: Loc, inspection: Mapping[str, object], models: Mapping[str, object], base: Path) -> Iterator[Mistake]:
    """A rule about a label that the model does not have never applies, and bad parts would pass as OK."""
    model = models.get(str(inspection.get("model")))
    text = _usable(model.get("path")) if isinstance(model, Mapping) else None
    manifest, _ = _manifest(loc, text, base) if text is not None else (None, None)
    labels = (manifest or {}).get("labels")
    known = [label for label in labels if isinstance(label, str)] if isinstance(labels, list) else []
    rules = section(inspection, "recipe").get("not_ok")
    if not known or not isinstance(rules, list | tuple):
        return
    for place, rule in enumerate(rules):
        label = rule.get("label") if isinstance(rule, Mapping) else None
        if isinstance(label, str) and label != ANY_LABEL and label not in known:
            near = difflib.get_close_matches(label, known, 1)
            way_out = f'did you mean "{near[0]}"?' if near else f"it has: {_clip(', '.join(known))}"
            message = f'the model has no label "{_clip(label)}"'
            yield Mistake((*loc, place, "label"), "config.no_label", message, way_out)


def _manifest(loc: Loc, text: str, base: Path) -> tuple[Mapping[str, object] | None, Mistake | None]:
    """Return what a package directory says about itself, or why it says nothing."""
    path, named = base / text / MANIFEST, _clip(f"{text}/{MANIFEST}")
    try:
        document = json.loads(read_limited(path, MANIFEST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        if _is_foreign(base / text):
            return None, None
        way_out = f"a package directory holds {MANIFEST}; a bare model is named with its file"
        return None, Mistake(loc, "config.no_model", f"{_clip(text)} is a directory without {MANIFEST}", way_out)
    except EdgeError as error:
        return None, Mistake(loc, "config.unreadable", error.message, error.help)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return None, Mistake(loc, "config.no_model", f"{named} is not a JSON object", "copy the package again")
    return document, None


def _is_foreign(path: Path) -> bool:
    """Tell whether a directory is laid out as other systems do, or may read texts; the engine looks closer."""
    try:
        if any(one.name in _DESCRIBED or version_number(one.name) for one in path.iterdir()):
            return True
        return version_number(path.name) is not None or bool(reader_files(path))
    except OSError:
        return False


def _state_dir(loc: Loc, value: object, base: Path) -> Iterator[Mistake]:
    text = _usable(value)
    if text is None:
        return
    for place in (base / text, *(base / text).parents):
        kind, mistake = _look(loc, text, place)
        if mistake is not None and mistake.code == "config.unreadable":
            yield mistake
        elif mistake is not None:
            continue
        elif kind != stat.S_IFDIR:
            message = f"{_clip(text)} cannot be a directory: {_clip(str(place))} is a file"
            yield Mistake(loc, "config.no_directory", message, "name a directory; it is made if it is missing")
        return


def _usable(value: object) -> str | None:
    return value if isinstance(value, str) and value and "\0" not in value else None


def _look(loc: Loc, text: str, path: Path) -> tuple[int, Mistake | None]:
    """Return the file type bits of ``path``, or why there are none."""
    try:
        return stat.S_IFMT(path.stat().st_mode), None
    except (FileNotFoundError, NotADirectoryError):
        way_out = "relative paths start at the directory of the configuration file"
        if str(path) != text:
            way_out += f"; looked at {_clip(str(path))}"
        return 0, Mistake(loc, "config.no_file", f"{_clip(text)} does not exist", way_out)
    except OSError as error:
        return 0, Mistake(loc, "config.unreadable", f"cannot look at {_clip(text)}: {error.strerror}", _LOOK)


def _model(loc: Loc, value: object, base: Path) -> Iterator[Mistake]:
    text = _usable(value)
    if text is None:
        return
    path = base / text
    kind, mistake = _look(loc, text, path)
    suffix = path.suffix.lower()
    if mistake is not None:
        yield mistake
    elif kind == stat.S_IFDIR:
        _, mistake = _manifest(loc, text, base)
        if mistake is not None:
            yield mistake
    elif suffix not in BARE_MODELS:
        message = f"{_clip(text)} is neither a package directory nor an .onnx or .xml file"
        yield Mistake(loc, "config.no_model", message, f"name the directory that holds {MANIFEST}, or the model file")
    else:
        yield from _readable(loc, text, base)
        if suffix == ".xml":
            yield from _weights(loc, text, base)


def _weights(loc: Loc, text: str, base: Path) -> Iterator[Mistake]:
    """An OpenVINO model is two files; ``text`` names the first."""
    beside = str(PurePath(text).with_suffix(".bin"))
    _, mistake = _look(loc, beside, base / beside)
    if mistake is not None and mistake.code == "config.no_file":
        message = f"{_clip(text)} has no {PurePath(beside).name} beside it"
        yield Mistake(loc, "config.no_model", message, "an OpenVINO model is two files, .xml and .bin")
    else:
        yield from _readable(loc, beside, base)


def _readable(loc: Loc, value: object, base: Path) -> Iterator[Mistake]:
    text = _usable(value)
    if text is None:
        return
    path = base / text
    kind, mistake = _look(loc, text, path)
    if mistake is not None:
        yield mistake
    elif kind != stat.S_IFREG:
        yield Mistake(loc, "config.no_file", f"{_clip(text)} is not a file", "name the file itself")
    elif not os.access(path, os.R_OK):
        yield Mistake(loc, "config.unreadable", f"{_clip(text)} may not be read by this user", f"chmod or chown {path}")


def _public_key(
    loc: Loc, value: object, base: Path, accept: Callable[[str, str], object], way_out: str
) -> Iterator[Mistake]:
    """Check the file of a public key; ``accept`` raises for PEM of another kind than is wanted."""
    mistakes = list(_readable(loc, value, base))
    yield from mistakes
    text = _usable(value)
    if text is not None and not mistakes:
        try:
            accept(read_limited(base / text, PUBLIC_KEY_BYTES).decode("ascii", "replace"), _clip(text))
        except (EdgeError, FileNotFoundError) as error:
            message = error.message if isinstance(error, EdgeError) else f"{_clip(text)} is gone"
            yield Mistake(loc, "config.no_key", message, way_out)


def _registry(registry: Mapping[str, object], base: Path) -> Iterator[Mistake]:
    """A layout or archive may turn up later (a stick, a mount), so a missing one is only a warning."""
    yield from _root(("registry", "root"), registry.get("root"), base)
    for name in ("ca_file", "cert_file", "key_file"):
        yield from _readable(("registry", name), registry.get(name), base)
    keys = registry.get("publisher_keys")
    for index, path in enumerate(keys if isinstance(keys, list | tuple) else ()):
        yield from _public_key(("registry", "publisher_keys", index), path, base, demand_p256, _ECDSA)
    mirrors = registry.get("mirrors")
    places: list[tuple[Loc, object]] = [(("registry", "url"), registry.get("url"))]
    places += [
        (("registry", "mirrors", n), one) for n, one in enumerate(mirrors if isinstance(mirrors, list | tuple) else ())
    ]
    for loc, url in places:
        scheme, _, text = url.partition(":") if isinstance(url, str) else ("", "", "")
        if scheme in LOCAL_REGISTRIES and text and "\0" not in text:
            _, mistake = _look(loc, text, base / text)
            if mistake is not None:
                yield replace(mistake, warning=True)


def _root(loc: Loc, value: object, base: Path) -> Iterator[Mistake]:
    """The root of trust: only its form is looked at, `registry.trust` judges it."""
    mistakes = list(_readable(loc, value, base))
    yield from mistakes
    text = _usable(value)
    if text is None or mistakes:
        return
    try:
        signed = load_object(read_limited(base / text, ROOT_BYTES), _clip(text), limit_bytes=ROOT_BYTES).get("signed")
    except (EdgeError, FileNotFoundError):
        signed = None
    if not isinstance(signed, dict) or signed.get("_type") != "root":
        message = f"{_clip(text)} is no root of trust (TUF metadata of type root)"
        yield Mistake(loc, "config.no_root", message, "copy the root.json that edge-runtime registry init made")


def _source(loc: Loc, value: object, base: Path) -> Iterator[Mistake]:
    """A clip or folder may turn up later (a mount, a transfer), so a missing one is only a warning."""
    if not isinstance(value, str):
        return
    try:
        source = parse_source(value)
    except ConfigError:
        return  # validation says it
    if source.kind == "sim" and source.location not in SIM_SCENES:
        message = f"there is no simulated camera {_clip(source.location)}"
        yield Mistake(loc, "config.no_scene", message, f"write one of: {', '.join(f'sim:{s}' for s in SIM_SCENES)}")
    if source.kind in ("file", "images"):
        _, mistake = _look(loc, source.location, base / source.location)
        if mistake is not None:
            yield replace(mistake, warning=True)


def _clip(text: str) -> str:
    return text if len(text) <= PATH_SHOWN else text[:PATH_SHOWN] + "..."
