"""Values of command lines: each function is an ``argparse`` type that says what it takes."""

from __future__ import annotations

import argparse
import math
import re

PORT_MAX = 65535
SECONDS_MAX = 366 * 86_400.0
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
        argparse.ArgumentTypeError: it is not of the form WIDTHxHEIGHT.
    """
    if _SIZE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT in pixels, found {text!r}")
    return text
