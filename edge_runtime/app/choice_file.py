"""Writes what ``bench --choose`` found into a configuration: a file of its own in ``config.d``, merged over the rest.

The file that the operator wrote, with its comments, is left alone; deleting ours undoes the choice. What was written is
read back through the loader, because a later file or a variable may say otherwise.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from edge_runtime.app.choose import forms_of
from edge_runtime.config.loader import FRAGMENTS, load
from edge_runtime.core.errors import ConfigError, EdgeError
from edge_runtime.system.files import make_directory, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_runtime.app.choose import Candidate
    from edge_runtime.config.loader import Loaded

FILE_MODE: Final = 0o644  # no secrets in it, and the daemon runs as another user than who chooses
DIRECTORY_MODE: Final = 0o755


def model_named(loaded: Loaded, config: Path, name: str | None, model: Path) -> str:
    """Return the name in ``models`` that a choice for ``model`` is written for.

    Raises:
        ConfigError: there is no such model, several and no ``name``, or it is another than was measured.
    """
    models = loaded.settings.models
    known = ", ".join(models)
    if name is None and len(models) > 1:
        raise ConfigError("config.missing", f"{config} has several models: {known}", help="say which: --model NAME")
    name = next(iter(models)) if name is None else name
    if name not in models:
        raise ConfigError("config.unknown_model", f"{config} has no model {name}", help=f"it has: {known}")
    configured = models[name].path
    if configured is None or os.path.realpath(model) not in _same(configured):
        message = f"models.{name} of {config} is {configured}, measured was {model}"
        raise ConfigError("config.other_model", message, help="measure the model that is configured")
    return name


def _same(path: Path) -> set[str]:
    """Return what may be measured for a configured path: itself, or the package that it is a form of."""
    return {os.path.realpath(path), os.path.realpath(path.parent)} if path.is_file() else {os.path.realpath(path)}


def settings_of(chosen: Candidate, configured: Path) -> dict[str, object]:
    """Return the keys of ``models.NAME`` that make the engine run ``chosen`` of the model at ``configured``."""
    device = chosen.device.lower() if "." not in chosen.device else f"{chosen.backend}:{chosen.device}"
    found: dict[str, object] = {"device": device, "backend": chosen.backend, "streams": chosen.streams}
    if chosen.device == "CPU":
        found["threads"] = chosen.threads
    usual = next((one.path for one in forms_of(configured) if chosen.backend in one.backends), None)
    if usual is None or os.path.realpath(usual) != os.path.realpath(chosen.form.path):
        found["path"] = str(chosen.form.path.absolute())  # else the engine would take another form of the package
    return found


def write_choice(config: Path, name: str, wanted: Mapping[str, object], why: str, environ: Mapping[str, str]) -> Path:
    """Write the choice for model ``name`` beside ``config`` and return the file; the configuration must be valid.

    Args:
        config: the main file.
        name: of the model in it.
        wanted: its keys, see `settings_of`.
        why: one line about the measurement, for people.
        environ: environment variables, which may override files.

    Raises:
        ConfigError: something says otherwise than was written, or refuses it; nothing is left behind.
        StorageError: the disk refuses.
        PermissionDeniedError: the directory may not be written.
    """
    path = config.parent / FRAGMENTS / f"90-bench-{name}.yaml"
    before = path.read_bytes() if path.exists() else None
    lines = [f"    {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in wanted.items()]
    head = ["# Written by edge-runtime bench --choose; delete this file to undo it.", f"# {why}"]
    content = "\n".join([*head, "models:", f"  {json.dumps(name)}:", *lines, ""])
    make_directory(path.parent, mode=DIRECTORY_MODE)
    write_atomic(path, content.encode(), mode=FILE_MODE)
    try:
        _verify(config, name, wanted, environ)
    except EdgeError:
        if before is None:
            path.unlink()
        else:
            write_atomic(path, before, mode=FILE_MODE)
        raise
    return path


def _verify(config: Path, name: str, wanted: Mapping[str, object], environ: Mapping[str, str]) -> None:
    loaded = load(config, environ=environ)
    model = loaded.settings.models[name]
    for key, value in wanted.items():
        found = getattr(model, key)
        if str(found) != str(value):
            origin = loaded.origins.get(f"models.{name}.{key}")
            message = f"models.{name}.{key} would still be {found}: {origin} wins over what bench writes"
            raise ConfigError("config.overridden", message, help="remove it there")
