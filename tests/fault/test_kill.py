"""Kill -9 of the camera process, the engine process and main, under load: nothing committed is lost, all is accounted.

Each is repeated ``KILLS`` times; the soak run (``-m soak``) does the 20 of the promise, the ordinary run fewer.
"""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.brokers import Broker
from tests.daemons import DaemonProcess, Listener, line_config, wait_until

if TYPE_CHECKING:
    from typing import Any

KILLS = 2  # the engine is killed both idle and busy
SOAK_KILLS = 20
FPS = 30
APART_S = 6.0  # a child that dies more often than each 5 s is restarted more and more slowly, on purpose
LEAK_MB = 10  # a lost ring would be 0.7 MB a kill, a lost engine a hundred
KILLS_PARAM = pytest.mark.parametrize("kills", [KILLS, pytest.param(SOAK_KILLS, marks=pytest.mark.soak)])


@pytest.mark.timeout(400)
@KILLS_PARAM
def test_a_killed_camera_is_back_and_every_frame_is_accounted_for(tmp_path: Path, kills: int) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state")
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(10)
            descriptors, connects = daemon.descriptors(), daemon.status()["broker"]["connects"]
            resident_mb = daemon.resident_mb()
            gaps = [_kill_and_wait(daemon, listener, "camera/top") for _ in range(kills)]
            wait_until(lambda: daemon.status()["cameras"]["top"]["restarts"] >= kills, 20, "the restarts are counted")
            status = daemon.status()
            assert status["broker"]["connects"] == connects, "the broker connection did not survive"
            assert daemon.descriptors() <= descriptors + 1
            assert daemon.resident_mb() - resident_mb < LEAK_MB
            assert len(daemon.family()) == 3
            assert daemon.terminate()[0] == 0
        _assert_complete(listener)
    print(f"camera kill to next verdict, s: median {statistics.median(gaps):.3f} max {max(gaps):.3f}")


@pytest.mark.timeout(400)
@KILLS_PARAM
def test_a_killed_engine_is_back_and_its_frames_are_not_decidable(tmp_path: Path, kills: int) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state")
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(10)
            descriptors, connects = daemon.descriptors(), daemon.status()["broker"]["connects"]
            resident_mb = daemon.resident_mb()
            # every other one in the middle of a frame for certain, however fast the machine judges
            gaps = [_kill_and_wait(daemon, listener, "engine", busy=n % 2 == 0) for n in range(kills)]
            wait_until(lambda: daemon.status()["engine"]["restarts"] >= kills, 20, "the restarts are counted")
            status = daemon.status()
            assert status["broker"]["connects"] == connects, "the broker connection did not survive"
            assert daemon.descriptors() <= descriptors + 1
            assert daemon.resident_mb() - resident_mb < LEAK_MB
            assert len(daemon.family()) == 3
            assert daemon.terminate()[0] == 0
        _assert_complete(listener)
        reasons = {str(d["reason"]).partition(":")[0] for d in listener.documents if d["evaluation"] == "NotDecidable"}
        assert "engine_lost" in reasons
    print(f"engine kill to next verdict, s: median {statistics.median(gaps):.3f} max {max(gaps):.3f}")


@pytest.mark.timeout(600)
@KILLS_PARAM
def test_a_killed_main_loses_no_committed_result_and_names_what_was_in_flight(tmp_path: Path, kills: int) -> None:
    events: list[dict[str, Any]] = []
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state")
        for _ in range(kills):
            with DaemonProcess(tmp_path, config) as daemon:
                listener.wait_for_verdicts(10)
                family = daemon.family()
                daemon.kill()
                wait_until(
                    lambda family=family: not any(Path(f"/proc/{pid}").exists() for pid in family), 2, "no orphans"
                )
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(10)
            assert daemon.terminate()[0] == 0
        _assert_complete(listener)
        events = listener.events
    by_id = {e["id"]: e for e in events if e["kind"] == "runtime.started"}  # at least once: a killed main sends again
    starts = list(by_id.values())
    assert len(starts) == kills + 1
    boots = [e["bootId"] for e in starts]
    assert len(set(boots)) == kills + 1
    assert [e["fields"]["previousBootId"] for e in starts[1:]] == boots[:-1]
    _assert_frames_named(listener, starts)


def _kill_and_wait(daemon: DaemonProcess, listener: Listener, child: str, *, busy: bool = False) -> float:
    """Kill a child and return the seconds until the next verdict about a frame captured after the kill.

    With ``busy`` it is frozen until a frame must be in it.
    """
    pid = daemon.child(child)
    assert pid is not None, f"{child} does not run: {daemon.family()}"
    if busy:
        os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(3 / FPS)
    killed = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    os.kill(pid, signal.SIGKILL)

    def judged_again() -> bool:
        return any(d["ts"] > killed and d["evaluation"] != "NotDecidable" for d in listener.documents[-20:])

    seconds = wait_until(judged_again, 20, "a verdict about a frame captured after the kill")
    wait_until(lambda: daemon.child(child) not in (None, pid), 5, f"{child} runs again")
    listener.wait_for_verdicts(round(APART_S * FPS), 60)  # so that one failure is forgiven before the next
    return seconds


def _assert_complete(listener: Listener) -> None:
    proof = listener.audience.proof()
    assert proof.complete, proof
    assert proof.inversions == 0
    for document in listener.documents:
        counters = document["counters"]
        settled = counters["inferred"] + counters["dropped"] + counters["failed"]
        assert counters["captured"] == settled + counters["inFlight"]


def _assert_frames_named(listener: Listener, starts: list[dict[str, Any]]) -> None:
    """Frames that a boot names as lost have no result, and no frame in front of them is unaccounted."""
    for dead, born in itertools.pairwise(starts):
        named = born["fields"]["framesInFlight"].get("top", {"frameIds": []})["frameIds"]
        seen = {d["frameId"] for d in listener.documents if d["bootId"] == dead["bootId"]}
        assert not seen & set(named), "a frame was both published and named as lost"
