"""Facts about one captured image; the pixels themselves stay in a ring slot (``system.ring``).

Field names follow GenICam (frame id) and OPC 40100-1. Times: ``captured_mono_ns`` is CLOCK_MONOTONIC and is
the only one used for intervals; ``captured_utc_ns`` is CLOCK_REALTIME at the same instant and only labels data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlotRef:
    """Where a frame's pixels lie: slot ``index`` of a camera's ring, valid while its generation is unchanged."""

    index: int
    generation: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured image of one camera.

    Attributes:
        camera: configured camera id.
        frame_id: 1, 2, 3 ... per camera and boot; never reused, gaps mean frames that were never completed.
        captured_utc_ns: UTC nanoseconds since 1970, stamped after the frame arrived.
        captured_mono_ns: CLOCK_MONOTONIC nanoseconds at the same instant.
        width: pixels.
        height: pixels.
        channels: 3 = BGR8 (GenICam PFNC name), 1 = Mono8. Always uint8.
        slot: where the pixels are.
        read_ms: time the reader spent decoding and storing the frame.
        simulated: the camera is a ``sim:`` source.
        origin: file name for ``images:`` sources, else ``None``.
    """

    camera: str
    frame_id: int
    captured_utc_ns: int
    captured_mono_ns: int
    width: int
    height: int
    channels: int
    slot: SlotRef
    read_ms: float = 0.0
    simulated: bool = False
    origin: str | None = None

    @classmethod
    def without_pixels(
        cls, camera: str, frame_id: int, *, utc_ns: int, mono_ns: int, simulated: bool, origin: str | None = None
    ) -> Frame:
        """Return a frame that was captured and cannot be looked at: 0 x 0 pixels, in no slot."""
        slot = SlotRef(0, 0)
        return cls(camera, frame_id, utc_ns, mono_ns, 0, 0, 0, slot, simulated=simulated, origin=origin)
