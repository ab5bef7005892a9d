from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.config.files import missing_files

if TYPE_CHECKING:
    from pathlib import Path

Deny = Callable[[str], None]
INSPECTION = {"camera": "top", "model": "m", "recipe": {"not_ok": ({"label": "scratch"},)}}


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Deny:
    """Makes the kernel refuse every path that holds a word, whoever runs the tests."""

    def refuse(part: str) -> None:
        looking, opening = os.stat, os.open

        def check(path: Any) -> None:
            if not isinstance(path, int) and part in os.fspath(path):
                raise PermissionError(13, "Permission denied", os.fspath(path))

        def look(path: Any, **more: Any) -> os.stat_result:
            check(path)
            return looking(path, **more)

        def open_(path: Any, *more: Any, **named: Any) -> int:
            check(path)
            return opening(path, *more, **named)

        monkeypatch.setattr(os, "stat", look)
        monkeypatch.setattr(os, "open", open_)

    return refuse


def package(box: Path, manifest: bytes) -> dict[str, object]:
    (box / "package").mkdir()
    (box / "package" / "edge-model.json").write_bytes(manifest)
    return {"models": {"m": {"path": "package"}}, "inspections": {"top": INSPECTION}}


def told(box: Path, data: dict[str, object]) -> list[tuple[str, str]]:
    return [(mistake.where, mistake.code) for mistake in missing_files(data, box)]


@pytest.mark.parametrize("path", ["x" * 300, "x" * 300 + "/state", "circle/state"])
def test_a_state_directory_that_cannot_be_looked_at_is_a_mistake(tmp_path: Path, path: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert told(tmp_path, {"state_dir": path}) == [("state_dir", "config.unreadable")]


def test_a_state_directory_behind_a_closed_door_is_a_mistake(tmp_path: Path, deny: Deny) -> None:
    deny("private/state")
    (mistake,) = missing_files({"state_dir": "private/state"}, tmp_path)
    assert mistake.message == "cannot look at private/state: Permission denied"
    assert mistake.help


def test_a_state_directory_that_is_still_to_be_made_is_none(tmp_path: Path) -> None:
    assert told(tmp_path, {"state_dir": "a/b/c"}) == []


def test_a_package_whose_manifest_may_not_be_read_is_a_mistake_and_not_a_package_without_labels(
    tmp_path: Path, deny: Deny
) -> None:
    data = package(tmp_path, json.dumps({"labels": ["dent"]}).encode())
    deny("edge-model.json")
    (mistake,) = missing_files(data, tmp_path)
    assert (mistake.where, mistake.code) == ("models.m.path", "config.unreadable")
    assert mistake.message.endswith("edge-model.json: Permission denied")


def test_a_package_whose_directory_may_not_be_searched_is_a_mistake(tmp_path: Path, deny: Deny) -> None:
    data = package(tmp_path, b"{}")
    deny("package/")
    assert told(tmp_path, data) == [("models.m.path", "config.unreadable")]


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_no_manifest_is_a_mistake(tmp_path: Path, manifest: bytes) -> None:
    (mistake,) = missing_files(package(tmp_path, manifest), tmp_path)
    assert (mistake.where, mistake.code) == ("models.m.path", "config.no_model")
    assert "package/edge-model.json is not a JSON object" in mistake.message


def test_a_manifest_that_is_too_large_is_a_mistake(tmp_path: Path) -> None:
    assert told(tmp_path, package(tmp_path, b" " * (5 << 20))) == [("models.m.path", "config.unreadable")]


def test_a_label_that_the_model_does_not_have_is_a_mistake(tmp_path: Path) -> None:
    data = package(tmp_path, json.dumps({"labels": ["scratches", 5]}).encode())
    (mistake,) = missing_files(data, tmp_path)
    assert mistake.help == 'did you mean "scratches"?'


@pytest.mark.timeout(5)
def test_pipes_are_refused_instead_of_waited_for(tmp_path: Path) -> None:
    data = package(tmp_path, b"")
    (tmp_path / "package" / "edge-model.json").unlink()
    (tmp_path / "ir.xml").touch()
    for name in ("package/edge-model.json", "ir.bin", "ca.pem"):
        os.mkfifo(tmp_path / name)
    data["models"] = {"m": {"path": "package"}, "ir": {"path": "ir.xml"}}
    data["mqtt"] = {"tls": {"ca_file": "ca.pem"}}
    assert told(tmp_path, data) == [
        ("models.m.path", "config.unreadable"),
        ("models.ir.path", "config.no_file"),
        ("mqtt.tls.ca_file", "config.no_file"),
    ]


def test_an_endless_path_is_not_repeated_whole(tmp_path: Path) -> None:
    path = "x/" * 400 + "m.onnx"
    (mistake,) = missing_files({"models": {"m": {"path": path}}}, tmp_path)
    assert path not in mistake.message + (mistake.help or "")


@pytest.mark.parametrize("inside", ["MLmodel", "3/model.onnx", "metadata.yaml"])
def test_a_model_directory_of_another_system_is_one(tmp_path: Path, inside: str) -> None:
    (tmp_path / "package" / inside).parent.mkdir(parents=True)
    (tmp_path / "package" / inside).write_bytes(b"")
    assert told(tmp_path, {"models": {"m": {"path": "package"}}, "inspections": {"top": INSPECTION}}) == []


@pytest.mark.parametrize("files", [("det.onnx", "rec.onnx"), ("det/model.onnx", "cls/model.onnx", "rec/model.onnx")])
def test_a_directory_of_models_that_read_text_is_one(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / "ocr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ocr" / name).write_bytes(b"")
    assert told(tmp_path, {"models": {"m": {"path": "ocr"}}}) == []
    (tmp_path / "ocr" / files[0]).unlink()
    (tmp_path / "ocr" / files[1]).unlink()
    assert told(tmp_path, {"models": {"m": {"path": "ocr"}}}) == [("models.m.path", "config.no_model")]


def test_a_directory_that_may_not_be_listed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package").mkdir()

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    assert told(tmp_path, {"models": {"m": {"path": "package"}}}) == [("models.m.path", "config.no_model")]
