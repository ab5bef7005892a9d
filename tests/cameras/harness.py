"""Runs a camera reader in a thread and keeps what it says, with the stamp of each picture read at once."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edge_runtime.camera.reader import read
from edge_runtime.camera.stamp import Stamp, read_stamp
from edge_runtime.core.frame import SlotRef
from edge_runtime.system.child import ChildContext
from edge_runtime.system.messages import PeerGone, pair
from edge_runtime.system.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

SLOT_BYTES = 4 << 20


@dataclass(frozen=True)
class Heard:
    """One message of the reader; ``at_s`` is monotonic; ``stamp`` and ``age_ms`` belong to the picture of a frame."""

    at_s: float
    message: dict[str, Any]
    image: Any = None
    stamp: Stamp | None = None
    age_ms: int | None = None


@dataclass
class CameraBench:
    """The main process's side of one reader; use it as a context manager."""

    args: dict[str, object]
    slots: int = 6
    slot_bytes: int = SLOT_BYTES
    release: bool = True
    keep_images: bool = True
    heard: list[Heard] = field(default_factory=list)
    failure: BaseException | None = None

    def __enter__(self) -> Self:
        import os

        self.ring = Ring.create("test", slots=self.slots, slot_bytes=self.slot_bytes)
        self.ours, theirs = pair()
        context = ChildContext(
            name="camera/test",
            args={"camera": "test", "capture": "latest", "fps": None, "stall_s": 2.0} | self.args,
            fds={"ring": os.dup(self.ring.fd)},
            socket=theirs,
        )
        self.context = context
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._hung_up = False
        self._reader = threading.Thread(target=self._read, args=(context,), name="reader")
        self._listener = threading.Thread(target=self._listen, name="listener")
        self.started_s = time.monotonic()
        self._reader.start()
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(PeerGone):
            self.ours.send({"op": "stop"})
        self._reader.join(15)
        self._listener.join(5)
        stuck = self._reader.is_alive()
        self.ours.close()
        self.ring.close()
        assert not stuck, "the reader does not stop"
        if self.failure is not None:
            raise self.failure

    def _read(self, context: ChildContext) -> None:
        try:
            read(context, confined=False)  # a thread cannot be confined alone
        except BaseException as error:  # noqa: BLE001 - the boundary of a thread; raised again at the end of the test
            self.failure = error
        finally:
            context.socket.close()

    def _listen(self) -> None:
        while not self._hung_up:
            try:
                message = self.ours.receive(0.2)
            except PeerGone:
                break
            if message is not None:
                heard = self._understand(message)
                with self._changed:
                    self.heard.append(heard)
                    self._changed.notify_all()
        self._ended.set()
        with self._changed:
            self._changed.notify_all()

    def _understand(self, message: dict[str, Any]) -> Heard:
        at_s = time.monotonic()
        if message["op"] != "frame":
            return Heard(at_s, message)
        ref = SlotRef(message["slot"], message["generation"])
        shape = (message["height"], message["width"], message["channels"])
        view = self.ring.view(ref, shape[0] * shape[1] * shape[2])
        image = np.frombuffer(view, np.uint8).reshape(shape)
        stamp = read_stamp(image)
        age_ms = stamp.age_ms(time.time_ns() // 1_000_000) if stamp else None
        kept = image.copy() if self.keep_images else None
        del image
        view.release()
        if self.release:
            self.ring.release(ref)
        return Heard(at_s, message, kept, stamp, age_ms)

    def wait(self, wanted: Callable[[Self], bool], timeout_s: float = 10.0) -> None:
        """Return once ``wanted`` holds.

        Raises:
            AssertionError: it did not in time.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not wanted(self):
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"waited {timeout_s} s in vain; heard: {self.summary()}"
                assert not self._ended.is_set(), f"the reader ended ({self.failure}); heard: {self.summary()}"
                self._changed.wait(min(remaining, 0.05))  # some conditions change without a message

    def wait_state(self, state: str, timeout_s: float = 10.0, *, reason: str | None = None) -> Heard:
        """Return the newest message with this state (and reason) as soon as it is the present state."""

        def is_there(_: CameraBench) -> bool:
            states = self.of("state")
            return (
                bool(states) and states[-1].message["state"] == state and reason in (None, states[-1].message["reason"])
            )

        self.wait(is_there, timeout_s)
        return self.of("state")[-1]

    def wait_frames(self, count: int, timeout_s: float = 10.0, *, after: int = 0) -> list[Heard]:
        """Return the frames once there are ``count`` of them behind the first ``after``."""
        self.wait(lambda _: len(self.of("frame")) >= after + count, timeout_s)
        return self.of("frame")[after:]

    def release_frame(self, index: int) -> None:
        """Free the slot of the frame that came at this place."""
        message = self.of("frame")[index].message
        self.ring.release(SlotRef(message["slot"], message["generation"]))

    def hang_up(self) -> None:
        """Die, as far as the reader can tell."""
        self._hung_up = True
        self._listener.join(5)
        self.ours.close()

    def reader_ends(self, timeout_s: float) -> bool:
        """Wait for the reader to end by itself."""
        self._reader.join(timeout_s)
        return not self._reader.is_alive()

    def silent_s(self) -> float:
        """Seconds since the last message."""
        return time.monotonic() - self.heard[-1].at_s

    def of(self, operation: str) -> list[Heard]:
        """Messages of one kind so far."""
        return [heard for heard in self.heard if heard.message["op"] == operation]

    @property
    def states(self) -> list[str]:
        """The states so far, in order."""
        return [heard.message["state"] for heard in self.of("state")]

    def accounted(self) -> list[int]:
        """Ids of all frames that have met their fate, in the order of the messages."""
        ids: list[int] = []
        for heard in self.heard:
            if heard.message["op"] in ("frame", "bad_frame"):
                ids.append(heard.message["frame"])
            elif heard.message["op"] == "dropped":
                ids += heard.message["frames"]
        return ids

    def summary(self) -> list[dict[str, Any]]:
        """The last messages, for a failed assertion."""
        return [heard.message for heard in self.heard[-12:]]
