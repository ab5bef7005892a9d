"""Simulated cameras, ``sim:NAME?OPTION=VALUE&...``: deterministic pictures and scripted faults.

Shipped for commissioning, demonstrations and tests; frames carry ``simulated`` all the way to the results. The same
name, size, seed and frame number give the same pixels but for the stamp (``camera.stamp``), which holds the time.

Options: ``fps`` (default 10; 0.0 = as fast as slots are free), ``size=WxH`` (896x512), ``seed`` (0), ``script``.

A script is a list of ``FAULT@FRAME[:DETAIL]`` separated by commas; frames count from 1 and go on after a restart of the
process, so that a crash happens once:

    stall@100:3s      no picture for 3 s, the connection stays
    drop@200:1s       the connection ends; connecting fails for 1 s (default 0)
    corrupt@300       this frame cannot be decoded; corrupt@300:5 five in a row
    size@400:640x480  from here on the pictures have another size
    crash@500         the process dies of a segmentation fault while it writes the frame
    hang@600          the process stops doing anything
    end@700           the source ends before this frame
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from edge_runtime.camera.network import unavailable
from edge_runtime.camera.picture_header import bad_picture
from edge_runtime.camera.source import READ_WAIT_S, Arrival, Nature, Nothing, Pixels, Shape
from edge_runtime.camera.stamp import BITS, block_px, stamp_bits
from edge_runtime.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal["stall", "drop", "corrupt", "size", "crash", "hang", "end"]

FPS_DEFAULT: Final = 10.0
SIZE_DEFAULT: Final = (896, 512)
SIDE_MAX_PX: Final = 16384
_STEP_PX: Final = 4  # the belt moves so much from frame to frame
_FAULT: Final = re.compile(r"([a-z]+)@([1-9][0-9]{0,11})(?::([0-9A-Za-z.]{1,16}))?")
_SECONDS: Final = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)s?")
_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of a script: from ``frame`` on, ``seconds`` long, for ``count`` frames or with a new ``size``."""

    kind: Kind
    frame: int
    seconds: float = 0.0
    count: int = 1
    size: tuple[int, int] | None = None


def parse_script(text: str) -> tuple[Fault, ...]:
    """Return the faults of a script, by frame number.

    Raises:
        ConfigError: an entry is not understood; the message says which.
    """
    faults = [_fault(entry) for entry in re.split("[,;]", text) if entry]
    return tuple(sorted(faults, key=lambda fault: fault.frame))


def _fault(entry: str) -> Fault:
    match = _FAULT.fullmatch(entry)
    if match is None or match[1] not in get_args(Kind):
        raise _refuse(entry, f"expected FAULT@FRAME[:DETAIL], FAULT one of {', '.join(get_args(Kind))}")
    kind: Kind = next(kind for kind in get_args(Kind) if kind == match[1])
    frame, detail = int(match[2]), match[3]
    if kind in ("stall", "drop"):
        seconds = _SECONDS.fullmatch(detail or "0s")
        if seconds is None:
            raise _refuse(entry, f"expected seconds, for example {kind}@{frame}:3s")
        return Fault(kind, frame, seconds=float(seconds[1]))
    if kind == "size":
        return Fault(kind, frame, size=_size(entry, detail or ""))
    if kind == "corrupt" and detail is not None:
        if not detail.isdecimal():
            raise _refuse(entry, f"expected a number of frames, for example corrupt@{frame}:5")
        return Fault(kind, frame, count=int(detail))
    if detail is not None:
        raise _refuse(entry, f"{kind} takes no detail")
    return Fault(kind, frame)


def _size(entry: str, text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    if match is None or max(int(match[1]), int(match[2])) > SIDE_MAX_PX:
        raise _refuse(entry, f"expected WIDTHxHEIGHT up to {SIDE_MAX_PX}, for example 640x480")
    return int(match[1]), int(match[2])


def _refuse(entry: str, expected: str) -> ConfigError:
    return ConfigError("source.script", f"simulated camera: {entry[:60]!r} is not understood", help=expected)


class SimulatedSource:
    """See the module docstring, and ``camera.source.Source`` for the order of calls."""

    def __init__(
        self, name: str, options: Mapping[str, str], *, max_pixels: int, begun: Callable[[], int] = lambda: 0
    ) -> None:
        """Draw nothing yet.

        Args:
            name: of the scene, one of ``SCENES``.
            options: see the module docstring.
            max_pixels: largest picture that may be asked for.
            begun: number of frames begun so far, also by earlier processes; the script counts with it.

        Raises:
            ConfigError: unknown scene, option out of range, or a script that is not understood.
        """
        if name not in SCENES:
            raise ConfigError(
                "source.sim", f"there is no simulated camera {name!r}", help=f"known: {', '.join(SCENES)}"
            )
        self._scene = SCENES[name]
        self._seed = int(options.get("seed", "0"))
        self._size = _size(f"size={options['size']}", options["size"]) if "size" in options else SIZE_DEFAULT
        self._max_pixels = max_pixels
        fps = float(options.get("fps", FPS_DEFAULT))
        self.fps = fps
        self.nature = Nature(live=fps > 0, paced=fps > 0, simulated=True)
        self._script = list(parse_script(options.get("script", "")))
        self._begun = begun
        self._frame = 0
        self._corrupt_until = 0
        self._silent_until_s = 0.0
        self._closed_until_s = 0.0
        self._pending: Kind | None = None
        self._belt: Pixels | None = None

    def open(self) -> None:
        """Draw the belt.

        Raises:
            UnavailableError: a scripted ``drop`` is not over, or the pictures would be too large.
        """
        if time.monotonic() < self._closed_until_s:
            raise unavailable("refused", "the simulated camera refuses the connection (script)", None)
        if self._frame == 0:
            self._frame = self._begun()
            self._script = [fault for fault in self._script if fault.frame > self._frame or fault.kind == "size"]
        self._draw()

    def grab(self) -> Arrival | Nothing:
        """Go to the next frame and do what the script says.

        Raises:
            UnavailableError: scripted loss of the connection.
        """
        if self._wait_silently():
            return Nothing.YET
        while self._script and self._script[0].frame <= self._frame + 1:
            fault = self._script[0]
            if fault.kind == "end":
                return Nothing.LEFT
            self._script.pop(0)
            self._apply(fault)
            if self._wait_silently():
                return Nothing.YET
        self._frame += 1
        return Arrival(position_s=self._frame / self.fps if self.fps > 0 else None)

    def retrieve(self, target: Pixels) -> Shape:
        """Copy the visible part of the belt and stamp it.

        Raises:
            DataError: scripted damage, or the picture does not fit.
        """
        if self._pending == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._pending == "hang":
            threading.Event().wait()
        width, height = self._size
        shape = Shape(width, height, 3)
        if shape.nbytes > target.size:
            raise bad_picture(f"{width} x {height} pixels do not fit the {target.size} bytes of a slot")
        if self._frame <= self._corrupt_until:
            raise bad_picture("damaged on purpose (script)")
        if self._belt is None:
            raise unavailable("closed", "the source is not open", None)
        left = self._frame * _STEP_PX % width
        image = target[: shape.nbytes].reshape(height, width, 3)
        np.copyto(image, self._belt[:, left : left + width])
        _write_stamp(image, self._frame)
        return shape

    def close(self) -> None:
        """Keep the belt: drawing it again would give the same."""

    def _wait_silently(self) -> bool:
        remaining_s = self._silent_until_s - time.monotonic()
        if remaining_s <= 0:
            return False
        threading.Event().wait(min(remaining_s, READ_WAIT_S))
        return True

    def _apply(self, fault: Fault) -> None:
        if fault.kind == "stall":
            self._silent_until_s = time.monotonic() + fault.seconds
        elif fault.kind == "drop":
            self._closed_until_s = time.monotonic() + fault.seconds
            raise unavailable("closed", "the simulated camera ended the stream (script)", None)
        elif fault.kind == "corrupt":
            self._corrupt_until = fault.frame + fault.count - 1
        elif fault.kind == "size" and fault.size is not None:
            self._size = fault.size
            self._draw()
        else:
            self._pending = fault.kind

    def _draw(self) -> None:
        width, height = self._size
        if width * height > self._max_pixels:
            raise unavailable("too_large", f"{width} x {height} pixels are more than {self._max_pixels} allowed", None)
        if self._belt is None or self._belt.shape[:2] != (height, 2 * width):
            loop = self._scene(np.random.default_rng(self._seed), width, height)
            self._belt = np.concatenate([loop, loop], axis=1)


def _write_stamp(image: Pixels, number: int) -> None:
    block = block_px(image.shape[1], image.shape[0])
    if block is None:
        return
    bits = np.array(stamp_bits(number, time.time_ns() // 1_000_000), np.uint8) * np.uint8(255)
    image[:block, : BITS * block] = np.repeat(bits, block)[None, :, None]


def _conveyor(random: np.random.Generator, width: int, height: int) -> Pixels:
    """Draw one turn of a belt, ``width`` long, with metal parts on it; some have a hole too few or a scratch."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    image = random.normal(58, 5, (height, width, 1)).astype(np.float32).repeat(3, axis=2)
    count = max(1, width // max(1, height * 3 // 4))
    pitch, side = width / count, min(width / count, height) * 0.62
    for part in range(count):
        x, y = rows * 0 + (part + 0.5) * pitch, height / 2 + random.uniform(-0.1, 0.1) * height
        across, along = columns - x, rows - y
        inside = (abs(across) < side / 2) & (abs(along) < side / 2)
        brushed = random.normal(0, 4, (height, 1)).astype(np.float32)
        metal = (random.uniform(130, 175) + brushed + across * (20 / side))[..., None] * np.array(
            [1.02, 1.0, 0.97], np.float32
        )
        image[inside] = metal[inside]
        for corner in ((-1, -1), (-1, 1), (1, -1), (1, 1))[: 4 - (part % 3 == 1)]:
            hole = (across - corner[0] * side * 0.34) ** 2 + (along - corner[1] * side * 0.34) ** 2
            image[hole < (side * 0.06) ** 2] = 22
        if part % 2:
            slope = random.uniform(-0.5, 0.5)
            scratch = inside & (abs(along - slope * across) < 1.5) & (abs(across) < side * 0.28)  # noqa: PLR2004 - px
            image[scratch] = 232
    return np.clip(image, 0, 255).astype(np.uint8)


def _bars(random: np.random.Generator, width: int, height: int) -> Pixels:
    """Draw vertical colour bars in an order that the seed decides."""
    colours = random.permutation(
        np.array([[b, g, r] for b in (16, 235) for g in (16, 235) for r in (16, 235)], np.uint8)
    )
    index = np.arange(width) * len(colours) // width
    return np.ascontiguousarray(np.broadcast_to(colours[index], (height, width, 3)))


SCENES: Final[dict[str, Callable[[np.random.Generator, int, int], Pixels]]] = {
    "conveyor": _conveyor,
    "bars": _bars,
}
