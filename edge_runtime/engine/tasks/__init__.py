"""One module per family of models: what their answers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.engine.tasks.anomaly import Anomalib, AnomalyMap
from edge_runtime.engine.tasks.base import Decoder
from edge_runtime.engine.tasks.classification import Classifier
from edge_runtime.engine.tasks.detection import EndToEnd, NanoDet, Yolo
from edge_runtime.engine.tasks.hierarchy import Hierarchy
from edge_runtime.engine.tasks.numbers import Tensors, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.spec import ModelSpec

__all__ = ["Decoder", "make_decoder"]


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
    ("raw", "tensors"): Tensors,
    ("regression", "values"): Values,
}
