"""The camera reader against an RTSP server that begins with pictures of seconds ago."""

from __future__ import annotations

import time

import pytest

from tests.cameras.harness import CameraBench
from tests.cameras.stored_group import StoredGroupServer

pytestmark = pytest.mark.timeout(60)

AGE_MAX_S = 1.0


def test_a_group_of_pictures_that_the_server_had_in_store_is_stale() -> None:
    with StoredGroupServer(80) as server:
        time.sleep(3.5)  # of the four seconds of a group
        with CameraBench({"source": f"rtsp://127.0.0.1:{server.port}/cam"}) as bench:
            frames = bench.wait_frames(10)
    numbers = [frame.stamp.number for frame in frames if frame.stamp]
    assert len(numbers) == len(frames)
    assert max(frame.at_s - server.taken_s(number) for frame, number in zip(frames, numbers, strict=True)) < AGE_MAX_S
    assert [heard.message["drop"] for heard in bench.of("dropped")] == ["stale"]
    assert bench.states == ["connecting", "streaming"]
