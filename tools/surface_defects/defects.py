"""Damage: how each kind of defect changes the surface of a part, and which pixels it touches.

Two kinds change the shape of a part (`chip`, `missing_hole`) and are drawn while the outline is made; three change only
its face (`scratch`, `dent`, `stain`). Every function returns the touched pixels, from which the exact box is taken.
"""

# ruff: noqa: PLR2004
# the numbers are the drawing: each stands where it is used

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from surface_defects.scene import Defect

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

LIGHT_DIRECTION: Final = (-0.6, -0.8)
"""Where the light comes from, in the plane of the part: from the upper left."""
_SHIFT: Final = 4
_STAIN_TINTS: Final = ((0.45, 0.62, 0.85), (0.62, 0.62, 0.62), (0.40, 0.55, 0.72), (0.80, 0.66, 0.58))


def fill_polygon(shape: tuple[int, int], points: NDArray[np.float64]) -> Image:
    """Coverage (0..1) of a polygon, anti-aliased; `points` is (N, 2) in pixels."""
    canvas = np.zeros(shape, np.uint8)
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_AA, _SHIFT)
    return canvas.astype(np.float32) / np.float32(255)


def draw_line(shape: tuple[int, int], points: NDArray[np.float64], thickness: int) -> Image:
    """Coverage (0..1) of an anti-aliased open line through `points`, (N, 2) in pixels."""
    canvas = np.zeros(shape, np.uint8)
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [fixed], isClosed=False, color=255, thickness=thickness, lineType=cv2.LINE_AA, shift=_SHIFT)
    return canvas.astype(np.float32) / np.float32(255)


def offsets(shape: tuple[int, int], x: float, y: float) -> tuple[Image, Image]:
    """Distance of every pixel from (x, y), as two arrays that broadcast: dx (1, W) and dy (H, 1)."""
    dx = (np.arange(shape[1], dtype=np.float32) - np.float32(x))[None, :]
    dy = (np.arange(shape[0], dtype=np.float32) - np.float32(y))[:, None]
    return dx, dy


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> Image:
    """Noise of zero mean, about -1..1, with structures of `cell` pixels."""
    small = rng.uniform(-1, 1, (shape[0] // cell + 3, shape[1] // cell + 3)).astype(np.float32)
    large = cv2.resize(small, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large[: shape[0], : shape[1]], np.float32)


def chip_polygon(defect: Defect, x: float, y: float) -> NDArray[np.float64]:
    """Outline of the bite that a chip takes out of the edge at (x, y) of the canvas."""
    rng = np.random.default_rng(defect.seed)
    turns = np.linspace(0, math.tau, 14, endpoint=False)
    radii = defect.size * rng.uniform(0.72, 1.18, turns.size)
    out = math.radians(defect.angle)
    centre = np.array([x + 0.15 * defect.size * math.cos(out), y + 0.15 * defect.size * math.sin(out)])
    return centre + np.stack([np.cos(turns) * radii, np.sin(turns) * radii], axis=1)


def fracture(face: Image, defect: Defect, removed: Mask, body: Mask) -> Mask:
    """Roughen the broken edge of a chip in place."""
    rng = np.random.default_rng(defect.seed + 1)
    width = 4 + 4 * defect.strength
    distance = cv2.distanceTransform((~removed).astype(np.uint8), cv2.DIST_L2, 5)
    band = (distance <= width) & body
    rough = 0.8 + 0.38 * smooth_noise(rng, (face.shape[0], face.shape[1]), 4)
    rough += 0.25 * np.clip(1 - distance / 2.5, 0, 1)
    face[band] *= rough[band][:, None].astype(np.float32)
    return removed | band


def pilot_mark(face: Image, defect: Defect, x: float, y: float) -> Mask:
    """Put the centre-drill mark where a hole should have been; the touched area is that of the hole."""
    shape = (face.shape[0], face.shape[1])
    dx, dy = offsets(shape, x, y)
    rho = np.sqrt(dx * dx + dy * dy) / np.float32(defect.size)
    inner = np.clip((0.30 - rho) / 0.08, 0, 1)
    side = (dx * LIGHT_DIRECTION[0] + dy * LIGHT_DIRECTION[1]) / np.float32(defect.size)
    face *= (1 - inner * np.float32(0.3 + 0.4 * defect.strength) * (1 + 1.5 * np.clip(side, -0.3, 0.3)))[..., None]
    return np.asarray(rho <= 1 + 4 / defect.size)


def scratch(face: Image, defect: Defect, x: float, y: float) -> Mask:
    """Score the face: a bright burr beside a dark furrow, in one to three strands."""
    rng = np.random.default_rng(defect.seed)
    shape = (face.shape[0], face.shape[1])
    angle = math.radians(defect.angle)
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    steps = np.linspace(-1, 1, 9)
    bend = rng.uniform(-0.22, 0.22)
    change = np.zeros(shape, np.float32)
    for strand in range(int(rng.choice((1, 2, 3), p=(0.65, 0.25, 0.1)))):
        reach = defect.size * (1 if strand == 0 else rng.uniform(0.3, 0.8))
        lateral = reach * bend * (1 - steps**2) + rng.normal(0, 0.018 * reach, steps.size) + strand * rng.uniform(4, 8)
        points = np.array([x, y]) + np.outer(steps * reach, along) + np.outer(lateral, across)
        thickness = 2 if rng.random() < 0.6 else 3
        furrow = draw_line(shape, points, thickness)
        burr = draw_line(shape, points + across * 1.8, max(1, thickness - 1))
        change += np.float32(0.22 + 0.38 * defect.strength) * (np.float32(1.1) * burr - furrow)
    face *= np.clip(1 + change, 0.15, 1.9)[..., None]
    return np.abs(change) > 0.08


def dent(face: Image, defect: Defect, x: float, y: float) -> Mask:
    """Push an elliptic hollow into the face: lit on the far side, dark on the near side."""
    rng = np.random.default_rng(defect.seed)
    shape = (face.shape[0], face.shape[1])
    angle, aspect = math.radians(defect.angle), rng.uniform(0.65, 1.0)
    dx, dy = offsets(shape, x, y)
    u = (dx * math.cos(angle) + dy * math.sin(angle)) / np.float32(defect.size)
    v = (-dx * math.sin(angle) + dy * math.cos(angle)) / np.float32(defect.size * aspect)
    inside = np.clip(1 - u * u - v * v, 0, 1)
    slope_u, slope_v = u * inside**2, v * inside**2
    slope_x = slope_u * math.cos(angle) - slope_v * math.sin(angle)
    slope_y = slope_u * math.sin(angle) + slope_v * math.cos(angle)
    lit = -(slope_x * LIGHT_DIRECTION[0] + slope_y * LIGHT_DIRECTION[1])
    depth = np.float32(0.36 + 0.74 * defect.strength)
    change = depth * (np.float32(1.9) * lit - np.float32(0.16) * inside**2)
    face *= np.clip(1 + change, 0.2, 1.9)[..., None]
    return np.abs(change) > 0.03


def stain(face: Image, defect: Defect, x: float, y: float) -> Mask:
    """Leave a dried, sharply bounded blot with a dark rim."""
    rng = np.random.default_rng(defect.seed)
    shape = (face.shape[0], face.shape[1])
    dx, dy = offsets(shape, x, y)
    turn = np.arctan2(dy, dx)
    lobes = np.ones(shape, np.float32)
    for order in range(1, 6):
        lobes += np.float32(rng.uniform(-0.26, 0.26) / order) * np.cos(order * turn + np.float32(rng.uniform(0, 6.28)))
    rho = np.sqrt(dx * dx + dy * dy) / (np.float32(defect.size) * lobes)
    body = np.clip((1 - rho) / 0.12, 0, 1)
    rim = np.exp(-(((rho - 0.9) / 0.09) ** 2)).astype(np.float32)
    cloud = 0.75 + 0.25 * smooth_noise(rng, shape, 9)
    amount = np.float32(0.35 + 0.5 * defect.strength) * (0.8 * body * cloud + 0.45 * rim * (body > 0))
    tint = np.array(_STAIN_TINTS[int(rng.integers(len(_STAIN_TINTS)))], np.float32)
    face *= np.clip(1 - amount[..., None] * (1 - tint), 0.1, 1)
    return np.asarray(body > 0.1)


FACE_DEFECTS: Final = {"scratch": scratch, "dent": dent, "stain": stain}
"""Kinds of damage that change only the face of a part."""
