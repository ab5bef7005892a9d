"""Settings that follow from the box where they were not written: its name, and where it keeps state."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from edge_runtime.config.overrides import put
from edge_runtime.config.schema import STATE_DIR
from edge_runtime.config.tree import Node, Origin, Place

if TYPE_CHECKING:
    from collections.abc import Mapping


def add_defaults(root: Node, environ: Mapping[str, str]) -> Node:
    """Add ``edge`` and ``state_dir`` with the reason for each."""
    for name, value, why in (("edge", _name(), "host name"), ("state_dir", *_state_dir(environ))):
        if isinstance(root.value, dict) and name not in root.value:
            root = put(root, (name,), Node(value, Origin(Place.DEFAULT, why)))
    return root


def _name() -> str:
    name = re.sub("[^A-Za-z0-9_-]", "-", os.uname().nodename.partition(".")[0])
    return name[:64] or "edge"


def _state_dir(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the directory and why: systemd's, the system's if it can be written, else the user's."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return given, "STATE_DIRECTORY"
    if os.geteuid() == 0 or os.access(STATE_DIR, os.W_OK):
        return str(STATE_DIR), ""
    home = environ.get("HOME")
    user_state = environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")
    if not user_state:
        return str(STATE_DIR), ""
    return f"{user_state}/edge-runtime", f"{STATE_DIR} is not writable"
