"""Pictures from directories, read as the product reads them, and turned into the very tensors it feeds to a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from edge_runtime.camera.environment import MAX_PIXELS_DEFAULT
from edge_runtime.camera.pictures import decode
from edge_runtime.core.errors import DataError
from edge_runtime.engine.preprocess import Preprocessor, TensorWriter, limit_cv2_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.engine.spec import InputSpec

T = TypeVar("T")

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp")


def find_pictures(root: Path, limit: int | None = None) -> list[Path]:
    """Return the pictures below ``root`` in the order of their paths, or ``limit`` of them spread evenly over it.

    Evenly, because evidence lies in folders by day and camera: the first hundred files would be one shift of one of
    them. The same tree gives the same choice.

    Raises:
        DataError: there is none, code ``quantize.no_pictures``.
    """
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        message = f"{root}: expected pictures ({', '.join(SUFFIXES)}) in it or in its folders, found none"
        raise DataError("quantize.no_pictures", message, help="give a directory with frames of the camera")
    return spread(found, limit)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """Return ``limit`` of the items at even distances, or all."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return the picture, (h, w, 3) BGR or (h, w) grey, decoded and checked as a camera file of the product is.

    Raises:
        DataError: it is no whole picture; the message names the file.
    """
    try:
        return decode(path.read_bytes(), MAX_PIXELS_DEFAULT)
    except DataError as error:
        raise DataError(error.code, f"{path}: {error.message}", help="remove or replace the file") from error


class TensorMaker:
    """Makes of a picture file the tensor that ONNX Runtime gets from the product; used by one thread."""

    def __init__(self, spec: InputSpec) -> None:
        """Follow ``spec``."""
        limit_cv2_threads()
        self._preprocessor, self._writer = Preprocessor(spec), TensorWriter(spec)
        self._canvas = np.zeros((*spec.size, spec.channels), np.uint8)

    def __call__(self, path: Path) -> NDArray[np.generic]:
        """Return a tensor of the shape and dtype of the spec; a fresh one each time, for quantizers keep them.

        Raises:
            DataError: see `read_picture`.
        """
        self._preprocessor.fill(read_picture(path), self._canvas)
        self._writer.write(self._canvas)
        return self._writer.tensor.copy()
