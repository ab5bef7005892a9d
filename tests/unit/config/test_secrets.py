from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.config.secrets import LIMIT_SECRET_BYTES, SecretError, SecretStore, read_secret


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("credentials", "run", "etc")}
    for directory in found.values():
        directory.mkdir()
    return found


def store(places: dict[str, Path]) -> SecretStore:
    environ = {"CREDENTIALS_DIRECTORY": str(places["credentials"])}
    return SecretStore(environ, places["etc"], run_secrets=places["run"])


def secrets_file(places: dict[str, Path], text: str, mode: int = 0o600) -> Path:
    path = places["etc"] / "secrets.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_systemd_wins_over_the_container_engine_and_both_over_the_file(places: dict[str, Path]) -> None:
    secrets_file(places, "mqtt: from-file\n")
    assert store(places).get("mqtt") == "from-file"
    (places["run"] / "mqtt").write_text("from-run\n")
    assert store(places).get("mqtt") == "from-run"
    (places["credentials"] / "mqtt").write_text("from-systemd\r\n")
    assert store(places).get("mqtt") == "from-systemd"


def test_the_file_keeps_numbers_as_they_are_written(places: dict[str, Path]) -> None:
    secrets_file(places, "pin: 0042\nport: 1.10\nquoted: ' x '\n")
    found = store(places)
    assert [found.get(name) for name in ("pin", "port", "quoted")] == ["0042", "1.10", " x "]


def test_a_file_that_others_can_read_is_refused(places: dict[str, Path]) -> None:
    path = secrets_file(places, "mqtt: hunter2\n", 0o640)
    with pytest.raises(SecretError) as caught:
        store(places).get("mqtt")
    assert "mode 0640" in caught.value.message
    assert caught.value.help == f"chmod 600 {path}"


def test_a_file_of_somebody_else_is_refused(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_file(places, "mqtt: hunter2\n")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        assert store(places).get("mqtt") == "hunter2"  # root's file may be read by anyone it lets
    else:
        with pytest.raises(SecretError, match="another user"):
            store(places).get("mqtt")


def test_a_file_of_a_stranger_is_refused(places: dict[str, Path]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(secrets_file(places, "mqtt: hunter2\n"), 12345, 12345)
    with pytest.raises(SecretError, match="uid 12345"):
        store(places).get("mqtt")


@pytest.mark.parametrize("name", ["", ".", "..", "../etc/passwd", "a/b", ".hidden", "a b", "x" * 200])
def test_a_name_cannot_leave_the_directories(places: dict[str, Path], name: str) -> None:
    with pytest.raises(SecretError, match="made of letters"):
        store(places).get(name)


def test_a_missing_secret_says_where_it_was_looked_for(places: dict[str, Path]) -> None:
    with pytest.raises(SecretError) as caught:
        store(places).get("nope")
    for directory in places.values():
        assert str(directory) in caught.value.help


@pytest.mark.parametrize("text", ["- a\n", "mqtt: [hunter2]\n", "mqtt: !secret other\n", "mqtt: ''\n", "a: b: c\n", ""])
def test_a_broken_secrets_file_is_named_but_never_quoted(places: dict[str, Path], text: str) -> None:
    secrets_file(places, text)
    with pytest.raises(SecretError) as caught:
        store(places).get("mqtt")
    assert "secrets.yaml" in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.help


def test_a_secrets_file_that_is_no_text_or_no_file_is_refused(places: dict[str, Path]) -> None:
    path = secrets_file(places, "")
    path.write_bytes(b"mqtt: \xff\n")
    with pytest.raises(SecretError, match="UTF-8"):
        store(places).get("mqtt")
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(SecretError, match="cannot read"):
        store(places).get("mqtt")


def test_a_directory_that_cannot_be_looked_into_is_reported(places: dict[str, Path]) -> None:
    loop = places["etc"] / "secrets.yaml"
    loop.symlink_to(loop)
    with pytest.raises(SecretError, match="cannot read"):
        store(places).get("mqtt")


def test_without_systemd_two_places_are_left(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as caught:
        SecretStore({}, tmp_path, run_secrets=tmp_path / "run").get("x")
    assert caught.value.help == f"looked in {tmp_path / 'run'}, {tmp_path / 'secrets.yaml'}"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "holds no secret"),
        (b"\n", "holds no secret"),
        (b"a\0b", "holds no secret"),
        (b"\xff", "UTF-8"),
        (b"x" * (LIMIT_SECRET_BYTES + 1), "larger than 64 KiB"),
    ],
)
def test_a_file_without_a_usable_secret_is_refused(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(raw)
    with pytest.raises(SecretError, match=words):
        read_secret(path)


def test_only_the_last_line_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b" a\nb \n\n")
    assert read_secret(path) == " a\nb \n"


@pytest.mark.parametrize("name", ["nowhere", "nul\0byte"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError, match="cannot read"):
        read_secret(Path(f"{tmp_path}/{name}"))


def test_a_credential_that_may_not_be_looked_at_is_reported_and_no_other_taken_in_its_place(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets_file(places, "mqtt: from-file\n")
    looking = os.stat

    def denied(path: str | Path, **more: Any) -> os.stat_result:
        if "credentials" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return looking(path, **more)

    monkeypatch.setattr(os, "stat", denied)
    with pytest.raises(SecretError, match=r"credentials/mqtt: Permission denied"):
        store(places).get("mqtt")


def test_a_directory_of_the_name_is_not_the_secret(places: dict[str, Path]) -> None:
    (places["run"] / "mqtt").mkdir()
    secrets_file(places, "mqtt: from-file\n")
    assert store(places).get("mqtt") == "from-file"


@pytest.mark.timeout(5)
@pytest.mark.parametrize("place", ["credentials/mqtt", "run/mqtt", "etc/secrets.yaml"])
def test_a_pipe_is_refused_instead_of_waited_for(places: dict[str, Path], place: str) -> None:
    directory, name = place.split("/")
    os.mkfifo(places[directory] / name, 0o600)
    with pytest.raises(SecretError, match="not a file"):
        store(places).get("mqtt")


def test_a_directory_in_the_place_of_the_file_is_said_to_be_none(places: dict[str, Path]) -> None:
    (places["etc"] / "secrets.yaml").mkdir(mode=0o755)
    with pytest.raises(SecretError, match="not a file"):
        store(places).get("mqtt")
