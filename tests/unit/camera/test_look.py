"""A short look through a source."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from edge_runtime.camera import look as module
from edge_runtime.camera.arguments import ReaderArgs, make_source
from edge_runtime.camera.look import View, look
from edge_runtime.core.errors import DataError, UnavailableError

IMAGES = Path(__file__).parents[2] / "assets" / "images"
LIMIT = 1_000_000


def watch(text: str, seconds: float) -> View:
    return look(make_source(ReaderArgs("probe", text)), seconds, LIMIT, threading.Event().wait)


def test_one_picture_is_taken_and_copied() -> None:
    view = watch("sim:bars?size=320x240", 0)
    assert (view.frames, view.fps) == (1, None)
    assert view.image is not None
    assert view.image.shape == (240, 320, 3)
    assert view.image.flags.owndata


def test_a_grey_picture_stays_grey(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((IMAGES / "good-grey.png").read_bytes())
    view = watch(f"images:{tmp_path}", 5)
    assert view.image is not None
    assert view.image.shape == (32, 48)


def test_the_rate_of_a_source_is_measured() -> None:
    view = watch("sim:bars?size=320x240&fps=50", 0.5)
    assert view.fps == pytest.approx(50, rel=0.5)
    assert 0 <= view.open_s <= view.first_s


def test_unusable_pictures_are_counted(tmp_path: Path) -> None:
    for name in ("good-grey.png", "bad-cut.jpg"):
        (tmp_path / name).write_bytes((IMAGES / name).read_bytes())
    view = watch(f"images:{tmp_path}", 5)
    assert (view.frames, view.bad) == (1, 1)
    assert "cut off" in str(view.bad_reason)


def test_a_source_without_one_usable_picture_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((IMAGES / "bad-cut.jpg").read_bytes())
    with pytest.raises(DataError, match="none of its 1 pictures can be used: the jpeg file is cut off"):
        watch(f"images:{tmp_path}", 1)


def test_a_source_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PICTURE_S", 0.3)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no picture within 0.3 s"):
        watch("sim:bars?size=320x240&script=stall@1:60s", 1)
    assert time.monotonic() - started < 10


def test_a_source_that_cannot_be_opened_says_why() -> None:
    with pytest.raises(UnavailableError, match="there is no file"):
        watch("file:/missing.mp4", 1)
