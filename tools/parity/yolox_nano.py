"""YOLOX (pixeltable-yolox, Apache-2.0): the head as its exporter writes it, raw and decoded, and its postprocessing."""

from __future__ import annotations

import copy
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from record import Found, Picture, choose, clipped, write
from waking import aim, settle_norms, spread
from yolox.config import YoloxConfig
from yolox.data.data_augment import ValTransform
from yolox.utils import postprocess

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("scratch", "dent", "hole", "stain", "crack")
SIZE = (320, 320)
LOW_SCORE = 0.25
CANDIDATES = 150

EXPORTS = {"yolox-nano": False, "yolox-nano-decoded": True}
"""Whether the grid and the strides are worked in by the graph (`--decode_in_inference` of YOLOX' exporter)."""


def make(name: str, folder: Path, pictures: list[Picture]) -> None:
    """Build ``name`` of `EXPORTS` in ``folder`` and write what YOLOX sees in ``pictures``."""
    transform = ValTransform(legacy=False)
    batch = torch.stack([torch.from_numpy(transform(one.pixels, None, SIZE)[0]) for one in pictures])
    network = _seeing(batch)
    score, iou = choose(lambda score, iou: _see(network, batch, pictures, score, iou), LOW_SCORE)
    found = _see(network, batch, pictures, score, iou)
    network.head.decode_in_inference = EXPORTS[name]
    torch.onnx.export(
        network,
        (batch[:1],),
        folder / "model.onnx",
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["output"],
    )
    manifest = {
        "task": "detection",
        "decoder": "yolov5" if EXPORTS[name] else "yolox",
        "labels": list(LABELS),
        "input": {"color": "BGR", "resize": "fit", "scale": 1, "pad": 114},
        "thresholds": {"score": score, "iou": iou},
    }
    settings = {"conf_thre": score, "nms_thre": iou, "test_size": SIZE}
    answers = list(zip(pictures, found, strict=True))
    write(folder, "pixeltable-yolox", version("pixeltable-yolox"), settings, manifest, answers)


def _seeing(batch: torch.Tensor) -> torch.nn.Module:
    """Return a network of the first seed that sees about as much in each picture."""
    for seed in range(1, 40):
        torch.manual_seed(seed)
        config = copy.deepcopy(YoloxConfig.get_named_config("yolox-nano"))
        config.num_classes = len(LABELS)
        network = config.get_model().eval()
        _wake(network, batch)
        with torch.no_grad():
            rows = network(batch)
        counts = (rows[..., 4] * rows[..., 5:].amax(-1) > LOW_SCORE).sum(1)
        if counts.min() >= 12 and counts.max() <= 5 * counts.min():  # noqa: PLR2004 - a rule of thumb
            return network
    message = "no seed sees about as much in each picture"
    raise ValueError(message)


def _wake(network: torch.nn.Module, batch: torch.Tensor) -> None:
    def forward() -> object:
        return network(batch)

    settle_norms(network, forward)
    spread(list(network.head.reg_preds), forward, std=0.5, mean=torch.tensor([0.0, 0.0, 1.2, 1.2]))
    spread(list(network.head.cls_preds), forward, std=1.5, mean=0.5)
    aim(list(network.head.obj_preds), forward, candidates=CANDIDATES)


def _see(
    network: torch.nn.Module, batch: torch.Tensor, pictures: list[Picture], score: float, iou: float
) -> list[Found]:
    with torch.no_grad():
        rows = network(batch)
    answers = postprocess(rows.clone(), len(LABELS), score, iou)
    found = []
    for picture, answer in zip(pictures, answers, strict=True):
        height, width = picture.pixels.shape[:2]
        ratio = min(SIZE[0] / height, SIZE[1] / width)
        seen: Found = []
        for row in [] if answer is None else answer.double().tolist():
            box = clipped([side / ratio for side in row[:4]], picture)
            if box:
                index = int(row[6])
                seen.append({"label": LABELS[index], "id": index, "score": row[4] * row[5], "box": box})
        found.append(seen)
    return found
