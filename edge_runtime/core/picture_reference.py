"""A reference of pictures as JSON fields: between a camera process and main, and on the disk. Pure.

It comes from a process that decodes a stranger's bytes, or from a disk, so nothing in it is believed unchecked.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.picture import GREY_MAX, SHARPNESS_MAX, PictureReference

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA: Final = "edge.picture-reference/1"
PNG_BYTES_MAX: Final = 48 << 10
"""Of one of its two pictures, which have at most ``camera.copies.SIDE_PX`` pixels a side."""
REFERENCE_BYTES_MAX: Final = 4 * PNG_BYTES_MAX
"""Of the whole, as JSON."""
PNG: Final = b"\x89PNG\r\n\x1a\n"
_WHOLE_MAX: Final = (1 << 63) - 1


def reference_fields(reference: PictureReference) -> dict[str, object]:
    """Return what ``parse_reference`` reads."""
    return {
        "schema": SCHEMA,
        "made_utc_ns": reference.made_utc_ns,
        "width": reference.width,
        "height": reference.height,
        "looks": reference.looks,
        "brightness_low": reference.brightness_low,
        "white_high": reference.white_high,
        "sharpness_low": reference.sharpness_low,
        "detail_low": reference.detail_low,
        "likeness_low": reference.likeness_low,
        "thumbnail": base64.b64encode(reference.thumbnail).decode(),
        "steady": base64.b64encode(reference.steady).decode(),
    }


def parse_reference(fields: Mapping[str, object]) -> PictureReference:
    """Return the reference that ``fields`` describe; fields of other names are left alone.

    Raises:
        DataError: code ``picture.reference``: one is missing, of the wrong type or out of range.
    """
    if fields.get("schema") != SCHEMA:
        raise _refuse("schema", SCHEMA)
    sharpness, likeness = fields.get("sharpness_low"), fields.get("likeness_low")
    return PictureReference(
        made_utc_ns=_whole(fields, "made_utc_ns"),
        width=_whole(fields, "width", least=1),
        height=_whole(fields, "height", least=1),
        looks=_whole(fields, "looks", least=1),
        brightness_low=_number(fields, "brightness_low", GREY_MAX),
        white_high=_number(fields, "white_high", 1.0),
        sharpness_low=None if sharpness is None else _number(fields, "sharpness_low", SHARPNESS_MAX),
        detail_low=_number(fields, "detail_low", 1.0),
        likeness_low=None if likeness is None else _number(fields, "likeness_low", 1.0),
        thumbnail=_png(fields, "thumbnail"),
        steady=_png(fields, "steady"),
    )


def _whole(fields: Mapping[str, object], key: str, least: int = 0) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _WHOLE_MAX:
        raise _refuse(key, f"a whole number from {least} on")
    return value


def _number(fields: Mapping[str, object], key: str, top: float) -> float:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top or math.isnan(value):
        raise _refuse(key, f"a number from 0 to {top:g}")
    return float(value)


def _png(fields: Mapping[str, object], key: str) -> bytes:
    value = fields.get(key)
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):  # ValueError: letters that are no ASCII
        data = b""
    if not data.startswith(PNG) or len(data) > PNG_BYTES_MAX:
        raise _refuse(key, f"a PNG of at most {PNG_BYTES_MAX} bytes in base64")
    return data


def _refuse(key: str, expected: str) -> DataError:
    help_ = "make the reference again: edge-runtime cameras reference NAME"
    return DataError("picture.reference", f"{key} of a picture reference must be {expected}", help=help_)
