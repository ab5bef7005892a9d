"""A short film of the conveyor, for demonstrations and tests with a video source; it repeats without a seam."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from surface_defects.render import BELT_PERIOD, render_scene
from surface_defects.scene import FRAME_SIZE, Belt, Camera, Label, Light, Part, Placement, Scene, sample_part
from surface_defects.surface import draw_surface

if TYPE_CHECKING:
    from pathlib import Path

FRAME_RATE: Final = 30
_SPEED_PX: Final = 8
_TRAVEL: Final = 3 * BELT_PERIOD
"""The film ends where it began: after whole turns of the belt's texture and of the ring of parts."""
_PLAN: Final[tuple[tuple[Label, ...], ...]] = (
    (), ("scratch",), (), ("dent",), (), ("missing_hole",), (), ("stain",), (), ("chip",), ("scratch", "dent"),
)  # fmt: skip
"""Damage of the parts in the order in which they come; half of them are good."""
_STRENGTH_MIN: Final = 0.55
_SIZE_MAX_BYTES: Final = 3_000_000
_LIGHT: Final = Light(1.0, (0.07, -0.05), 0.22, 0.3, 12.0, -60.0, 110.0)
_CAMERA: Final = Camera(motion_blur=3, defocus=0.45, noise=0.004, jpeg_quality=0)


def _part(seed: int, index: int, labels: tuple[Label, ...]) -> Part:
    """A part with exactly this damage, plainly visible."""
    for attempt in range(200):
        rng = np.random.default_rng([seed, 21, index, attempt])
        part = sample_part(rng, defect_count=len(labels), wanted=labels[0] if labels else None)
        if tuple(d.label for d in part.defects) == labels and all(d.strength > _STRENGTH_MIN for d in part.defects):
            return part
    message = f"no part with {labels} in 200 attempts"
    raise RuntimeError(message)


def film_scenes(seed: int) -> list[Scene]:
    """One scene per frame of the film."""
    rng = np.random.default_rng([seed, 20])
    pitch = _TRAVEL / len(_PLAN)
    ring = [
        Placement(
            _part(seed, index, labels),
            index * pitch + float(rng.uniform(-20, 20)),
            FRAME_SIZE[0] / 2 + float(rng.uniform(-30, 30)),
            float(rng.uniform(-6, 6)),
            1.0,
        )
        for index, labels in enumerate(_PLAN)
    ]
    reach = 300.0
    scenes = []
    for frame in range(_TRAVEL // _SPEED_PX):
        moved = [replace(p, x=(p.x + frame * _SPEED_PX + reach) % _TRAVEL - reach) for p in ring]
        belt = Belt(seed=5, offset=float(-frame * _SPEED_PX), tone=1.0, rail=34, debris=0)
        # the rails depend on the seed modulo 16, the noise on all of it
        scenes.append(Scene(tuple(moved), belt, _LIGHT, _CAMERA, seed=frame * 16 + 3))
    return scenes


def write_clip(target: Path, *, seed: int, encoder: str = "ffmpeg") -> int:
    """Render the film and encode it as H.264.

    Args:
        target: The file to write.
        seed: Seed of parts and places.
        encoder: Name or path of ffmpeg with libx264.

    Returns:
        Number of frames.

    Raises:
        RuntimeError: The encoder failed or the file is too large.
    """
    scenes = film_scenes(seed)
    surfaces = [draw_surface(p.part) for p in scenes[0].placements]
    command = [
        encoder, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24",
        "-s", f"{FRAME_SIZE[1]}x{FRAME_SIZE[0]}", "-r", str(FRAME_RATE), "-i", "-",
        "-c:v", "libx264", "-preset", "slow", "-crf", "24", "-pix_fmt", "yuv420p", "-g", "60", "-bf", "0",
        "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart", str(target),
    ]  # fmt: skip
    visible = FRAME_SIZE[1] + 300
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        if process.stdin is None:
            message = "the encoder has no standard input"
            raise RuntimeError(message)
        for scene in scenes:
            near = [i for i, p in enumerate(scene.placements) if p.x < visible]
            shown = replace(scene, placements=tuple(scene.placements[i] for i in near))
            picture = render_scene(shown, {place: surfaces[i] for place, i in enumerate(near)})
            process.stdin.write(picture.image.tobytes())
        process.stdin.close()
        status = process.wait()
    size = target.stat().st_size if target.exists() else 0
    if status or not 0 < size < _SIZE_MAX_BYTES:
        message = f"{encoder} ended with {status}, {target.name} has {size} bytes, at most {_SIZE_MAX_BYTES} wanted"
        raise RuntimeError(message)
    return len(scenes)
