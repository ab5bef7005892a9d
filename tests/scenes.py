"""Pictures as cameras see them, good ones and ones that are spoilt, and a camera's eye that is shown them in a row."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_runtime.camera.measure import Measure
from edge_runtime.camera.opencv import FileSource
from edge_runtime.camera.reference import Comparison, ReferenceMaker
from edge_runtime.camera.simulated import SCENES
from edge_runtime.camera.source import Nothing
from edge_runtime.pipeline.picture_health import OK, UNKNOWN, PictureHealth, PictureRules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_runtime.core.picture import PictureNumbers, PictureReference

Image = Any
CLIP = Path(__file__).resolve().parents[1] / "models" / "surface-defects" / "conveyor.mp4"
LOOK_S = 0.25
SEED = 20261127
SLOT_BYTES = 1024 * 576 * 3


@functools.cache
def clip(count: int = 64, every: int = 8) -> tuple[Image, ...]:
    """Parts on a belt between two rails, 1024 x 576, one picture of each ``every`` of 30 a second."""
    source, slot, found, number = FileSource(CLIP, SLOT_BYTES), np.empty(SLOT_BYTES, np.uint8), [], 0
    source.open()
    while len(found) < count and source.grab() is not Nothing.LEFT:
        if number % every == 0:
            shape = source.retrieve(slot)
            found.append(slot[: shape.nbytes].reshape(shape.height, shape.width, shape.channels).copy())
        number += 1
    source.close()
    return tuple(found)


@functools.cache
def bench_scene(width: int = 480, height: int = 360) -> Image:
    """A bench with things on it, sharp and in colours, of which nothing moves."""
    random = np.random.default_rng(SEED)
    image = np.full((height, width, 3), 110, np.uint8)
    for _ in range(60):
        x, y = (int(random.integers(0, side)) for side in (width, height))
        w, h = (int(random.integers(10, side // 4)) for side in (width, height))
        colour = [int(c) for c in random.integers(30, 225, 3)]
        if random.random() < 0.5:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
        else:
            cv2.circle(image, (x, y), w // 2, colour, -1)
    return cv2.GaussianBlur(image, (0, 0), 0.7)


@functools.cache
def _noise(shape: tuple[int, ...], deviation: float, number: int) -> Any:
    noise = np.empty(shape, np.int16)
    cv2.setRNGSeed(number + 1)
    cv2.randn(noise, 0, deviation)
    return noise


def noisy(image: Image, deviation: float, number: int) -> Image:
    """Add the noise of a sensor; that of two numbers differs unless they are seven apart."""
    return cv2.add(image, _noise(image.shape, deviation, number % 7), dtype=cv2.CV_8U)


def belt(count: int, width: int = 896, height: int = 512) -> list[Image]:
    """The simulated conveyor, of which everything moves."""
    turn = SCENES["conveyor"](np.random.default_rng(0), width, height)
    turn = np.concatenate([turn, turn], axis=1)
    return [np.ascontiguousarray(turn[:, (k * 30) % width :][:, :width]) for k in range(count)]


# what may happen to a camera


def dark(image: Image) -> Image:
    """The light is off, but for what comes through a window."""
    return (image * 0.06).astype(np.uint8)


def bright(image: Image, times: float = 16.0) -> Image:
    """Exposed too long."""
    return np.clip(image.astype(np.float32) * times, 0, 255).astype(np.uint8)


def blurred(image: Image) -> Image:
    """Out of focus."""
    return cv2.GaussianBlur(image, (0, 0), 4)


def covered(image: Image) -> Image:
    """A hand in front of the lens: a little light, no edges."""
    height, width = image.shape[:2]
    light = cv2.resize(cv2.resize(image, (4, 3), interpolation=cv2.INTER_AREA), (width, height))
    return (light * 0.3 + 60).astype(np.uint8)


def moved(image: Image, right: float = 0.05, down: float = 0.06) -> Image:
    """The camera was pushed by parts of its picture."""
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, right * width], [0, 1, down * height]], np.float32)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def turned(image: Image) -> Image:
    """The camera hangs to one side."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 15, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


class Eye:
    """A camera process and main in one: is shown pictures and judges them, in the time of the stream."""

    def __init__(self, rules: PictureRules | None = None) -> None:
        self.measure = Measure()
        self.health = PictureHealth(rules or PictureRules())
        self.now_s = 100.0
        self.states: list[tuple[float, str]] = []
        self.numbers: PictureNumbers

    def refer(self, images: Iterable[Image]) -> PictureReference:
        """Make a reference of good pictures and use it."""
        maker, measure = ReferenceMaker(), Measure()
        for number, image in enumerate(images):
            maker.add(*measure.measure(image, number, number * LOOK_S))
        reference = maker.finish(1)
        self.measure.comparison = Comparison(reference)
        self.health.reference = reference
        return reference

    def see(self, images: Iterable[Image], *, keys: int = 1) -> None:
        """Look at one picture each ``LOOK_S``."""
        for image in images:
            self.numbers, _ = self.measure.measure(image, 1, self.now_s, keys=keys)
            change = self.health.add(self.numbers, round(self.now_s * 1e9))
            if change is not None:
                self.states.append((self.now_s, change.after))
            self.now_s += LOOK_S

    @property
    def faults(self) -> list[str]:
        """What it told, without that all was well."""
        return [state for _, state in self.states if state not in (OK, UNKNOWN)]

    def took_s(self, state: str, since_s: float) -> float:
        """How long after ``since_s`` it was in ``state``; endless if it never was."""
        return next((at - since_s for at, found in self.states if found == state and at >= since_s), float("inf"))
