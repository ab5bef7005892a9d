"""What a rendered picture consists of, and how one is drawn by lot.

A `Scene` is plain data: every property of the picture, including the seeds of its textures, is in it. The same scene
therefore always gives the same pixels, and a scene without its defects gives the same picture without the damage.
Lengths are pixels of the rendered picture at scale 1, angles are degrees, positions on a part are relative to its
centre.
"""

# ruff: noqa: PLR2004
# the numbers are the drawing: each stands where it is used

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

PartKind = Literal["plate", "flange", "link"]
Label = Literal["scratch", "dent", "stain", "missing_hole", "chip"]
MarkKind = Literal["tool_marks", "arcs", "text", "dot_code", "oil", "smudge"]

LABELS: Final[tuple[Label, ...]] = ("scratch", "dent", "stain", "missing_hole", "chip")
FRAME_SIZE: Final = (576, 1024)
"""Height and width of a rendered frame; the network sees half of each."""
PART_PITCH: Final = 530.0
"""Mean distance of two parts on the belt."""
_METALS: Final = ((0.60, 0.60, 0.59), (0.66, 0.64, 0.62), (0.52, 0.51, 0.49), (0.56, 0.61, 0.64), (0.72, 0.71, 0.70))
_LABEL_ODDS: Final = (0.22, 0.26, 0.2, 0.16, 0.16)
"""How often each label is tried; dents and scratches find a place less often than chips and holes."""
_SEED_LIMIT: Final = 2**31


@dataclass(frozen=True, slots=True)
class Hole:
    """A drilled hole of the drawing; `x` and `y` are relative to the centre of the part."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Defect:
    """One piece of damage; `size` is its typical half extent, `strength` (0..1) how plainly it shows."""

    label: Label
    x: float
    y: float
    size: float
    angle: float
    strength: float
    seed: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Something on a good part that resembles damage and is none: a hard negative."""

    kind: MarkKind
    x: float
    y: float
    size: float
    angle: float
    strength: float
    seed: int


@dataclass(frozen=True, slots=True)
class Part:
    """A machined part in its own coordinates."""

    kind: PartKind
    width: float
    height: float
    corner: float
    metal: tuple[float, float, float]
    holes: tuple[Hole, ...]
    marks: tuple[Mark, ...]
    defects: tuple[Defect, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A part on the belt: position of its centre in the frame, rotation and scale."""

    part: Part
    x: float
    y: float
    angle: float
    scale: float


@dataclass(frozen=True, slots=True)
class Belt:
    """The conveyor: texture seed, how far it has run, brightness, width of the side rails."""

    seed: int
    offset: float
    tone: float
    rail: int
    debris: int


@dataclass(frozen=True, slots=True)
class Light:
    """Illumination, fixed to the camera: gain, gradient, corner loss and the sheen that glides over the metal."""

    gain: float
    gradient: tuple[float, float]
    vignette: float
    sheen: float
    sheen_angle: float
    sheen_offset: float
    sheen_width: float


@dataclass(frozen=True, slots=True)
class Camera:
    """What the camera adds: motion blur (odd pixels), defocus, sensor noise, JPEG quality (0 leaves it raw)."""

    motion_blur: int
    defocus: float
    noise: float
    jpeg_quality: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything in one picture."""

    placements: tuple[Placement, ...]
    belt: Belt
    light: Light
    camera: Camera
    seed: int
    size: tuple[int, int] = FRAME_SIZE

    def without_defects(self) -> Scene:
        """The same picture of undamaged parts."""
        clean = tuple(replace(p, part=replace(p.part, defects=())) for p in self.placements)
        return replace(self, placements=clean)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(_SEED_LIMIT))


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _holes(rng: np.random.Generator, kind: PartKind, width: float, height: float) -> tuple[Hole, ...]:
    if kind == "plate":
        inset, radius = _uniform(rng, 34, 46), _uniform(rng, 12, 17)
        dx, dy = width / 2 - inset, height / 2 - inset
        corners = tuple(Hole(sx * dx, sy * dy, radius) for sx in (-1, 1) for sy in (-1, 1))
        return (*corners, Hole(0, 0, _uniform(rng, 32, 46)))
    if kind == "flange":
        count, radius = int(rng.choice((4, 6, 8))), _uniform(rng, 11, 15)
        phase, circle = _uniform(rng, 0, math.tau), width / 2 * _uniform(rng, 0.72, 0.77)
        turns = [phase + math.tau * i / count for i in range(count)]
        ring = tuple(Hole(circle * math.cos(t), circle * math.sin(t), radius) for t in turns)
        return (*ring, Hole(0, 0, width / 2 * _uniform(rng, 0.27, 0.38)))
    end, radius = _uniform(rng, 25, 33), _uniform(rng, 12, 15)
    dx = width / 2 - height / 2
    step = min(_uniform(rng, 58, 74), dx - end - radius - 9)
    row = tuple(Hole(i * step, 0, radius) for i in (-1, 0, 1))
    return (*row, Hole(-dx, 0, end), Hole(dx, 0, end))


def _body(rng: np.random.Generator) -> Part:
    kind: PartKind = ("plate", "flange", "link")[int(rng.choice(3, p=(0.45, 0.3, 0.25)))]
    if kind == "plate":
        width, height, corner = _uniform(rng, 320, 400), _uniform(rng, 220, 290), _uniform(rng, 12, 30)
    elif kind == "flange":
        width = height = _uniform(rng, 270, 330)
        corner = width / 2
    else:
        width, height = _uniform(rng, 370, 430), _uniform(rng, 140, 175)
        corner = height / 2
    tone = _uniform(rng, 0.88, 1.12)
    blue, green, red = _METALS[int(rng.integers(len(_METALS)))]
    holes = _holes(rng, kind, width, height)
    return Part(kind, width, height, corner, (blue * tone, green * tone, red * tone), holes, (), (), _seed(rng))


def outline_distance(part: Part, x: float, y: float) -> float:
    """How far inside the outline of the part a point lies; negative outside. Holes do not count."""
    qx = abs(x) - part.width / 2 + part.corner
    qy = abs(y) - part.height / 2 + part.corner
    outside = math.hypot(max(qx, 0.0), max(qy, 0.0)) + min(max(qx, qy), 0.0)
    return part.corner - outside


def _free_spot(
    rng: np.random.Generator, part: Part, margin: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float] | None:
    for _ in range(40):
        x, y = _uniform(rng, -0.5, 0.5) * part.width, _uniform(rng, -0.5, 0.5) * part.height
        if outline_distance(part, x, y) < margin:
            continue
        if any(math.hypot(x - h.x, y - h.y) < h.radius + margin for h in part.holes):
            continue
        if all(math.hypot(x - tx, y - ty) > size + margin for tx, ty, size in taken):
            return x, y
    return None


def _edge_spot(
    rng: np.random.Generator, part: Part, margin: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float, float] | None:
    """A point of the outline and the direction out of it, found by walking out from the centre."""
    for _ in range(20):
        turn = _uniform(rng, 0, math.tau)
        reach = 0.0
        while outline_distance(part, reach * math.cos(turn), reach * math.sin(turn)) > 0:
            reach += 1.0
        x, y = reach * math.cos(turn), reach * math.sin(turn)
        if all(math.hypot(x - tx, y - ty) > size + margin for tx, ty, size in taken):
            return x, y, math.degrees(turn)
    return None


def _defect(
    rng: np.random.Generator, part: Part, label: Label, taken: list[tuple[float, float, float]]
) -> Defect | None:
    strength = _uniform(rng, 0.35, 1.0)
    angle = _uniform(rng, 0, 180)
    if label == "missing_hole":
        small = [h for h in part.holes if h.radius < 20 and (h.x, h.y) not in [(t[0], t[1]) for t in taken]]
        if not small:
            return None
        hole = small[int(rng.integers(len(small)))]
        return Defect(label, hole.x, hole.y, hole.radius, angle, strength, _seed(rng))
    if label == "chip":
        size = _uniform(rng, 11, 24)
        edge = _edge_spot(rng, part, size, taken)
        return None if edge is None else Defect(label, edge[0], edge[1], size, edge[2], strength, _seed(rng))
    low, high = {"scratch": (22.0, 68.0), "dent": (11.0, 24.0), "stain": (14.0, 40.0)}[label]
    size = float(low + (high - low) * rng.beta(1.2, 1.6))
    spot = _free_spot(rng, part, min(size * 0.6, 24.0), taken)
    if spot is None:
        return None
    if label == "scratch":  # never along the brushing, nor square to it: its box would be a hair wide
        angle = 90 + float(rng.choice((-1, 1))) * _uniform(rng, 24, 66)
    return Defect(label, spot[0], spot[1], size, angle, strength, _seed(rng))


def _marks(rng: np.random.Generator, part: Part) -> tuple[Mark, ...]:
    kinds: list[MarkKind] = []
    for kind, chance in (("tool_marks", 0.5), ("arcs", 0.35), ("oil", 0.35), ("smudge", 0.35)):
        if rng.random() < chance:
            kinds.append(kind)  # type: ignore[arg-type]
    if part.kind != "link" and rng.random() < 0.7:
        kinds.append("text")
    if part.kind != "link" and rng.random() < 0.3:
        kinds.append("dot_code")
    marks: list[Mark] = []
    for kind in kinds:
        lettering = [(m.x, m.y, 62.0) for m in marks if m.kind == "text"]
        spot = _free_spot(rng, part, 26.0, lettering) or (0.0, part.height * 0.35)
        if kind == "text":
            spot = (0.0, float(rng.choice((-1, 1))) * part.height * (0.36 if part.kind == "plate" else 0.27))
        size, angle = _uniform(rng, 0.6, 1.0), _uniform(rng, -4, 4)
        if kind in ("oil", "smudge"):
            angle = _uniform(rng, 0, 180)
        marks.append(Mark(kind, spot[0], spot[1], size, angle, _uniform(rng, 0.4, 1.0), _seed(rng)))
    return tuple(marks)


def sample_part(rng: np.random.Generator, *, defect_count: int, wanted: Label | None = None) -> Part:
    """Draw a part with up to `defect_count` pieces of damage.

    Args:
        rng: Source of all randomness.
        defect_count: How many defects to try to place; a crowded part may get fewer.
        wanted: Label of the first defect; any label if None.
    """
    body = _body(rng)
    body = replace(body, marks=_marks(rng, body))
    taken: list[tuple[float, float, float]] = []
    defects: list[Defect] = []
    for index in range(defect_count):
        label = wanted if wanted is not None and index == 0 else LABELS[int(rng.choice(5, p=_LABEL_ODDS))]
        defect = _defect(rng, body, label, taken)
        if defect is not None:
            defects.append(defect)
            taken.append((defect.x, defect.y, defect.size))
    return replace(body, defects=tuple(defects))


def sample_light(rng: np.random.Generator) -> Light:
    """Draw an illumination."""
    return Light(
        gain=_uniform(rng, 0.78, 1.15),
        gradient=(_uniform(rng, -0.18, 0.18), _uniform(rng, -0.15, 0.15)),
        vignette=_uniform(rng, 0.1, 0.4),
        sheen=_uniform(rng, 0.0, 0.45),
        sheen_angle=_uniform(rng, -35, 35),
        sheen_offset=_uniform(rng, -320, 320),
        sheen_width=_uniform(rng, 50, 150),
    )


def sample_camera(rng: np.random.Generator) -> Camera:
    """Draw the losses of a camera: between almost none and a cheap one on a fast belt."""
    blur = (1, 3, 5)[int(rng.choice(3, p=(0.45, 0.4, 0.15)))]
    quality = int(rng.integers(55, 96)) if rng.random() < 0.7 else 0
    return Camera(blur, max(0.0, _uniform(rng, -0.4, 1.0)), _uniform(rng, 0.004, 0.022), quality)


def sample_belt(rng: np.random.Generator) -> Belt:
    """Draw a conveyor; textures come from a small stock so that they can be reused."""
    return Belt(
        seed=int(rng.integers(24)),
        offset=_uniform(rng, 0, 2048),
        tone=_uniform(rng, 0.75, 1.3),
        rail=int(rng.integers(0, 46)),
        debris=int(rng.integers(0, 9)),
    )


def sample_scene(seed: int, split: int, index: int) -> Scene:
    """Draw the scene that belongs to these three numbers: one to three parts at random places of the belt."""
    rng = np.random.default_rng([seed, split, index])
    height, width = FRAME_SIZE
    placements = []
    x = _uniform(rng, -150, 330)
    while x < width + 150:
        count = int(rng.choice(5, p=(0.3, 0.28, 0.22, 0.12, 0.08)))
        part = sample_part(rng, defect_count=count)
        scale = _uniform(rng, 0.92, 1.08)
        y = height / 2 + _uniform(rng, -55, 55)
        placements.append(Placement(part, x, y, _uniform(rng, -9, 9), scale))
        x += PART_PITCH + _uniform(rng, -55, 80)
    return Scene(tuple(placements), sample_belt(rng), sample_light(rng), sample_camera(rng), _seed(rng))
