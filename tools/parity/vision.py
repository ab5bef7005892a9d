"""Detectors of torchvision with the suppression in their graph: SSDLite, Faster R-CNN, Mask R-CNN.

Their graphs take one picture of RGB 0..1 and answer as many boxes as there are, in pixels of that picture. Theirs is
not to say how a camera frame becomes that picture: it is stretched here, as OpenCV does it, for both sides.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import torchvision
from record import Found, Picture, box_of, choose_score, rle_of, write
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import mobilenet_backbone
from waking import settle_norms, spread

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("scratch", "dent", "hole", "stain", "crack")
SIDE = 320
LOW_SCORE = 0.3
SEEDS = 10
WANTED_TOTAL = 40
"""Boxes at `LOW_SCORE` in all pictures together."""


def _ssdlite() -> torch.nn.Module:
    return detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=len(LABELS) + 1, score_thresh=LOW_SCORE, norm_layer=_norm()
    )


def _norm() -> Any:  # noqa: ANN401 - a constructor
    return partial(torch.nn.BatchNorm2d, eps=0.001)


def _rcnn(kind: type[torch.nn.Module]) -> torch.nn.Module:
    backbone = mobilenet_backbone("mobilenet_v3_large", weights=None, fpn=True, norm_layer=torch.nn.BatchNorm2d)
    sizes = ((32, 64, 128, 256, 512),) * 3
    anchors = detection.anchor_utils.AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
    return kind(
        backbone,
        num_classes=len(LABELS) + 1,
        rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_test=150,
        rpn_post_nms_top_n_test=150,
        box_score_thresh=LOW_SCORE,
        min_size=SIDE,
        max_size=SIDE,
    )


EXPORTS = {
    "torchvision-ssdlite": _ssdlite,
    "torchvision-fasterrcnn": partial(_rcnn, detection.FasterRCNN),
    "torchvision-maskrcnn": partial(_rcnn, detection.MaskRCNN),
}


def make(name: str, folder: Path, pictures: list[Picture]) -> None:
    """Build ``name`` of `EXPORTS` in ``folder`` and write what torchvision sees in ``pictures``."""
    batch = [_tensor(one) for one in pictures]
    for seed in range(1, SEEDS + 1):
        torch.manual_seed(seed)
        network = EXPORTS[name]().eval()
        _wake(network, batch)
        found = _see(network, batch, pictures)
        counts = [len(one) for one in found]
        if min(counts) >= 7 and max(counts) <= 6 * min(counts):  # noqa: PLR2004 - a rule of thumb
            break
    else:
        message = "no seed sees about as much in each picture"
        raise ValueError(message)
    score = choose_score(found)
    found = [[one for one in each if one["score"] > score] for each in found]
    _export(network, batch[0], folder / "model.onnx")
    settings = {"score": score, "resize": "cv2.resize to the size of the input, linear", "seed": seed}
    manifest = {
        "labels": ["background", *LABELS],
        "input": {"color": "RGB", "resize": "stretch", "scale": 255},
        "thresholds": {"score": score},
    }
    if "mask" in name:
        manifest |= {"task": "instance_segmentation", "decoder": "maskrcnn"}
    write(folder, "torchvision", torchvision.__version__, settings, manifest, list(zip(pictures, found, strict=True)))


def _tensor(picture: Picture) -> torch.Tensor:
    shown = cv2.cvtColor(cv2.resize(picture.pixels, (SIDE, SIDE)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(shown).permute(2, 0, 1).float() / 255


def _wake(network: torch.nn.Module, batch: list[torch.Tensor]) -> None:
    """Make ``network`` see something in ``batch``: see `waking`."""

    def forward() -> object:
        return network(batch)

    settle_norms(network, forward)
    if hasattr(network, "head"):
        classes = [one[-1] for one in network.head.classification_head.module_list]
        boxes = [one[-1] for one in network.head.regression_head.module_list]
    else:
        rpn = network.rpn.head
        spread([rpn.cls_logits], forward, std=1.5, mean=0.0)
        spread([rpn.bbox_pred], forward, std=0.3, mean=0.0)
        predictor = network.roi_heads.box_predictor
        classes, boxes = [predictor.cls_score], [predictor.bbox_pred]
    spread(boxes, forward, std=1.0, mean=0.0)
    spread(classes, forward, std=1.5, mean=0.0)
    _raise_background(classes, lambda: sum(len(one["scores"]) for one in network(batch)))
    if hasattr(network, "roi_heads") and network.roi_heads.has_mask():  # it sees what the boxes leave
        spread([network.roi_heads.mask_predictor.mask_fcn_logits], forward, std=2.0, mean=0.0)


def _raise_background(layers: list[torch.nn.Module], count: Any) -> None:  # noqa: ANN401 - counts the boxes
    """Shift the logit of class 0 until about `WANTED_TOTAL` boxes of other classes are left."""
    low, high = -5.0, 15.0
    at = 0.0
    with torch.no_grad():
        for _ in range(8):
            middle = (low + high) / 2
            for layer in layers:
                layer.bias[:: len(LABELS) + 1] += middle - at
            at = middle
            if count() > WANTED_TOTAL:
                low = middle
            else:
                high = middle


def _see(network: torch.nn.Module, batch: list[torch.Tensor], pictures: list[Picture]) -> list[Found]:
    with torch.no_grad():
        answers = network(batch)
    return [_found(answer, picture.pixels.shape) for answer, picture in zip(answers, pictures, strict=True)]


def _found(answer: dict[str, torch.Tensor], shape: tuple[int, ...]) -> Found:
    height, width = shape[:2]
    scale = np.array([width, height, width, height]) / SIDE
    found: Found = []
    for index, box in enumerate(answer["boxes"].double().numpy() * scale):
        label = int(answer["labels"][index])
        one = {"label": LABELS[label - 1], "id": label, "score": float(answer["scores"][index]), "box": box_of(box)}
        if "masks" in answer:
            soft = cv2.resize(answer["masks"][index, 0].numpy(), (width, height), interpolation=cv2.INTER_LINEAR)
            mask = soft > 0.5  # noqa: PLR2004 - what torchvision's documentation says
            one |= {"rle": rle_of(mask), "area": int(mask.sum())}
        found.append(one)
    return found


class _OnePicture(torch.nn.Module):
    """Takes (1, 3, height, width) as a camera's model does, and answers a plain tuple."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = self.network([picture[0]])[0]
        keys = ("boxes", "labels", "scores", "masks")  # the order in which torchvision's own export writes them
        return tuple(answer[key] for key in keys if key in answer)


def _export(network: torch.nn.Module, example: torch.Tensor, target: Path) -> None:
    keys = [
        "boxes",
        "labels",
        "scores",
        *(["masks"] if hasattr(network, "roi_heads") and network.roi_heads.has_mask() else []),
    ]
    torch.onnx.export(
        _OnePicture(network),
        (example[None],),
        target,
        dynamo=False,
        opset_version=17,
        input_names=["input"],
        output_names=keys,
        dynamic_axes={key: {0: "detections"} for key in keys},
    )
