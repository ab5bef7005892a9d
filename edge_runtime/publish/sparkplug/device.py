"""One device, which is an inspection: what hosts know of it, and whether they think that it lives. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.publish.sparkplug import commands, mapping
from edge_runtime.publish.sparkplug.payload import DataType
from edge_runtime.publish.sparkplug.points import Board, Point

if TYPE_CHECKING:
    from edge_runtime.publish.sparkplug.spoken import DeviceSpec, NodeSpec

CAMERA_GRACE_NS = 500_000_000  # a camera that is back within this has not died; what it still gave arrives first
LAST_ID, LAST_STATUS, LAST_MESSAGE = "Command/LastId", "Command/LastStatus", "Command/LastMessage"


class Device:
    """One device.

    Attributes:
        board: what hosts know of it.
        down_ns: since when its camera is away, CLOCK_MONOTONIC.
        dead: its camera is away and that was said; no data until it is born again.
    """

    def __init__(self, spec: DeviceSpec, node: NodeSpec) -> None:
        """Be ``spec`` on ``node``; every metric that will ever be sent is decided here."""
        self.spec = spec
        self.down_ns: int | None = None
        self.dead = False
        found = [
            Point(mapping.CAMERA_ONLINE, DataType.BOOLEAN, value=False, timestamp_ms=0),
            *mapping.unborn(0, result_json=node.result_json),
        ]
        if node.commands:
            found += [
                Point(name, kind, False if kind is DataType.BOOLEAN else None, 0)
                for name, kind in commands.DEVICE_METRICS.items()
                if spec.triggered or name in (commands.PAUSE, commands.RECIPE)
            ]
            found += answer_points()
        self.board = Board(found)

    def is_down(self, mono_ns: int) -> bool:
        """Whether its camera has been away for so long that it counts as lost."""
        return self.down_ns is not None and mono_ns - self.down_ns >= CAMERA_GRACE_NS


def answer_points() -> list[Point]:
    """Return the points by which a command is answered, before the first one."""
    return [
        Point(LAST_ID, DataType.STRING, None, 0),
        Point(LAST_STATUS, DataType.INT32, None, 0),
        Point(LAST_MESSAGE, DataType.STRING, None, 0),
    ]
