"""Which cell answers for which defect, and what a wrong answer costs.

Assignment is task-aligned (TOOD, arXiv 2108.07755): the cells whose score and box fit a defect best learn it. The score
learns how well the box fits (binary cross entropy), the box learns by CIoU (arXiv 1911.08287).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from surface_defects.network import decode

_TOP_CELLS: Final = 9
_SCORE_POWER: Final = 0.5
_OVERLAP_POWER: Final = 4.0
_BOX_WEIGHT: Final = 5.0
_EPSILON: Final = 1e-7


def to_corners(boxes: Tensor) -> Tensor:
    """Centre and size, (..., 4), to left, top, right, bottom."""
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU of corner boxes, broadcast over the leading axes."""
    wide_high = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    shared = wide_high.prod(dim=-1)
    area_a, area_b = (a[..., 2:] - a[..., :2]).prod(dim=-1), (b[..., 2:] - b[..., :2]).prod(dim=-1)
    return shared / (area_a + area_b - shared + _EPSILON)


def complete_overlap(a: Tensor, b: Tensor) -> Tensor:
    """CIoU of corner boxes (K, 4): IoU less the distance of the centres and the difference of the shapes."""
    iou = overlap(a, b)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    gap = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    distance = gap.square().sum(dim=1) / (hull.square().sum(dim=1) + _EPSILON)
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    turn = torch.atan(size_b[:, 0] / (size_b[:, 1] + _EPSILON)) - torch.atan(size_a[:, 0] / (size_a[:, 1] + _EPSILON))
    shape = 4 / math.pi**2 * turn.square()
    with torch.no_grad():
        weight = shape / (1 - iou + shape + _EPSILON)
    return iou - distance - weight * shape


def _assign(
    scores: Tensor, corners: Tensor, target: Tensor, centres: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For one image: the cells that learn, the defect each learns, and the score it should give.

    Args:
        scores: (classes, N) present scores.
        corners: (N, 4) present boxes.
        target: (K, 5) label and corners.
        centres: (2, N) cell centres.
        strides: (N,) cell strides.
    """
    labels, truth = target[:, 0].long(), target[:, 1:]
    x, y = centres[0][None], centres[1][None]
    middle = (truth[:, :2] + truth[:, 2:]) / 2
    reach = torch.maximum((truth[:, 2:] - truth[:, :2])[:, :, None] / 2, strides[None, None] * 0.75)
    near = ((x - middle[:, :1]).abs() < reach[:, 0]) & ((y - middle[:, 1:]).abs() < reach[:, 1])
    fit = overlap(truth[:, None], corners[None]).clamp(min=0)
    aligned = scores[labels].clamp(min=1e-4) ** _SCORE_POWER * (fit + 1e-3) ** _OVERLAP_POWER * near
    best = aligned.topk(_TOP_CELLS, dim=1)
    chosen = torch.zeros_like(aligned, dtype=torch.bool).scatter_(1, best.indices, best.values > 0)
    fit_of_chosen = torch.where(chosen, fit + 1e-3, torch.zeros_like(fit))
    owner = fit_of_chosen.argmax(dim=0)
    cells = chosen.any(dim=0).nonzero()[:, 0]
    owner = owner[cells]
    won = torch.zeros_like(chosen)
    won[owner, cells] = True
    kept = torch.where(won, aligned, torch.zeros_like(aligned))
    ceiling = (fit * won).amax(dim=1, keepdim=True)
    quality = (kept / (kept.amax(dim=1, keepdim=True) + 1e-12) * ceiling)[owner, cells]
    return cells, owner, quality


def detection_loss(
    boxes: Tensor, logits: Tensor, targets: list[Tensor], centres: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor]:
    """Cost of the scores and cost of the boxes of a batch.

    Args:
        boxes: (B, 4, N) undecoded boxes.
        logits: (B, classes, N).
        targets: Per image (K, 5): label, left, top, right, bottom in input pixels.
        centres: (2, N) cell centres.
        strides: (N,) cell strides.
    """
    corners = to_corners(decode(boxes, centres, strides).transpose(1, 2))
    wanted = torch.zeros_like(logits)
    found, truth, weights = [], [], []
    with torch.no_grad():
        scores = logits.sigmoid()
        choices = [
            _assign(scores[i], corners[i], target, centres, strides) if len(target) else None
            for i, target in enumerate(targets)
        ]
    for i, choice in enumerate(choices):
        if choice is None:
            continue
        cells, owner, quality = choice
        wanted[i, targets[i][owner, 0].long(), cells] = quality
        found.append(corners[i][cells])
        truth.append(targets[i][owner, 1:])
        weights.append(quality)
    total = wanted.sum().clamp(min=1.0)
    score_cost = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / total
    if not found:
        return score_cost, boxes.sum() * 0
    weight = torch.cat(weights).clamp(min=0.05)
    box_cost = ((1 - complete_overlap(torch.cat(found), torch.cat(truth))) * weight).sum() / total
    return score_cost, _BOX_WEIGHT * box_cost
