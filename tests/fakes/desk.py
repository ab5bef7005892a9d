"""A desk without threads or broker: what is said to it is worked through in the test's own thread."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from edge_runtime.control.commands.answers import Answers
from edge_runtime.control.commands.audit import Audit
from edge_runtime.control.commands.desk import Desk
from edge_runtime.control.commands.keyring import Keyring
from edge_runtime.control.commands.policy import Policy
from edge_runtime.control.commands.verbs import VERBS
from edge_runtime.core.command import Answer, Command, Reply, Status
from edge_runtime.publish.mqtt.link import Inbound
from tests.fakes.clock import ManualClock
from tests.fakes.results import BOOT, IDENTITY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_runtime.control.commands.lane import Lane
    from edge_runtime.core.result import Event
    from edge_runtime.publish.mqtt.link import Outgoing

ROOT = IDENTITY.topic("")[:-1]


class FakeLine:
    """Carries everything out at once; ``held`` verbs wait for ``answer``."""

    def __init__(self) -> None:
        self.done: list[Command] = []
        self.held: set[str] = set()
        self.open: list[Reply] = []
        self.fail: Exception | None = None
        self.fields: dict[str, object] = {}

    def __call__(self, command: Command, reply: Reply) -> None:
        self.done.append(command)
        if self.fail is not None:
            raise self.fail
        if command.verb in self.held:
            self.open.append(reply)
        else:
            reply(Answer(Status.ACCEPTED, "done", {"jobId": f"j-{len(self.done)}", **self.fields}))


class DeskBench:
    """A desk with its files in ``directory``; ``say`` gives it a message and returns what it answered."""

    def __init__(self, directory: Path, clock: ManualClock | None = None, **policy: Any) -> None:
        self.directory = directory
        self.clock = clock or ManualClock()
        self.line = FakeLine()
        self.posted: list[Outgoing] = []
        self.events: list[Event] = []
        self.reports: list[str] = []
        self.room = True
        keys: Mapping[str, Path] = policy.pop("keys", {})
        limits = {"rate_per_s": 1000.0, "rate_total_per_s": 1000.0} | policy
        allow = limits.pop("allow", {"*": tuple(VERBS)})
        signed = limits.pop("signed", ())
        self.answers = Answers(directory / "commands.db", self.clock, self.reports.append)
        self.audit = Audit(directory, BOOT, self.clock)
        self.desk = Desk(
            IDENTITY,
            BOOT,
            self.clock,
            policy=Policy(allow, signed, keys, now_ns=self.clock.mono_ns(), **limits),
            keyring=Keyring(keys, IDENTITY),
            answers=self.answers,
            audit=self.audit,
            post=self._post,
            tell=self.events.append,
        )
        self.desk.open("1.0")
        self.desk.serve("line", dict.fromkeys(VERBS, self.line))

    def _post(self, message: Outgoing) -> bool:
        if self.room:
            self.posted.append(message)
        return self.room

    def say(self, topic: str, body: object = b"", **message: Any) -> list[dict[str, Any]]:
        """Send a message on ``cmd/{topic}``; return the documents that were answered until nothing is left to do."""
        before = len(self.posted)
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields: dict[str, Any] = {"qos": 1, "retain": False} | message
        self.desk.take(Inbound(f"{ROOT}/cmd/{topic}", payload, **fields))
        self.work()
        return [json.loads(one.body) for one in self.posted[before:]]

    def work(self) -> None:
        """Have both lanes work through what waits."""
        for lane in cast("tuple[Lane[Any], ...]", self.desk.services):
            while len(lane._channel):
                lane._work(lane._channel.get(0.0))

    def tick(self, milliseconds: float = 0.0) -> None:
        """Let time pass, and both lanes see it."""
        self.clock.advance_ms(milliseconds)
        for lane in cast("tuple[Lane[Any], ...]", self.desk.services):
            lane._tick()

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The audit trail."""
        lines = (self.directory / "audit.jsonl").read_bytes().splitlines()
        found = [json.loads(line) for line in lines]
        return [one for one in found if kind is None or one["kind"] == kind]

    def close(self) -> None:
        self.desk.close()
