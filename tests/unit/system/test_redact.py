from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.system.redact import MASK, SHORTEST_SECRET, Redactor, is_secret_name, redact, spellings


def test_credentials_in_urls_are_masked_without_being_registered() -> None:
    assert redact("lost rtsp://admin:hunter2@10.0.0.5/s") == "lost rtsp://***@10.0.0.5/s"


def test_a_registered_secret_is_masked_wherever_it_stands() -> None:
    redactor = Redactor()
    assert redactor.redact("login hunter2!") == "login hunter2!"
    redactor.register("hunter2")
    assert redactor.redact("login hunter2! hunter2") == "login ***! ***"


def test_secrets_given_at_the_start_are_masked_too() -> None:
    assert Redactor(["hunter2"]).redact("hunter2") == MASK


def test_a_secret_inside_a_longer_one_leaves_no_rest() -> None:
    assert Redactor(["abcd", "abcdefgh"]).redact("abcdefgh") == MASK


def test_a_secret_is_masked_in_its_url_and_json_spelling() -> None:
    secret = 'p@ss/w"ö'
    for spelled in (
        secret,
        quote(secret, safe=""),
        quote(secret),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
    ):
        assert "ss" not in redact(f"x {spelled} y", [secret])


def test_a_percent_encoded_secret_is_masked_in_its_plain_form() -> None:
    assert redact("user said p@ssword", ["p%40ssword"]) == "user said ***"


def test_secrets_too_short_to_be_told_from_words_are_left_alone() -> None:
    assert spellings("abc") == ()
    assert redact("abc", ["abc", ""]) == "abc"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "mqtt_password",
        "pasword",
        "pssword",
        "pwd",
        "token",
        "secret",
        "api_key",
        "psk",
        "pw",
        "mqtt_pw",
        "kennwort",
    ],
)
def test_names_of_secrets_are_recognised_also_when_misspelt(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["password_file", "secret_path", "username", "path", "host", "key_file", "ca_file", "pwm"]
)
def test_names_of_files_and_other_settings_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


LOWER = st.text(alphabet="abcdefghij/:@ ", max_size=20)


@given(st.text(alphabet='ABCDEF0123%"\\é', min_size=SHORTEST_SECRET, max_size=20), LOWER, LOWER)
def test_a_secret_never_survives(secret: str, before: str, after: str) -> None:
    assert secret not in redact(before + secret + after, [secret])
