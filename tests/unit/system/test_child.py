from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import edge_runtime
from edge_runtime.core.errors import InvariantError
from edge_runtime.system.child import ChildContext, ForkOrder
from edge_runtime.system.messages import Parcel, pair

ORDER = ForkOrder(
    id=7, name="camera/top", entry="a.b:c", args={"url": "x"}, fds={"socket": 10, "heartbeat": 11, "ring": 12}
)


def test_a_fork_order_is_read_as_it_was_written() -> None:
    assert ForkOrder.parse(Parcel(ORDER.message(), tuple(ORDER.fds.values()))) == ORDER


@pytest.mark.parametrize(
    "wrong",
    [{"id": "7"}, {"name": None}, {"entry": 1}, {"args": []}, {"fds": "socket"}, {"fds": ["socket"]}],
)
def test_a_fork_order_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvariantError) as caught:
        ForkOrder.parse(Parcel({**ORDER.message(), **wrong}, (10, 11, 12)))
    assert caught.value.code == "system.fork_order"


def test_a_context_can_be_made_by_hand_to_run_a_childs_code_in_a_thread() -> None:
    ours, theirs = pair()
    context = ChildContext("camera/top", {}, {}, theirs)
    context.beat()
    assert context.heartbeat.last_ns > 0
    context.heartbeat.close()
    ours.close()
    theirs.close()


def run(script: str, *, pass_fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(edge_runtime.__file__).parent.parent)},
        pass_fds=pass_fds,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_process_whose_parent_died_before_it_could_ask_for_the_signal_ends_at_once() -> None:
    done = run("from edge_runtime.system.child import die_with_parent; die_with_parent(1 << 22); print('lives on')")
    assert (done.returncode, done.stdout) == (os.EX_UNAVAILABLE, "")


def test_descriptors_of_others_are_closed() -> None:
    ours, theirs = socket.socketpair()
    script = f"""
import os
from edge_runtime.system.child import close_foreign_fds
mine = os.dup(0)
close_foreign_fds({{0, 1, 2, mine}})
try:
    os.fstat({theirs.fileno()})
except OSError as error:
    print(error.errno, os.fstat(mine).st_mode == os.fstat(0).st_mode)
"""
    done = run(script, pass_fds=(theirs.fileno(),))
    ours.close()
    theirs.close()
    assert done.stdout == "9 True\n"
