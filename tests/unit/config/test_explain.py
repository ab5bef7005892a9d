"""The wording of single mistakes; whole reports are in tests/assets/config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.config.loader import load
from edge_runtime.config.report import InvalidConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

CAMERAS = "cameras: {top: {source: 'sim:bars'}}\n"
MODELS = "models: {m: {path: m.onnx}}\n"


@pytest.fixture
def box(tmp_path: Path) -> Path:
    (tmp_path / "m.onnx").touch()
    return tmp_path


def only(box: Path, text: str) -> Problem:
    path = box / "edge.yaml"
    path.write_text(text)
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ={})
    (problem,) = caught.value.problems
    return problem


def test_entries_of_a_map_are_counted_to_the_end(box: Path) -> None:
    many = "".join(f"a{number}: {{source: 'sim:bars'}}, " for number in range(70))
    found = only(box, f"version: 1\n{MODELS}cameras: {{{many}}}\n")
    assert found.message == "cameras must have at most 64 entries, got 70"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mqtt: {password: ''}", "password must have at least 1 character, got 0"),
        (f"mqtt: {{password: {'x' * 2000}}}", "password must have at most 1024 characters, got 2000"),
        ("inspections: {top: {recipe: {region: [[0, 0], [1, 1]]}}}", "region must have at least 3 entries, got 2"),
    ],
)
def test_characters_are_not_called_entries(box: Path, line: str, message: str) -> None:
    assert only(box, f"version: 1\n{CAMERAS}{MODELS}{line}\n").message == message


@pytest.mark.parametrize("version", ["true", "1.0"])
def test_what_equals_one_only_to_python_is_no_version(box: Path, version: str) -> None:
    assert only(box, f"version: {version}\n{CAMERAS}{MODELS}").message.startswith("version must be 1, got ")


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        (f"version: 1\n{MODELS}cameras: {{top: }}\n", "indent what belongs to it, or remove the line"),
        (f"version: 1\n{MODELS}cameras:\n", "indent what belongs to it"),
        (
            f"version: 1\n{CAMERAS}{MODELS}engine:\n",
            "indent what belongs to it, or remove the line to get the default",
        ),
    ],
)
def test_only_settings_that_have_a_default_are_said_to_get_it(box: Path, text: str, way_out: str) -> None:
    assert only(box, text).help == way_out


def test_user_and_password_without_a_scheme_are_not_repeated(box: Path) -> None:
    found = only(box, f"version: 1\n{CAMERAS}{MODELS}mqtt: {{host: 'admin:hun/ter2@10.0.0.1'}}\n")
    assert found.message.endswith('got "***@10.0.0.1"')


@pytest.mark.parametrize("key", ["pwasword", "kenwort", "passphrse", "token_x", "pw"])
def test_a_key_that_may_be_a_misspelt_password_hides_its_value(box: Path, key: str) -> None:
    found = only(box, f"version: 1\n{CAMERAS}{MODELS}mqtt: {{{key}: hunter2}}\n")
    assert found.excerpt is not None
    assert found.excerpt.text == f"mqtt: {{{key}: ***}}"


def test_any_other_unknown_key_shows_its_value(box: Path) -> None:
    found = only(box, f"version: 1\n{CAMERAS}{MODELS}mqtt: {{prt: 1884}}\n")
    assert found.excerpt is not None
    assert found.excerpt.text == "mqtt: {prt: 1884}"
