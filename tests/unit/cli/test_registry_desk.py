"""Secrets that the actions of ``edge-runtime registry`` need."""

from __future__ import annotations

import argparse
import getpass
import sys

import pytest

from edge_runtime.cli.registry_desk import secrets_of
from edge_runtime.core.errors import DataError


def test_a_person_is_asked_once_for_each_secret_however_often_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is rotated with a desk that is opened twice: to see what there is, and after the new key was made."""
    asked: list[str] = []

    def answer(prompt: str, _stream: object) -> str:
        asked.append(prompt)
        return prompt[::-1]

    monkeypatch.setattr(getpass, "getpass", answer)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    args = argparse.Namespace(passphrase_file=None)
    first, second = secrets_of(args), secrets_of(args)
    assert first("passphrase of root-1") == second("passphrase of root-1") == " :1-toor fo esarhpssap"
    second("passphrase of root-2")
    assert asked == ["passphrase of root-1: ", "passphrase of root-2: "]


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(DataError, match="there is no terminal"):
        secrets_of(argparse.Namespace(passphrase_file=None))("passphrase of root-1")
