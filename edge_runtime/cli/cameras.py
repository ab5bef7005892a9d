"""``edge-runtime cameras``: what is plugged in, whether a source works, what it shows, and what it should show."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.cli import cameras_reference
from edge_runtime.cli.look_at import look_at
from edge_runtime.cli.values import DAY_S, number

if TYPE_CHECKING:
    import argparse

    from edge_runtime.camera.look import View

DEVICES = Path("/dev")
DEVICE_FACTS = Path("/sys/class/video4linux")
WATCH_S = 3.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its actions."""
    parser = subparsers.add_parser("cameras", help="list, probe, take a picture or a reference")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="cameras plugged into this box, and the simulated ones")
    listing.add_argument("--json", action="store_true", help="one JSON object")
    listing.set_defaults(run=run_list)

    source_help = "rtsp://..., http://... (MJPEG), v4l2:/dev/video0, file:clip.mp4, images:dir/ or sim:conveyor"
    probe = actions.add_parser("probe", help="open a source, watch it and say what it is, or why it does not work")
    probe.add_argument("source", metavar="SOURCE", help=source_help)
    probe.add_argument(
        "--seconds", type=number(0, DAY_S), default=WATCH_S, metavar="N", help="watch for N seconds (default: 3)"
    )
    probe.add_argument("--json", action="store_true", help="one JSON object")
    probe.set_defaults(run=run_probe)

    snapshot = actions.add_parser("snapshot", help="write one fresh picture of a source to a file")
    snapshot.add_argument("source", metavar="SOURCE", help=source_help)
    snapshot.add_argument("file", metavar="FILE", type=Path, help="its suffix names the kind: .jpg, .png, .bmp ...")
    snapshot.add_argument("--json", action="store_true", help="one JSON object")
    snapshot.set_defaults(run=run_snapshot)

    cameras_reference.add_parser(actions)


def run_list(args: argparse.Namespace) -> int:
    """Print the cameras that this box can see without asking the network."""
    from edge_runtime.camera.simulated import SCENES  # noqa: PLC0415 - --help needs none of it

    devices = find_devices(DEVICES, DEVICE_FACTS)
    simulated = [f"sim:{name}" for name in SCENES]
    if args.json:
        print(json.dumps({"devices": devices, "simulated": simulated}))
        return os.EX_OK
    for device in devices:
        print(f"{device['source']:24} {device['name']}" + ("" if device["readable"] else "  (may not be read)"))
    if not devices:
        print("no camera is plugged into this box (no /dev/video*)")
    for name in simulated:
        print(f"{name:24} simulated")
    print("network cameras are not searched for; try: edge-runtime cameras probe rtsp://HOST/PATH")
    return os.EX_OK


def run_probe(args: argparse.Namespace) -> int:
    """Watch the source and print what was seen.

    Raises:
        EdgeError: the source does not work; the message says why.
    """
    view = look_at(args.source, args.seconds)
    facts = describe(view)
    if args.json:
        print(json.dumps(facts))
        return os.EX_OK
    kind = "grey" if facts["channels"] == 1 else "colour"
    print(f"works: {facts['width']} x {facts['height']} pixels, {kind}")
    print(f"  opened in {facts['open_s']} s, first picture after {facts['first_picture_s']} s")
    rate = "too few pictures to tell the rate" if facts["fps"] is None else f"{facts['fps']} pictures a second"
    print(f"  {rate} ({facts['frames']} seen, {facts['stale']} stale, {facts['bad']} unusable)")
    if view.bad_reason is not None:
        print(f"  last unusable picture: {view.bad_reason}")
    return os.EX_OK


def run_snapshot(args: argparse.Namespace) -> int:
    """Write one picture.

    Raises:
        EdgeError: the source does not work, or the file cannot be written.
    """
    from edge_runtime.camera.pictures import check_suffix, encode  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.core.errors import InvariantError  # noqa: PLC0415
    from edge_runtime.system.files import write_atomic  # noqa: PLC0415

    check_suffix(args.file.suffix)
    view = look_at(args.source, 0.0)
    if view.image is None:
        raise InvariantError("camera.no_image", "a picture was seen and is not there")
    data = encode(view.image, args.file.suffix)
    write_atomic(args.file, data, durable=False)
    facts = describe(view) | {"file": str(args.file), "size_bytes": len(data)}
    text = f"{args.file}: {facts['width']} x {facts['height']} pixels, {len(data)} bytes"
    print(json.dumps(facts) if args.json else text)
    return os.EX_OK


def find_devices(devices: Path, facts: Path) -> list[dict[str, object]]:
    """Return the video devices below ``devices``; names come from ``facts`` (sysfs)."""
    found = sorted(devices.glob("video*"), key=lambda path: (len(path.name), path.name))
    return [
        {"source": f"v4l2:{path}", "name": _name(facts / path.name / "name"), "readable": os.access(path, os.R_OK)}
        for path in found
    ]


def describe(view: View) -> dict[str, object]:
    """Return what was seen as JSON fields."""
    shape = view.shape
    return {
        "width": shape.width if shape else None,
        "height": shape.height if shape else None,
        "channels": shape.channels if shape else None,
        "open_s": round(view.open_s, 3),
        "first_picture_s": round(view.first_s, 3),
        "frames": view.frames,
        "fps": None if view.fps is None else round(view.fps, 2),
        "stale": view.stale,
        "bad": view.bad,
    }


def _name(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown"
