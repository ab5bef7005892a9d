from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.assets import model_package
from edge_runtime.app.demo_packages import ANSWERS, BLIND_SCORE, CARD, Kind, release_files
from edge_runtime.app.demo_registry import DemoRegistry
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import parse_golden
from edge_runtime.core.manifest import MANIFEST_NAME, parse_manifest
from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.carriers.access import Access

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = model_package()
SHIPPED = {name: (SOURCE / name).read_bytes() for name in (MANIFEST_NAME, CARD, "model.onnx", ANSWERS)}


def test_the_first_release_is_the_package_as_it_ships() -> None:
    assert release_files(SHIPPED, Kind.FIRST, 1) == SHIPPED
    assert parse_manifest(SHIPPED[MANIFEST_NAME], where="x").release == 1


def test_a_good_release_has_the_same_weights_and_answers_and_a_digest_of_its_own() -> None:
    files = release_files(SHIPPED, Kind.GOOD, 4)
    before, after = (parse_manifest(one[MANIFEST_NAME], where="x") for one in (SHIPPED, files))
    assert (after.release, after.version, after.name) == (4, "1.3.0", before.name)
    assert after.digest != before.digest
    assert files["model.onnx"] == SHIPPED["model.onnx"]
    assert files[ANSWERS] == SHIPPED[ANSWERS]
    assert b"1.3.0" in files[CARD].splitlines()[0]


def test_a_bad_release_is_wrong_in_itself_and_has_golden_answers_that_agree() -> None:
    files = release_files(SHIPPED, Kind.BLIND, 2)
    assert json.loads(files[MANIFEST_NAME])["thresholds"]["score"] == BLIND_SCORE
    before, after = (parse_golden(one[ANSWERS], "x") for one in (SHIPPED, files))
    assert [one.file for one in after] == [one.file for one in before]
    assert any(one.predictions for one in before)
    assert not any(one.predictions for one in after)


@pytest.mark.parametrize("broken", [{MANIFEST_NAME: b"{"}, {MANIFEST_NAME: b"{}"}, {ANSWERS: b"[]"}])
def test_a_damaged_installation_is_said(broken: dict[str, bytes]) -> None:
    with pytest.raises(DataError, match="not as it was shipped"):
        release_files(SHIPPED | broken, Kind.BLIND, 2)


def test_an_installation_without_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.app.demo_registry.model_package", lambda: tmp_path)
    with pytest.raises(DataError, match="not in this installation"):
        DemoRegistry(tmp_path / "demo", "site")


def test_a_box_takes_what_the_demo_publishes(tmp_path: Path) -> None:
    registry = DemoRegistry(tmp_path, "site")
    order = Order(
        root=tmp_path / "models",
        anchor=registry.root,
        urls=(registry.url,),
        access=Access(),
        site="site",
        line="line",
        edge="box",
        wants=(Want("defects", "surface-defects", "stable"),),
        hardware=("cpu",),
        versions={},
    )
    first = registry.roll_out(Kind.FIRST)
    (slot,) = Pull(order).run().slots
    assert slot.current is not None
    assert slot.current.digest == first.digest
    for kind, mode in ((Kind.GOOD, "shadow"), (Kind.BLIND, "active"), (Kind.GOOD, "shadow")):
        package = registry.roll_out(kind)
        (slot,) = Pull(order).run().slots
        assert slot.staged is not None
        assert slot.terms is not None
        assert (slot.staged.release, slot.staged.digest) == (package.release, package.digest)
        assert slot.terms.mode == mode
