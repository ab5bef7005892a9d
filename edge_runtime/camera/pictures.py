"""Pictures from files: safe decoding of one, and the sources ``images:DIRECTORY`` and an explicit list of files.

What a picture becomes: (h, w, 3) BGR or (h, w) grey, uint8. The EXIF rotation is applied, CMYK and YCCK JPEG are
converted, transparency is dropped, 16-bit values are divided by 257 so that 65535 becomes 255. Of a TIFF with several
pages the first one counts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

import edge_runtime.camera.environment  # noqa: F401 - before cv2, which reads its limits when it is loaded

import cv2  # isort: skip

from edge_runtime.camera.environment import MAX_PIXELS_DEFAULT
from edge_runtime.camera.picture_header import bad_picture, check_complete, read_header
from edge_runtime.camera.source import Arrival, Nature, Nothing, Pixels, Shape
from edge_runtime.core.errors import ConfigError, PermissionDeniedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
FILE_BYTES_MAX: Final = 256 << 20
_SIXTEEN_TO_EIGHT: Final = 257
_FLAGS: Final = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH


def decode(data: bytes, max_pixels: int) -> Pixels:
    """Return the picture in ``data``, (h, w, 3) BGR or (h, w) grey, uint8, C-contiguous.

    Raises:
        DataError: it is not a whole picture, not of an accepted format, or has more than ``max_pixels`` pixels.
    """
    header = read_header(data)
    if header.format == "gif":
        raise bad_picture("GIF is not accepted, expected JPEG, PNG, BMP, TIFF or WebP")
    if header.width * header.height > max_pixels:
        raise bad_picture(f"{header.width} x {header.height} pixels are more than the {max_pixels} allowed")
    check_complete(data, header)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as error:
        message = f"the {header.format} decoder refused it ({error.err or error.msg})"
        raise bad_picture(message) from error
    if image is None:
        raise bad_picture(f"the {header.format} data is damaged")
    return _as_uint8(image)


def _as_uint8(image: np.ndarray) -> Pixels:
    if image.dtype == np.uint16:
        image = (image // _SIXTEEN_TO_EIGHT).astype(np.uint8)
    if image.dtype != np.uint8:
        raise bad_picture(f"pixels are {image.dtype}, expected 8 or 16 bit whole numbers")
    return np.ascontiguousarray(image)


def read_file(path: Path) -> bytes:
    """Return the whole content of a regular file of at most ``FILE_BYTES_MAX`` bytes.

    Raises:
        DataError: missing, unreadable, not a regular file, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not block
        with open(descriptor, "rb") as file:  # noqa: PTH123 - Path.open takes no descriptor
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise bad_picture("it is not a regular file")
            if status.st_size > FILE_BYTES_MAX:
                raise bad_picture(f"the file has {status.st_size} bytes, at most {FILE_BYTES_MAX} are allowed")
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        message = f"the file cannot be read ({error.strerror})"
        raise bad_picture(message) from error


def check_suffix(suffix: str) -> None:
    """Make sure that a picture can be written to a file with this suffix.

    Raises:
        ConfigError: there is no such kind.
    """
    if suffix.lower() not in SUFFIXES:
        message = f"a picture cannot be written as {suffix or 'a file without suffix'}"
        raise ConfigError("camera.suffix", message, help=f"use one of {', '.join(SUFFIXES)}")


def encode(image: Pixels, suffix: str) -> bytes:
    """Return the picture as a file of the kind ``suffix`` (one of ``SUFFIXES``) names; JPEG at quality 95.

    Raises:
        ConfigError: there is no such kind.
    """
    check_suffix(suffix)
    done, data = cv2.imencode(suffix.lower(), image)
    if not done:
        raise bad_picture(f"the picture cannot be written as {suffix}")
    return data.tobytes()


def store(image: Pixels, target: Pixels) -> Shape:
    """Copy a picture to the start of ``target``, (n,) uint8, and return its shape.

    Raises:
        DataError: it does not fit.
    """
    shape = Shape(image.shape[1], image.shape[0], 1 if image.ndim == 2 else image.shape[2])  # noqa: PLR2004 - grey
    if shape.nbytes > target.size:
        raise bad_picture(
            f"{shape.width} x {shape.height} x {shape.channels} bytes do not fit the {target.size} bytes of a slot"
        )
    target[: shape.nbytes] = image.reshape(-1)
    return shape


class PictureSource:
    """Pictures from files, one after the other, none left out; see ``camera.source.Source``."""

    nature = Nature(live=False)
    fps = 0.0

    def __init__(
        self,
        *,
        directory: Path | None = None,
        files: Sequence[Path] = (),
        max_pixels: int = MAX_PIXELS_DEFAULT,
        loop: bool = False,
        begun: Callable[[], int] = lambda: 0,
    ) -> None:
        """Read ``files`` in their order, or else what ``directory`` holds when it is opened, sorted by name.

        ``begun`` tells how many of them earlier processes took: what killed one is not tried again.
        """
        self._directory = directory
        self._given = tuple(files)
        self._max_pixels = max_pixels
        self._loop = loop
        self._files: tuple[Path, ...] = ()
        self._next = 0
        self._begun: Callable[[], int] | None = begun
        self._usable = True
        self._current = Path()

    def open(self) -> None:
        """List the files.

        Raises:
            UnavailableError: the directory is missing or holds no picture.
            PermissionDeniedError: the directory may not be read.
        """
        self._files = self._given if self._directory is None else list_pictures(self._directory)
        self._next, self._usable = 0, False
        if self._begun is not None:
            begun, self._begun = self._begun(), None
            self._next = begun % len(self._files) if self._loop else begun
            self._usable = self._next > 0  # nothing is known of those before

    def grab(self) -> Arrival | Nothing:
        """Go to the next file; nothing is read before ``retrieve``.

        Raises:
            UnavailableError: a whole round gave no usable picture, or the directory cannot be read any more.
            PermissionDeniedError: the directory may not be read any more.
        """
        if self._next >= len(self._files):
            if not self._loop:
                return Nothing.LEFT
            if not self._usable:
                message = f"none of the {len(self._files)} pictures in {self._directory} can be used"
                raise UnavailableError("camera.no_picture", message)
            self.open()  # what was added meanwhile takes part
        self._current = self._files[self._next]
        self._next += 1
        name = str(self._current) if self._directory is None else self._current.name
        # names are bytes and messages are text: what is no UTF-8 is shown as \xfc
        return Arrival(origin=os.fsencode(name).decode(errors="backslashreplace"))

    def retrieve(self, target: Pixels) -> Shape:
        """Read and decode the file.

        Raises:
            DataError: it is not a usable picture, in plain words.
        """
        shape = store(decode(read_file(self._current), self._max_pixels), target)
        self._usable = True
        return shape

    def close(self) -> None:
        """Do nothing: no file stays open."""


def list_pictures(directory: Path) -> tuple[Path, ...]:
    """Return the files with a picture's suffix in ``directory``, sorted by name, hidden ones left out.

    Raises:
        UnavailableError: there is no such directory, or nothing in it.
        PermissionDeniedError: it may not be read.
    """
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths
    except PermissionError as error:
        message = f"directory {directory} may not be read by this user"
        raise PermissionDeniedError("camera.permission", message, help="grant read and search permission") from error
    except OSError as error:
        message = f"directory {directory} cannot be read ({error.strerror})"
        raise UnavailableError("camera.missing", message, help="check the path behind images:") from error
    found = tuple(directory / name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
    if not found:
        message = f"directory {directory} holds no picture ({', '.join(SUFFIXES)})"
        raise UnavailableError("camera.empty", message)
    return found
