"""One module per family of models: what their answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.engine.tasks.anomaly import Anomalib, AnomalyMap
from edge_runtime.engine.tasks.areas import Probability, argmax
from edge_runtime.engine.tasks.base import Decoder
from edge_runtime.engine.tasks.classification import Classifier
from edge_runtime.engine.tasks.detr import Detr
from edge_runtime.engine.tasks.finished import Boxes, EndToEnd, Ssd
from edge_runtime.engine.tasks.hierarchy import Hierarchy
from edge_runtime.engine.tasks.instances import MaskRcnn, Prototypes
from edge_runtime.engine.tasks.keypoints import BesideBoxes, MoveNet, SimCC
from edge_runtime.engine.tasks.nanodet import NanoDet
from edge_runtime.engine.tasks.numbers import Tensors, Values
from edge_runtime.engine.tasks.oriented import OrientedEndToEnd, OrientedYolo
from edge_runtime.engine.tasks.text import TextLine, TextRegions
from edge_runtime.engine.tasks.yolo import Yolo, YoloV5, YoloX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.spec import ModelSpec

__all__ = ["OPEN_ANSWERS", "Decoder", "make_decoder"]

OPEN_ANSWERS: Final = frozenset({("detection", "boxes"), ("detection", "ssd"), ("instance_segmentation", "maskrcnn")})
"""Tasks and decoders that take outputs of another shape with every frame; they look at the shapes themselves."""


def make_decoder(spec: ModelSpec, outputs: Sequence[TensorInfo]) -> Decoder:
    """Return the decoder of ``spec`` for a model with these outputs; one per thread, it owns buffers.

    Raises:
        DataError: the outputs are not what the decoder reads, code ``model.wrong_output`` or ``model.wrong_labels``.
    """
    return _DECODERS[spec.task, spec.decoder](spec, outputs)


_DECODERS: Final[dict[tuple[str, str], Callable[[ModelSpec, Sequence[TensorInfo]], Decoder]]] = {
    ("anomaly", "anomalib"): Anomalib,
    ("anomaly", "anomaly_map"): AnomalyMap,
    ("classification", "probabilities"): Classifier,
    ("classification", "softmax"): Classifier,
    ("classification", "sigmoid"): Classifier,
    ("classification", "auto"): Classifier,
    ("classification", "hierarchical"): Hierarchy,
    ("detection", "yolo"): Yolo,
    ("detection", "nanodet"): NanoDet,
    ("detection", "end2end"): EndToEnd,
    ("detection", "yolov5"): YoloV5,
    ("detection", "yolox"): YoloX,
    ("detection", "ssd"): Ssd,
    ("detection", "boxes"): Boxes,
    ("detection", "detr"): Detr,
    ("oriented_detection", "yolo"): OrientedYolo,
    ("oriented_detection", "end2end"): OrientedEndToEnd,
    ("instance_segmentation", "yolo"): Prototypes,
    ("instance_segmentation", "end2end"): Prototypes,
    ("instance_segmentation", "maskrcnn"): MaskRcnn,
    ("semantic_segmentation", "argmax"): argmax,
    ("semantic_segmentation", "threshold"): Probability,
    ("keypoints", "yolo"): BesideBoxes,
    ("keypoints", "end2end"): BesideBoxes,
    ("keypoints", "movenet"): MoveNet,
    ("keypoints", "simcc"): SimCC,
    ("raw", "tensors"): Tensors,
    ("regression", "values"): Values,
    ("text_detection", "db"): TextRegions,
    ("text_recognition", "ctc"): TextLine,
}
