"""YOLOv5 as it was before Ultralytics 8: anchors, an objectness of its own, (1, boxes, 5 + classes).

The package `yolov5` (GPL-3.0) is installed by whoever runs this, and called; nothing of it is in this repository.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
import yolov5
from record import Found, Picture, box_of, choose, write
from waking import aim, settle_norms, spread
from yolov5.models.yolo import Detect, DetectionModel
from yolov5.utils.augmentations import letterbox
from yolov5.utils.general import non_max_suppression, scale_boxes

LABELS = ("scratch", "dent", "hole", "stain", "crack")
SIDE = 320
LOW_SCORE = 0.25
CANDIDATES = 200
EXPORTS = {"yolov5n-classic": "yolov5n.yaml"}


def make(name: str, folder: Path, pictures: list[Picture]) -> None:
    """Build ``name`` of `EXPORTS` in ``folder`` and write what YOLOv5 sees in ``pictures``."""
    shown = [cv2.cvtColor(letterbox(one.pixels, SIDE, auto=False)[0], cv2.COLOR_BGR2RGB) for one in pictures]
    batch = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255
    network = _seeing(name, batch)
    score, iou = choose(lambda score, iou: _see(network, batch, pictures, score, iou), LOW_SCORE)
    found = _see(network, batch, pictures, score, iou)
    head = network.model[-1]
    head.inplace, head.dynamic, head.export = True, False, True
    network(batch[:1])
    _export(network, batch[:1], folder / "model.onnx")
    manifest = {"thresholds": {"score": score, "iou": iou}}
    settings = {"conf_thres": score, "iou_thres": iou, "imgsz": SIDE}
    answers = list(zip(pictures, found, strict=True))
    write(folder, "yolov5", version("yolov5"), settings, manifest, answers, tells_itself=True)


def _seeing(name: str, batch: torch.Tensor) -> torch.nn.Module:
    """Return a network of the first seed that sees about as much in each picture."""
    for seed in range(1, 40):
        torch.manual_seed(seed)
        config = Path(yolov5.__file__).parent / "models" / EXPORTS[name]
        network = DetectionModel(str(config), ch=3, nc=len(LABELS)).eval()
        network.names = dict(enumerate(LABELS))
        _wake(network, batch)
        with torch.no_grad():
            rows = network(batch)[0]
        counts = (rows[..., 4] * rows[..., 5:].amax(-1) > LOW_SCORE).sum(1)
        if counts.min() >= 12 and counts.max() <= 5 * counts.min():  # noqa: PLR2004 - a rule of thumb
            return network.fuse()
    message = "no seed sees about as much in each picture"
    raise ValueError(message)


def _wake(network: torch.nn.Module, batch: torch.Tensor) -> None:
    """Make ``network`` see something: each layer's channels are, for each anchor, x y w h, objectness, classes."""

    def forward() -> object:
        return network(batch)

    settle_norms(network, forward)
    head = network.model[-1]
    if not isinstance(head, Detect):
        message = f"the last layer is {type(head).__name__}, not Detect"
        raise TypeError(message)
    layers = list(head.m)
    spread(layers, forward, std=1.0, mean=0.0)
    outputs = 5 + len(LABELS)
    with torch.no_grad():
        for layer in layers:
            weight, bias = layer.weight.view(head.na, outputs, -1), layer.bias.view(head.na, outputs)
            weight[:, :4] *= 0.25  # sides are (2 sigmoid)**2 of their anchor's: a wide spread leaves nothing of some
            bias[:, :4] *= 0.25
            weight[:, 5:] *= 1.5
            bias[:, 5:] += 0.5
    aim(layers, forward, candidates=CANDIDATES, channels=slice(4, None, outputs))


def _see(
    network: torch.nn.Module, batch: torch.Tensor, pictures: list[Picture], score: float, iou: float
) -> list[Found]:
    with torch.no_grad():
        rows = network(batch)[0]
    found = []
    for picture, answer in zip(pictures, non_max_suppression(rows, score, iou), strict=True):
        answer[:, :4] = scale_boxes((SIDE, SIDE), answer[:, :4], picture.pixels.shape)
        found.append(
            [
                {"label": LABELS[int(row[5])], "id": int(row[5]), "score": row[4], "box": box_of(row[:4])}
                for row in answer.double().tolist()
            ]
        )
    return found


def _export(network: torch.nn.Module, example: torch.Tensor, target: Path) -> None:
    """Write what `yolov5.export.export_onnx` writes; it asks for an exporter of PyTorch that cannot do this network."""
    torch.onnx.export(
        network,
        (example,),
        target,
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["output0"],
    )
    model = onnx.load(target)
    onnx.helper.set_model_props(model, {"stride": str(int(max(network.stride))), "names": str(network.names)})
    onnx.save(model, target)
