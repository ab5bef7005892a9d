"""A registry that has lost or changed what was signed gets it back from the publisher's directory."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.registry.publisher.restore import restore
from tests.publishers import MODEL, Publisher, foreign_box, founded, manifest
from tests.publishers import stranger as a_stranger

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    one = founded(tmp_path)
    one.release(1)
    return one


def test_a_registry_that_is_gone_is_put_back(publisher: Publisher, tmp_path: Path) -> None:
    box = foreign_box(publisher, tmp_path / "box")
    box.look()
    shutil.rmtree(publisher.directory)
    outcome, lost = restore(publisher.desk())
    assert (outcome.versions["targets"], lost) == (2, [f"{MODEL} 1"])
    publisher.desk().registry.tag(MODEL, "1", manifest(1))
    publisher.release(2)
    assert box.read(f"releases/{MODEL}/2.json") == manifest(2)
    assert box.read(f"releases/{MODEL}/1.json") == manifest(1)


def test_an_old_state_that_somebody_put_there_is_replaced(publisher: Publisher) -> None:
    old = dict(publisher.state().files)
    publisher.release(2)
    registry = publisher.desk().registry
    listing = registry.listing()
    assert listing is not None
    registry.publish(old, listing.token)
    with pytest.raises(DataError, match="an old copy is back"):
        publisher.state()
    restore(publisher.desk())
    assert set(publisher.state().releases()) == {(MODEL, 1), (MODEL, 2)}


def test_a_registry_that_is_as_it_should_be_is_left_alone(publisher: Publisher) -> None:
    with pytest.raises(DataError, match="is as it should be"):
        restore(publisher.desk())


def test_a_publisher_who_published_nothing_has_nothing_to_put_back(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no copy of this registry"):
        restore(publisher.colleague(tmp_path / "other").desk())


def test_a_copy_that_is_broken_or_forged_is_not_put_back(publisher: Publisher, tmp_path: Path) -> None:
    shutil.rmtree(publisher.directory)
    copy = publisher.home.path / "last.json"
    copy.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        restore(publisher.desk())
    stranger = a_stranger(tmp_path / "stranger")
    shutil.copy(stranger.home.path / "last.json", copy)
    with pytest.raises(DataError, match="not signed by those who may"):
        restore(publisher.desk())
    assert not publisher.directory.exists()
