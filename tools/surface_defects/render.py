"""From a scene to a picture with exact boxes: the one renderer of data set, clip and golden frames."""

# ruff: noqa: PLR2004
# the numbers are the drawing: each stands where it is used

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from surface_defects.defects import Image, Mask, draw_line, fill_polygon, smooth_noise
from surface_defects.surface import Surface, draw_surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from surface_defects.scene import Belt, Camera, Label, Light, Placement, Scene

BELT_PERIOD: Final = 2048
"""After this many pixels the texture of the belt repeats."""
_VISIBLE_MIN: Final = 0.4
_SIDE_MIN_PX: Final = 8.0
_SHADOW: Final = (7, 10)


@dataclass(frozen=True, slots=True)
class Box:
    """A defect in the picture: corners in pixels, right and bottom exclusive."""

    label: Label
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered frame, (H, W, 3) uint8 BGR, and the boxes of all visible damage."""

    image: NDArray[np.uint8]
    boxes: tuple[Box, ...]


@lru_cache(maxsize=32)
def _belt_texture(seed: int, height: int) -> Image:
    """Dark rubber with a woven pattern, wear and scratches; repeats after `BELT_PERIOD` pixels."""
    rng = np.random.default_rng([seed, 77])
    shape = (height, BELT_PERIOD)
    x, y = np.arange(BELT_PERIOD, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    pitch = float(rng.choice((8, 16)))
    weave = np.cos(math.tau * (x + y) / pitch) * np.cos(math.tau * (x - y) / pitch)
    wear = smooth_noise(rng, shape, 128)
    wear[:, -256:] *= np.linspace(1, 0, 256, dtype=np.float32)
    wear[:, :256] *= np.linspace(0, 1, 256, dtype=np.float32)
    texture = 0.135 * (1 + 0.16 * weave + 0.22 * wear) + rng.normal(0, 0.006, shape)
    texture = texture.astype(np.float32)
    for _ in range(14):
        middle, turn = rng.uniform((60, 0), (BELT_PERIOD - 60, height)), rng.uniform(0, math.pi)
        reach = rng.uniform(15, 55) * np.array([math.cos(turn), math.sin(turn)])
        line = draw_line(shape, np.stack([middle - reach, middle + reach]), int(rng.integers(1, 3)))
        texture += np.float32(rng.uniform(0.05, 0.16)) * line
    texture.setflags(write=False)
    return np.asarray(texture, np.float32)


def _draw_belt(belt: Belt, scene_seed: int, size: tuple[int, int]) -> Image:
    height, width = size
    texture = _belt_texture(belt.seed, height)
    columns = (np.arange(width) + math.floor(belt.offset)) % BELT_PERIOD
    grey = texture[:, columns] * np.float32(belt.tone)
    image = grey[..., None] * np.array((1.04, 1.02, 0.96), np.float32)
    rng = np.random.default_rng([scene_seed, 5])
    for _ in range(belt.debris):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(1.5, 5)
        turns = np.linspace(0, math.tau, 7, endpoint=False)
        radii = radius * rng.uniform(0.5, 1.4, turns.size)
        points = np.stack([x + radii * np.cos(turns), y + radii * np.sin(turns)], axis=1)
        left, top = max(0, int(x) - 9), max(0, int(y) - 9)
        window = image[top : int(y) + 10, left : int(x) + 10]
        weight = fill_polygon((window.shape[0], window.shape[1]), points - (left, top))[..., None]
        window += weight * (np.float32(rng.uniform(0.2, 0.6)) - window)
    return np.asarray(image, np.float32)


def _draw_rails(image: Image, rail: int, seed: int) -> None:
    if rail < 6:
        return
    rng = np.random.default_rng([seed % 16, 9])
    width = image.shape[1]
    for top in (True, False):
        streak = cv2.blur(rng.normal(0, 1, (rail, width)).astype(np.float32), (121, 1))
        profile = 0.42 + 0.12 * np.cos(np.linspace(0, 5, rail, dtype=np.float32))[:, None]
        band = (profile * (1 + 0.35 * streak))[..., None] * np.array((1.03, 1.0, 0.97), np.float32)
        band[-3 if top else 0 :][:3] *= np.float32(0.35)
        image[slice(0, rail) if top else slice(image.shape[0] - rail, None)] = band


def _transform(placement: Placement, surface: Surface) -> NDArray[np.float64]:
    """The 2x3 matrix from the canvas of a part to the frame."""
    angle = math.radians(placement.angle)
    c, s = placement.scale * math.cos(angle), placement.scale * math.sin(angle)
    cx, cy = surface.centre
    return np.array([[c, -s, placement.x - c * cx + s * cy], [s, c, placement.y - s * cx - c * cy]])


def _corners(matrix: NDArray[np.float64], width: float, height: float) -> NDArray[np.float64]:
    points = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64)
    return points @ matrix.T


def _sheen(light: Light, left: int, top: int, shape: tuple[int, int], size: tuple[int, int]) -> Image:
    angle = math.radians(light.sheen_angle)
    x = (np.arange(shape[1], dtype=np.float32) + left - size[1] / 2)[None, :]
    y = (np.arange(shape[0], dtype=np.float32) + top - size[0] / 2)[:, None]
    across = x * math.cos(angle) + y * math.sin(angle) - light.sheen_offset
    band = np.exp(-((across / light.sheen_width) ** 2)) + 0.4 * np.exp(-(((across + 210) / 45) ** 2))
    return np.asarray(1 + light.sheen * band, np.float32)


def _lay_part(image: Image, placement: Placement, surface: Surface, light: Light) -> NDArray[np.float64]:
    """Blend a part and its shadow into the picture; returns the transform used."""
    matrix = _transform(placement, surface)
    height, width = image.shape[:2]
    corners = _corners(matrix, surface.coverage.shape[1], surface.coverage.shape[0])
    left, top = (max(0, math.floor(v)) for v in corners.min(axis=0) - 2)
    right = min(width, math.ceil(corners[:, 0].max()) + _SHADOW[0] + 14)
    bottom = min(height, math.ceil(corners[:, 1].max()) + _SHADOW[1] + 14)
    if right - left < 2 or bottom - top < 2:
        return matrix
    local = matrix.copy()
    local[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    coverage = cv2.warpAffine(surface.coverage, local, size)
    colour = cv2.warpAffine(surface.colour, local, size, borderMode=cv2.BORDER_REPLICATE)
    moved = local.copy()
    moved[:, 2] += _SHADOW
    shadow = cv2.GaussianBlur(cv2.warpAffine(surface.coverage, moved, size), (0, 0), 5)
    window = image[top:bottom, left:right]
    window *= (1 - np.float32(0.55) * shadow)[..., None]
    sheen = _sheen(light, left, top, (size[1], size[0]), (height, width))
    window += coverage[..., None] * (colour * sheen[..., None] - window)
    return matrix


def _find_box(label: Label, touched: Mask, matrix: NDArray[np.float64], scene: Scene, rail: int) -> Box | None:
    """The box around the visible part of the touched pixels, or None if too little is in the picture."""
    rows, columns = np.nonzero(touched)
    if rows.size == 0:
        return None
    x = matrix[0, 0] * columns + matrix[0, 1] * rows + matrix[0, 2]
    y = matrix[1, 0] * columns + matrix[1, 1] * rows + matrix[1, 2]
    blur, half = scene.camera.motion_blur // 2, 0.5 * math.hypot(matrix[0, 0], matrix[0, 1])
    # pixel centres are at whole numbers; a box counts pixel edges, hence + 0.5
    left, right = x.min() - half - blur + 0.5, x.max() + half + blur + 0.5
    top, bottom = y.min() - half + 0.5, y.max() + half + 0.5
    height, width = scene.size
    shown = (max(left, 0.0), max(top, float(rail)), min(right, float(width)), min(bottom, float(height - rail)))
    wide, high = shown[2] - shown[0], shown[3] - shown[1]
    if min(wide, high) < _SIDE_MIN_PX or wide * high < _VISIBLE_MIN * (right - left) * (bottom - top):
        return None
    return Box(label, *(round(float(v), 2) for v in shown))


def _light_up(image: Image, light: Light) -> Image:
    height, width = image.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    field = np.float32(light.gain) * (1 + light.gradient[0] * x + light.gradient[1] * y)
    field = field * (1 - np.float32(light.vignette * 0.5) * (x * x + y * y))
    return np.asarray(image * field[..., None], np.float32)


def _take(image: Image, camera: Camera, seed: int) -> NDArray[np.uint8]:
    """What the camera makes of the light: defocus, noise, 8 bits, and JPEG if it compresses."""
    if camera.defocus > 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), camera.defocus), np.float32)
    if camera.noise > 0:
        rng = np.random.default_rng([seed, 3])
        grain = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + np.float32(camera.noise) * np.sqrt(np.clip(image, 0.04, 1)) * grain
    frame = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    if camera.jpeg_quality:
        _, packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg_quality])
        frame = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(frame, np.uint8)


def render_scene(scene: Scene, surfaces: dict[int, Surface] | None = None) -> Picture:
    """Render a scene.

    Args:
        scene: What is in the picture.
        surfaces: Parts already drawn, by index of their placement; a film passes them to draw each part only once.
    """
    image = _draw_belt(scene.belt, scene.seed, scene.size)
    boxes: list[Box] = []
    rail = scene.belt.rail if scene.belt.rail >= 6 else 0
    for index, placement in enumerate(scene.placements):
        surface = surfaces[index] if surfaces is not None else draw_surface(placement.part)
        matrix = _lay_part(image, placement, surface, scene.light)
        found = (_find_box(label, touched, matrix, scene, rail) for label, touched in surface.touched)
        boxes.extend(box for box in found if box is not None)
    if scene.camera.motion_blur > 1:
        image = np.asarray(cv2.blur(image, (scene.camera.motion_blur, 1)), np.float32)
    _draw_rails(image, rail, scene.seed)
    return Picture(_take(_light_up(image, scene.light), scene.camera, scene.seed), tuple(boxes))
