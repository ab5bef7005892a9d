"""What a reader does about results that it misses: asks the box for them, and remembers how far it came."""

from __future__ import annotations

import json
import threading
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.app.asker import Wish, ask
from edge_runtime.core.errors import ConfigError, DataError, UnavailableError
from edge_runtime.publish.contract.topics import RESULT
from edge_runtime.publish.mqtt.client import MqttDial
from edge_runtime.publish.payload import Identity, result_topic
from edge_runtime.publish.prover import Hole, Mark
from edge_runtime.system.files import read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_runtime.app.audience import Audience
    from edge_runtime.publish.mqtt.link import MqttSettings

MARKS_SCHEMA = "edge-runtime.marks/1"
MARKS_BYTES = 1 << 24
ANSWER_S = 10.0
ARRIVE_S = 30.0  # without any of the numbers that are to come
HOLES_MAX = 1000  # asked for in one go
TURN_S = 0.1
LEVELS = 3  # site, line, edge


def load_marks(path: Path) -> dict[str, Mark]:
    """Return how far each stream was followed; nothing when there is no file yet.

    Raises:
        DataError: it is no such file.
        StorageError: it cannot be read.
        PermissionDeniedError: it may not be read.
    """
    if not path.exists():
        return {}
    try:
        document = json.loads(read_limited(path, MARKS_BYTES))
        streams = {MARKS_SCHEMA: document["streams"]}[document["schema"]]
        return {
            str(name): Mark(int(mark["last"]), tuple((int(low), int(high)) for low, high in mark["missing"]))
            for name, mark in streams.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"{path} does not hold how far streams were followed ({MARKS_SCHEMA}): {error!r:.80}"
        raise DataError("watch.marks", msg, help="name the file that an earlier watch --from wrote") from error


def save_marks(path: Path, marks: Mapping[str, Mark]) -> None:
    """Write them, durably and all or nothing.

    Raises:
        StorageError: the disk refuses.
        PermissionDeniedError: the file may not be written.
    """
    streams = {name: {"last": mark.last, "missing": mark.missing} for name, mark in marks.items()}
    write_atomic(path, json.dumps({"schema": MARKS_SCHEMA, "streams": streams}, indent=1).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a hole, and what the box said to it; ``status`` ``None``: nobody answered."""

    hole: Hole
    status: int | None
    message: str


def ask_for_holes(
    audience: Audience, settings: MqttSettings, root: str, *, caller: str, over: Callable[[], bool]
) -> list[Asked]:
    """Ask for every hole and wait until what is promised has arrived, nothing more comes, or it is ``over``.

    ``root`` is the topic root, ``caller`` the level of the reply topics that we may read.
    """
    asked = []
    for hole in audience.holes()[:HOLES_MAX]:
        if over():
            break
        asked.append(_ask(hole, settings, root, caller))
    promised = {one.hole.stream for one in asked if one.status is not None and one.status < 300}  # noqa: PLR2004 - HTTP
    size, since_s, pause = -1, time.monotonic(), threading.Event()
    while not over():
        left = sum(hole.high - hole.low + 1 for hole in audience.holes() if hole.stream in promised)
        if left != size:
            size, since_s = left, time.monotonic()
        if not left or time.monotonic() - since_s > ARRIVE_S:
            break
        pause.wait(TURN_S)
    return asked


def _ask(hole: Hole, settings: MqttSettings, root: str, caller: str) -> Asked:
    box, _, inspection = hole.stream.partition("/result/")
    levels = box.split("/")
    if len(levels) != LEVELS:
        return Asked(hole, None, f"{box} is no box that can be asked")
    site, line, edge = levels
    dial = MqttDial(replace(settings, client_id=f"{settings.client_id}-replay", session_expiry_s=0))
    try:
        identity = Identity(site, line, edge, root)
        target = result_topic(inspection).removeprefix(RESULT.fixed)
        arguments = {"fromSeq": hole.low, "toSeq": hole.high}
        document = ask(dial, Wish(identity, "replay", target, uuid.uuid4().hex, caller, arguments), ANSWER_S)
    except (UnavailableError, ConfigError) as error:
        return Asked(hole, None, error.message)
    status = document.get("status")
    return Asked(hole, status if isinstance(status, int) else None, str(document.get("message")))
