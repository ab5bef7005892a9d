"""Triggers that were accepted are named by the next boot until their result is durable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_runtime.app.open_jobs import _HEAD_WORDS, FILE, SLOT_WORDS, SLOTS, OpenJobs
from edge_runtime.pipeline.attempt import TriggerIds
from edge_runtime.system.files import MappedWords
from tests.fakes.clock import ManualClock
from tests.fakes.results import make_result

if TYPE_CHECKING:
    from pathlib import Path

CLOCK = ManualClock()


def opened(directory: Path) -> OpenJobs:
    jobs = OpenJobs(directory)
    jobs.begin()
    return jobs


def told(directory: Path) -> dict[str, Any]:
    jobs = opened(directory)
    event = jobs.event(0)
    jobs.close()
    jobs.close()
    return {} if event is None else event.fields


def settle(jobs: OpenJobs, job_id: str, frame_id: int = 0) -> None:
    jobs.put(replace(make_result(frame_id, CLOCK), job_id=job_id))
    jobs.settled([("top", frame_id)])


def test_what_was_accepted_and_is_not_durable_is_named_by_the_next_boot(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    for name in ("a", "b", "c", "a"):
        dead.enter("top", TriggerIds(job_id=name, part_id=f"part-{name}"))
    settle(dead, "a")
    settle(dead, "b", 7)
    dead.put(replace(make_result(9, CLOCK), job_id="c"))  # on its way
    dead.settled([("top", 8), ("side", 9)])
    dead.close()
    jobs = [{"inspection": "top", "jobId": name, "partId": f"part-{name}"} for name in ("a", "c")]
    assert sorted(told(tmp_path)["jobs"], key=str) == jobs
    assert told(tmp_path)["unnamed"] == 0, "and again, until a result of the new boot is durable"
    born = opened(tmp_path)
    born.settled([("top", 1)])
    born.close()
    assert told(tmp_path) == {}


def test_what_finds_no_slot_is_counted(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    for number in range(SLOTS + 3):
        dead.enter("top", TriggerIds(job_id=f"j{number}"))
    settle(dead, f"j{SLOTS}")
    settle(dead, "nobody")
    dead.close()
    found = told(tmp_path)
    assert (len(found["jobs"]), found["unnamed"]) == (SLOTS, 2)
    born = opened(tmp_path)
    settle(born, "x")
    born.close()
    assert told(tmp_path) == {}


def test_long_ids_are_cut_and_a_damaged_slot_is_shown_as_it_is(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    dead.enter("top", TriggerIds(job_id="j" * 256, part_id="\U0001f600" * 256, meas_id="m" * 256))
    dead.close()
    (job,) = told(tmp_path)["jobs"]
    assert (job["inspection"], job["jobId"][:16], job["partId"][:16]) == ("top", "j" * 16, "\U0001f600" * 16)
    words = MappedWords.open(tmp_path / FILE, _HEAD_WORDS + SLOTS * SLOT_WORDS)
    words[_HEAD_WORDS], words[_HEAD_WORDS + 1] = 1 << 60, 0xFFFF
    words.close()
    found = told(tmp_path)["jobs"]
    assert len(found) == 2
    assert "unreadable" in found[0]


def test_a_disk_that_refuses_costs_the_names_only(tmp_path: Path) -> None:
    jobs = OpenJobs(tmp_path / "nowhere")
    jobs.begin()
    jobs.enter("top", TriggerIds(job_id="a"))
    settle(jobs, "a")
    assert jobs.event(0) is None
    jobs.close()
