"""The detector: plain 3x3 convolutions with ReLU, which is what INT8 kernels do best.

Residual sums are taken after the ReLU, so every tensor that is quantized is >= 0 and uses the whole of U8. The decoded
boxes and the scores leave through one output but come from separate branches, so that they never share a scale.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

STRIDES: Final = (8, 16)


def _conv(inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """x + ReLU(conv(ReLU(conv(x)))): the sum of two tensors >= 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(channels, channels), _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x + self.body(x)  # type: ignore[no-any-return]


class _Head(nn.Module):
    """Boxes and scores of one stride, undecoded: (B, 4, H, W) and (B, classes, H, W)."""

    def __init__(self, inputs: int, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = _conv(inputs, channels)
        self.box = nn.Sequential(_conv(channels, channels), nn.Conv2d(channels, 4, 1))
        self.score = nn.Sequential(_conv(channels, channels), nn.Conv2d(channels, classes, 1))
        nn.init.constant_(self.score[-1].bias, -4.6)  # type: ignore[arg-type]  # prior of 1 %: arXiv 1708.02002

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, H, W) to raw boxes and logits."""
        x = self.stem(x)
        return self.box(x), self.score(x)


class Detector(nn.Module):
    """Anchor-free detector with outputs at strides 8 and 16 and context from stride 32."""

    def __init__(self, classes: int, widths: tuple[int, int, int, int, int] = (16, 32, 64, 96, 128)) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = widths
        self.classes = classes
        self.low = nn.Sequential(_conv(3, c1, stride=2), _conv(c1, c2, stride=2), _Residual(c2))
        self.mid = nn.Sequential(_conv(c2, c3, stride=2), _Residual(c3), _Residual(c3))
        self.high = nn.Sequential(_conv(c3, c4, stride=2), _Residual(c4), _Residual(c4))
        self.top = nn.Sequential(_conv(c4, c5, stride=2), _Residual(c5), _conv(c5, c4, kernel=1))
        self.merge_high = _conv(2 * c4, c4)
        self.to_mid = _conv(c4, c3, kernel=1)
        self.merge_mid = _conv(2 * c3, c3)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.heads = nn.ModuleList([_Head(c3, 64, classes), _Head(c4, 64, classes)])

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Undecoded boxes (B, 4, N) and logits (B, classes, N) of images (B, 3, H, W), values 0..1 RGB."""
        mid = self.mid(self.low(images))
        high = self.high(mid)
        high = self.merge_high(torch.cat([high, self.up(self.top(high))], dim=1))
        mid = self.merge_mid(torch.cat([mid, self.up(self.to_mid(high))], dim=1))
        pairs = [head(x) for head, x in zip(self.heads, (mid, high), strict=True)]
        boxes = torch.cat([box.flatten(2) for box, _ in pairs], dim=2)
        logits = torch.cat([score.flatten(2) for _, score in pairs], dim=2)
        return boxes, logits

    def forward(self, images: Tensor) -> Tensor:
        """`output0`, (B, 4 + classes, N): centre x, centre y, width, height in input pixels, then scores 0..1."""
        boxes, logits = self.raw(images)
        centres, strides = anchor_grid(images.shape[2], images.shape[3])
        return torch.cat([decode(boxes, centres, strides), logits.sigmoid()], dim=1)


def anchor_grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centres (2, N) of all cells in input pixels and their strides (N,)."""
    centres, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres.append((torch.stack([x.flatten(), y.flatten()]).float() + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centres, dim=1), torch.cat(strides)


def decode(boxes: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Undecoded boxes (B, 4, N) to centre x, centre y, width, height in input pixels."""
    middle = centres + boxes[:, :2] * strides
    size = torch.exp(boxes[:, 2:].clamp(-5.0, 5.0)) * strides
    return torch.cat([middle, size], dim=1)
