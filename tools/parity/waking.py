"""Random networks that see something: weights that were never trained, spread so that real pictures give detections.

A freshly initialised detector answers the same faint number everywhere: its activations fade from layer to layer and
its last layer starts with a bias against everything. Two steps change that without any training. `settle_norms` gives
every BatchNorm the statistics of real pictures, so that activations keep their size. `spread` rescales the last layers
of a head so that what they answer about those pictures has a chosen mean and spread, `aim` lets the class scores of a
chosen number of candidates fill the range of a useful detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEPT_LOGIT, TOP_LOGIT = -0.7, 3.0
"""Scores of the candidates go from 0.33 to 0.95."""
_ALL = slice(None)


def settle_norms(model: nn.Module, forward: Callable[[], object]) -> None:
    """Set the running statistics of every BatchNorm in ``model`` to those of the batch that ``forward`` sends through.

    Layers are settled together from one pass in which each normalises by its own batch already.
    """
    norms = [one for one in model.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001 - the class has no public name
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average of what was seen
        norm.train()
    with torch.no_grad():
        forward()
    model.eval()


def spread(
    layers: Sequence[nn.Module], forward: Callable[[], object], *, std: float, mean: float | torch.Tensor
) -> None:
    """Rescale each of ``layers`` so that each channel of its answers has this ``std`` and ``mean`` over the batch.

    Args:
        layers: convolutions or linear layers with a bias, the last of their branch.
        forward: sends the batch through the model.
        std: standard deviation over pictures and places.
        mean: one number, or one per channel.
    """
    for layer, values in _answers(layers, forward).items():
        factor = std / values.std(dim=1).clamp_min(1e-6)
        _rescale(layer, factor, mean - values.mean(dim=1) * factor)


def aim(layers: Sequence[nn.Module], forward: Callable[[], object], *, candidates: int, channels: slice = _ALL) -> None:
    """Spread the logits of ``layers``; the best ``candidates`` places reach `KEPT_LOGIT`, the best of all `TOP_LOGIT`.

    Args:
        layers: one per level of the head.
        forward: sends the batch through the model.
        candidates: in the whole batch; the suppression leaves some of them.
        channels: which of a layer's are logits that decide; a place is each of these at each point.
    """
    if channels == _ALL:
        spread(layers, forward, std=1.0, mean=0.0)
        best = [values.amax(0) for values in _answers(layers, forward).values()]
    else:
        best = [values[channels].flatten() for values in _answers(layers, forward).values()]
    ranked = torch.cat(best).sort(descending=True).values
    top, kept = ranked[0], ranked[min(candidates, len(ranked) - 1)]
    for layer in layers:
        factor, shift = torch.ones_like(layer.bias), torch.zeros_like(layer.bias)
        factor[channels] = (TOP_LOGIT - KEPT_LOGIT) / (top - kept)
        shift[channels] = KEPT_LOGIT - kept * factor[channels]
        _rescale(layer, factor, shift)


def _rescale(layer: nn.Module, factor: torch.Tensor, shift: torch.Tensor | float) -> None:
    """Make ``layer`` answer ``factor * answer + shift``, per channel."""
    with torch.no_grad():
        layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
        layer.bias.mul_(factor).add_(shift)


def _answers(layers: Sequence[nn.Module], forward: Callable[[], object]) -> dict[nn.Module, torch.Tensor]:
    """Return what each layer answers, (channels, n), over pictures and places."""
    seen: dict[nn.Module, torch.Tensor] = {}

    def note(layer: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        channels = 1 if isinstance(layer, nn.Conv2d) else output.ndim - 1
        seen[layer] = output.movedim(channels, 0).flatten(1)

    handles = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        forward()
    for handle in handles:
        handle.remove()
    return seen
