"""Every system call of a desk's life fails or is its last: python -m tests.fault.command_calls [--every K].

A desk with its files takes commands, is closed, and opened again by another process that repeats them. Whatever call
was the last one, or failed: nothing is carried out twice, an answer that was given is given again, the audit trail is
whole, and what commands had set is what they had set before or after. Prints one JSON object; exit code 1 when not.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.app.setups_file import SetupsFile
from edge_runtime.control.commands.audit import contents, trail
from edge_runtime.control.commands.chain import verify
from edge_runtime.core.command import Answer, Command, Reply, Status
from edge_runtime.core.errors import StorageError
from edge_runtime.pipeline.setup import Setup
from tests.fakes.clock import ManualClock
from tests.fakes.desk import ROOT, DeskBench
from tests.fault.nth_call import Diary, count, run
from tests.fault.spool_calls import faults

if TYPE_CHECKING:
    from collections.abc import Callable

SAID = (("trigger/top", b"t1"), ("pause/top", b"p1"), ("trigger/top", b"t2"), ("config.get", b"c1"), ("reset", b"r1"))


def live(directory: Path, note: Callable[..., None], *, repeats: bool = False) -> None:
    """Take the commands once; ``note`` is told what was carried out and what was answered."""
    bench = DeskBench(directory, ManualClock())
    setups = SetupsFile(directory)
    setups.load()

    def carry_out(command: Command, reply: Reply) -> None:
        note(done=command.correlation_id)
        if command.verb == "pause":
            try:
                setups.save({"top": Setup(paused=True)})
            except StorageError:
                note(unsaved=True)
        reply(Answer(Status.ACCEPTED, "done", {"jobId": command.correlation_id}))

    bench.desk.serve("line", dict.fromkeys(("trigger", "pause", "config.get", "reset"), carry_out))
    for topic, name in SAID:
        for answer in bench.say(topic, {}, correlation=name, response_topic=f"{ROOT}/reply/s"):
            note(answered=name.hex(), status=answer["status"], id=answer["id"])
        bench.tick(3000)
    if repeats:
        for topic, name in SAID:
            for answer in bench.say(topic, {}, correlation=name, response_topic=f"{ROOT}/reply/s"):
                note(again=name.hex(), id=answer["id"])
    bench.close()


def judge(directory: Path, before: list[dict[str, Any]], *, killed: bool) -> list[str]:
    """Return what is wrong after a life that told ``before``."""
    wrong = [line["crash"] for line in before if "crash" in line]
    after: list[dict[str, Any]] = []
    live(directory, lambda **fields: after.append(fields))
    done = [line["done"] for line in before if "done" in line]
    done_after = [line["done"] for line in after if "done" in line]
    answers = {line["answered"]: line["id"] for line in before if line.get("status") == Status.ACCEPTED}
    # a disk that refuses costs the memory of triggers, which is documented; a kill costs nothing
    lenient = set() if killed else {b"t1".hex(), b"t2".hex()}
    for name in {*done}:
        twice = done.count(name) + done_after.count(name) > 1
        if twice and name not in lenient:
            wrong.append(f"{name} was carried out twice")
    for line in after:
        name = line.get("answered")
        if killed and name in answers and answers[name] != line["id"]:
            wrong.append(f"{name} was answered anew")
    answered = {line["answered"] for line in after if "answered" in line}
    if len(answered) != len(SAID):
        wrong.append(f"answered after the restart: {sorted(answered)}")
    proof = verify(contents(trail(directory)))
    if proof.broken is not None or proof.tail:
        wrong.append(f"the trail is broken: {proof.broken}, {proof.tail!r}")
    found, trouble = SetupsFile(directory).load()
    if trouble is not None or found not in ({}, {"top": Setup(paused=True)}):
        wrong.append(f"setups: {found} {trouble}")
    return wrong


def main(directory: Path, *, every: int, offset: int = 0) -> dict[str, Any]:
    """Run them all in ``directory``; return what was found."""
    logging.disable(logging.CRITICAL)
    log, life = directory / "strace.txt", directory / "life"

    def work(diary: Diary) -> None:
        live(life, diary.note)

    life.mkdir()
    started = time.monotonic()
    counts = count(work, log)
    runs, missed, wrong = 0, 0, {}
    for fault in faults(counts, every, offset):
        shutil.rmtree(life)
        life.mkdir()
        ran = run(work, fault, log)
        killed = fault.how == "signal=KILL"
        found = judge(life, ran.diary, killed=killed)
        if ran.code != (-9 if killed and ran.fired else 0):
            found.append(f"the process ended with {ran.code}")
        runs, missed = runs + 1, missed + (not ran.fired)
        if found:
            wrong[str(fault)] = found
    seconds = round(time.monotonic() - started, 1)
    return {"runs": runs, "missed": missed, "broken": len(wrong), "seconds": seconds, "wrong": wrong}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="run only every K-th fault")
    parser.add_argument("--offset", type=int, default=0, help="and begin with another one")
    chosen = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="command-calls-"))
    try:
        result = main(place, every=chosen.every, offset=chosen.offset)
    finally:
        shutil.rmtree(place)
    print(json.dumps(result))
    sys.exit(1 if result["broken"] else 0)
