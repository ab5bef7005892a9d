"""Anomalib 2: PaDiM and PatchCore with a small random backbone, fitted to real pictures and exported by itself."""

from __future__ import annotations

import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import onnx
import torch
from anomalib.models import Padim, Patchcore
from record import Found, Picture, rle_of, write

SIDE = 128
GOOD = ("opencv-doc/fruits.jpg", "opencv-doc/board.jpg")
"""Cut into tiles, these are what is usual."""
PICTURES = ("bus.jpg", "zidane.jpg", "opencv-doc/board.jpg", "opencv-doc/baboon.jpg")
_BACKBONE = {"backbone": "resnet18", "pre_trained": False}
EXPORTS = {
    "anomalib-padim": lambda: Padim(**_BACKBONE, layers=["layer1", "layer2"], n_features=20),
    "anomalib-patchcore": lambda: Patchcore(**_BACKBONE, layers=["layer2"], coreset_sampling_ratio=0.05),
}


def make(name: str, folder: Path, pictures: list[Picture]) -> None:
    """Build ``name`` of `EXPORTS` in ``folder`` and write what Anomalib sees in ``pictures``."""
    torch.manual_seed(1)
    model = EXPORTS[name]()
    model.pre_processor = model.configure_pre_processor((SIDE, SIDE))
    _fit(model, pictures)
    model.eval()
    with tempfile.TemporaryDirectory() as root:
        written = model.to_onnx(Path(root), input_size=(SIDE, SIDE))
        onnx.save(onnx.load(written), folder / "model.onnx")  # the weights are in a second file beside the first
    found = [_see(model, one) for one in pictures]
    manifest = {
        "task": "anomaly",
        "decoder": "anomalib",
        "labels": ["normal", "anomalous"],
        "input": {"color": "RGB", "resize": "stretch", "interpolation": "linear", "scale": 255},
    }
    settings = {"resize": "cv2.resize to the size of the input, linear"}
    write(folder, "anomalib", version("anomalib"), settings, manifest, list(zip(pictures, found, strict=True)))


def _tensor(pixels: Any) -> torch.Tensor:  # noqa: ANN401 - a BGR picture
    shown = cv2.cvtColor(cv2.resize(pixels, (SIDE, SIDE)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 255


def _fit(model: Any, pictures: list[Picture]) -> None:  # noqa: ANN401 - an Anomalib module
    """Fit to tiles of two of the pictures, and set the thresholds between what is usual and what is not."""
    usual = [one for one in pictures if any(one.file.endswith(name) for name in GOOD)] or pictures[:1]
    tiles = [
        one.pixels[y : y + 160, x : x + 160]
        for one in usual
        for y in range(0, one.pixels.shape[0] - 160, 80)
        for x in range(0, one.pixels.shape[1] - 160, 80)
    ]
    network = model.model
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the class has no public name
            module.momentum = None
            module.reset_running_stats()
    batch = model.pre_processor.transform(torch.cat([_tensor(one) for one in tiles[:16]]))
    with torch.no_grad():
        network.feature_extractor.train()
        network.feature_extractor(batch)
        network.feature_extractor.eval()
        network(batch)
        network.fit() if isinstance(model, Padim) else network.subsample_embedding(model.coreset_sampling_ratio)
    network.eval()
    _set_thresholds(model, pictures)


def _set_thresholds(model: Any, pictures: list[Picture]) -> None:  # noqa: ANN401 - an Anomalib module
    """Do by hand what validation does: least and greatest score, and a threshold between."""
    with torch.no_grad():
        raw = [model.model(model.pre_processor.transform(_tensor(one.pixels))) for one in pictures]
    scores = torch.stack([one.pred_score.reshape(()) for one in raw]).sort().values
    cells = torch.cat([one.anomaly_map.flatten() for one in raw])
    processor = model.post_processor
    processor._image_threshold = scores[: len(scores) // 2 + 1][-2:].mean()  # noqa: SLF001 - a buffer
    processor._pixel_threshold = cells.quantile(0.7)  # noqa: SLF001 - a buffer
    processor.image_min, processor.image_max = scores[0] * 0.9, scores[-1] * 1.1
    processor.pixel_min, processor.pixel_max = cells.min(), cells.max()


def _see(model: Any, picture: Picture) -> Found:  # noqa: ANN401 - an Anomalib module
    with torch.no_grad():
        answer = model(_tensor(picture.pixels))
    score, bad = float(answer.pred_score), bool(answer.pred_label)
    height, width = picture.pixels.shape[:2]
    mask = cv2.resize(answer.pred_mask[0].float().squeeze().numpy(), (width, height), interpolation=cv2.INTER_NEAREST)
    label = "anomalous" if bad else "normal"
    return [
        {
            "label": label,
            "score": score if bad else 1 - score,
            "picture": {"pred_score": score, "pred_label": bad, "pred_mask": rle_of(mask > 0.5)},  # noqa: PLR2004 - a mask
        }
    ]
