"""Deployments joined to a box: what the line is asked for, what is kept, what is said. The line is the test's."""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.app import deployment_service
from edge_runtime.app.deployments import Deployments
from edge_runtime.config.schema import Settings
from edge_runtime.control.deployment import record
from edge_runtime.control.deployment.deployment import State
from edge_runtime.control.deployment.record import SlotRecord
from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.core.errors import DataError, StorageError, UnavailableError
from edge_runtime.pipeline.judged import Compared, Disagreement, Judging
from edge_runtime.pipeline.slot import SlotState
from edge_runtime.publish.payload import Identity
from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.box.report import Ban, Contact, Held, Report, SlotReport, Standing, Terms
from edge_runtime.registry.box.shelf import held_as
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.conditions import Gates
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.clock import SystemClock
from tests.daemons import wait_until
from tests.fakes.releases import make_release, store_blobs
from tests.fakes.standby_line import StandbyLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_runtime.core.result import Event
    from edge_runtime.publish.mqtt.link import Outgoing
    from edge_runtime.registry.store.slots import SlotLinks

REGISTRY = {"state": "ok", "reason": None, "message": None, "checkedAt": None}
SLOT = "defects"


class _Delivery:
    identity = Identity("plant-a", "line-3", "box-17")
    boot_id = "boot"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.documents: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.noted: list[Mapping[str, object]] = []
        self.desk = SimpleNamespace(note=self._note)
        self.put = self.events.append

    def _note(self, kind: str, fields: Mapping[str, object]) -> None:
        self.notes.append(kind)
        self.noted.append(fields)

    def show_newest(self, said: Outgoing) -> None:
        self.documents.append(json.loads(said.body))

    def kinds(self) -> list[str]:
        return [one.kind for one in self.events]


class Box:
    """A slot with release 1 current and 2 on the disk, unless the test wants it otherwise."""

    def __init__(self, directory: Path) -> None:
        self.state_dir = directory / "state"
        self.root = self.state_dir / "models"
        self.store = ModelStore(self.root)
        self.store.prepare()
        self.held = {number: self._release(number) for number in (1, 2)}
        self.delivery = _Delivery()
        self.restarts: list[None] = []
        self.line = StandbyLine(SLOT, "/old")
        self.more: dict[str, Any] = {}
        self.deployments = self._made()

    def _made(self) -> Deployments:
        return Deployments(cast("Any", self.delivery), SystemClock(), lambda: self.restarts.append(None))

    def _release(self, number: int) -> Held:
        release = make_release(number)
        store_blobs(self.store, release)
        notes = {"model": "weld", "release": number, "version": f"1.0.{number}"}
        held = held_as(self.store.releases.stage(release.manifest, notes))
        assert held is not None
        return held

    @property
    def settings(self) -> Settings:
        return Settings.model_validate(
            {
                "version": 1,
                "site": "plant-a",
                "cameras": {"top": {"source": "sim:bars"}},
                "models": {SLOT: {"release": "weld", **self.more}},
                "registry": {"url": "oci-layout:/nowhere", "root": "/nowhere/root.json"},
                "state_dir": str(self.state_dir),
            }
        )

    def start(self, line: StandbyLine | None = None) -> None:
        """Begin with a line."""
        self.line = line or self.line
        want = Want(SLOT, "weld")
        order = Order(self.root, Path("/r"), ("oci-layout:/nowhere",), Access(), "plant-a", "line-3", "box-17", (want,))
        self.deployments.prepare(self.settings, order)
        self.deployments.attach(cast("Any", self.line), self.settings)

    def again(self) -> None:
        """Let the daemon die and start again, with another line."""
        self.deployments._end()
        self.deployments = self._made()
        self.start(StandbyLine(SLOT, "/old"))

    def report(self, standing: Standing = Standing.STAGED, *, current: int | None = 1, **fields: Any) -> None:
        """Let a look say so: by default that release 2 is to replace release 1."""
        terms = Terms(7, bake_s=0.001, gates={"probation_frames": 10})
        wanted: dict[str, Any] = {"staged": self.held[2], "terms": terms, "wanted": 2, "seq": 7}
        wanted = {**(wanted if standing is Standing.STAGED else {}), **fields}
        now = None if current is None else self.held[current]
        one = SlotReport(SLOT, "weld", "stable", standing, current=now, **wanted)
        self.deployments.take(Report(Contact.OK, slots=(one,)), cast("Any", REGISTRY))

    def runs(self, number: int) -> None:
        """Let a release be current."""
        self.store.slots.activate(SLOT, self.held[number].manifest)

    def called(self, call: str) -> None:
        """Wait until the line was asked for it."""
        wait_until(lambda: any(one.startswith(call) for one in self.line.calls), 10, call)

    def state(self, *states: str) -> dict[str, Any]:
        """Wait until the deployment is said to be in one of ``states``."""

        def found() -> dict[str, Any] | None:
            said = self.delivery.documents[-1]["deployment"] if self.delivery.documents else None
            return said if said is not None and said["state"] in states else None

        try:
            wait_until(lambda: found() is not None, 10, str(states))
        except AssertionError as error:
            error.add_note(f"{self.line.calls} {self.delivery.kinds()} {self.delivery.documents[-1:]}")
            raise
        said = found()
        assert said is not None
        return said

    def judged(self, inferred: int, failed: int = 0) -> None:
        """Let each inspection have judged so many frames."""
        self.line.judge(inferred, failed)

    def pass_probation(self, failed: int = 0, until: str = "committed") -> None:
        """Let it judge, of ten frames ``failed`` without a verdict, until that is its end."""
        turns = itertools.count(1)

        def ended() -> bool:
            turn = next(turns)
            self.judged((10 - failed) * turn, failed * turn)
            return bool(self.delivery.documents[-1]["deployment"]["state"] == until)

        wait_until(ended, 10, until)

    def links(self) -> tuple[int | None, int | None, int | None]:
        """Numbers of current, previous and trial."""
        numbers = {held.manifest: number for number, held in self.held.items()}
        links = self.store.slots.links(SLOT)
        return tuple(numbers.get(one or "") for one in (links.current, links.previous, links.trial))  # type: ignore[return-value]

    def passes_vet_and_loads(self) -> None:
        """Let the candidate be good, and its engine be ready."""
        self.called("vet")
        self.line.end_vet()
        self.called("stand_by")
        self.line.listener.on_ready(None)

    def probation(self) -> None:
        """Bring release 2 to probation."""
        self.runs(1)
        self.judged(0)
        self.start()
        self.report()
        self.passes_vet_and_loads()
        self.called("switch defects None")
        self.line.listener.on_switched(to_standby=True, inspections=("left", "right"), first_frame={})
        self.state("probation")

    def command(self, verb: str, **arguments: Any) -> Answer:
        """Send a command and wait for its answer."""
        answers: list[Answer] = []
        command = Command(verb, SLOT, arguments, "01", "anna", SystemClock().mono_ns() + 60_000_000_000)
        self.deployments.handlers()[verb](command, answers.append)
        wait_until(lambda: bool(answers), 10, verb)
        return answers[0]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr(deployment_service, "SLICE_S", 0.005)
    monkeypatch.setattr(deployment_service, "TICK_NS", 20_000_000)
    found = Box(tmp_path)
    yield found
    found.deployments._end()


def test_a_release_is_tried_loaded_beside_switched_to_watched_and_committed(box: Box) -> None:
    box.probation()
    assert box.links() == (1, None, 2)
    assert (box.line.specs[0].digest, box.line.specs[0].release, box.line.specs[0].rollout_seq) == (
        box.held[2].digest,
        2,
        7,
    )
    box.pass_probation()
    said = box.state("committed")
    assert (said["release"], said["seq"], said["origin"], said["reason"]) == (2, 7, "rollout", None)
    assert box.links() == (2, 1, None)
    assert box.line.calls[-1] == "settle defects"
    wait_until(lambda: box.delivery.documents[-1]["state"] == "current", 10, "the document")
    kinds = [one for one in box.delivery.kinds() if one.startswith("deployment.")]
    assert kinds == box.delivery.notes
    numbers = {(one.get("rolloutSeq"), one.get("seq")) for one in box.delivery.noted}
    assert numbers == {(7, None)}, "seq of a record of the audit trail is its own number"
    assert kinds == [f"deployment.{one}" for one in ("vetting", "loading", "activating", "probation", "committed")]


def test_a_line_that_ends_just_before_the_daemon_costs_no_try(box: Box) -> None:
    box.probation()
    service = box.deployments._service
    assert service is not None
    begun = threading.Event()

    def busy() -> None:
        begun.set()
        threading.Event().wait(0.2)

    service.later(busy)  # it is at something when the line and then the daemon end
    assert begun.wait(5)
    box.deployments.detach()
    box.again()
    said = box.state("loading")
    assert said["triesLeft"] == Gates().crashes_max + 1


def test_a_line_is_known_even_if_the_disk_does_not_tell_what_it_runs(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.probation()
    service = box.deployments._service
    assert service is not None
    real, refusals = service.store.links, [StorageError("storage.io", "input/output error")]

    def links(slot: str) -> SlotLinks:
        if refusals:
            raise refusals.pop()
        return real(slot)

    box.deployments.detach()
    monkeypatch.setattr(service.store, "links", links)
    box.deployments.attach(cast("Any", box.line), box.settings)
    wait_until(lambda: box.line.calls.count("stand_by defects") > 1, 10, "the standby of the next line")


def test_what_fails_its_vet_never_reaches_the_line_and_is_not_tried_again(box: Box) -> None:
    box.runs(1)
    box.start()
    box.report()
    box.called("vet")
    box.line.end_vet(DataError("vet.golden", "it says something else"))
    assert box.state("rejected")["reason"] == "vet.golden"
    refusal = box.store.quarantine.refusal(box.held[2].manifest, 7)
    assert refusal is not None
    assert "vet.golden" in refusal.reason
    assert box.links() == (1, None, None)
    assert not any(one.startswith(("stand_by", "switch")) for one in box.line.calls)


def test_too_many_frames_without_a_verdict_switch_back(box: Box) -> None:
    box.probation()
    box.pass_probation(failed=9, until="rolled_back")
    assert box.state("rolled_back")["reason"] == "gate.failures"
    assert "switch_back defects" in box.line.calls or "dismiss defects" in box.line.calls
    assert box.links() == (1, None, None)


def test_the_first_release_is_tried_before_the_line_begins_with_it(box: Box) -> None:
    box.start(StandbyLine(SLOT, None))
    box.report(current=None)
    box.called("vet")
    assert (box.restarts, box.links()) == ([], (None, None, 2))
    box.line.end_vet()
    wait_until(lambda: box.restarts == [None], 10, "the restart")
    assert box.links() == (2, None, None)
    assert box.state("committed")["release"] == 2
    assert not any(one.startswith("stand_by") for one in box.line.calls)


def test_a_first_release_that_fails_its_vet_is_none(box: Box) -> None:
    box.start(StandbyLine(SLOT, None))
    box.report(current=None)
    box.called("vet")
    box.line.end_vet(DataError("model.hangs", "it hangs"))
    assert box.state("rejected")["reason"] == "model.hangs"
    assert (box.restarts, box.links()) == ([], (None, None, None))


def test_attack_40_bytes_that_were_changed_since_they_were_verified_are_not_loaded(box: Box) -> None:
    box.runs(1)
    box.start()
    path = box.store.releases.path(box.held[2].manifest) / "model.onnx"
    path.chmod(0o640)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    box.report()
    assert box.state("superseded")["reason"] == "store.damaged"
    assert not any(one.startswith(("vet", "stand_by")) for one in box.line.calls)
    assert box.store.releases.find(box.held[2].manifest) is None
    assert box.store.quarantine.entries() == {}


def test_attack_40_bytes_that_were_changed_between_vet_and_load_are_not_loaded(box: Box) -> None:
    box.runs(1)
    box.start()
    box.report()
    box.called("vet")
    path = box.store.releases.path(box.held[2].manifest) / "model.onnx"
    path.chmod(0o640)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    box.line.end_vet()
    assert box.state("superseded")["reason"] == "store.damaged"
    assert not any(one.startswith("stand_by") for one in box.line.calls)


def test_attack_41_a_previous_release_that_was_tampered_with_is_not_gone_back_to(box: Box) -> None:
    box.runs(1)
    box.runs(2)
    box.start()
    box.report(Standing.CURRENT, current=2, seq=7, wanted=2)
    wait_until(lambda: bool(box.delivery.documents), 10, "a document")
    path = box.store.releases.path(box.held[1].manifest) / "model.onnx"
    path.chmod(0o640)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    box.command("model.rollback")
    assert box.state("superseded")["reason"] == "store.damaged"
    assert (box.links()[0], box.line.calls) == (2, ["dismiss defects"])


def test_a_reload_in_probation_loads_it_beside_again_without_another_vet(box: Box) -> None:
    box.probation()
    box.deployments.detach()
    box.state("waiting")
    box.start(StandbyLine(SLOT, "/old"))
    box.judged(0)
    box.called("stand_by")
    assert not any(one.startswith("vet") for one in box.line.calls)
    box.line.listener.on_ready(None)
    box.called("switch defects None")


def test_a_daemon_that_dies_in_probation_comes_back_on_the_old_release_with_one_try_less(box: Box) -> None:
    box.probation()
    box.again()
    box.called("stand_by")
    said = box.state("loading")
    assert (said["triesLeft"], box.links()) == (2, (1, None, 2))
    box.again()
    box.again()
    said = box.state("rolled_back")
    assert (said["reason"], box.links()) == ("deployment.crashes", (1, None, None))
    box.report()
    assert box.state("rolled_back")["id"] == said["id"]


def test_a_record_that_cannot_be_read_costs_the_trial_and_holds_the_slot(box: Box) -> None:
    box.probation()
    path = box.store.slots.directory / SLOT / record.FILE
    path.write_bytes(b"{")
    box.again()
    aside = path.with_name(f"{record.FILE}.damaged")
    wait_until(lambda: aside.exists() and path.exists(), 10, "the file that is set aside, and the one in its place")
    assert box.links()[0] == 1
    hold = record.parse(path.read_bytes(), "").hold
    assert hold is not None
    assert hold.reason == "deployment.record"


def test_attack_43_what_is_revoked_in_probation_goes_back_at_once(box: Box) -> None:
    box.probation()
    ban = Ban(box.held[2].manifest, "release.revoked", "release 2 was revoked")
    box.report(Standing.REFUSED, reason="release.revoked", banned=(ban,))
    assert box.state("rolled_back")["reason"] == "release.revoked"


def test_a_rollout_that_names_the_old_release_again_takes_the_new_one_back(box: Box) -> None:
    box.probation()
    box.report(Standing.CURRENT, seq=8, wanted=1)
    assert box.state("rolled_back")["reason"] == "rollout.withdrawn"
    assert box.store.quarantine.entries() == {}


def test_attack_43_a_current_release_that_is_revoked_gives_way_to_the_one_before(box: Box) -> None:
    box.runs(1)
    box.runs(2)
    box.start()
    ban = Ban(box.held[2].manifest, "release.revoked", "release 2 was revoked")
    box.report(Standing.REFUSED, current=2, revoked=True, banned=(ban,))
    box.called("stand_by")
    assert box.line.specs[0].digest == box.held[1].digest
    box.line.listener.on_ready(None)
    box.called("switch defects None")
    box.line.listener.on_switched(to_standby=True, inspections=("left", "right"), first_frame={})
    box.called("settle")
    wait_until(lambda: "deployment.fallback" in box.delivery.kinds(), 10, "the event")
    assert (box.links(), box.restarts) == ((1, None, None), [])
    assert box.delivery.notes == ["deployment.fallback"]
    wait_until(lambda: box.delivery.documents[-1]["reason"] == "release.revoked", 10, "the document")


def test_without_another_release_the_factory_model_stands_in(box: Box) -> None:
    box.more = {"factory": "/factory.onnx"}
    box.runs(2)
    box.start()
    ban = Ban(box.held[2].manifest, "release.killed", "release 2 was killed")
    box.report(Standing.KEPT, current=2, banned=(ban,))
    box.called("stand_by")
    assert (box.line.specs[0].path, box.line.specs[0].digest) == ("/factory.onnx", None)
    box.line.listener.on_ready(None)
    box.called("switch")
    box.line.listener.on_switched(to_standby=True, inspections=("left", "right"), first_frame={})
    wait_until(lambda: box.links() == (None, None, None), 10, "the links")


@pytest.mark.parametrize(
    ("if_revoked", "kind", "links"),
    [("stop", "deployment.safe", (None, None, None)), ("run-and-alarm", "deployment.alarm", (2, None, None))],
)
def test_when_nothing_can_stand_in_the_configuration_decides(
    box: Box, if_revoked: str, kind: str, links: tuple[int | None, ...]
) -> None:
    box.more = {"if_revoked": if_revoked}
    box.runs(2)
    box.start()
    ban = Ban(box.held[2].manifest, "release.revoked", "release 2 was revoked")
    box.report(Standing.KEPT, current=2, banned=(ban,))
    wait_until(lambda: kind in box.delivery.kinds(), 10, kind)
    wait_until(lambda: box.links() == links, 10, "the links")
    assert any(one.startswith("empty") for one in box.line.calls) is (if_revoked == "stop")
    box.report(Standing.KEPT, current=2, banned=(ban,))
    assert box.delivery.kinds().count(kind) == 1


def test_a_current_release_that_no_engine_loads_gives_way_and_what_cannot_either_is_passed_over(box: Box) -> None:
    box.more = {"factory": "/factory.onnx"}
    box.runs(1)
    box.runs(2)
    box.line.stands(SLOT, SlotState.FAILED, "model.kills_engine: 3 engines died")
    box.start()
    box.called("stand_by")
    box.line.listener.on_refused("model.damaged", "no")
    wait_until(lambda: len(box.line.specs) == 2, 10, "the factory model")
    assert box.line.specs[1].path == "/factory.onnx"


def test_a_current_release_that_is_gone_gives_way_to_the_one_before_when_it_cannot_be_fetched(box: Box) -> None:
    box.runs(1)
    box.runs(2)
    box.store.releases.drop(box.held[2].manifest)
    box.start(StandbyLine(SLOT, None))
    assert box.restarts == []
    box.report(Standing.RETRY, current=None)
    wait_until(lambda: len(box.restarts) == 1, 10, "a line with the release before")
    assert box.links() == (1, None, None)
    assert "not whole" in next(one for one in box.delivery.events if one.kind == "deployment.fallback").message


def test_paused_and_held_and_unapproved_wait_and_then_go_on(box: Box) -> None:
    box.runs(1)
    box.start()
    assert box.command("model.hold", hold=True, reason="audit").status is Status.DONE
    terms = Terms(7, approve="operator", bake_s=0.001, gates={"probation_frames": 10})
    box.report(terms=terms)
    assert box.state("waiting")["reason"] == "wait.hold"
    box.again()
    box.report(terms=terms)
    assert box.state("waiting")["reason"] == "wait.hold"
    assert box.command("model.hold", hold=False).status is Status.DONE
    box.called("vet")
    box.line.end_vet()
    wait_until(lambda: box.state("waiting")["reason"] == "wait.approval", 10, "the approval is missed")
    assert box.command("model.approve").status < 300
    box.called("stand_by")


def test_an_operator_takes_back_what_is_on_probation_and_it_stays_so(box: Box) -> None:
    box.probation()
    assert box.command("model.rollback", reason="scratches are missed").status < 300
    said = box.state("rolled_back")
    assert said["reason"] == "operator.rollback"
    box.report()
    assert box.state("rolled_back")["id"] == said["id"]


def test_an_operator_goes_back_to_the_release_before_and_the_rollout_does_not_bring_it_back(box: Box) -> None:
    box.runs(1)
    box.runs(2)
    box.judged(0)
    box.start()
    box.report(Standing.CURRENT, current=2, seq=7, wanted=2)
    wait_until(lambda: bool(box.delivery.documents), 10, "a document")
    answer = box.command("model.rollback")
    assert answer.status < 300, answer
    box.passes_vet_and_loads()
    box.called("switch")
    box.line.listener.on_switched(to_standby=True, inspections=("left", "right"), first_frame={})
    box.state("probation")
    box.deployments.detach()  # and so forth; what counts is whose wish it is
    box.report()
    said = box.state("waiting", "loading")
    assert (said["release"], said["origin"]) == (1, "command")


def failing(box: Box, monkeypatch: pytest.MonkeyPatch, name: str, failures: int) -> Callable[[], int]:
    """Let a durable step fail so many times."""
    from edge_runtime.app import deployment_store
    from edge_runtime.registry.store import slots as slots_module
    from edge_runtime.system.files import storage_error

    left = [failures]
    module: Any = deployment_store if name == "write_atomic" else slots_module
    real = getattr(module, name)

    def fail(*args: Any, **kwargs: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise storage_error(OSError(28, "No space left on device"), box.root, "write")
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, fail)
    return lambda: left[0]


@pytest.mark.parametrize(("step", "failures"), [("write_atomic", 1), ("point", 1), ("remove_tree", 1)])
def test_a_full_disk_delays_a_deployment_and_nothing_else(
    box: Box, monkeypatch: pytest.MonkeyPatch, step: str, failures: int
) -> None:
    box.runs(1)
    left = failing(box, monkeypatch, step, failures)
    box.judged(0)
    box.start()
    box.report()
    box.passes_vet_and_loads()
    box.called("switch")
    box.line.listener.on_switched(to_standby=True, inspections=("left", "right"), first_frame={})
    box.state("probation")
    box.pass_probation()
    wait_until(lambda: box.links() == (2, 1, None), 10, "the links")
    assert left() == 0


def test_a_vet_that_gave_no_answer_is_no_verdict_on_the_release(box: Box) -> None:
    box.runs(1)
    box.start()
    box.report()
    box.called("vet")
    box.line.end_vet(UnavailableError("vet.lost", "the process that tried it was lost"))
    assert box.state("superseded")["reason"] == "vet.lost"
    assert box.store.quarantine.entries() == {}
    box.report()  # the next look offers it again
    wait_until(lambda: sum(one.startswith("vet") for one in box.line.calls) > 1, 10, "the next vet")


def after_a_way_back(box: Box, *, tried: bool) -> None:
    """Let the box run release 1 again by hand, after the rollout of 2; ``tried``: 2 was since, in vain."""
    box.probation()
    box.pass_probation()
    box.state("committed")
    box.deployments._end()
    path = box.store.slots.directory / SLOT / record.FILE
    wait_until(path.exists, 5, "the record")
    known = record.parse(path.read_bytes(), "").deployment
    assert known is not None
    policy = replace(known.policy, origin="command")
    back = replace(known, candidate=box.held[1], previous=box.held[2], policy=policy)
    vain = replace(back, id="tried", candidate=box.held[2], state=State.REJECTED)
    path.write_bytes(record.dump(SlotRecord(vain, back) if tried else SlotRecord(back)))
    box.runs(1)
    box.again()
    box.report()
    ticks = threading.Event()
    assert box.deployments._service is not None
    box.deployments._service.later(ticks.set)
    assert ticks.wait(5)


@pytest.mark.parametrize("tried", [False, True])
def test_after_an_operator_went_back_the_same_rollout_does_not_bring_the_release_again(
    box: Box, *, tried: bool
) -> None:
    after_a_way_back(box, tried=tried)
    assert box.line.calls == []
    box.report(seq=8, terms=Terms(8))
    box.called("vet")


def test_what_was_judged_otherwise_in_shadow_is_on_record(box: Box) -> None:
    box.runs(1)
    box.start()
    box.report(terms=Terms(7, mode="shadow", bake_s=0.001, gates={"shadow_frames": 10}))
    box.passes_vet_and_loads()
    box.called("shadow")
    one = Disagreement("left", 7, "OK", "NOT_OK", 0.1, 0.9)
    judging = box.line.judging
    box.line.judging = Judging(judging.old, judging.new, Compared(compared=50, disagreements=50, evidence=(one,)))
    assert box.state("rejected")["reason"] == "gate.disagreement"
    (fields,) = [event.fields for event in box.delivery.events if event.kind == "deployment.rejected"]
    (told,) = fields["evidence"]
    assert (told["frameId"], told["old"], told["new"], told["newScore"]) == (7, "OK", "NotOK", 0.9), "as in results"
