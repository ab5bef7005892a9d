"""``edge-runtime cameras reference``: declare what a camera shows now to be a good picture of it."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, Final

from edge_runtime.cli.values import number
from edge_runtime.core.errors import ConfigError, DataError, UnavailableError

if TYPE_CHECKING:
    import argparse

    from edge_runtime.app.picture_references import ReferenceFiles
    from edge_runtime.camera.source import Pixels
    from edge_runtime.config.schema import Settings
    from edge_runtime.core.picture import PictureReference

SECONDS: Final = 10.0
SECONDS_MIN: Final = 2.0
SECONDS_MAX: Final = 60.0
POLL_S: Final = 0.1
ANSWER_S: Final = 10.0
LOCK_FILE: Final = "lock"


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "reference",
        help="declare what a camera shows now to be a good picture",
        description="Looks at a camera for some seconds and keeps what its pictures have in common: pictures that are "
        "much darker, brighter or less sharp, or lie elsewhere, are told from then on. With a running daemon, the "
        "daemon does it while it goes on.",
    )
    parser.add_argument("name", metavar="NAME", help="camera of the configuration")
    parser.add_argument("--config", metavar="FILE", help="configuration that names the camera")
    parser.add_argument(
        "--seconds",
        type=number(SECONDS_MIN, SECONDS_MAX),
        default=SECONDS,
        metavar="N",
        help="look for N seconds: long enough for what moves through the picture to move on (default: 10)",
    )
    parser.add_argument("--remove", action="store_true", help="forget the reference instead")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the reference, or remove it, and say what it can tell.

    Raises:
        EdgeError: there is no such camera, it shows nothing, or its directory cannot be written.
    """
    from edge_runtime.app.picture_references import ReferenceFiles  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.config.loader import find_config, load  # noqa: PLC0415
    from edge_runtime.system.files import is_locked  # noqa: PLC0415

    settings = load(find_config(args.config, os.environ), environ=os.environ).settings
    _check(settings, args.name)
    files = ReferenceFiles(settings.state_dir)
    if is_locked(settings.state_dir / LOCK_FILE):
        _ask(files, args.name, 0.0 if args.remove else args.seconds)
    else:
        files.save(args.name, None if args.remove else _make(settings, args.name, args.seconds))
    _tell(args, files.load(args.name))
    return os.EX_OK


def _check(settings: Settings, name: str) -> None:
    from edge_runtime.app.plan import picture_rules  # noqa: PLC0415

    camera = settings.cameras.get(name)
    if camera is None:
        raise ConfigError(
            "camera.unknown", f"there is no camera {name!r}", help=f"configured: {', '.join(settings.cameras)}"
        )
    if picture_rules(camera) is None:
        message = f"the pictures of camera {name} are not looked at"
        raise ConfigError("picture.off", message, help=f"remove  cameras.{name}.picture: false")


def _ask(files: ReferenceFiles, name: str, seconds: float) -> None:
    """Leave a wish for the daemon and wait until it is done.

    Raises:
        DataError: the daemon refused.
        UnavailableError: it did not answer in time.
    """
    from edge_runtime.app.picture_references import Wish  # noqa: PLC0415

    wish = Wish(uuid.uuid4().hex, seconds)
    files.write_wish(name, wish)
    end_s = time.monotonic() + seconds + ANSWER_S
    while time.monotonic() < end_s:
        threading.Event().wait(POLL_S)
        found = files.wish(name)
        if found is None:
            return
        if found.id != wish.id:
            raise UnavailableError("picture.replaced", "somebody else asked for a reference of this camera")
        if found.error is not None:
            files.write_wish(name, None)
            raise DataError("picture.refused", found.error, help=found.help)
    files.write_wish(name, None)
    help_ = "see edge-runtime status; its user must be able to write below pictures/ in the state directory"
    raise UnavailableError("picture.no_answer", "the daemon did not answer", help=help_)


def _make(settings: Settings, name: str, seconds: float) -> PictureReference:
    """Look at the camera from here.

    Raises:
        EdgeError: it does not work, or shows too little.
    """
    from edge_runtime.camera.looks import LOOK_S  # noqa: PLC0415
    from edge_runtime.camera.measure import Measure  # noqa: PLC0415
    from edge_runtime.camera.reference import ReferenceMaker  # noqa: PLC0415
    from edge_runtime.cli.look_at import look_at  # noqa: PLC0415

    measure, maker, due_s = Measure(), ReferenceMaker(), 0.0

    def seen(image: Pixels, now_s: float) -> None:
        nonlocal due_s
        if now_s >= due_s:
            due_s = now_s + LOOK_S
            maker.add(*measure.measure(image, 0, now_s))

    look_at(settings.cameras[name].source.text, seconds, seen)
    return maker.finish(time.time_ns())


def _tell(args: argparse.Namespace, reference: PictureReference | None) -> None:
    from edge_runtime.pipeline.picture_health import unjudged  # noqa: PLC0415

    if reference is None:
        if args.remove:
            text = f"camera {args.name} has no reference picture any more"
            print(json.dumps({"camera": args.name, "reference": None}) if args.json else text)
            return
        raise UnavailableError("picture.removed", "the reference was removed again")
    cannot = unjudged(reference)
    if args.json:
        facts = {
            "looks": reference.looks,
            "width": reference.width,
            "height": reference.height,
            "brightness_low": round(reference.brightness_low, 1),
            "white_high": round(reference.white_high, 4),
            "sharpness_low": reference.sharpness_low,
            "detail_low": round(reference.detail_low, 4),
            "likeness_low": reference.likeness_low,
            "unjudged": list(cannot),
        }
        print(json.dumps({"camera": args.name, "reference": facts}))
        return
    print(f"camera {args.name}: {reference.looks} pictures of {reference.width} x {reference.height} are its reference")
    why = {
        "covered": "its pictures have hardly an edge",
        "blurred": "its pictures have too few edges",
        "moved": "too little in its pictures stands still",
    }
    for fault in cannot:
        print(f"  {fault} cannot be told: {why[fault]}")
