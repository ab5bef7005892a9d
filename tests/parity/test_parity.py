"""Our pipeline sees in real pictures what the framework sees that a model was exported from.

The models and what is expected of them are built by `tools/parity/zoo.py` with the frameworks themselves, into the
folder of $EDGE_PARITY_ZOO. A model of a family that we do not support yet fails here: the report is the list of what
is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_runtime.core.errors import EdgeError
from edge_runtime.engine.loader import load_engine
from tests.parity.comparing import Tolerance, differences
from tests.required import needs

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]

ZOO = os.environ.get("EDGE_PARITY_ZOO", "")
MODELS = sorted(path.parent for path in Path(ZOO).glob("*/expected.json")) if ZOO else []
SHOWN = 12  # problems of one model; one mistake makes many


def weights(folder: Path) -> Path:
    """Return the file that is loaded: an ONNX model, or an OpenVINO one."""
    (found,) = [*folder.rglob("*.onnx"), *folder.rglob("*.xml")]
    return found


def pairs(only: str = "images") -> list[Any]:
    """Return each model with each backend that can read its format, of those whose document has ``only``."""
    return [
        pytest.param(folder, backend, id=f"{folder.name}-{backend}")
        for folder in MODELS
        if json.loads((folder / "expected.json").read_text()).get(only)
        for backend in ("openvino", "onnxruntime")
        if backend == "openvino" or weights(folder).suffix == ".onnx"
    ]


def _file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def packaged(root: Path, folder: Path, manifest: dict[str, Any]) -> Path:
    """Copy a model with all that lies beside it, and say in its manifest only what it does not say itself."""
    source = weights(folder)
    shutil.copytree(source.parent, root, ignore=shutil.ignore_patterns("expected.json"))
    is_onnx = source.suffix == ".onnx"
    form = {**_file(source), "format": "onnx" if is_onnx else "openvino-ir"}
    form |= {} if is_onnx else {"parts": [_file(source.with_suffix(".bin"))]}
    fixed = {"schema": "edge-model/1", "name": folder.name, "version": "1", "weights": form}
    (root / "edge-model.json").write_text(json.dumps(fixed | manifest))
    return root


def test_there_is_a_zoo() -> None:
    needs(MODELS, "models in $EDGE_PARITY_ZOO: tools/parity/zoo.py builds them")


@pytest.mark.parametrize(("folder", "backend"), pairs())
def test_we_see_what_the_home_framework_sees(tmp_path: Path, folder: Path, backend: str) -> None:
    document = json.loads((folder / "expected.json").read_text())
    problems = []
    try:
        problems = compare(packaged(tmp_path / "model", folder, document["manifest"]), backend, document)
    except EdgeError as error:  # a report of twenty models has no room for twenty tracebacks
        pytest.fail(f"{error.code}: {error} ({error.help})", pytrace=False)
    shown = "\n  ".join(problems[:SHOWN])
    if problems:
        pytest.fail(f"{len(problems)} differences to {document['framework']}:\n  {shown}", pytrace=False)


@pytest.mark.parametrize(("folder", "backend"), pairs(only="tells_itself"))
def test_what_a_framework_writes_into_and_beside_a_model_is_enough(folder: Path, backend: str) -> None:
    try:
        model = load_engine(weights(folder), backend=backend, threads=2)
    except EdgeError as error:
        pytest.fail(f"{error.code}: {error} ({error.help})", pytrace=False)
    known = set(model.spec.labels)
    model.close()
    document = json.loads((folder / "expected.json").read_text())
    assert {one["label"] for image in document["images"] for one in image["predictions"]} <= known


def compare(package: Path, backend: str, document: dict[str, Any]) -> list[str]:
    """Say what our pipeline sees otherwise than ``document``, in words."""
    model = load_engine(package, backend=backend, threads=2)
    assert (model.info.backend, model.info.precision) == (backend, "fp32")
    tolerance = Tolerance(**document.get("tolerance", {}))
    problems = []
    for image in document["images"]:
        picture = cv2.imread(image["file"])
        assert picture is not None
        found = model.lanes[0].predict(picture).predictions
        told = differences(found, image["predictions"], (image["height"], image["width"]), tolerance)
        problems += [f"{Path(image['file']).name}: {text}" for text in told]
    model.close()
    return problems
