"""The package's manifest and its model card, both filled from what was measured."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from edge_runtime.core.manifest import parse_manifest
from edge_runtime.registry.package.papers import SBOM_NAME, Subject, make_sbom
from surface_defects.dataset import INPUT_SIZE
from surface_defects.engines import INPUT_NAME, OUTPUT_NAME
from surface_defects.evaluate import IOU_MAX, SCORE_MIN
from surface_defects.scene import FRAME_SIZE, LABELS

NAME: Final = "surface-defects"
VERSION: Final = "1.0.0"
TOLERANCES: Final = {"iou": 0.9, "score": 0.05}
_TOOLS: Final = ("torch", "onnx", "onnxruntime", "openvino", "numpy", "opencv-python-headless")
_TEMPLATE: Final = Path(__file__).with_name("card.template.md")


def tool_versions() -> dict[str, str]:
    """Versions of what made and judged the model."""
    return {"python": platform.python_version(), **{name: version(name) for name in _TOOLS}}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_manifest(folder: Path, *, seed: int, facts: dict[str, Any]) -> None:
    """Write `edge-model.json` for the weights that lie in `folder`."""
    manifest = {
        "schema": "edge-model/1",
        "name": NAME,
        "version": VERSION,
        "release": 1,
        "task": "detection",
        "decoder": "yolo",
        "weights": {
            "file": "model.onnx",
            "format": "onnx",
            "precision": "int8",
            "sha256": _digest(folder / "model.onnx"),
        },
        "input": {
            "name": INPUT_NAME,
            "layout": "NCHW",
            "color": "RGB",
            "size": list(INPUT_SIZE),
            "resize": "letterbox",
            "interpolation": "linear",
            "pad": 114,
            "scale": 255,
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
        "output": {"name": OUTPUT_NAME, "boxes": "cxcywh", "normalized": False},
        "labels": list(LABELS),
        "thresholds": {"score": SCORE_MIN, "iou": IOU_MAX},
        "hardware": ["cpu"],
        "requires": {},
        "golden": {"tolerances": TOLERANCES, "gates": {}},
        "provenance": {
            "tool": "tools/surface_defects/make.py",
            "seed": seed,
            "data": "rendered by the same tool; no photographs, no third-party data",
            "license": "Apache-2.0",
            "tools": tool_versions(),
            **facts,
        },
    }
    (folder / "edge-model.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def write_bill_of_materials(folder: Path) -> None:
    """Write `sbom.cdx.json` (CycloneDX 1.6), as `edge-runtime models pack` would make it."""
    raw = (folder / "edge-model.json").read_bytes()
    package = parse_manifest(raw)
    weights = {file.file: file.sha256 for form in package.weights for file in form.files}
    (folder / SBOM_NAME).write_bytes(make_sbom(Subject(package, json.loads(raw), weights)))


def _accuracy_rows(figures: dict[str, Any]) -> list[str]:
    rows = []
    for name, run in figures["accuracy"].items():
        labels = " | ".join(f"{run['per_label'][label]:.3f}" for label in LABELS)
        rows.append(
            f"| {name} | {run['map50']:.4f} | {run['map50_95']:.4f} | {labels} | {run['precision']:.3f} | "
            f"{run['recall']:.3f} | {run['false_alarms_on_good']} of {run['good_images']} |"
        )
    head = f"| run | mAP@0.5 | mAP@0.5:0.95 | {' | '.join(LABELS)} | precision | recall | false alarms |"
    return [head, "|---" * (7 + len(LABELS)) + "|", *rows]


def _agreement_rows(figures: dict[str, Any]) -> list[str]:
    rows = [
        (
            "| runs | images | boxes | matched | same label | IoU min / mean | score difference max / mean | "
            "images within tolerance |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in figures["agreement"].items():
        rows.append(
            f"| {name} | {run['images']} | {run['boxes']} | {run['matched']} | {run['same_label']} | "
            f"{run['iou_min']:.4f} / {run['iou_mean']:.4f} | {run['score_difference_max']:.4f} / "
            f"{run['score_difference_mean']:.5f} | {run['images_within']} |"
        )
    return rows


def _latency_rows(figures: dict[str, Any]) -> list[str]:
    rows = ["| run | p10 ms | p50 ms |", "|---|---|---|"]
    return rows + [f"| {name} | {low:.1f} | {middle:.1f} |" for name, (low, middle) in figures["latency_ms"].items()]


def tables(figures: dict[str, Any]) -> dict[str, str]:
    """The Markdown tables of the card, by name."""
    return {
        "accuracy": "\n".join(_accuracy_rows(figures)),
        "agreement": "\n".join(_agreement_rows(figures)),
        "latency": "\n".join(_latency_rows(figures)),
    }


def write_card(folder: Path, *, figures: dict[str, Any], seed: int) -> None:
    """Write `model-card.md`: the template with the figures of this run."""
    values = {
        **tables(figures),
        "seed": seed,
        "tools": ", ".join(f"{name} {number}" for name, number in tool_versions().items()),
        "labels": ", ".join(f"`{label}`" for label in LABELS),
        "input": f"{INPUT_SIZE[1]}x{INPUT_SIZE[0]}",
        "frame": f"{FRAME_SIZE[1]}x{FRAME_SIZE[0]}",
        "score_min": SCORE_MIN,
        "iou_max": IOU_MAX,
        **figures["counts"],
    }
    text = _TEMPLATE.read_text("utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", str(value))
    if "{{" in text:
        message = f"the template asks for a figure that was not measured: {text[text.index('{{') :][:40]}"
        raise ValueError(message)
    (folder / "model-card.md").write_text(text, "utf-8")
