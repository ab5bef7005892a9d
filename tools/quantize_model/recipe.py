"""The ways to quantize that are tried one after the other, from the fastest model to the most careful one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

METHODS: Final = ("ort", "nncf", "nncf-ir")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to quantize.

    Attributes:
        method: `ort` and `nncf` write ONNX with QuantizeLinear and DequantizeLinear for both engines, by the quantizer
            of that name; `nncf-ir` writes an OpenVINO IR.
        head_in_float: whether the last convolutions or matrix products stay in float, and not only what is behind.
        first_in_float: whether the first one does.
        ranges: of activations: `minmax`, or `percentile`, which gives up outliers for finer steps.
        frames: calibration frames as a multiple of what was asked for.
        careful_bias: NNCF corrects biases layer by layer instead of all at once.
        smooth: NNCF's SmoothQuant, for transformers only.
    """

    method: str
    head_in_float: bool = False
    first_in_float: bool = False
    ranges: str = "minmax"
    frames: int = 1
    careful_bias: bool = False
    smooth: bool = True

    def __str__(self) -> str:
        """``ort, per channel, head in float, percentile ranges``."""
        words = [self.method, "per channel"]
        words += ["head in float"] if self.head_in_float else []
        words += ["first layer in float"] if self.first_in_float else []
        words += ["percentile ranges"] if self.ranges == "percentile" else []
        words += [f"{self.frames} x calibration frames"] if self.frames > 1 else []
        words += ["careful bias correction"] if self.careful_bias else []
        words += ["no SmoothQuant"] if not self.smooth else []
        return ", ".join(words)


def recipes(methods: tuple[str, ...], *, is_transformer: bool, has_more_frames: bool) -> list[Recipe]:
    """Return what to try, in order; every remedy is kept when the next is added.

    Args:
        methods: some of `METHODS`.
        is_transformer: whether SmoothQuant would be applied at all, so that leaving it out is a remedy.
        has_more_frames: whether there are calibration frames that were not used.
    """
    found = []
    for method in methods:
        one = Recipe(method)
        found.append(one)
        one = replace(one, head_in_float=True)
        found.append(one)
        if method != "ort" and is_transformer:
            found.append(replace(one, smooth=False))
        if has_more_frames:
            one = replace(one, frames=3)
            found.append(one)
        found.append(replace(one, ranges="percentile"))
        found.append(replace(one, careful_bias=True) if method != "ort" else replace(one, first_in_float=True))
    return found
