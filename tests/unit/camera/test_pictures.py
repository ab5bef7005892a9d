"""Decoding of picture files and the sources made of them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.camera.pictures import PictureSource, decode, list_pictures, read_file, store
from edge_runtime.camera.source import Arrival, Nothing, Shape
from edge_runtime.core.errors import DataError, PermissionDeniedError, UnavailableError

ASSETS = Path(__file__).parents[2] / "assets"
IMAGES = ASSETS / "images"
LIMIT = 40_000_000
PLAIN = [30, 120, 210]
REFUSALS = {
    "bad-animation.gif": "GIF is not accepted",
    "bad-cut-data-first.tiff": "tiff data is damaged",
    "bad-cut-header.jpg": "header is cut off",
    "bad-cut-header.png": "header is cut off",
    "bad-cut.bmp": "it has 900 of",
    "bad-cut.jpg": "end-of-image marker is missing",
    "bad-cut.png": "IEND chunk is missing",
    "bad-cut.tiff": "header is cut off",
    "bad-cut.webp": "it has 700 of",
    "bad-empty.jpg": "the file is empty",
    "bad-flipped-bit.png": "png data is damaged",
    "bad-float.tiff": "float32",
    "bad-no-frame-header.jpg": "no frame header",
    "bad-no-pixels.png": "0 x 0 pixels",
    "bad-text.jpg": "not a picture",
    "bad-too-many-pixels.png": "30000 x 30000 pixels are more than the 40000000 allowed",
}


def load(name: str, limit: int = LIMIT) -> np.ndarray:
    return decode((IMAGES / name).read_bytes(), limit)


def test_the_assets_are_what_the_script_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_images", ASSETS / "make_images.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.main(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in IMAGES.iterdir())
    assert sorted(REFUSALS) == sorted(p.name for p in IMAGES.glob("bad-*"))


@pytest.mark.parametrize(
    "name",
    [
        "colour.jpg",
        "colour.png",
        "colour.bmp",
        "colour.tiff",
        "colour.webp",
        "lossy.webp",
        "16-bit-colour.png",
        "alpha.png",
    ],
)
def test_a_colour_picture_comes_as_bgr_of_8_bits(name: str) -> None:
    image = load(f"good-{name}")
    assert image.shape == (32, 48, 3)
    assert image.dtype == np.uint8
    assert image[5, 5].tolist() == pytest.approx(PLAIN, abs=3)


@pytest.mark.parametrize("name", ["grey.jpg", "grey.png", "16-bit-grey.png", "16-bit-grey.tiff"])
def test_a_grey_picture_keeps_its_one_channel(name: str) -> None:
    image = load(f"good-{name}")
    assert image.shape == (32, 48)
    assert image[5, 5] == pytest.approx(120, abs=3)


def test_cmyk_becomes_bgr() -> None:
    assert load("good-cmyk.jpg")[4, 4].tolist() == pytest.approx([0, 0, 255], abs=3)


def test_the_rotation_that_exif_asks_for_is_applied() -> None:
    image = load("good-rotated.jpg")
    assert image.shape == (48, 32, 3)
    assert image[4, 16].mean() > 200  # the white left half is on top after a quarter turn clockwise
    assert image[44, 16].mean() < 50


def test_sizes_from_one_pixel_to_twenty_thousand_are_fine() -> None:
    assert load("good-one-pixel.png").shape == (1, 1, 3)
    assert load("good-wide.png").shape == (2, 20000)


@pytest.mark.parametrize(("name", "reason"), REFUSALS.items())
def test_a_bad_picture_is_refused_in_plain_words(name: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        load(name)
    assert caught.value.code == "camera.bad_picture"


def test_a_picture_bomb_is_refused_before_it_costs_anything() -> None:
    started = time.perf_counter()
    with pytest.raises(DataError):
        load("bad-too-many-pixels.png")
    assert time.perf_counter() - started < 0.1


def test_the_limit_of_pixels_is_the_callers() -> None:
    assert load("good-colour.png", 48 * 32).shape == (32, 48, 3)
    with pytest.raises(DataError, match="more than the 1535 allowed"):
        load("good-colour.png", 48 * 32 - 1)


def test_opencv_itself_refuses_a_bomb_too_when_we_load_it() -> None:
    program = (
        "import edge_runtime.camera.pictures, cv2, numpy, sys\n"
        "try: sys.exit(cv2.imdecode(numpy.fromfile(sys.argv[1], numpy.uint8), 1) is not None)\n"
        "except cv2.error: sys.exit(0)\n"
    )
    command = [sys.executable, "-c", program, str(IMAGES / "bad-too-many-pixels.png")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(command, timeout=50, check=False, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_picture_larger_than_the_slot_is_refused() -> None:
    image = load("good-colour.png")
    with pytest.raises(DataError, match="do not fit the 100 bytes of a slot"):
        store(image, np.zeros(100, np.uint8))


def test_a_stored_picture_fills_the_start_of_the_slot() -> None:
    image, slot = load("good-16-bit-grey.png"), np.zeros(5000, np.uint8)
    assert store(image, slot) == Shape(48, 32, 1)
    assert slot[: 48 * 32].tolist() == image.reshape(-1).tolist()
    assert not slot[48 * 32 :].any()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dir.jpg").mkdir()
    for name, reason in (
        ("pipe.jpg", "not a regular file"),
        ("dir.jpg", "cannot be read|regular"),
        ("no.jpg", "No such"),
    ):
        with pytest.raises(DataError, match=reason):
            read_file(tmp_path / name)


def test_a_file_beyond_the_limit_of_bytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(DataError, match="at most 268435456 are allowed"):
        read_file(path)


@pytest.fixture
def as_nobody() -> object:
    """Run a test without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("as_nobody")
def test_what_may_not_be_read_is_said_so() -> None:
    directory = Path(tempfile.gettempdir()) / f"edge-camera-{os.getpid()}"
    directory.mkdir(mode=0o700)
    try:
        path = directory / "secret.png"
        path.write_bytes((IMAGES / "good-colour.png").read_bytes() if os.access(IMAGES, os.R_OK) else b"x")
        path.chmod(0)
        with pytest.raises(DataError, match="Permission denied"):
            read_file(path)
        directory.chmod(0)
        with pytest.raises(PermissionDeniedError, match="may not be read by this user"):
            list_pictures(directory)
    finally:
        directory.chmod(0o700)
        path.unlink()
        directory.rmdir()


def test_a_directory_is_read_by_name_without_hidden_files_and_other_kinds(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt", "c.tiff"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in list_pictures(tmp_path)] == ["a.png", "b.JPG", "c.tiff"]


def test_a_missing_or_empty_directory_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file") as missing:
        list_pictures(tmp_path / "no")
    assert missing.value.code == "camera.missing"
    with pytest.raises(UnavailableError, match="holds no picture") as empty:
        list_pictures(tmp_path)
    assert empty.value.code == "camera.empty"


def test_a_directory_ends_or_starts_again_and_sees_new_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes((IMAGES / "good-colour.png").read_bytes())
    once = PictureSource(directory=tmp_path)
    once.open()
    assert once.grab() == Arrival(origin="a.png")
    assert once.grab() is Nothing.LEFT
    again = PictureSource(directory=tmp_path, loop=True)
    again.open()
    again.grab()
    again.retrieve(np.zeros(10_000, np.uint8))
    (tmp_path / "b.png").write_bytes(b"")
    assert [again.grab() for _ in range(2)] == [Arrival(origin="a.png"), Arrival(origin="b.png")]
    again.close()


def test_given_files_keep_their_order_and_are_named_as_given() -> None:
    names = [IMAGES / "good-grey.png", IMAGES / "good-colour.png"]
    source = PictureSource(files=names)
    source.open()
    slot = np.zeros(10_000, np.uint8)
    assert source.grab() == Arrival(origin=str(names[0]))
    assert source.retrieve(slot) == Shape(48, 32, 1)
    assert source.grab() == Arrival(origin=str(names[1]))
    assert source.retrieve(slot) == Shape(48, 32, 3)
    assert source.grab() is Nothing.LEFT


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).write_bytes((IMAGES / "good-colour.png").read_bytes())
    return path


def origins(source: PictureSource, count: int) -> list[str | None]:
    source.open()
    found, slot = [], np.zeros(10_000, np.uint8)
    while len(found) < count and isinstance(arrival := source.grab(), Arrival):
        found.append(arrival.origin)
        source.retrieve(slot)
    return found


def test_a_file_name_that_is_no_utf8_is_shown_escaped(tmp_path: Path) -> None:
    folder(tmp_path, os.fsdecode(b"Pr\xfcfung.png"))
    assert origins(PictureSource(directory=tmp_path), 2) == ["Pr\\xfcfung.png"]
    given = PictureSource(files=list_pictures(tmp_path))
    assert origins(given, 2) == [f"{tmp_path}/Pr\\xfcfung.png"]


def test_pictures_that_earlier_processes_took_are_not_taken_again(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png", "c.png")
    assert origins(PictureSource(directory=tmp_path, begun=lambda: 2), 9) == ["c.png"]
    assert origins(PictureSource(directory=tmp_path, begun=lambda: 3), 9) == []
    assert origins(PictureSource(files=list_pictures(tmp_path), begun=lambda: 2), 9) == [str(tmp_path / "c.png")]
    looping = PictureSource(directory=tmp_path, loop=True, begun=lambda: 7)
    assert origins(looping, 3) == ["b.png", "c.png", "a.png"]
    assert origins(looping, 2) == ["a.png", "b.png"]  # opened again by the same process, which did not die of one


def test_a_round_without_a_usable_picture_is_told_instead_of_run_again(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    source = PictureSource(directory=tmp_path, loop=True)
    for _ in range(2):
        source.open()
        source.grab()
        with pytest.raises(DataError):
            source.retrieve(np.zeros(10, np.uint8))
        with pytest.raises(UnavailableError, match="none of the 1 pictures") as caught:
            source.grab()
        assert caught.value.code == "camera.no_picture"
