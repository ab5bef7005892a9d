"""The registry joined to a box: what is said, what is started, what is asked for; the looking is the test's."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.app import deployment_service, registry_process, registry_watch
from edge_runtime.app.deployments import Deployments
from edge_runtime.app.plan import plan_line
from edge_runtime.app.releases import Releases
from edge_runtime.config.schema import Settings
from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.publish.payload import Identity
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Contact, Held, Report, SlotReport, Standing
from edge_runtime.registry.documents import Assignment
from edge_runtime.system.clock import SystemClock
from tests.daemons import wait_until
from tests.fakes.published import Published
from tests.fakes.standby_line import StandbyLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.app.delivery import Delivery
    from edge_runtime.core.result import Event
    from edge_runtime.publish.mqtt.link import Outgoing
    from edge_runtime.registry.box.order import Order
    from edge_runtime.system.service import Stop

HELD = Held(1, "1.0.0", "sha256:" + "a" * 64, "sha256:" + "b" * 64)


class _Delivery:
    """Takes what is said."""

    identity = Identity("plant-a", "line-3", "box-17")
    boot_id = "boot"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.documents: list[Outgoing] = []
        self.handlers: dict[str, Any] = {}
        self.desk = SimpleNamespace(serve=lambda _, handlers: self.handlers.update(handlers), note=lambda _, __: None)
        self.put = self.events.append
        self.show_newest = self.documents.append

    def ask(self, verb: str, target: str | None = None) -> Answer:
        answers: list[Answer] = []
        self.handlers[verb](Command(verb, target, {}, "01", "anybody", 0), answers.append)
        return answers[0]


class Bench:
    """A box whose looks end as the test says."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.registry = Published(directory / "publisher", now=datetime.now(UTC).replace(microsecond=0))
        self.state_dir = directory / "state"
        self.delivery = _Delivery()
        self.restarts: list[None] = []
        self.reports: list[Report] = []
        self.looked = threading.Semaphore(0)
        monkeypatch.setattr(registry_process, "look", self._look)
        monkeypatch.setattr(registry_watch, "SLICE_S", 0.005)
        monkeypatch.setattr(registry_watch.RegistryWatch, "_pause", lambda *_: 0.01)
        delivery = cast("Delivery", self.delivery)
        self.deployments = Deployments(delivery, SystemClock(), lambda: self.restarts.append(None))
        self.releases = Releases(delivery, SystemClock(), self.deployments)

    def _look(self, order: Order, stop: Stop, /, *, fresh: bool) -> Report:
        del order, fresh
        while not self.reports and not stop.wait(0.005):
            pass
        self.looked.release()
        return self.reports.pop(0) if self.reports else Report(Contact.OK)

    def settings(self, model: str = "weld", **more: Any) -> Settings:
        return Settings.model_validate(
            {
                "version": 1,
                "site": "plant-a",
                "cameras": {"top": {"source": "sim:bars"}},
                "models": {"defects": {"release": model}},
                "registry": {"url": self.registry.url, "root": str(self.registry.anchor), "poll_s": 1},
                "state_dir": str(self.state_dir),
            }
            | more
        )

    def attach(self, settings: Settings, path: str | None = "/old") -> StandbyLine:
        """Run a line with ``settings``, whose slot has the model at ``path``."""
        self.releases.attach(settings)
        line = StandbyLine("defects", path)
        self.deployments.attach(cast("Any", line), settings)
        return line

    def say(self, report: Report) -> None:
        """Let the next look end so, and wait until it has been told."""
        done = len(self.delivery.documents) + len(self.delivery.events)
        self.reports.append(report)
        wait_until(lambda: len(self.delivery.documents) + len(self.delivery.events) > done, 10, "news")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path, monkeypatch)
    monkeypatch.setattr(deployment_service, "SLICE_S", 0.005)
    with bench.deployments, bench.releases:
        yield bench


def slot(standing: Standing, **fields: Any) -> SlotReport:
    return SlotReport("defects", "weld", "stable", standing, **fields)


def test_without_a_registry_nothing_runs_and_commands_say_so(bench: Bench) -> None:
    settings = bench.settings(models={"defects": {"path": "m.onnx"}}, registry=None)
    assert bench.releases.attach(settings) == {}
    assert (bench.releases.figures(), threading.active_count()) == (None, 1)
    with bench.releases:
        pass
    assert bench.delivery.ask("model.check").status is Status.UNAVAILABLE


def test_the_first_release_has_the_line_started_anew_once_and_the_next_plan_runs_it(bench: Bench) -> None:
    settings = bench.settings()
    assert bench.releases.attach(settings) == {}
    plan = plan_line(settings, cpus=1, released={})
    assert (plan.slots[0].path, plan.slots[0].waits_for) == (None, "no release of weld that may run is here")
    line = bench.attach(settings, None)
    bench.say(Report(Contact.OK, slots=(slot(Standing.EMPTY, reason="rollout.none"),)))
    assert bench.restarts == []
    bench.registry.release("weld", 1)
    bench.registry.roll_out(Assignment("weld", 1))
    order = bench.registry.order(bench.state_dir / "models", first=False)
    bench.say(Pull(order).run())
    wait_until(lambda: line.calls, 10, "the vet")
    assert bench.restarts == []
    line.end_vet()
    wait_until(lambda: len(bench.restarts) == 1, 10, "the restart")
    released = bench.releases.attach(settings)
    (spec,) = plan_line(settings, cpus=1, released=released).slots
    assert spec.path == str(bench.state_dir / "models" / "releases" / bench.registry.manifests["weld", 1].hex)
    assert (spec.digest, spec.release, spec.rollout_seq) == (released["defects"].digest, 1, 1)


def test_a_release_that_somebody_made_current_has_the_line_started_anew(bench: Bench) -> None:
    settings = bench.settings()
    bench.attach(settings, None)
    bench.registry.release("weld", 1)
    bench.registry.roll_out(Assignment("weld", 1))
    bench.say(Pull(bench.registry.order(bench.state_dir / "models")).run())
    wait_until(lambda: len(bench.restarts) == 1, 10, "the restart")


def test_what_is_said_is_as_the_contract_says(bench: Bench) -> None:
    bench.attach(bench.settings())
    bench.say(Report(Contact.OK, slots=(slot(Standing.STAGED, staged=HELD, wanted=2, seq=7),)))
    bench.say(Report(Contact.FROZEN, "trust.frozen", "too old", (slot(Standing.KEPT, revoked=True),)))
    wait_until(lambda: len(bench.delivery.documents) == 2, 10, "documents")
    for said in bench.delivery.documents:
        assert (said.topic, said.retain) == ("vision/plant-a/line-3/box-17/model/defects/state", True)
    first, second = (json.loads(one.body) for one in bench.delivery.documents)
    assert (first["state"], first["staged"]["release"], first["registry"]["state"]) == ("staged", 1, "ok")
    assert (second["revoked"], second["registry"]["reason"]) == (True, "trust.frozen")
    assert second["registry"]["checkedAt"] == first["registry"]["checkedAt"] is not None
    figures = bench.releases.figures()
    assert figures is not None
    assert (figures["state"], figures["slots"]["defects"]["revoked"]) == ("frozen", True)
    assert {one.kind for one in bench.delivery.events} >= {"registry.frozen", "model.revoked", "model.staged"}


def test_nothing_new_is_not_said_again(bench: Bench) -> None:
    bench.attach(bench.settings())
    report = Report(Contact.OK, slots=(slot(Standing.CURRENT, current=HELD),))
    bench.say(report)
    bench.reports.append(report)
    wait_until(lambda: bench.looked.acquire(blocking=False) and not bench.reports, 10, "another look")
    assert len(bench.delivery.documents) == 1


def test_a_mended_release_has_the_line_started_anew(bench: Bench) -> None:
    bench.attach(bench.settings())
    bench.say(Report(Contact.OK, slots=(slot(Standing.CURRENT, current=HELD, mended=True),)))
    wait_until(lambda: len(bench.restarts) == 1, 10, "the restart")


def test_a_nudge_is_answered_and_a_slot_that_is_none_is_not_known(bench: Bench) -> None:
    bench.releases.attach(bench.settings())
    assert bench.delivery.ask("model.check").status is Status.ACCEPTED
    assert bench.delivery.ask("model.check", "defects").status is Status.ACCEPTED
    assert bench.delivery.ask("model.check", "elsewhere").status is Status.UNKNOWN


def test_the_same_settings_keep_the_service_and_others_begin_a_new_one(bench: Bench) -> None:
    bench.releases.attach(bench.settings())
    watch = bench.releases._watch
    bench.releases.attach(bench.settings())
    assert bench.releases._watch is watch
    bench.releases.attach(bench.settings("caps"))
    assert bench.releases._watch is not watch
    bench.releases.attach(bench.settings(models={"defects": {"path": "m.onnx"}}))
    assert bench.releases._watch is None


def test_a_directory_that_cannot_be_read_is_a_slot_without_a_release(bench: Bench) -> None:
    bench.state_dir.mkdir()
    (bench.state_dir / "models").write_text("a file")
    assert bench.releases.attach(bench.settings()) == {}
