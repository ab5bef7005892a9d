"""What people say about models, with the real service, slots, store and machine; only the line is missing."""

from __future__ import annotations

import queue
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.app import deployment_service, lots_file
from edge_runtime.app.deployment_service import DeploymentService
from edge_runtime.app.lots_file import LotsFile
from edge_runtime.cli.deployed import Deployed, deployed
from edge_runtime.config.schema import Settings
from edge_runtime.control.deployment.deployment import State
from edge_runtime.control.deployment.record import SlotRecord
from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.core.errors import StorageError
from edge_runtime.publish.payload import Identity
from edge_runtime.registry.box import wish as wishes
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.documents import Assignment
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup
from tests.daemons import wait_until
from tests.fakes.published import Published

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.delivery import Delivery
    from edge_runtime.core.result import Event
    from edge_runtime.publish.contract.model import RegistryState

LONG_NS = 60_000_000_000


class Box:
    """A box with release 1 in its slot, release 2 that waits, and the service of deployments in its thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry = Published(directory / "publisher", now=datetime.now(UTC).replace(microsecond=0))
        self.root = directory / "state" / "models"
        self.order = self.registry.order(self.root)
        self.pull(1)
        self.events: list[Event] = []
        self.notes: list[str] = []
        desk = SimpleNamespace(note=lambda kind, _: self.notes.append(kind))
        delivery = SimpleNamespace(
            identity=Identity("plant-a", "line-3", "box-17"),
            boot_id="boot",
            desk=desk,
            put=self.events.append,
            show_newest=lambda _: None,
        )
        self.delivery = cast("Delivery", delivery)
        self.service = self.make()

    def make(self) -> DeploymentService:
        settings = self.settings()
        service = DeploymentService(self.root, self.delivery, SystemClock(), settings, lambda: None)
        service.attach(cast("LineService", None), settings, self.order.wants)
        return service

    def settings(self, **updates: Any) -> Settings:
        return Settings.model_validate(
            {
                "version": 1,
                "site": "plant-a",
                "cameras": {"top": {"source": "sim:bars"}},
                "models": {"defects": {"release": "weld"}},
                "registry": {"url": self.registry.url, "root": str(self.registry.anchor)},
                "state_dir": str(self.directory / "state"),
                "updates": {"between_lots": True, "approve": "operator", **updates},
            }
        )

    def pull(self, number: int, **rollout: Any) -> Any:
        self.registry.release("weld", number)
        self.registry.roll_out(Assignment("weld", number), **rollout)
        return Pull(self.order).run(None, fresh=True)

    def stage(self, number: int = 2) -> None:
        """Have a release wait."""
        report = self.pull(number)
        self.service.take(report, cast("RegistryState", {"state": "ok"}))
        wait_until(lambda: self.state() is State.WAITING, 10, "the deployment")

    @property
    def slot(self) -> Any:
        return self.service.slots["defects"]

    def state(self) -> State | None:
        one = self.slot.deployment if self.service.slots else None
        return None if one is None else one.state

    def ask(self, verb: str, target: str | None = "defects", left_ns: int = LONG_NS, **arguments: object) -> Answer:
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        deadline = SystemClock().mono_ns() + left_ns
        command = Command(verb, target, arguments, "01", "anna", deadline)
        self.service.commands.handlers[verb](command, answers.put)
        return answers.get(timeout=10)

    def kinds(self) -> list[str]:
        return [one.kind for one in self.events]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr(deployment_service, "SLICE_S", 0.01)
    monkeypatch.setattr(deployment_service, "TICK_NS", 10_000_000)
    box = Box(tmp_path)
    with ServiceGroup(join_timeout_s=5) as group:
        group.start(box.service)
        wait_until(lambda: bool(box.service.slots), 10, "the slots")
        yield box


def test_an_update_is_begun_once_and_named_in_the_answer(box: Box) -> None:
    box.stage()
    waiting = box.slot.deployment.id
    answer = box.ask("model.update", digest=box.slot.report.staged.digest)
    assert (answer.status, answer.fields["release"]) == (Status.ACCEPTED, 2)
    assert box.slot.deployment.id == answer.fields["deployment"] == waiting
    assert (answer.fields["state"], answer.fields["waitsFor"]) == ("waiting", "wait.line")
    assert box.slot.deployment.policy.origin == "command"
    assert box.slot.deployment.policy.approve == "auto"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ({"release": "7"}, Status.UNKNOWN, "release 7 of weld is not on this box; here are: 1"),
        ({"release": "1"}, Status.CONFLICT, "is the model of slot defects already|runs release 1 of weld already"),
        ({"release": "weld@beta"}, Status.CONFLICT, "takes weld@stable, not weld@beta"),
        ({"release": "weld@stable"}, Status.UNKNOWN, "no release waits"),
        ({}, Status.UNKNOWN, "no release waits"),
        ({"release": 1, "digest": "sha256:00"}, Status.CONFLICT, "not sha256:00"),
    ],
)
def test_an_update_that_cannot_be_is_refused_with_the_reason(
    box: Box, arguments: dict[str, object], status: Status, says: str
) -> None:
    answer = box.ask("model.update", **arguments)
    assert answer.status is status
    assert any(text in answer.message for text in says.split("|")), answer.message
    assert box.slot.deployment is None


def test_what_was_killed_or_is_held_or_would_disturb_a_probation_is_refused(box: Box) -> None:
    box.pull(2)
    held = box.ask("model.hold", hold=True, reason="shift change")
    assert held.status is Status.DONE
    answer = box.ask("model.update", release="2")
    assert (answer.status, "shift change" in answer.message) == (Status.CONFLICT, True)
    assert box.ask("model.hold", None, hold=False).status is Status.DONE
    assert [kind for kind in box.kinds() if kind.startswith("deployment.")][:2] == [
        "deployment.held",
        "deployment.released",
    ]
    box.registry.roll_out(Assignment("weld", 1), kill=(box.registry.manifests["weld", 2].digest,))
    Pull(box.order).run(None, fresh=True)
    killed = box.ask("model.update", release="2")
    assert (killed.status, "killed" in killed.message) == (Status.CONFLICT, True)
    box.stage(3)
    box.slot.deployment = replace(box.slot.deployment, state=State.PROBATION, begun=True)
    other = box.ask("model.update", release="2")
    assert (other.status, "killed" in other.message or "probation" in other.message) == (Status.CONFLICT, True)


def test_a_rollback_on_probation_ends_it_at_once(box: Box) -> None:
    box.stage()
    box.slot.deployment = replace(box.slot.deployment, state=State.PROBATION, judged=True)
    answer = box.ask("model.rollback", reason="streaks")
    assert (answer.status, box.state()) == (Status.ACCEPTED, State.ROLLED_BACK)
    assert box.slot.deployment.reason == "operator.rollback"
    assert box.slot.deployment.message == "anna took it back: streaks"
    assert box.slot.deployment.quarantined


def test_a_rollback_later_deploys_the_release_before(box: Box) -> None:
    none = box.ask("model.rollback")
    assert (none.status, "no release before" in none.message) == (Status.CONFLICT, True)
    box.pull(2)
    box.service.models.slots.activate("defects", box.registry.manifests["weld", 2].digest)
    answer = box.ask("model.rollback")
    assert (answer.status, answer.fields["release"]) == (Status.ACCEPTED, 1)
    assert box.slot.deployment.policy.gates.score_shift_max == 100  # it may judge otherwise than the one that is left


def test_who_asks_to_go_back_twice_does_not_arrive_where_he_started(box: Box) -> None:
    box.pull(2)
    left = box.registry.manifests["weld", 2].digest
    box.service.models.slots.activate("defects", left)
    first = box.ask("model.rollback")
    assert box.slot.deployment.policy.back
    assert box.ask("model.rollback").fields["deployment"] == first.fields["deployment"], "on its way"
    box.slot.deployment = replace(box.slot.deployment, state=State.PROBATION, judged=True, begun=True)
    again = box.ask("model.rollback")
    assert (again.status, again.fields["deployment"]) == (Status.ACCEPTED, first.fields["deployment"])
    assert "is back at release 1" in again.message
    assert box.state() is State.PROBATION
    line = Deployed("defects", SlotRecord(box.slot.deployment), None, None, None).lines()[1]
    assert line == "take it back: edge-runtime models activate defects --release 2"
    assert box.ask("model.update", release="2").status is Status.ACCEPTED, "who changes his mind says which one"
    assert box.state() is State.ROLLED_BACK
    assert box.service.models.slots.links("defects").current == left


def test_an_approval_is_for_the_deployment_that_somebody_saw(box: Box) -> None:
    assert box.ask("model.approve").status is Status.CONFLICT
    box.stage()
    one = box.slot.deployment
    assert not one.approved
    assert box.ask("model.approve", deployment="another").status is Status.CONFLICT
    assert box.ask("model.approve", digest="sha256:00").status is Status.CONFLICT
    assert box.ask("model.approve", deployment=one.id, digest=one.candidate.digest).status is Status.ACCEPTED
    assert box.slot.deployment.approved
    assert box.ask("model.approve").status is Status.DONE


def test_asked_for_the_release_that_runs_while_another_is_on_its_way_it_says_so(box: Box) -> None:
    box.stage()
    answer = box.ask("model.update", release="1")
    assert answer.status is Status.CONFLICT
    assert "runs release 1 of weld already; release 2 is on its way; model.hold" in answer.message


def test_a_lot_is_running_until_somebody_says_that_it_is_not_also_after_a_restart(box: Box) -> None:
    box.stage()
    assert not box.slot.deployment.conditions.between_lots
    answer = box.ask("lot", None, state="between", lotId="L17")
    assert (answer.status, answer.fields["durable"]) == (Status.DONE, True)
    wait_until(lambda: box.slot.deployment.conditions.between_lots, 10, "the condition")
    state_dir = box.directory / "state"
    assert LotsFile(state_dir).running("defects") is False
    assert box.ask("lot", state="running", lotId="L18").status is Status.DONE
    assert not box.slot.deployment.conditions.between_lots
    assert [LotsFile(state_dir).running(name) for name in ("defects", "other")] == [True, False]
    assert {"lot.between", "lot.running"} <= set(box.kinds())
    assert any("lot L18 is running" in line for line in deployed(state_dir, box.root, "defects").lines())


def test_a_damaged_file_of_lots_lets_nothing_change(tmp_path: Path) -> None:
    assert LotsFile(tmp_path).running("defects") is None
    path = tmp_path / "lots.json"
    for raw in (b"{", b"[]", b'{"schema": "edge.lots/2"}', b'{"schema": "edge.lots/1", "lots": {"a": {}}}'):
        path.write_bytes(raw)
        assert LotsFile(tmp_path, looks_on=True).running("defects") is None
        assert path.exists()
        assert LotsFile(tmp_path).running("defects") is None
        assert not path.exists()


def test_a_slot_must_be_one_and_named_where_there_are_several(box: Box) -> None:
    for verb in ("model.update", "model.rollback", "model.approve"):
        assert box.ask(verb, "elsewhere").status is Status.UNKNOWN
    assert box.ask("lot", "elsewhere", state="between").status is Status.UNKNOWN
    box.stage()
    assert box.ask("model.approve", None).status is Status.ACCEPTED


def test_a_command_that_waited_too_long_does_nothing(box: Box) -> None:
    assert box.ask("model.hold", left_ns=0, hold=True).status is Status.LATE
    assert box.slot.hold is None


def test_a_wish_at_the_box_is_carried_out_and_answered(box: Box) -> None:
    box.pull(2)
    directory = box.root / "slots" / "defects"
    now_ns, digest = SystemClock().mono_ns(), box.registry.manifests["weld", 2].digest
    for until_ns in (now_ns, now_ns + 3600 * 10**9):  # too late, and of another boot
        wishes.leave(directory, wishes.Wish("w0", "activate", digest, "otto", until_ns))
        wait_until(lambda: not (directory / wishes.WISH).exists(), 10, "the removal")
    assert box.slot.deployment is None
    wishes.leave(directory, wishes.Wish("w1", "activate", digest, "otto", now_ns + wishes.LIFE_NS))
    wait_until(lambda: wishes.answer_to(directory, "w1") is not None, 10, "the answer")
    answer = wishes.answer_to(directory, "w1")
    assert answer is not None
    assert (answer.status, answer.deployment) == (202, box.slot.deployment.id)
    assert box.slot.deployment.policy.origin == "box"
    assert not (directory / wishes.WISH).exists()
    assert wishes.answer_to(directory, "w2") is None
    (directory / wishes.WISH).write_text('{"verb": "activate"}')
    wait_until(lambda: not (directory / wishes.WISH).exists(), 10, "the removal")
    assert "deployment.wish" in box.notes


def test_what_cannot_be_begun_at_the_moment_is_refused_and_does_not_begin_later(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.pull(2)
    monkeypatch.setattr(type(box.slot.fallback), "is_under_way", property(lambda _: True))
    answer = box.ask("model.update", release="2")
    assert (answer.status, "ask again" in answer.message) == (Status.CONFLICT, True)
    monkeypatch.undo()
    assert box.ask("model.approve").status is Status.CONFLICT
    assert (box.slot.by_hand, box.slot.deployment) == (None, None)


def test_a_disk_that_refuses_is_told(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StorageError("disk.full", "no space left")

    monkeypatch.setattr(lots_file, "write_atomic", refuse)
    answer = box.ask("lot", state="between")
    assert (answer.status, answer.fields["durable"]) == (Status.DONE, False)
    assert box.service.lots.running("defects") is False
    monkeypatch.setattr(box.service.store, "write", refuse)
    answer = box.ask("model.hold", hold=True)
    assert (answer.status, "no space left" in answer.message, box.slot.hold) == (Status.FAILED, True, None)


def test_a_full_queue_and_a_wrong_argument_are_answered(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    assert box.ask("model.hold", hold="yes").status is Status.MALFORMED
    monkeypatch.setattr(box.service, "later", lambda _: False)
    assert box.ask("model.hold", hold=True).status is Status.TOO_MANY


def test_a_release_before_that_is_gone_is_not_gone_back_to(box: Box) -> None:
    box.pull(2)
    slots, store = box.service.models.slots, box.service.models
    slots.activate("defects", box.registry.manifests["weld", 2].digest)
    store.releases.drop(box.registry.manifests["weld", 1].digest)
    answer = box.ask("model.rollback")
    assert (answer.status, "not on this box" in answer.message) == (Status.CONFLICT, True)


def test_of_several_slots_one_has_to_be_named(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    slot = box.slot
    monkeypatch.setattr(box.service, "slots", {"defects": slot, "other": slot})
    answer = box.ask("model.update", None)
    assert (answer.status, "one of defects, other" in answer.message) == (Status.MALFORMED, True)
