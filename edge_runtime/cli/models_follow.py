"""What a daemon that runs makes of a wish at the box: it is left, and its deployment is watched to its end.

Looking on is all that this does: who ends it, by Ctrl-C or because it takes long, does not end the deployment.
"""

from __future__ import annotations

import getpass
import json
import os
import pwd
import time
from typing import TYPE_CHECKING, Final

from edge_runtime.cli.status import LOCK_FILE
from edge_runtime.control.deployment import record
from edge_runtime.control.deployment.deployment import State
from edge_runtime.control.deployment.going import sentence
from edge_runtime.core.errors import BusyError, DataError, PermissionDeniedError, UnavailableError
from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.registry.box import wish as wishes
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.files import is_locked, read_limited

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from edge_runtime.control.deployment.deployment import Deployment
    from edge_runtime.registry.box.order import Order
    from edge_runtime.registry.box.report import Held

ANSWER_S: Final = 10.0
LOOK_S: Final = 0.2
_OK: Final = 300
_UNAVAILABLE: Final = 503
_HELP: Final = "edge-runtime models list  and  edge-runtime status  show how it goes on"


def refuse_root(order: Order) -> None:
    """Refuse what would write as root into the state directory of a daemon that is not root: it could not read that.

    Raises:
        PermissionDeniedError: this is root, and the daemon that had this directory last was not.
    """
    owner = _owner(order.root.parent / LOCK_FILE)
    if owner in (None, 0) or os.geteuid() != 0:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"'#{owner}'"
    message = f"{order.root.parent} belongs to {name}: a daemon of that user could not read what root writes there"
    raise PermissionDeniedError("state.root", message, help=f"sudo -u {name} edge-runtime models ...")


def _owner(lock: Path) -> int | None:
    """Return whose daemon had the state directory last, ``None`` = none had, or it cannot be told."""
    try:
        return lock.stat().st_uid
    except OSError:
        return None


def daemon_runs(order: Order) -> bool:
    """Tell whether a daemon has this box's state directory.

    Raises:
        PermissionDeniedError, StorageError: it cannot be told.
    """
    return is_locked(order.root.parent / LOCK_FILE)


def ask(order: Order, slot: str, verb: wishes.Verb, release: Held | None, args: argparse.Namespace) -> int:
    """Have the daemon carry out ``verb``, and watch it as ``args`` say (``wait``, ``timeout``, ``json``).

    Raises:
        DataError: the daemon refuses it, or the release was given up: its record says why.
        BusyError: it is not over by the deadline, and goes on.
        UnavailableError: the daemon does not answer.
    """
    directory = ModelStore(order.root).slots.directory / slot
    wish_id = uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES))
    manifest = None if release is None else release.manifest
    until_ns = time.monotonic_ns() + wishes.LIFE_NS
    wishes.leave(directory, wishes.Wish(wish_id, verb, manifest, who(), until_ns))
    answer = _answered(directory, wish_id)
    if answer.status >= _OK:
        refusal = UnavailableError if answer.status == _UNAVAILABLE else DataError
        raise refusal("deployment.refused", answer.message, help="edge-runtime models list shows how the slot is")
    if not args.json:
        print(f"{slot}: {answer.message}", flush=True)
    end = None
    if args.wait and answer.deployment is not None:
        end = _Watch(directory, answer.deployment, quiet=args.json).until(time.monotonic() + args.timeout)
    if args.json:
        print(json.dumps({"slot": slot, "verb": verb, "deployment": answer.deployment, **_shown(end)}))
    elif end is None and answer.deployment is not None:
        print(f"deployment {answer.deployment} goes on by itself; {_HELP}")
    return os.EX_OK if end is None or _is_good(end, verb) else DataError.exit_code


def _answered(directory: Path, wish_id: str) -> wishes.WishAnswer:
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        answer = wishes.answer_to(directory, wish_id)
        if answer is not None:
            return answer
        if wishes.waiting(directory) not in (None, wish_id):
            message = "somebody else asked for something at the same moment; nothing was begun for this command"
            raise BusyError("deployment.asked", message, help=_HELP)
        time.sleep(LOOK_S / 2)
    message = f"the daemon did not answer within {ANSWER_S:g} s"
    if wishes.waiting(directory) == wish_id:
        wishes.take(directory)
        message += "; nothing was begun"
    raise UnavailableError("deployment.no_answer", message, help=_HELP)


class _Watch:
    """Reads the record of a slot, and tells what changes."""

    def __init__(self, directory: Path, deployment: str, *, quiet: bool) -> None:
        self._path = directory / record.FILE
        self._id = deployment
        self._quiet = quiet
        self._told: tuple[object, ...] = ()

    def until(self, deadline: float) -> Deployment:
        """Return the deployment when it is over.

        Raises:
            BusyError: it is not by the deadline, in the clock of ``time.monotonic``.
            DataError: its record is gone.
        """
        while True:
            one = self._look()
            if one is not None:
                self._tell(one)
                if one.state.is_over:
                    return one
            if time.monotonic() >= deadline:
                state = "not known" if one is None else one.state.value
                message = f"deployment {self._id} is {state} and goes on by itself"
                raise BusyError("deployment.goes_on", message, help=f"{_HELP}; --timeout S waits longer")
            time.sleep(LOOK_S)

    def _look(self) -> Deployment | None:
        try:
            found = record.parse(read_limited(self._path, record.LIMIT_BYTES), str(self._path))
        except FileNotFoundError:
            return None
        return next((one for one in (found.deployment, found.last) if one is not None and one.id == self._id), None)

    def _tell(self, one: Deployment) -> None:
        now = (one.state, one.reason)
        if now != self._told and not self._quiet:
            self._told = now
            print(f"  {one.since:%H:%M:%S} UTC  {one.state.value:<11} {sentence(one)}", flush=True)


def _is_good(end: Deployment, verb: wishes.Verb) -> bool:
    taken_back = verb == "rollback" and end.state in (State.ROLLED_BACK, State.REJECTED)
    return end.state is State.COMMITTED or (taken_back and (end.reason or "").startswith("operator."))


def _shown(end: Deployment | None) -> dict[str, object]:
    if end is None:
        return {"state": None, "release": None, "reason": None, "message": None, "gates": {}}
    return {
        "state": end.state.value,
        "release": end.candidate.release,
        "reason": end.reason,
        "message": end.message,
        "gates": dict(end.numbers),
    }


def who() -> str:
    """Return the name of the user who asks, for records."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name: containers
        return f"uid {os.getuid()}"
