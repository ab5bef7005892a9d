"""Chains of small real models, on both engines: green and red stripes on black are words of the letters a and b."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.authoring import make_manifest
from edge_runtime.engine.chain import CROPS_LIMIT
from edge_runtime.engine.fitted import FittedLane
from edge_runtime.engine.lane import StaleFrameError
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.package import open_package
from edge_runtime.engine.postprocess import InvalidOutputError
from tests.assets.make_models import write_chain, write_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.loader import LoadedModel

INK = {"a": (0, 255, 0), "b": (0, 0, 255)}
SIZE = {"size": [96, 320]}
OCR = {"color": "BGR", "scale": 255, "mean": [0.5], "std": [0.5]}
WORDS = ((20, 15, "ab"), (180, 15, "ba"), (20, 60, "a"))


def page(*words: tuple[int, int, str]) -> np.ndarray:
    """A black frame of 320 x 96 with words at x, y; a letter is 30 x 20 pixels."""
    frame = np.zeros((96, 320, 3), np.uint8)
    for x, y, word in words:
        for index, letter in enumerate(word):
            frame[y : y + 20, x + 30 * index : x + 30 * index + 30] = INK[letter]
    return frame


@pytest.fixture(params=["openvino", "onnxruntime"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reader(folder: Path, *, turns: bool = False, **shown: object) -> Path:
    det = write_package(folder, "text_map", input={**OCR, **SIZE, "resize": "stretch"})
    rec = write_package(folder, "text_line")
    between = [(write_package(folder, "text_turn"), {})] if turns else []
    return write_chain(folder, (det, {}), *between, (rec, shown))


@pytest.fixture
def chain(tmp_path: Path, backend: str) -> Iterator[LoadedModel]:
    model = load_engine(reader(tmp_path), backend=backend)
    yield model
    model.close()


def seen(model: LoadedModel, frame: np.ndarray) -> tuple[Prediction, ...]:
    return model.lanes[0].predict(frame).predictions


def test_what_the_first_finds_the_last_reads(chain: LoadedModel) -> None:
    found = seen(chain, page(*WORDS))
    assert [one.text for one in found] == ["ab", "ba", "a"]
    assert {(one.label, one.id) for one in found} == {("text", 0)}
    assert all(one.box and one.polygon and one.score > 0.9 for one in found)
    assert chain.spec.task == "chain"
    assert chain.reads_text
    assert chain.info.device == "CPU"


def test_nothing_is_seen_on_an_empty_frame(chain: LoadedModel) -> None:
    assert seen(chain, page()) == ()


def test_a_frame_is_timed_as_a_whole(chain: LoadedModel) -> None:
    lane = chain.open_lane()
    empty, full = lane.predict(page()), lane.predict(page(*WORDS))
    assert min(full.preprocess_ms, full.infer_ms, full.postprocess_ms) > 0
    assert empty.infer_ms > 0
    lane.run_bare()


def test_what_cannot_be_read_is_still_there(chain: LoadedModel) -> None:
    frame = page((20, 15, "ab"))
    frame[60:80, 20:80] = (255, 0, 0)  # blue: the blank
    read, unread = seen(chain, frame)
    assert (read.text, unread.text) == ("ab", None)
    assert unread.box is not None


def test_a_frame_that_changes_before_the_crops_are_cut_has_no_answer(chain: LoadedModel) -> None:
    answers = iter([True, False])
    with pytest.raises(StaleFrameError):
        chain.lanes[0].predict(page(*WORDS), lambda: next(answers))
    assert chain.lanes[0].predict(page(*WORDS), lambda: True).predictions


def test_more_findings_than_are_looked_at_are_no_answer(tmp_path: Path, backend: str) -> None:
    det = write_package(tmp_path, "text_map", input={**OCR, "size": [480, 1280], "resize": "stretch"})
    model = load_engine(write_chain(tmp_path, (det, {}), (write_package(tmp_path, "text_line"), {})), backend=backend)
    frame = np.zeros((480, 1280, 3), np.uint8)
    for number in range(CROPS_LIMIT + 1):
        x, y = 60 * (number % 20) + 20, 70 * (number // 20) + 20
        frame[y : y + 12, x : x + 12] = INK["a"]
    with pytest.raises(InvalidOutputError, match=f"found {CROPS_LIMIT + 1} things to be looked at, at most"):
        seen(model, frame)
    model.close()


def test_text_that_stands_on_its_head_is_turned(tmp_path: Path, backend: str) -> None:
    model = load_engine(reader(tmp_path, turns=True), backend=backend)
    assert [one.text for one in seen(model, page(*WORDS))] == ["ab", "ab", "a"]
    model.close()


def classified(folder: Path, backend: str, *, score: float = 0.0, **shown: object) -> LoadedModel:
    det = write_package(folder, "text_map", input={**OCR, **SIZE, "resize": "stretch"})
    colours = write_package(folder, "colours", thresholds={"score": score})
    return load_engine(write_chain(folder, (det, {}), (colours, shown)), backend=backend)


def test_a_classifier_renames_what_was_found(tmp_path: Path, backend: str) -> None:
    model = classified(tmp_path, backend, crop="box", pad=0.0)
    found = seen(model, page((20, 15, "a"), (180, 15, "bb")))
    assert [(one.label, one.id) for one in found] == [("green", 1), ("red", 0)]
    assert model.spec.labels == ("red", "green", "blue")
    assert all(one.box and one.polygon and one.text is None for one in found)
    assert not model.reads_text
    model.close()


def test_a_classifier_that_decides_nothing_leaves_what_was_found(tmp_path: Path, backend: str) -> None:
    model = classified(tmp_path, backend, score=0.999)
    (one,) = seen(model, page((20, 15, "ab")))
    assert (one.label, one.id) == ("text", 0)
    assert model.spec.labels == ("text", "red", "green", "blue")
    model.close()


def test_findings_with_other_labels_are_left_as_they_are(tmp_path: Path, backend: str) -> None:
    det = write_package(tmp_path, "end2end")
    colours = write_package(tmp_path, "colours")
    model = load_engine(write_chain(tmp_path, (det, {}), (colours, {"labels": ["dent"]})), backend=backend)
    labels = {one.label for one in seen(model, np.full((32, 32, 3), INK["b"], np.uint8))}
    assert labels == {"scratch", "red"}
    model.close()


def test_one_digest_names_all_of_it(tmp_path: Path) -> None:
    root = reader(tmp_path)
    first = open_package(root)
    assert first.format == "chain"
    assert first.size_bytes == sum(one.size_bytes for one in first.chain) > 0
    assert first.sources["step 2: task"].value == "text_recognition"
    manifest = json.loads((root / "text_line" / "edge-model.json").read_text())
    (root / "text_line" / "edge-model.json").write_text(json.dumps({**manifest, "version": "2"}))
    with pytest.raises(DataError) as caught:
        open_package(root)
    assert caught.value.code == "model.digest_mismatch"
    assert "text_line: expected sha256:" in caught.value.message


def test_a_step_may_be_a_bare_file(tmp_path: Path) -> None:
    det = write_package(tmp_path, "text_map")
    (bare,) = write_package(tmp_path / "rec", "text_line").glob("*.onnx")
    (bare.parent / "edge-model.json").unlink()
    package = open_package(write_chain(tmp_path, (det, {}), (bare, {})))
    assert [one.spec.input.fit for one in package.chain] == ["text", "line"]


@pytest.mark.parametrize(("name", "fit"), [("text_map", "text"), ("text_line", "line")])
def test_a_manifest_made_from_a_model_leaves_its_size_open(tmp_path: Path, name: str, fit: str) -> None:
    root = write_package(tmp_path, name)
    first = open_package(root)
    assert "input.size" not in first.sources
    (root / "edge-model.json").write_bytes(make_manifest(first, f"{name}.onnx", version="2"))
    again = open_package(root)
    assert (again.spec, again.spec.input.fit) == (first.spec, fit)
    assert again.notes == ("the size of the input follows from each picture; input.size fixes it",)


def test_a_chain_in_a_chain_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    reader(inner)
    last = write_package(tmp_path, "text_line")
    with pytest.raises(DataError, match="inner is a chain itself"):
        open_package(write_chain(tmp_path, (inner, {}), (last, {})))


def test_a_step_that_is_missing_or_elsewhere_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "chain"
    root.mkdir()
    reader(root)
    (root / "text_line" / "edge-model.json").unlink()
    with pytest.raises(DataError, match=r"chain/text_line: no edge-model\.json"):
        open_package(root)
    for file in (root / "text_line").iterdir():
        file.unlink()
    (root / "text_line").rmdir()
    with pytest.raises(DataError) as caught:
        open_package(root)
    assert caught.value.code == "model.missing"
    (root / "text_line").symlink_to(write_package(tmp_path, "text_line"))
    with pytest.raises(DataError, match="leads out of the package"):
        open_package(root)


def test_steps_that_no_engine_runs_together_are_refused(tmp_path: Path) -> None:
    root = reader(tmp_path)
    for name, engine in (("text_map", "openvino"), ("text_line", "onnxruntime")):
        path = root / name / "edge-model.json"
        manifest = json.loads(path.read_text())
        manifest["weights"]["backends"] = [engine]
        path.write_text(json.dumps(manifest))
    write_chain(root, (root / "text_map", {}), (root / "text_line", {}))
    with pytest.raises(DataError, match="no backend runs every step") as caught:
        open_package(root)
    assert caught.value.code == "model.no_form"


def test_a_size_for_each_picture_is_compiled_once_and_few_are_kept(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "text_map"), backend=backend, workers=2)
    sizes = [(100, 100), (100, 200), (100, 300), (100, 100)]
    compiled: list[tuple[int, int]] = []
    make = model._model._make  # type: ignore[attr-defined]  # a FittedModel
    model._model._make = lambda spec: compiled.append(spec.size) or make(spec)  # type: ignore[attr-defined]  # as above
    for height, width in sizes:
        for lane in model.lanes:
            assert lane.predict(np.zeros((height, width, 3), np.uint8)).predictions == ()
            assert isinstance(lane, FittedLane)
            assert len(lane._lanes) <= 2
    assert compiled == [(736, 736), (736, 1472), (736, 2208), (736, 736)]
    assert len(model._model._engines) == 2  # type: ignore[attr-defined]  # as above
    model.close()


def test_a_line_has_its_sizes_from_the_beginning(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "text_line"), backend=backend)
    model._model._make = None  # type: ignore[attr-defined]  # nothing may be compiled from here on
    for width in (10, 200, 700, 5000):
        (one,) = seen(model, np.full((24, width, 3), INK["a"], np.uint8))
        assert (one.text, one.box) == ("a", None)
    model.lanes[0].run_bare()
    model.close()


def test_a_frame_that_is_none_is_refused_before_it_has_a_size(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "text_line"), backend=backend)
    with pytest.raises(DataError) as caught:
        seen(model, np.zeros((0, 5, 3), np.uint8))
    assert caught.value.code == "frame.invalid"
    model.close()
