"""Models that describe themselves in the product's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata import Graph, Sourced, resolve

if TYPE_CHECKING:
    from edge_runtime.engine.spec import ModelSpec

IMAGE = TensorInfo("x", "float32", (1, 3, 32, 32))
SCORES = TensorInfo("y", "float32", (1, 2))
KEYS = {
    "task": "classification",
    "decoder": '"softmax"',
    "labels": '["good", "scratch"]',
    "input.color": "RGB",
    "input.resize": "stretch",
    "input.scale": "255",
    "thresholds.by_label": '{"scratch": 0.25}',
}


def described(prefix: str = "edge.", **more: str) -> tuple[ModelSpec, dict[str, Sourced]]:
    own = {prefix + key: value for key, value in KEYS.items()}
    return resolve(None, Graph({**own, **more}, [IMAGE], [SCORES]), "m.onnx")


@pytest.mark.parametrize("prefix", ["edge.", "edge/", "framework/edge."])
def test_a_model_that_describes_itself_needs_nothing_else(prefix: str) -> None:
    spec, sources = described(prefix)
    assert (spec.task, spec.decoder, spec.labels) == ("classification", "softmax", ("good", "scratch"))
    assert (spec.input.color, spec.input.resize, spec.input.scale) == ("RGB", "stretch", 255)
    assert spec.thresholds.by_label == {"scratch": 0.25}
    assert sources["labels"] == Sourced(("good", "scratch"), "edge metadata")


def test_its_own_words_come_before_those_of_exporters() -> None:
    _, sources = described(**{"model_info labels": "a b", "labels": "c\nd"})
    assert sources["labels"].source == "edge metadata"


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("edge.input.colour", "RGB", "input.colour: unknown key (did you mean 'color'?)"),
        ("edge.weather", "fine", "weather: nobody knows this key"),
        ("edge.input.scale", "0.5", "input.scale: expected a number from 1 to 65535"),
        ("edge.input", "RGB", "have 'edge.input' beside another key that says the same"),
        ("edge.labels.first", "good", "have 'edge.labels.first' beside another key that says the same"),
        ("edge/input.scale", "255", "have 'edge/input.scale' beside another key that says the same"),
        ("edge.input.size", "[" * 100_000, "input.size: expected [height, width]"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_words(key: str, text: str, said: str) -> None:
    with pytest.raises(DataError, match="edge metadata") as refused:
        described(**{key: text})
    assert refused.value.code == "model.unsupported"
    assert said in str(refused.value)
