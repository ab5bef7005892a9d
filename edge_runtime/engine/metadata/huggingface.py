"""What transformers write beside a model: `config.json`, what it tells apart; `preprocessor_config.json`, how it looks.

Read of transformers 4.57 (`image_processing_*.py`, `pipelines/image_classification.py`, `object_detection.py`; what
`save_pretrained` writes). Image processors are programs, of which the file holds only the parameters: those whose
geometry is known here are followed, of others it has to be stated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeGuard

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.core.layouts import HUGGING_FACE_NAME
from edge_runtime.engine.metadata.values import UnusableMetadataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.engine.metadata.graph import Graph

PREPROCESSOR_NAME: Final = "preprocessor_config.json"
_LIMIT_BYTES: Final = 1 << 20
_TASKS: Final = {
    "ForImageClassification": "classification",
    "ForObjectDetection": "detection",
    "ForSemanticSegmentation": "semantic_segmentation",
}
_ACTIVATIONS: Final = {"single_label_classification": "softmax", "multi_label_classification": "sigmoid"}
_WITH_NOTHING: Final = ("detr", "yolos", "table-transformer")
"""Detectors that decide by a softmax, with a last class for nothing (their `post_process_object_detection`)."""
_ONE_BY_ONE: Final = ("conditional_detr", "deformable_detr", "rt_detr", "rt_detr_v2", "d_fine", "deta")
"""Detectors that judge each label by a sigmoid of its own."""
_INTERPOLATIONS: Final = {0: "nearest", 2: "antialias", 3: "antialias_cubic"}
"""By Pillow's numbers; Pillow looks at all pixels that a smaller one covers."""
_CLASS: Final = re.compile(r"(\w+?)(?:ImageProcessor|FeatureExtractor)(?:Fast|Pil)?")
_SQUARE: Final = ("ViT", "Beit", "Segformer", "Siglip", "RTDetr", "DFine")
"""Image processors that stretch a picture to their size; a single number is both sides."""
_CENTRE: Final = ("CLIP", "Bit", "MobileNetV1", "MobileNetV2", "MobileViT")
"""Image processors that resize the shorter side and cut the middle out."""
_CONVNEXT: Final = "ConvNext"
_CONVNEXT_STRETCHED: Final = 384
"""From this size on, ConvNeXT's stretches a picture instead of cutting its middle out."""
_HELP: Final = "write an edge-model.json beside the model that says how pictures are shown to it"


def stated(graph: Graph) -> dict[str, object]:
    """Return what `config.json` says.

    Raises:
        UnusableMetadataError: it cannot be read, or is of a model for something else.
    """
    config = _load(graph, HUGGING_FACE_NAME)
    if config is None:
        return {}
    values: dict[str, object] = {"labels": _labels(config), "input.layout": "NCHW"}
    names = config.get("architectures")
    architecture = str(names[0]) if isinstance(names, list) and names else ""
    task = next((task for suffix, task in _TASKS.items() if suffix in architecture), None)
    if architecture and task is None:
        message = f"is of {architecture[:80]}, which is no classifier, detector or segmenter of pictures"
        raise UnusableMetadataError(message, "use a model that judges pictures")
    kind = str(config.get("model_type"))
    values["task"] = task
    if task == "classification":
        values["decoder"] = _ACTIVATIONS.get(str(config.get("problem_type")), _unspoken(config, values["labels"]))
    elif task == "semantic_segmentation":
        values["decoder"] = "argmax"
    elif task == "detection" and kind in (*_WITH_NOTHING, *_ONE_BY_ONE):
        softmax = kind in _WITH_NOTHING
        values |= {
            "decoder": "detr",
            "output.names": {"boxes": "pred_boxes", "scores": "logits"},
            "output.activation": "softmax" if softmax else "sigmoid",
            "output.background": "last" if softmax else "none",
            "thresholds.score": 0.5,  # of its pipeline
        }
    if task in ("classification", "semantic_segmentation") and any(one.name == "logits" for one in graph.outputs):
        values["output.name"] = "logits"
    return values


def stated_beside(graph: Graph) -> dict[str, object]:
    """Return what `preprocessor_config.json` says.

    Raises:
        UnusableMetadataError: it cannot be read, or asks for what cannot be done.
    """
    settings = _load(graph, PREPROCESSOR_NAME)
    if settings is None:
        return {}
    config = _load(graph, HUGGING_FACE_NAME) or {}
    colors = {3: "BGR" if settings.get("do_flip_channel_order") else "RGB", 1: "GRAY"}
    channels = config.get("num_channels", 3)
    resample = settings.get("resample", 2)
    if not isinstance(resample, int) or resample not in _INTERPOLATIONS:
        message = f"asks for resample {str(resample)[:20]}; known are 0 (nearest), 2 (bilinear), 3 (bicubic)"
        raise UnusableMetadataError(message, _HELP)
    return {
        "input.color": colors.get(channels) if isinstance(channels, int) else None,
        "input.interpolation": _INTERPOLATIONS[resample],
        **_geometry(settings),
        **_normalisation(settings),
    }


def _load(graph: Graph, name: str) -> dict[str, object] | None:
    text = graph.metadata.get(f"{name}/text")
    if text is None:
        return None
    try:
        return load_object(text.encode(), name, limit_bytes=_LIMIT_BYTES)
    except DataError as error:
        raise UnusableMetadataError(f"cannot be used: {error.message}", "correct it") from error


def _labels(config: Mapping[str, object]) -> tuple[str, ...] | None:
    """Return the labels in the order of their numbers; none of them may be missing."""
    names = config.get("id2label")
    if names is None:
        return None
    listed = [names.get(str(number)) for number in range(len(names))] if isinstance(names, dict) else []
    if not listed or not all(isinstance(one, str) for one in listed):
        message = 'has an id2label that does not name each number from "0" on with a text'
        raise UnusableMetadataError(message, "correct it, it is the order of the model's answers")
    return tuple(str(one) for one in listed)


def _unspoken(config: Mapping[str, object], labels: object) -> str | None:
    """Return what the pipeline does when nobody says what the numbers are: of several labels one is present."""
    several = isinstance(labels, tuple) and len(labels) > 1
    return "softmax" if several and config.get("problem_type") is None else None


def _geometry(settings: Mapping[str, object]) -> dict[str, object]:
    """Return size and way of resizing of a known image processor; nothing of others, nor where it leaves it open."""
    match = _CLASS.fullmatch(str(settings.get("image_processor_type") or settings.get("feature_extractor_type")))
    kind = match[1] if match else ""
    if not settings.get("do_resize", True):
        return {}
    size, crop = settings.get("size"), settings.get("crop_size")
    is_cropped = bool(settings.get("do_center_crop", kind in _CENTRE))
    if kind in _SQUARE and not is_cropped:
        sides = _sides(size)
        return {"input.size": sides, "input.resize": "stretch"} if sides else {}
    shorter = size.get("shortest_edge") if isinstance(size, dict) and len(size) == 1 else size
    if not _is_side(shorter):
        return {}
    if kind == _CONVNEXT:
        return _convnext(shorter, settings.get("crop_pct"))
    if kind in _CENTRE and is_cropped:
        sides = _sides(crop)
        if sides and sides[0] == sides[1] <= shorter:
            return {"input.size": sides, "input.resize": "crop", "input.crop": sides[0] / shorter}
    return {}


def _convnext(size: int, share: object) -> dict[str, object]:
    if size >= _CONVNEXT_STRETCHED:
        return {"input.size": (size, size), "input.resize": "stretch"}
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        return {}
    return {"input.size": (size, size), "input.resize": "crop", "input.crop": size / int(size / share)}


def _sides(size: object) -> tuple[int, int] | None:
    if _is_side(size):
        return size, size
    if isinstance(size, dict) and size.keys() == {"height", "width"}:
        height, width = size["height"], size["width"]
        return (height, width) if _is_side(height) and _is_side(width) else None
    return None


def _is_side(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _normalisation(settings: Mapping[str, object]) -> dict[str, object]:
    """Return scale, mean and standard deviation; nothing when it is not said whether there is one."""
    if settings.get("rescale_offset") or settings.get("include_top"):
        raise UnusableMetadataError("asks for rescale_offset or include_top, which are not built", _HELP)
    factor = settings.get("rescale_factor", 1 / 255)
    if not settings.get("do_rescale", True):
        factor = 1
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= 1:
        raise UnusableMetadataError(f"has the rescale_factor {str(factor)[:20]}", "it is more than 0 and at most 1")
    values: dict[str, object] = {"input.scale": _whole(1 / factor)}
    wanted = settings.get("do_normalize", "image_mean" in settings)
    if wanted:
        mean, std = (_numbers(settings.get(key)) for key in ("image_mean", "image_std"))
        return {**values, "input.mean": mean, "input.std": std} if mean and std else {}
    return {**values, "input.mean": (0.0,), "input.std": (1.0,)}


def _whole(value: float) -> float:
    """Return the whole number that a factor like 0.00392156862745098 is one part of."""
    return float(round(value)) if abs(value - round(value)) < 1e-6 * value else value


def _numbers(values: object) -> tuple[float, ...] | None:
    if not isinstance(values, list) or not all(isinstance(one, int | float) for one in values):
        return None
    return tuple(float(one) for one in values)
