"""Values of command lines: each function is an ``argparse`` type that says what it takes."""

from __future__ import annotations

import argparse
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL_HELP = (
    "package, .onnx or .xml file, or a directory of MLflow, Triton, OVMS, Hugging Face, Ultralytics (OpenVINO) "
    "or PaddleOCR"
)
PORT_MAX = 65535
DAY_S = 86_400.0
SECONDS_MAX = 366 * DAY_S
SIDE_MIN, SIDE_MAX, PIXELS_MAX = 16, 16_384, 40_000_000  # what app.plan and camera.simulated take
_WHOLE = re.compile(r"[0-9]{1,9}")
_TOPIC = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_SIZE = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}")


def seconds(text: str) -> float:
    """Read a duration.

    Raises:
        argparse.ArgumentTypeError: it is no number above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {text!r}")
    return value


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a reader of numbers from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected a number from {low:g} to {high:g}, found {text!r}")
        return value

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if _WHOLE.fullmatch(text) is None or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, found {text!r}")
        return int(text)

    return read


def port(text: str) -> int:
    """Read a TCP port.

    Raises:
        argparse.ArgumentTypeError: it is no whole number of 1 to 65535.
    """
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to {PORT_MAX}, found {text!r}")
    return int(text)


def topic_root(text: str) -> str:
    """Read the first levels of a topic.

    Raises:
        argparse.ArgumentTypeError: it has wildcards or other characters that no level has.
    """
    if _TOPIC.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"expected levels of letters, digits, '_', '.' and '-', found {text!r}")
    return text


def size(text: str) -> str:
    """Read the size of a picture.

    Raises:
        argparse.ArgumentTypeError: it is not of the form WIDTHxHEIGHT, or no camera process takes such pictures.
    """
    sides = [int(side) for side in text.split("x")] if _SIZE.fullmatch(text) else [0]
    if min(sides) < SIDE_MIN or max(sides) > SIDE_MAX or math.prod(sides) > PIXELS_MAX:
        limits = f"each side from {SIDE_MIN} to {SIDE_MAX}, {PIXELS_MAX} pixels in all"
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT in pixels ({limits}), found {text!r}")
    return text
