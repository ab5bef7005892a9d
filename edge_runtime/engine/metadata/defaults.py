"""What each family needs to be stated, and the values of what nobody has to state."""

from __future__ import annotations

from typing import Final

from edge_runtime.core.result import PREDICTIONS_LIMIT

THRESHOLDS: Final = {
    "anomaly": {"thresholds.score": 0.0, "thresholds.iou": 1.0, "thresholds.max_predictions": 20},
    "classification": {"thresholds.score": 0.0, "thresholds.iou": 1.0, "thresholds.max_predictions": 5},
    "detection": {"thresholds.score": 0.25, "thresholds.iou": 0.45, "thresholds.max_predictions": 300},
    "oriented_detection": {"thresholds.score": 0.25, "thresholds.iou": 0.45, "thresholds.max_predictions": 300},
    "instance_segmentation": {"thresholds.score": 0.25, "thresholds.iou": 0.45, "thresholds.max_predictions": 300},
    "semantic_segmentation": {"thresholds.score": 0.0, "thresholds.iou": 1.0, "thresholds.max_predictions": 100},
    "keypoints": {"thresholds.score": 0.25, "thresholds.iou": 0.45, "thresholds.max_predictions": 300},
    "raw": {"thresholds.score": 0.0, "thresholds.iou": 1.0, "thresholds.max_predictions": PREDICTIONS_LIMIT},
    "regression": {"thresholds.score": 0.0, "thresholds.iou": 1.0, "thresholds.max_predictions": PREDICTIONS_LIMIT},
    "text_detection": {"thresholds.score": 0.5, "thresholds.iou": 1.0, "thresholds.max_predictions": PREDICTIONS_LIMIT},
    "text_recognition": {"thresholds.score": 0.5, "thresholds.iou": 1.0, "thresholds.max_predictions": 1},
}
"""By task; those of texts are RapidOCR's."""
DECODER_THRESHOLDS: Final = {
    **{(decoder, "thresholds.iou"): 1.0 for decoder in ("end2end", "ssd", "boxes", "detr", "maskrcnn")},
    ("hierarchical", "thresholds.score"): 0.5,
    ("hierarchical", "thresholds.max_predictions"): 20,
    ("sigmoid", "thresholds.score"): 0.5,
    ("threshold", "thresholds.score"): 0.5,
    ("sigmoid", "thresholds.max_predictions"): PREDICTIONS_LIMIT,  # any number is present, none may be left out
}
"""By decoder, where it differs from its task."""
CENTRED: Final = ("yolo", "yolov5", "yolox", "detr")
"""Decoders whose boxes are written as centre and sides unless something else is stated."""
FRACTIONS: Final = ("ssd", "detr")
"""Decoders whose boxes are fractions of the input unless something else is stated."""
UNTOLD: Final = {
    "ssd": ("output.background",),
    "boxes": ("output.background",),
    "detr": ("output.activation",),
}
"""By decoder: what models of one shape do in different ways, so that it has to be stated."""
LABELS: Final[dict[str, tuple[str, ...]]] = {
    "anomaly": ("normal", "anomalous", "anomalous region"),
    "raw": (),  # numbers are called by the names of their outputs
    "text_detection": ("text",),
    "text_recognition": ("text",),
}
"""By task, for families whose models tell nothing apart that needs a name."""
EXAMPLES: Final = {
    "task": '"task": "detection"',
    "decoder": '"decoder": "yolo"',
    "labels": '"labels": ["good", "scratch"]',
    "input.size": '"size": [640, 640]',
    "input.color": '"color": "RGB"',
    "input.layout": '"layout": "NCHW"',
    "input.resize": '"resize": "letterbox"',
    "input.scale": '"scale": 255',
    "output.background": '"background": "none"',
    "output.activation": '"activation": "sigmoid"',
}
"""What has to be stated somewhere (of an output: for the decoders in `UNTOLD`), as it may stand in a manifest."""
