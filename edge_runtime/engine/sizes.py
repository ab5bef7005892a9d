"""Input sizes that follow from the picture, for models which leave theirs open and read better at the right one.

Each size is compiled of its own: engines that meet changing shapes keep growing (openvino#20633, openvino#31188). So
there are few: of lines `LINE_WIDTHS_PX`, all made at load; of whole pictures one per frame size (a fixed camera has
one), made when it is first seen and only on a CPU, where that takes about as long as two frames.
"""

from __future__ import annotations

from typing import Final

TEXT_SIDE_MIN_PX: Final = 736
TEXT_SIDE_MAX_PX: Final = 2000
TEXT_ASPECT_MAX: Final = 8
"""The three as in RapidOCR 3.10 (`limit_side_len`, `max_side_len`, `width_height_ratio` of its config.yaml)."""
LINE_WIDTHS_PX: Final = (320, 480, 800, 1280)
"""Of inputs for a line of text, 60 to 70 MB each; 320 is PaddleOCR's narrowest, what is longer than the widest is
squeezed."""
FIRST: Final = {"text": (736, 1312), "line": (48, LINE_WIDTHS_PX[0])}
"""Height, width in pixels of what is compiled first, by kind of fit: that of a picture of 1280 x 720, and of a word."""
CPU_ONLY: Final = ("text",)
KEPT_LIMIT: Final = {"text": 2, "line": len(LINE_WIDTHS_PX)}
"""Sizes that stay compiled at a time; the one that was not used for longest goes first."""
_STRIDE_PX = 32


def at_load(fit: str, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Return the sizes to compile before the first frame, of a model whose first size is ``size``."""
    return tuple((size[0], width) for width in LINE_WIDTHS_PX) if fit == "line" else (size,)


def fitting(fit: str, size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """Return height, width of the input for a ``frame`` of height, width, all in pixels."""
    if fit == "text":
        return text_size(*frame)
    if fit == "line":
        wanted = size[0] * frame[1] / frame[0]
        return size[0], next((one for one in LINE_WIDTHS_PX if one >= wanted), LINE_WIDTHS_PX[-1])
    return size


def text_size(height: int, width: int) -> tuple[int, int]:
    """Return height, width of a text detector's input: multiples of 32, the shorter side at least 736 pixels.

    Pictures with a side beyond 2000 pixels are made smaller first, as RapidOCR does. One that is more than eight times
    as long as wide has a shorter side below 736: its memory is bounded.
    """
    ratio = min(1.0, TEXT_SIDE_MAX_PX / max(height, width))
    if ratio < 1:
        height, width = _to_stride(int(height * ratio)), _to_stride(int(width * ratio))
    ratio = max(1.0, TEXT_SIDE_MIN_PX / min(height, width))
    ratio = min(ratio, TEXT_SIDE_MIN_PX * TEXT_ASPECT_MAX / max(height, width))
    return _to_stride(int(height * ratio)), _to_stride(int(width * ratio))


def _to_stride(side: int) -> int:
    return max(_STRIDE_PX, round(side / _STRIDE_PX) * _STRIDE_PX)
