"""RT-DETR of transformers (Apache-2.0), small and random, and its own postprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import torch
import transformers
from record import Found, Picture, choose_score, clipped, write
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
    RTDetrResNetConfig,
)
from waking import aim, settle_norms, spread

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("scratch", "dent", "hole", "stain", "crack")
SIDE = 320
QUERIES = 60
LOW_SCORE = 0.2
CANDIDATES = 40
_NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
_SMALL = {"num_queries": QUERIES, "d_model": 64, "decoder_layers": 2, "decoder_ffn_dim": 128}


def _rtdetr() -> torch.nn.Module:
    backbone = RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 48, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=[32, 48, 64],
        encoder_hidden_dim=64,
        encoder_ffn_dim=128,
        decoder_in_channels=[64, 64, 64],
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        anchor_image_size=[SIDE, SIDE],
        freeze_backbone_batch_norms=False,
        **_SMALL,
        **_NAMES,
    )
    return RTDetrForObjectDetection(config)


EXPORTS = {"transformers-rtdetr": (_rtdetr, RTDetrImageProcessor)}


def make(name: str, folder: Path, pictures: list[Picture]) -> None:
    """Build ``name`` of `EXPORTS` in ``folder`` and write what transformers sees in ``pictures``."""
    build, kind = EXPORTS[name]
    processor = kind()
    batch = torch.cat([_tensor(one, processor) for one in pictures])
    for seed in range(1, 40):
        torch.manual_seed(seed)
        network = build().eval()
        _wake(network, batch)
        found = _see(network, processor, batch, pictures, LOW_SCORE)
        counts = [len(one) for one in found]
        if min(counts) >= 6 and max(counts) <= 5 * min(counts):  # noqa: PLR2004 - a rule of thumb
            break
    else:
        message = "no seed sees about as much in each picture"
        raise ValueError(message)
    score = choose_score(found)
    found = _see(network, processor, batch, pictures, score)
    _export(network, batch[:1], folder / "model.onnx")
    has_mean = processor.do_normalize
    normal = {"mean": processor.image_mean, "std": processor.image_std} if has_mean else {}
    manifest = {
        "task": "detection",
        "decoder": "detr",
        "labels": list(LABELS),
        "input": {"color": "RGB", "resize": "stretch", "scale": 255, **normal},
        "thresholds": {"score": score},
        "output": {"activation": "sigmoid"},
    }
    settings = {"threshold": score, "resize": "cv2.resize to the size of the input, linear", "seed": seed}
    write(folder, "transformers", transformers.__version__, settings, manifest, list(zip(pictures, found, strict=True)))


def _tensor(picture: Picture, processor: Any) -> torch.Tensor:  # noqa: ANN401 - an image processor
    """Return (1, 3, height, width); the size is changed by OpenCV for both sides, all else is the processor's."""
    shown = cv2.cvtColor(cv2.resize(picture.pixels, (SIDE, SIDE)), cv2.COLOR_BGR2RGB)
    return processor(shown, do_resize=False, do_pad=False, return_tensors="pt")["pixel_values"]


def _wake(network: torch.nn.Module, batch: torch.Tensor) -> None:
    def forward() -> object:
        return network(pixel_values=batch)

    settle_norms(network, forward)
    decoder = network.model.decoder
    spread([network.model.enc_score_head], forward, std=1.0, mean=0.0)
    spread([one.layers[-1] for one in decoder.bbox_embed], forward, std=0.5, mean=0.0)
    aim([decoder.class_embed[-1]], forward, candidates=CANDIDATES)


def _see(
    network: torch.nn.Module,
    processor: Any,  # noqa: ANN401 - an image processor
    batch: torch.Tensor,
    pictures: list[Picture],
    score: float,
) -> list[Found]:
    with torch.no_grad():
        outputs = network(pixel_values=batch)
    sizes = [one.pixels.shape[:2] for one in pictures]
    answers = processor.post_process_object_detection(outputs, threshold=score, target_sizes=sizes)
    found = []
    for picture, answer in zip(pictures, answers, strict=True):
        rows = zip(answer["labels"].tolist(), answer["scores"].tolist(), answer["boxes"].double().tolist(), strict=True)
        boxes = [(index, value, clipped(corners, picture)) for index, value, corners in rows]
        found.append(
            [{"label": LABELS[index], "id": index, "score": value, "box": box} for index, value, box in boxes if box]
        )
    return found


class _Plain(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = self.network(pixel_values=pixel_values)
        return outputs.logits, outputs.pred_boxes


def _export(network: torch.nn.Module, example: torch.Tensor, target: Path) -> None:
    torch.onnx.export(
        _Plain(network),
        (example,),
        target,
        dynamo=False,
        opset_version=17,
        input_names=["pixel_values"],
        output_names=["logits", "pred_boxes"],  # as Optimum names them
    )
