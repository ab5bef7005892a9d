"""Package directories of a few small files, for what never loads the model."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = b"weights of a welder"
PICTURE = b"a picture"
ANSWERS = {"schema": "golden/1", "trusted": {}, "frames": [{"file": "One.PNG", "predictions": []}]}


def write_weld(root: Path, **changes: object) -> Path:
    """Write the package ``weld`` 1.2.0, release 7, into ``root``; ``changes`` replace keys, ``None`` removes one."""
    document = {
        "schema": "edge-model/1",
        "name": "weld",
        "version": "1.2.0",
        "release": 7,
        "task": "detection",
        "decoder": "yolo",
        "weights": {"file": "cpu/model.onnx", "format": "onnx", "sha256": hashlib.sha256(WEIGHTS).hexdigest()},
        "labels": ["spatter", "pore"],
        "input": {"color": "RGB", "size": [32, 64]},
        "hardware": ["cpu"],
        "requires": {"onnxruntime": "1.24"},
        "provenance": {"license": "MIT", "data": "rendered", "tools": {"torch": "2.13.0"}, "tool": "make.py"},
        **changes,
    }
    kept = {key: value for key, value in document.items() if value is not None}
    files = {
        "edge-model.json": json.dumps(kept, indent=1).encode(),
        "cpu/model.onnx": WEIGHTS,
        "golden/One.PNG": PICTURE,
        "golden/expected.json": json.dumps(ANSWERS).encode(),
    }
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def write_chain(root: Path, *steps: str, **changes: object) -> Path:
    """Write a chain of packages like ``weld`` into ``root``, one for each name."""
    listed = []
    for name in steps:
        write_weld(root / name)
        digest = hashlib.sha256((root / name / "edge-model.json").read_bytes()).hexdigest()
        listed.append({"package": name, "digest": f"sha256:{digest}"})
    fixed = {"schema": "edge-model/1", "name": "chain", "version": "1.0.0", "release": 2, "task": "chain"}
    (root / "edge-model.json").write_text(json.dumps({**fixed, "steps": listed, **changes}))
    return root
