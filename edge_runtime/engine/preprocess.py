"""From a camera frame to the input of a model: resize into the request's own canvas, nothing else is copied.

The canvas is uint8 (H, W, C), BGR or grey like the frames themselves. What follows (colour order, mean, scale, planes)
is done by OpenVINO inside the graph, and for ONNX Runtime by `TensorWriter` into one preallocated tensor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.engine.postprocess import Transform
from edge_runtime.engine.resample import FILTERS, AntialiasResizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.engine.spec import InputSpec

_INTERPOLATION: Final = {
    "linear": cv2.INTER_LINEAR,
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
}

_HAIR: Final = 1e-6


def limit_cv2_threads() -> None:
    """Keep OpenCV to the thread that calls it: its pool would take the cores of the running inference."""
    cv2.setNumThreads(1)


def check_frame(frame: object) -> None:
    """Refuse what is no picture of a camera: (H, W), (H, W, 1) or (H, W, 3), uint8, rows without gaps.

    Raises:
        DataError: code ``frame.invalid``.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        kind = frame.dtype if isinstance(frame, np.ndarray) else type(frame).__name__
        raise DataError("frame.invalid", f"expected pixels of uint8, found {kind}", help="convert the picture to 8 bit")
    channels = 1 if frame.ndim == 2 else frame.shape[-1]  # noqa: PLR2004 - axes
    if frame.ndim not in (2, 3) or channels not in (1, 3) or 0 in frame.shape:
        message = f"expected (height, width, 1 or 3), found {frame.shape}"
        raise DataError("frame.invalid", message, help="use grey or BGR pictures")
    if not frame.flags.c_contiguous:
        raise DataError("frame.invalid", "the rows of the picture are not contiguous", help="copy it first")


class Preprocessor:
    """Writes frames onto one canvas; used by one thread, bound to the canvas it is called with first."""

    def __init__(self, spec: InputSpec) -> None:
        """Follow ``spec``; geometry is worked out when the frame size changes."""
        self._spec = spec
        self._interpolation = _INTERPOLATION.get(spec.interpolation)
        self._antialias: AntialiasResizer | None = None  # instead of OpenCV's interpolation
        self._transform = Transform(0, 0, 0, 0, 0, 0)
        self._region = (slice(0), slice(0))  # of the canvas, covered by the picture
        self._source = (slice(0), slice(0))  # of the frame, seen by the model
        self._every = 0  # the picture consists of every 3rd, 5th ... pixel of the frame; 0 = of mixtures
        self._scratch: NDArray[np.uint8] | None = None

    def fill(self, frame: NDArray[np.uint8], canvas: NDArray[np.uint8]) -> Transform:
        """Draw ``frame`` (see `check_frame`) onto ``canvas`` and return how pixels moved.

        Raises:
            DataError: code ``frame.invalid``.
        """
        check_frame(frame)
        height, width = frame.shape[:2]
        if (self._transform.width, self._transform.height) != (width, height):
            self._fit(width, height)
            canvas.fill(self._spec.pad)
        target = canvas[self._region]
        source = frame[self._source]
        if source.ndim == 3 and source.shape[2] == 1:  # noqa: PLR2004 - axes
            source = source[:, :, 0]
        channels = 1 if source.ndim == 2 else 3  # noqa: PLR2004 - axes
        if channels == self._spec.channels:
            self._resize(source, target[:, :, 0] if channels == 1 else target)
            return self._transform
        scratch = self._resize(source, self._scratch_like(target.shape[:2], channels))
        if channels == 1:
            target[...] = scratch[:, :, None]
        else:
            target[:, :, 0] = cv2.cvtColor(scratch, cv2.COLOR_BGR2GRAY)
        return self._transform

    def _resize(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._antialias is not None:
            self._antialias.resize(source, target)
            return target
        height, width = target.shape[:2]
        if self._every:
            middle = self._every // 2
            step = 1 / self._every
            made = cv2.resize(
                source[middle:, middle:], None, dst=target, fx=step, fy=step, interpolation=cv2.INTER_NEAREST
            )
        else:
            made = cv2.resize(source, (width, height), dst=target, interpolation=self._interpolation or 0)
        if made.ctypes.data != target.ctypes.data:  # OpenCV returns a new array when it does not like the given one
            target[...] = made
        return target

    def _scratch_like(self, size: tuple[int, ...], channels: int) -> NDArray[np.uint8]:
        shape = size if channels == 1 else (*size, channels)
        if self._scratch is None or self._scratch.shape != shape:
            self._scratch = np.empty(shape, np.uint8)
        return self._scratch

    def _fit(self, width: int, height: int) -> None:
        spec = self._spec
        if spec.resize == "crop" and spec.interpolation in FILTERS:
            self._fit_torchvision(width, height)
            return
        rows, columns = spec.size
        x = y = 0
        source_x = source_y = 0
        seen_w, seen_h = width, height
        new_w, new_h = columns, rows
        if spec.resize in ("letterbox", "fit"):
            ratio = min(columns / width, rows / height)
            new_w, new_h = max(1, round(width * ratio)), max(1, round(height * ratio))
            if spec.resize == "letterbox":
                # the odd pixel goes to the right and bottom, as Ultralytics' LetterBox does
                x, y = round((columns - new_w) / 2 - 0.1), round((rows - new_h) / 2 - 0.1)
        elif spec.resize == "line":
            # PaddleOCR's resize_norm_img: the width is rounded up, never beyond the input
            new_w = min(columns, math.ceil(width * rows / height))
        elif spec.resize == "crop":
            ratio = max(columns / width, rows / height) / spec.crop
            seen_w, seen_h = max(1, round(columns / ratio)), max(1, round(rows / ratio))
            source_x, source_y = (width - seen_w) // 2, (height - seen_h) // 2
        scale_x, scale_y = new_w / seen_w, new_h / seen_h
        self._every = _odd_step(seen_w, new_w) if _odd_step(seen_w, new_w) == _odd_step(seen_h, new_h) else 0
        if self._interpolation != cv2.INTER_LINEAR:
            self._every = 0
        self._region = (slice(y, y + new_h), slice(x, x + new_w))
        self._source = (slice(source_y, source_y + seen_h), slice(source_x, source_x + seen_w))
        self._transform = Transform(scale_x, scale_y, x - source_x * scale_x, y - source_y * scale_y, width, height)
        if spec.interpolation in FILTERS:
            whole = (0, 0, width, height)
            self._antialias = AntialiasResizer((height, width), (new_h, new_w), whole, FILTERS[spec.interpolation])

    def _fit_torchvision(self, width: int, height: int) -> None:
        """Show what `Resize` of the shorter side and `CenterCrop` of torchvision show, to a fraction of a pixel."""
        rows, columns = self._spec.size
        ratio = max(columns / width, rows / height) / self._spec.crop
        # the longer side is cut to a whole number; a hair more, or a side that fits would lose its last pixel
        full_w, full_h = max(columns, int(width * ratio + _HAIR)), max(rows, int(height * ratio + _HAIR))
        left, top = round((full_w - columns) / 2), round((full_h - rows) / 2)
        scale_x, scale_y = full_w / width, full_h / height
        self._region = (slice(0, rows), slice(0, columns))
        self._source = (slice(0, height), slice(0, width))
        self._transform = Transform(scale_x, scale_y, -left, -top, width, height)
        window = (left / scale_x, top / scale_y, columns / scale_x, rows / scale_y)
        self._antialias = AntialiasResizer((height, width), (rows, columns), window, FILTERS[self._spec.interpolation])


def _odd_step(seen: int, new: int) -> int:
    """Return 3, 5, 7 ... when linear interpolation of ``seen`` pixels to ``new`` takes the middle one of so many each.

    Pixel i of the result lies at (i + 0.5) * step - 0.5 of the frame, which is whole when the step is odd: nothing is
    mixed, and copying those pixels is twice as fast (1920 x 1080 to 640 x 360: 0.65 -> 0.3 ms).
    """
    step, rest = divmod(seen, new)
    return step if rest == 0 and step % 2 == 1 and step > 1 else 0


class TensorWriter:
    """Turns a canvas into the float (or whole number) tensor of a model, into memory that is allocated once."""

    def __init__(self, spec: InputSpec) -> None:
        """Prepare the tensor of one request."""
        self.tensor: NDArray[np.generic] = np.zeros(spec.shape, spec.dtype)
        self._raw = spec.is_whole
        planar = spec.layout == "NCHW"
        order = (2, 1, 0) if spec.color == "RGB" else (0, 1, 2)
        self._pixels = [np.empty(spec.size, np.uint8) for _ in range(spec.channels)]
        self._planes = [
            (
                self._pixels[channel],
                self.tensor[0, index] if planar else self.tensor[0, :, :, index],
                np.float32(mean),
                np.float32(1 / std),
            )
            for index, (channel, mean, std) in enumerate(
                zip(order[: spec.channels], spec.pixel_mean, spec.pixel_std, strict=True)
            )
        ]

    def write(self, canvas: NDArray[np.uint8]) -> None:
        """Fill `tensor` from the (H, W, C) canvas: channel order, ``(pixel - mean) / std``, layout."""
        cv2.split(canvas, self._pixels)  # 0.64 -> 0.36 ms at 640 x 640 against reading every third byte
        for pixels, plane, mean, factor in self._planes:
            if self._raw:
                np.copyto(plane, pixels)
            elif mean:
                np.subtract(pixels, mean, out=plane, casting="same_kind")
                np.multiply(plane, factor, out=plane)
            else:
                np.multiply(pixels, factor, out=plane, casting="same_kind")
