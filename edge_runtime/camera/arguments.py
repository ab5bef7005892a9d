"""What a camera child is told to read, and the source that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from edge_runtime.camera.environment import MAX_PIXELS_DEFAULT
from edge_runtime.camera.mjpeg import MjpegSource
from edge_runtime.camera.opencv import DeviceSource, FileSource, RtspSource
from edge_runtime.camera.pictures import PictureSource
from edge_runtime.camera.simulated import SimulatedSource
from edge_runtime.core.errors import ConfigError
from edge_runtime.core.source import SourceKind, parse_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.camera.source import Source

When = Literal["never", "after", "before"]
"""When pictures are measured: never, after their frame was announced, or before (``camera.looks``)."""


@dataclass(frozen=True, slots=True)
class ReaderArgs:
    """What to read and how.

    Attributes:
        camera: id, for log lines.
        source: text that ``core.source`` reads; ``None`` when ``files`` are given.
        files: pictures to read in this order.
        every: no frame may be left out silently (capture policy ``every``), else the newest one wins.
        fps: ceiling, frames a second.
        stall_s: silence after which a live source counts as stalled.
        max_pixels: pixels of the largest picture that is decoded.
        pictures: when pictures are measured.
    """

    camera: str
    source: str | None
    files: tuple[str, ...] = ()
    every: bool = False
    fps: float | None = None
    stall_s: float = 5.0
    max_pixels: int = MAX_PIXELS_DEFAULT
    pictures: When = "never"

    @classmethod
    def parse(cls, args: Mapping[str, object]) -> ReaderArgs:
        """Take the arguments apart.

        Raises:
            ConfigError: one is missing, of the wrong type or out of range.
        """
        source, files, fps = args.get("source"), args.get("files"), args.get("fps")
        stall_s, max_pixels = args.get("stall_s", 5.0), args.get("max_pixels", MAX_PIXELS_DEFAULT)
        pictures = next((word for word in get_args(When) if word == args.get("pictures", "never")), None)
        valid = (
            (isinstance(source, str) or isinstance(files, list))
            and (fps is None or (isinstance(fps, (int, float)) and fps > 0))
            and isinstance(stall_s, (int, float))
            and stall_s > 0
            and isinstance(max_pixels, int)
            and args.get("capture", "latest") in ("latest", "every")
            and pictures is not None
        )
        if not valid:
            raise ConfigError("camera.arguments", f"the arguments of camera {args.get('camera')!r} are not usable")
        return cls(
            camera=str(args.get("camera", "")),
            source=source if isinstance(source, str) else None,
            files=tuple(str(name) for name in files) if isinstance(files, list) else (),
            every=args.get("capture") == "every",
            fps=float(fps) if isinstance(fps, (int, float)) else None,
            stall_s=float(stall_s) if isinstance(stall_s, (int, float)) else 5.0,
            max_pixels=max_pixels if isinstance(max_pixels, int) else MAX_PIXELS_DEFAULT,
            pictures=pictures or "never",
        )


def make_source(
    args: ReaderArgs, begun: Callable[[], int] = lambda: 0, begun_here: Callable[[], int] = lambda: 0
) -> Source:
    """Return the unopened source that ``args`` describe.

    ``begun`` and ``begun_here`` count the frames that were begun under this id, and in this ring; earlier processes
    took part in both.

    Raises:
        ConfigError: there is no such kind of source, or its options are wrong.
    """
    if args.source is None:
        return PictureSource(files=[Path(name) for name in args.files], max_pixels=args.max_pixels, begun=begun_here)
    parsed = parse_source(args.source)
    path, limit = Path(parsed.location), args.max_pixels
    makers: dict[SourceKind, Callable[[], Source]] = {
        "rtsp": lambda: RtspSource(parsed.location, limit, args.stall_s),
        "http": lambda: MjpegSource(parsed.location, limit),
        "v4l2": lambda: DeviceSource(path, limit),
        "file": lambda: FileSource(path, limit, loop=parsed.loop, realtime=parsed.realtime),
        "images": lambda: PictureSource(directory=path, max_pixels=limit, loop=parsed.loop, begun=begun_here),
        "sim": lambda: SimulatedSource(parsed.location, parsed.options, max_pixels=limit, begun=begun),
    }
    makers |= {"rtsps": makers["rtsp"], "https": makers["http"]}
    return makers[parsed.kind]()
