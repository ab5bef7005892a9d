"""Arguments of the camera child, and the source they lead to."""

from __future__ import annotations

import pytest

from edge_runtime.camera.arguments import ReaderArgs, make_source
from edge_runtime.camera.mjpeg import MjpegSource
from edge_runtime.camera.opencv import DeviceSource, FileSource, RtspSource
from edge_runtime.camera.pictures import PictureSource
from edge_runtime.camera.simulated import SimulatedSource
from edge_runtime.core.errors import ConfigError

ALL = {"camera": "top", "source": "sim:bars", "capture": "every", "fps": 5, "stall_s": 3, "max_pixels": 1000}


def test_all_arguments_are_taken() -> None:
    expected = ReaderArgs("top", "sim:bars", every=True, fps=5.0, stall_s=3.0, max_pixels=1000)
    assert ReaderArgs.parse(ALL) == expected


def test_what_is_left_out_has_a_default() -> None:
    args = ReaderArgs.parse({"camera": "top", "files": ["a.png"]})
    assert args == ReaderArgs("top", None, files=("a.png",), every=False, fps=None, stall_s=5.0, max_pixels=40_000_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": None},
        {"fps": 0},
        {"fps": "5"},
        {"stall_s": -1},
        {"stall_s": None},
        {"max_pixels": 1.5},
        {"capture": "some"},
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="'top' are not usable"):
        ReaderArgs.parse(ALL | wrong)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("rtsp://10.0.0.5/cam", RtspSource),
        ("rtsps://10.0.0.5/cam", RtspSource),
        ("http://10.0.0.5/cam", MjpegSource),
        ("https://10.0.0.5/cam", MjpegSource),
        ("v4l2:/dev/video0", DeviceSource),
        ("file:clip.mp4", FileSource),
        ("images:pictures/?loop=1", PictureSource),
        ("sim:conveyor", SimulatedSource),
    ],
)
def test_each_kind_of_source_has_its_reader(text: str, kind: type) -> None:
    source = make_source(ReaderArgs("top", text))
    assert isinstance(source, kind)
    source.close()


def test_explicit_files_are_pictures() -> None:
    assert isinstance(make_source(ReaderArgs("top", None, files=("a.png",))), PictureSource)


@pytest.mark.parametrize("text", ["ftp://x", "sim:nope", "sim:conveyor?script=burn@1"])
def test_a_source_that_does_not_exist_is_a_matter_of_configuration(text: str) -> None:
    with pytest.raises(ConfigError):
        make_source(ReaderArgs("top", text))
