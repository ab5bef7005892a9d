from __future__ import annotations

import json

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import FRAMES_LIMIT, parse_golden, write_golden

ROW = {"label": "dent", "score": 0.5, "box": [1, 2, 3.5, 4]}
FRAME = {"file": "a.jpg", "predictions": [ROW]}


def raw(*frames: object, schema: object = "golden/1") -> bytes:
    return json.dumps({"schema": schema, "frames": list(frames)}).encode()


def test_what_is_written_is_read_back_in_the_order_of_names_and_without_more_digits_than_mean_anything() -> None:
    found: dict[str, list[object]] = {
        "b.png": [{"label": "dent", "score": 0.123456789, "box": [1.000001, 2, 3, 4], "text": "ä"}],
        "a.jpg": [],
    }
    content = write_golden(found, {"backend": "openvino"})
    first, second = parse_golden(content, "g")
    assert (first.file, first.predictions) == ("a.jpg", ())
    assert second.predictions == ({"label": "dent", "score": 0.1234568, "box": [1.000001, 2, 3, 4], "text": "ä"},)
    assert json.loads(content)["trusted"] == {"backend": "openvino"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (raw(FRAME, schema="golden/9"), "schema: expected 'golden/1', found 'golden/9'"),
        (raw(FRAME, schema=None), "schema: expected a text"),
        (raw(), "frames: expected 1 to 200, found 0"),
        (raw(*[FRAME] * (FRAMES_LIMIT + 1)), "found 201"),
        (raw({**FRAME, "file": "../a.jpg"}), "file: expected a text like"),
        (raw({**FRAME, "file": "a.exe"}), "file: expected a text like"),
        (raw({"file": "a.jpg"}), "predictions: expected an object, found null"),
        (raw({**FRAME, "predictions": [3]}), "predictions[0]: expected an object"),
        (raw({**FRAME, "predictions": [{"score": 1}]}), "label: expected a text"),
        (raw({**FRAME, "predictions": [{"label": "a"}]}), "score: expected a number from 0 to 1, found null"),
        (raw({**FRAME, "predictions": [{"label": "a", "score": 7}]}), "score: expected a number from 0 to 1"),
        (raw({**FRAME, "predictions": [{**ROW, "box": [1, 2, 3]}]}), "box: expected x, y, width and height"),
        (raw({**FRAME, "predictions": [{**ROW, "box": [1, 2, 3, True]}]}), "box: expected x, y, width and height"),
        (raw({**FRAME, "predictions": [{**ROW, "polygon": [[1, 2], [3, 4]]}]}), "polygon: expected a list of at least"),
        (raw({**FRAME, "predictions": [{**ROW, "polygon": None}]}), "polygon: expected a list of at least three x, y"),
        (raw({**FRAME, "predictions": [{**ROW, "keypoints": [[1, 2]]}]}), "keypoints: expected a list of x, y, score"),
        (raw({**FRAME, "predictions": [{**ROW, "value": "3"}]}), "value: expected a number"),
        (raw({**FRAME, "predictions": [{**ROW, "rle": [1]}]}), "rle: expected a text"),
        (raw({**FRAME, "predictions": [{**ROW, "text": 4}]}), "text: expected a text"),
    ],
)
def test_what_is_no_golden_file_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_golden(content, "pack/golden/expected.json")
    assert caught.value.code == "golden.invalid"
    assert words in caught.value.message
    assert "models pack" in (caught.value.help or "")
