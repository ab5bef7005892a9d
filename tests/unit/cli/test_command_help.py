"""``edge-runtime command --help`` names what can be asked."""

from __future__ import annotations

import re

from edge_runtime.cli.command import COMMANDS
from edge_runtime.control.commands.verbs import VERBS


def test_every_verb_is_named_in_the_help() -> None:
    assert set(VERBS) - set(re.findall(r"[a-z]+(?:\.[a-z]+)?", COMMANDS)) == set()
