"""Train the detector on the CPU: bfloat16 arithmetic, cosine learning rate, moving average of the weights."""

from __future__ import annotations

import copy
import logging
import math
import time
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from surface_defects.loss import detection_loss
from surface_defects.network import Detector, anchor_grid
from surface_defects.scene import LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from surface_defects.dataset import Dataset

_BATCH: Final = 16
_PEAK_RATE: Final = 2.5e-3
_WARM_UP_STEPS: Final = 120
_MIRROR_ODDS: Final = 0.5

logger = logging.getLogger(__name__)


class _Average:
    """Exponential moving average of weights and statistics; the averaged network is the product."""

    def __init__(self, network: Detector, decay: float = 0.998) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self, network: Detector) -> None:
        """Move towards the present weights; faster in the beginning."""
        self._steps += 1
        decay = self._decay * (1 - math.exp(-self._steps / 400))
        for mean, value in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)


def _augment(
    image: NDArray[np.uint8], target: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Mirror left to right, change brightness, contrast and tint of (H, W, 3) uint8.

    Pictures are not turned upside down: the light comes from above, and that is how a dent is told from a bump.
    """
    target = target.copy()
    if rng.random() < _MIRROR_ODDS:
        image = image[:, ::-1]
        target[:, [1, 3]] = image.shape[1] - target[:, [3, 1]]
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.96, 1.04, (1, 3))
    curve = np.arange(256)[:, None] * gain + rng.uniform(-8, 8)
    table = np.clip(np.round(curve), 0, 255).astype(np.uint8)[:, None]
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), table.reshape(1, 256, 3)), np.uint8), target


def _batch(data: Dataset, chosen: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
    pairs = [_augment(data.images[i], data.targets[i], rng) for i in chosen]
    # (B, H, W, 3) seen as (B, 3, H, W) is already in the layout called channels last
    images = torch.from_numpy(np.stack([p[0] for p in pairs])).permute(0, 3, 1, 2)
    return images.float() / 255, [torch.from_numpy(p[1]) for p in pairs]


def _optimizer(network: nn.Module) -> torch.optim.AdamW:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": free, "weight_decay": 0.0}])


def train(
    data: Dataset, *, epochs: int, seed: int, threads: int, checkpoint: Path, budget_s: float = math.inf
) -> Detector:
    """Train a detector and write its averaged weights to `checkpoint` after every epoch.

    Args:
        data: Training images.
        epochs: Passes over the data; the learning rate falls to nothing over them.
        seed: Seed of weights, order and augmentation.
        threads: Threads of torch.
        checkpoint: File for the state dict.
        budget_s: Fail if the training would take longer than this.

    Raises:
        RuntimeError: The loss is no longer finite, or the time budget is exhausted.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    rng = np.random.default_rng([seed, 11])
    network = Detector(len(LABELS)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average, optimizer = _Average(network), _optimizer(network)
    centres, strides = anchor_grid(data.images.shape[1], data.images.shape[2])
    steps_per_epoch = len(data.images) // _BATCH
    total, step, started = epochs * steps_per_epoch, 0, time.monotonic()
    for epoch in range(epochs):
        order, costs = rng.permutation(len(data.images)), np.zeros(2)
        for first in range(0, steps_per_epoch * _BATCH, _BATCH):
            rate = _PEAK_RATE * min(1.0, (step + 1) / _WARM_UP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * step / total))
            for group in optimizer.param_groups:
                group["lr"] = max(rate, 2e-5)
            images, targets = _batch(data, order[first : first + _BATCH], rng)
            with torch.autocast("cpu", torch.bfloat16):
                boxes, logits = network.raw(images)
            score_cost, box_cost = detection_loss(boxes.float(), logits.float(), targets, centres, strides)
            optimizer.zero_grad(set_to_none=True)
            (score_cost + box_cost).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            average.update(network)
            costs += (score_cost.item(), box_cost.item())
            step += 1
        costs /= steps_per_epoch
        elapsed = time.monotonic() - started
        logger.info("epoch %d/%d score %.4f box %.4f, %.0f s", epoch + 1, epochs, costs[0], costs[1], elapsed)
        if not np.isfinite(costs).all() or elapsed > budget_s:
            message = f"training stopped in epoch {epoch + 1}: costs {costs.tolist()}, {elapsed:.0f} s"
            raise RuntimeError(message)
        torch.save(average.network.state_dict(), checkpoint)
    return average.network


def load_weights(checkpoint: Path) -> Detector:
    """The detector with the weights of a checkpoint, ready for export."""
    network = Detector(len(LABELS))
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    return network.eval()
