"""Looks at the files a configuration names: is the model there, can it be read. Opens cameras no more than brokers."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_runtime.config.checks import Mistake, entries, section
from edge_runtime.core.errors import ConfigError
from edge_runtime.core.source import parse_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_runtime.config.checks import Loc

MANIFEST: Final = "edge-model.json"
BARE_MODELS: Final = (".onnx", ".xml")
PATH_SHOWN: Final = 200  # characters of a path that are repeated


def missing_files(data: Mapping[str, object], base: Path) -> Iterator[Mistake]:
    """Check every path of ``data``; relative ones start at ``base``. What has the wrong type is left to validation."""
    for name, model in entries(data, "models"):
        yield from _model(("models", name, "path"), model.get("path"), base)
    tls = section(section(data, "mqtt"), "tls")
    for name in ("ca_file", "cert_file", "key_file"):
        yield from _readable(("mqtt", "tls", name), tls.get(name), base)
    for name, camera in entries(data, "cameras"):
        yield from _source(("cameras", name, "source"), camera.get("source"), base)


def _usable(value: object) -> str | None:
    return value if isinstance(value, str) and value and "\0" not in value else None


def _look(loc: Loc, text: str, path: Path) -> tuple[int, Mistake | None]:
    """Return the file type bits of ``path``, or why there are none."""
    try:
        return stat.S_IFMT(path.stat().st_mode), None
    except (FileNotFoundError, NotADirectoryError):
        way_out = "relative paths start at the directory of the configuration file"
        if str(path) != text:
            way_out += f"; looked at {path}"
        return 0, Mistake(loc, "config.no_file", f"{_clip(text)} does not exist", way_out)
    except OSError as error:
        return 0, Mistake(loc, "config.unreadable", f"cannot look at {_clip(text)}: {error.strerror}")


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
        if not (path / MANIFEST).is_file():
            way_out = f"a package directory holds {MANIFEST}; a bare model is named with its file"
            yield Mistake(loc, "config.no_model", f"{text} is a directory without {MANIFEST}", way_out)
    elif suffix not in BARE_MODELS:
        message = f"{text} is neither a package directory nor an .onnx or .xml file"
        yield Mistake(loc, "config.no_model", message, f"name the directory that holds {MANIFEST}, or the model file")
    elif suffix == ".xml" and not path.with_suffix(".bin").is_file():
        message = f"{text} has no {path.with_suffix('.bin').name} beside it"
        yield Mistake(loc, "config.no_model", message, "an OpenVINO model is two files, .xml and .bin")
    else:
        yield from _readable(loc, value, base)


def _readable(loc: Loc, value: object, base: Path) -> Iterator[Mistake]:
    text = _usable(value)
    if text is None:
        return
    path = base / text
    kind, mistake = _look(loc, text, path)
    if mistake is not None:
        yield mistake
    elif kind != stat.S_IFREG:
        yield Mistake(loc, "config.no_file", f"{text} is not a file")
    elif not os.access(path, os.R_OK):
        yield Mistake(loc, "config.unreadable", f"{text} may not be read by this user", f"chmod or chown {path}")


def _source(loc: Loc, value: object, base: Path) -> Iterator[Mistake]:
    """A clip or folder may turn up later (a mount, a transfer), so a missing one is only a warning."""
    if not isinstance(value, str):
        return
    try:
        source = parse_source(value)
    except ConfigError:
        return  # validation says it
    if source.kind in ("file", "images"):
        _, mistake = _look(loc, source.location, base / source.location)
        if mistake is not None:
            yield replace(mistake, warning=True)


def _clip(text: str) -> str:
    return text if len(text) <= PATH_SHOWN else text[:PATH_SHOWN] + "..."
