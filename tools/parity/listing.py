"""README.md of a zoo: inputs, outputs and metadata of every model, and what its `expected.json` has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import onnxruntime
import openvino

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_METADATA_CHARACTERS = 400
_INTRODUCTION = """# Models of foreign frameworks, and what these see with them

Weights are random: what is seen means nothing, only that both sides see the same. Boxes are x, y, w, h in pixels of
the picture, `corners` of a turned box in order, `keypoints` x, y, score, `rle` compressed COCO run lengths of a mask of
the picture's size. `polygon` of an Ultralytics mask is the outline in the letterboxed input, scaled; `rle` comes from
`retina_masks=True`.

Ultralytics 8.4 writes, as its argument `nms` says:
- `None` (the default): the raw head, (1, 4 + classes + extra, anchors), boxes cx, cy, w, h in pixels; the extra rows
  are mask coefficients, keypoints or the angle. YOLO26 too: `end2end` is False then.
- `True`: the suppression is in the graph, (1, 300, 6 + extra): x1, y1, x2, y2, score, class, extra. Of a turned box:
  cx, cy, w, h, score, class, angle. Rows of zeros fill up.
- `False`: the head that needs no suppression, if the model has one (`end2end` is True): rows as above.
"""


def write(zoo: Path) -> None:
    """Write the README.md of ``zoo``."""
    lines = [_INTRODUCTION]
    for expected in sorted(zoo.glob("*/expected.json")):
        lines += _model(expected.parent, json.loads(expected.read_text()))
    (zoo / "README.md").write_text("\n".join(lines) + "\n")


def _model(folder: Path, document: dict[str, object]) -> Iterator[str]:
    yield f"## {folder.name}"
    yield ""
    yield f"{document['framework']} {document['version']}, settings {json.dumps(document['settings'])}"
    yield f"- manifest for ours: `{json.dumps(document['manifest'])}`"
    for path in sorted([*folder.rglob("*.onnx"), *folder.rglob("*.xml")]):
        yield f"- `{path.relative_to(folder)}`"
        yield from _graph(path)
    for image in document["images"]:
        found = image["predictions"]
        keys = sorted({key for one in found for key in one})
        scores = [one["score"] for one in found]
        span = f", scores {min(scores):.4f}..{max(scores):.4f}" if scores else ""
        yield f"- {image['file']}: {len(found)} predictions with {', '.join(keys)}{span}"
    yield ""


def _graph(path: Path) -> Iterator[str]:
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for kind, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
            for one in tensors:
                yield f"  - {kind} `{one.name}` {one.type} {one.shape}"
        metadata = session.get_modelmeta().custom_metadata_map
    else:
        model = openvino.Core().read_model(path)
        for kind, ports in (("input", model.inputs), ("output", model.outputs)):
            for port in ports:
                names = ", ".join(sorted(port.get_names()))
                yield f"  - {kind} `{names}` {port.element_type.get_type_name()} {port.partial_shape}"
        metadata = _flat(model.get_rt_info(), "")
        sidecar = path.with_name("metadata.yaml")
        if sidecar.exists():
            metadata["beside it: metadata.yaml"] = sidecar.read_text()
    for key, value in sorted(metadata.items()):
        line = value.replace("\n", "; ")
        rest = f"... ({len(line)} characters)" if len(line) > _METADATA_CHARACTERS else ""
        yield f"  - metadata `{key}` = `{line[:_METADATA_CHARACTERS]}{rest}`"


def _flat(tree: Mapping[str, object], prefix: str) -> dict[str, str]:
    """Return the leaves of an IR's rt_info by their path."""
    found = {}
    for key, value in tree.items():
        plain = getattr(value, "value", value)
        found |= _flat(plain, f"{prefix}{key}/") if isinstance(plain, dict) else {f"{prefix}{key}": str(plain)}
    return found
