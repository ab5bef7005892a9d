"""What a publisher's directory keeps, and what becomes of it when somebody was at it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import ConfigError
from edge_runtime.registry.publisher.home import PROFILES, Home, Seen, SeenRole, Settings

if TYPE_CHECKING:
    from pathlib import Path

ACCESS = {"username": "robot", "password_file": "/run/pw", "realm_hosts": ["auth.plant"], "allow_http": True}


def test_settings_are_what_was_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "registry")
    home.keep_settings(Settings("oci://registry.plant/vision", PROFILES["airgap"], ACCESS))
    found = home.settings()
    assert (found.url, found.profile) == ("oci://registry.plant/vision", PROFILES["airgap"])
    assert json.loads(json.dumps(found.access)) == ACCESS


def test_a_directory_that_is_none_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no publisher\.json") as caught:
        Home(tmp_path).settings()
    assert "registry init" in (caught.value.help or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('{"schema":"edge-publisher/1"}', "url: expected a text"),
        ('{"schema":"edge-publisher/2","url":"x"}', "schema: expected one of"),
        ('{"url":"x","access":{"pasword_file":"x"}}', "unknown key"),
        ('{"url":"x","other":1}', "other"),
        ('{"url":"x","profile":"strict"}', "profile: expected one of"),
    ],
)
def test_wrong_settings_are_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "publisher.json").write_text(text)
    with pytest.raises(ConfigError, match=words):
        Home(tmp_path).settings()


@pytest.mark.parametrize(
    "text", ["", "{", '{"roles":{"root":{"version":-1}}}', '{"roles":{"root":{"version":1,"x":2}}}']
)
def test_a_memory_that_is_broken_is_never_taken_for_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "seen.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        Home(tmp_path).seen()
    assert caught.value.code == "publisher.seen"


def test_what_was_seen_never_falls(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.seen() == Seen()
    home.keep_seen(Seen({"targets": SeenRole(7, ("a",))}, "2026-11-26T12:00:00Z"))
    home.keep_seen(Seen({"targets": SeenRole(6, ("a",)), "root": SeenRole(1, ("r",))}, "2026-11-25T12:00:00Z"))
    assert home.seen() == Seen({"targets": SeenRole(7, ("a",)), "root": SeenRole(1, ("r",))}, "2026-11-26T12:00:00Z")
    home.keep_seen(Seen({"targets": SeenRole(1, ("b",))}))
    assert home.seen().roles["targets"] == SeenRole(1, ("b",)), "with other keys a role may begin anew"


@pytest.mark.parametrize(
    ("role", "keys", "threshold", "version"),
    [
        ("targets", ("a", "b", "c"), 2, 7),
        ("targets", ("a", "b", "d"), 2, 7),
        ("targets", ("a", "d", "e"), 2, 0),
        ("root", ("x",), 1, 3),
        ("snapshot", ("a",), 1, 0),
    ],
)
def test_a_role_begins_anew_when_its_old_keys_could_not_sign_any_more(
    role: str, keys: tuple[str, ...], threshold: int, version: int
) -> None:
    seen = Seen({"targets": SeenRole(7, ("a", "b", "c")), "root": SeenRole(3, ("r",))})
    assert seen.version(role, keys, threshold) == version
