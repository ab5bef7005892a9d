"""The face of one part in its own coordinates: outline, metal, machining marks, damage."""

# ruff: noqa: PLR2004
# the numbers are the drawing: each stands where it is used

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from surface_defects.defects import (
    FACE_DEFECTS,
    LIGHT_DIRECTION,
    Image,
    Mask,
    chip_polygon,
    draw_line,
    fill_polygon,
    fracture,
    offsets,
    pilot_mark,
    smooth_noise,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from surface_defects.scene import Label, Mark, Part

_PAD: Final = 12
_CHAMFER: Final = 5.0


@dataclass(frozen=True, slots=True)
class Surface:
    """A drawn part.

    `coverage` is (H, W) float32 0..1, `colour` (H, W, 3) float32 BGR, `touched` the pixels of each defect, `centre` the
    canvas position of the part's origin.
    """

    coverage: Image
    colour: Image
    touched: tuple[tuple[Label, Mask], ...]
    centre: tuple[float, float]


def _outline(part: Part, centre: tuple[float, float]) -> NDArray[np.float64]:
    points = []
    quarter = np.linspace(0, math.pi / 2, 24)
    dx, dy = part.width / 2 - part.corner, part.height / 2 - part.corner
    for index, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        turn = quarter + index * math.pi / 2
        points.append(np.stack([sx * dx + part.corner * np.cos(turn), sy * dy + part.corner * np.sin(turn)], axis=1))
    return np.asarray(np.concatenate(points) + np.array(centre), np.float64)


def _circle(x: float, y: float, radius: float) -> NDArray[np.float64]:
    turn = np.linspace(0, math.tau, 72, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)


def _metal(part: Part, shape: tuple[int, int], centre: tuple[float, float]) -> Image:
    """Bare metal: turned in circles for a flange, brushed lengthwise for the rest."""
    rng = np.random.default_rng(part.seed)
    grain = rng.normal(0, 1, shape).astype(np.float32)
    dx, dy = offsets(shape, *centre)
    if part.kind == "flange":
        radius = np.sqrt(dx * dx + dy * dy)
        groove = cv2.GaussianBlur(rng.normal(0, 1, (1, 1200)).astype(np.float32), (0, 0), 1.2)[0]
        texture = 0.045 * groove[(radius * 2).astype(np.int32)] + 0.012 * grain
        turn = np.arctan2(dy, dx) - np.float32(rng.uniform(0, math.pi))
        texture = texture + np.float32(rng.uniform(0.04, 0.16)) * np.cos(2 * turn)
    else:
        streak = cv2.blur(grain, (int(rng.integers(25, 90)) | 1, 1), borderType=cv2.BORDER_REFLECT)
        texture = np.float32(rng.uniform(0.15, 0.38)) * streak + 0.012 * grain
    texture = texture + np.float32(0.04) * smooth_noise(rng, shape, 90)
    colour = np.array(part.metal, np.float32) * (1 + texture)[..., None]
    return np.asarray(colour, np.float32)


def _text(face: Image, mark: Mark, x: float, y: float) -> None:
    rng = np.random.default_rng(mark.seed)
    digits = "".join(str(d) for d in rng.integers(0, 10, 4))
    text = (f"PN {digits}-{'ABCDE'[int(rng.integers(5))]}", f"SN{digits}", f"{digits} {int(rng.integers(10, 99))}")[
        int(rng.integers(3))
    ]
    canvas = np.zeros(face.shape[:2], np.uint8)
    scale = 0.5 + 0.15 * mark.size
    size, _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    origin = (round(x - size[0] / 2), round(y + size[1] / 2))
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 2, cv2.LINE_AA)
    dark = canvas.astype(np.float32) / np.float32(255)
    moved = np.array([[1, 0, 1.2], [0, 1, 1.2]], np.float32)
    lit = cv2.warpAffine(dark, moved, (dark.shape[1], dark.shape[0]))
    face *= (1 + np.float32(0.25 + 0.3 * mark.strength) * (0.5 * lit - dark))[..., None]


def _dot_code(face: Image, mark: Mark, x: float, y: float) -> None:
    rng = np.random.default_rng(mark.seed)
    cells = rng.random((10, 10)) < 0.5
    cells[:, 0] = cells[-1, :] = True
    canvas = np.zeros(face.shape[:2], np.uint8)
    for row, column in np.argwhere(cells):
        centre = (round((x + (column - 4.5) * 4.4) * 16), round((y + (row - 4.5) * 4.4) * 16))
        cv2.circle(canvas, centre, 26, 255, -1, cv2.LINE_AA, 4)
    face *= (1 - np.float32(0.2 + 0.25 * mark.strength) * canvas.astype(np.float32) / np.float32(255))[..., None]


def _oil(face: Image, mark: Mark, x: float, y: float) -> None:
    """A film of oil: rainbow colours, no edge."""
    rng = np.random.default_rng(mark.seed)
    shape = (face.shape[0], face.shape[1])
    dx, dy = offsets(shape, x, y)
    angle = math.radians(mark.angle)
    u = (dx * math.cos(angle) + dy * math.sin(angle)) / (95 * mark.size)
    v = (-dx * math.sin(angle) + dy * math.cos(angle)) / (60 * mark.size)
    thick = np.exp(-1.4 * (u * u + v * v)) * (1 + 0.3 * smooth_noise(rng, shape, 40))
    phase = 9 * thick + rng.uniform(0, 6)
    for channel, shift in enumerate((0.0, 2.1, 4.2)):
        face[..., channel] *= 1 + np.float32(0.05 + 0.05 * mark.strength) * thick * np.cos(phase + shift) - 0.06 * thick


def _smudge(face: Image, mark: Mark, x: float, y: float) -> None:
    """A wiped patch: slightly dull or shiny, without an edge."""
    rng = np.random.default_rng(mark.seed)
    shape = (face.shape[0], face.shape[1])
    dx, dy = offsets(shape, x, y)
    angle = math.radians(mark.angle)
    u = (dx * math.cos(angle) + dy * math.sin(angle)) / (70 * mark.size)
    v = (-dx * math.sin(angle) + dy * math.cos(angle)) / (34 * mark.size)
    patch = np.exp(-1.6 * (u * u + v * v)) * (1 + 0.4 * smooth_noise(rng, shape, 14))
    sign = 1 if rng.random() < 0.4 else -1
    face *= (1 + np.float32(sign * (0.05 + 0.09 * mark.strength)) * patch)[..., None].astype(np.float32)


def _tool_marks(face: Image, mark: Mark, x: float, y: float) -> None:
    """Parallel cutter lines along the brushing: regular, faint and long."""
    rng = np.random.default_rng(mark.seed)
    shape = (face.shape[0], face.shape[1])
    angle = math.radians(mark.angle)
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    pitch, reach = rng.uniform(5, 12), rng.uniform(50, 130) * mark.size
    for index in range(int(rng.integers(3, 9))):
        middle = np.array([x, y]) + across * (index * pitch) + along * rng.uniform(-12, 12)
        line = draw_line(shape, np.stack([middle - along * reach, middle + along * reach]), 1)
        face *= (1 + np.float32(rng.choice((-1, 1)) * (0.07 + 0.13 * mark.strength)) * line)[..., None]


def _arcs(face: Image, mark: Mark, centre: tuple[float, float]) -> None:
    """Concentric swirls of a facing tool around the middle of the part."""
    rng = np.random.default_rng(mark.seed)
    shape = (face.shape[0], face.shape[1])
    dx, dy = offsets(shape, *centre)
    radius = np.sqrt(dx * dx + dy * dy)
    start, pitch = rng.uniform(48, 70), rng.uniform(6, 14)
    rings = np.clip(1 - np.abs((radius - start) % pitch - pitch / 2) / 1.1, 0, 1)
    rings *= (radius > start) & (radius < start + pitch * int(rng.integers(2, 6)))
    face *= (1 + np.float32(0.05 + 0.11 * mark.strength) * rng.choice((-1, 1)) * rings)[..., None].astype(np.float32)


def _draw_marks(face: Image, part: Part, centre: tuple[float, float]) -> None:
    simple = {"text": _text, "dot_code": _dot_code, "oil": _oil, "smudge": _smudge, "tool_marks": _tool_marks}
    for mark in part.marks:
        if mark.kind == "arcs":
            _arcs(face, mark, centre)
        else:
            simple[mark.kind](face, mark, centre[0] + mark.x, centre[1] + mark.y)


def _chamfer(face: Image, coverage: Image) -> None:
    """Break every edge: the side that faces the light shines, the other one is dark."""
    distance = cv2.distanceTransform((coverage > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    soft = cv2.GaussianBlur(coverage, (0, 0), 2.0)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    length = np.sqrt(gx * gx + gy * gy) + np.float32(1e-3)
    lit = -(gx * LIGHT_DIRECTION[0] + gy * LIGHT_DIRECTION[1]) / length
    band = np.clip((_CHAMFER - distance) / 1.5, 0, 1)
    face *= (1 + band * np.clip(0.42 * lit, -0.35, 0.45))[..., None]


def draw_surface(part: Part) -> Surface:
    """Draw a part with its machining marks and its damage."""
    shape = (math.ceil(part.height) + 2 * _PAD, math.ceil(part.width) + 2 * _PAD)
    centre = (shape[1] / 2, shape[0] / 2)
    missing = {(d.x, d.y) for d in part.defects if d.label == "missing_hole"}
    whole = fill_polygon(shape, _outline(part, centre))
    for hole in part.holes:
        if (hole.x, hole.y) not in missing:
            whole *= 1 - fill_polygon(shape, _circle(centre[0] + hole.x, centre[1] + hole.y, hole.radius))
    face = _metal(part, shape, centre)
    _draw_marks(face, part, centre)
    coverage = whole.copy()
    bites: list[Mask] = []
    for defect in part.defects:
        if defect.label == "chip":
            bite = fill_polygon(shape, chip_polygon(defect, centre[0] + defect.x, centre[1] + defect.y))
            bites.append((bite > 0.5) & (whole > 0.5))
            coverage *= 1 - bite
    _chamfer(face, coverage)
    touched: list[tuple[Label, Mask]] = []
    remaining = iter(bites)
    for defect in part.defects:
        x, y = centre[0] + defect.x, centre[1] + defect.y
        if defect.label == "chip":
            touched.append((defect.label, fracture(face, defect, next(remaining), coverage > 0.5)))
        elif defect.label == "missing_hole":
            touched.append((defect.label, pilot_mark(face, defect, x, y)))
        else:
            area = FACE_DEFECTS[defect.label](face, defect, x, y)
            touched.append((defect.label, area & (coverage > 0.5)))
    return Surface(coverage, np.maximum(face, 0), tuple(touched), centre)
