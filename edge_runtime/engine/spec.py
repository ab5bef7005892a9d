"""The complete description a model runs by: every value known, whatever it was read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


WHOLE_DTYPES: Final = ("uint8", "int32")
"""Element types of inputs that take pixels as they are."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a frame becomes the input tensor; see `core.manifest.InputFields` for the words.

    Attributes:
        name: of the input tensor.
        dtype: element type the model file declares: `float32`, `float16`, `uint8` or `int32`.
        size: height, width in pixels.
        mean: per channel of the model's colour order, after division by ``scale``; 1 number for grey.
        std: likewise.
        fit: `fixed`, or how the size follows from each frame (see `engine.sizes`); ``size`` is then the first one.
    """

    name: str
    dtype: str
    layout: str
    color: str
    size: tuple[int, int]
    resize: str
    interpolation: str
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    pad: int
    fit: str = "fixed"

    @property
    def channels(self) -> int:
        """1 for grey, else 3."""
        return 1 if self.color == "GRAY" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the input tensor, one picture."""
        height, width = self.size
        return (1, self.channels, height, width) if self.layout == "NCHW" else (1, height, width, self.channels)

    @property
    def pixel_mean(self) -> tuple[float, ...]:
        """Mean in pixel units, one per channel: ``tensor = (pixel - pixel_mean) / pixel_std``."""
        return tuple(value * self.scale for value in self._each(self.mean))

    @property
    def pixel_std(self) -> tuple[float, ...]:
        """Divisor in pixel units, one per channel."""
        return tuple(value * self.scale for value in self._each(self.std))

    @property
    def is_whole(self) -> bool:
        """Whether the tensor is of whole numbers, which can only be the pixels themselves."""
        return self.dtype in WHOLE_DTYPES

    @property
    def is_raw(self) -> bool:
        """Whether the tensor holds the pixels as they are."""
        return set(self.pixel_mean) == {0.0} and set(self.pixel_std) == {1.0}

    def _each(self, values: tuple[float, ...]) -> tuple[float, ...]:
        return values if len(values) == self.channels else values * self.channels


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """How the answer is written; see `core.manifest.OutputFields` for the words.

    Attributes:
        name: of the output, or ``None`` (the one that fits).
        names: of the outputs a decoder names otherwise, by its word for each; what is not in it is told by its shape.
    """

    name: str | None = None
    boxes: str = "xyxy"
    normalized: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    activation: str = "none"
    background: str = "none"
    keypoints: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    parents: Mapping[str, str] = field(default_factory=dict)
    image_threshold: float | None = None
    pixel_threshold: float | None = None
    normalization_scale: float = 1.0
    characters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ThresholdSpec:
    """What the decoder keeps: scores from ``score``, boxes overlapping less than ``iou`` (1 = all), at most so many."""

    score: float
    iou: float
    max_predictions: int
    by_label: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything needed to run a model and read its answers."""

    task: str
    decoder: str
    input: InputSpec
    output: OutputSpec
    labels: tuple[str, ...]
    thresholds: ThresholdSpec
