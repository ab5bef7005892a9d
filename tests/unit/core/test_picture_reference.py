"""core.picture_reference: what is believed of a reference, and what is not."""

from __future__ import annotations

import base64
import json
import math

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.picture import PictureReference
from edge_runtime.core.picture_reference import PNG, PNG_BYTES_MAX, parse_reference, reference_fields

REFERENCE = PictureReference(7, 640, 480, 40, 90.5, 0.05, 0.6, 0.2, 0.9, PNG + b"\0thumb", PNG + b"steady")


@pytest.mark.parametrize("missing", [{}, {"sharpness_low": None}, {"likeness_low": None}])
def test_what_is_written_is_read_again(missing: dict[str, None]) -> None:
    fields = json.loads(json.dumps(reference_fields(REFERENCE) | missing))
    found = parse_reference(fields)
    assert reference_fields(found) == fields
    assert found.thumbnail == REFERENCE.thumbnail


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "edge.picture-reference/2"),
        ("made_utc_ns", -1),
        ("made_utc_ns", 1 << 63),
        ("width", 0),
        ("width", True),
        ("height", 1.5),
        ("looks", None),
        ("brightness_low", 255.1),
        ("brightness_low", math.nan),
        ("white_high", -0.1),
        ("white_high", True),
        ("sharpness_low", "0.5"),
        ("detail_low", None),
        ("likeness_low", 1.1),
        ("thumbnail", None),
        ("thumbnail", "no base64"),
        ("thumbnail", "\u00e4"),
        ("thumbnail", base64.b64encode(b"GIF89a").decode()),
        ("steady", base64.b64encode(PNG + bytes(PNG_BYTES_MAX)).decode()),
    ],
)
def test_what_does_not_fit_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(DataError, match=key) as caught:
        parse_reference(reference_fields(REFERENCE) | {key: value})
    assert caught.value.code == "picture.reference"
    assert "cameras reference" in (caught.value.help or "")
