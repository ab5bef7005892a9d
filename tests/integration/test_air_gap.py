"""A box that no registry reaches: releases come on a stick, a copy of the registry's directory."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.demo_packages import Kind
from edge_runtime.app.demo_registry import DemoRegistry
from edge_runtime.cli import dispatch
from edge_runtime.cli.models_asked import order_of_config
from edge_runtime.registry.box.nudge import last_nudge
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Contact, Standing
from tests.brokers import Broker
from tests.daemons import DaemonProcess, Listener, line_config, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.box.order import Order


class Plant:
    """A publisher somewhere, a box without a network, and a stick that somebody carries from one to the other."""

    def __init__(self, folder: Path, port: int = 1883) -> None:
        self.publisher = DemoRegistry(folder / "publisher", "plant")
        self.stick = folder / "usb"
        self.state = folder / "state"
        self.config: dict[str, Any] = line_config(
            port,
            self.state,
            cameras={"top": {"source": "sim:conveyor?fps=10&size=448x256", "capture": "every"}},
            models={"defects": {"release": "surface-defects"}},
            registry={"url": f"oci-layout:{folder / 'nowhere'}", "root": str(self.publisher.root)},
        )
        self.path = folder / "box.json"
        self.path.write_text(json.dumps(self.config))

    def fill_stick(self) -> None:
        """Copy what the publisher has now."""
        shutil.rmtree(self.stick, ignore_errors=True)
        shutil.copytree(self.publisher.url.removeprefix("oci-layout:"), self.stick)

    def order(self) -> Order:
        """What ``models pull oci-layout:STICK`` asks for."""
        return replace(order_of_config(str(self.path)), urls=(f"oci-layout:{self.stick}",))

    def pull(self) -> int:
        """Say it."""
        return dispatch(["models", "pull", f"oci-layout:{self.stick}", "--config", str(self.path)])


def test_a_stick_that_is_pulled_out_in_the_middle_costs_what_had_not_arrived(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    first = plant.publisher.roll_out(Kind.FIRST)
    plant.fill_stick()
    seen: list[tuple[int, int]] = []

    def pulled_out(done: int, total: int) -> None:
        if not seen:
            for blob in (plant.stick / "blobs" / "sha256").iterdir():
                os.truncate(blob, blob.stat().st_size // 2)  # what is open is not read to its end either
            shutil.rmtree(plant.stick)
        seen.append((done, total))

    report = Pull(plant.order(), on_progress=pulled_out).run()
    (slot,) = report.slots
    assert seen
    assert (slot.standing, slot.current) == (Standing.RETRY, None)
    report = Pull(plant.order()).run()  # it is still out
    assert report.contact is Contact.UNREACHABLE
    assert report.slots[0].current is None
    plant.fill_stick()
    (slot,) = Pull(plant.order()).run().slots
    assert slot.current is not None
    assert slot.current.digest == first.digest


def test_what_came_on_a_stick_goes_on_when_the_stick_is_away_and_an_older_stick_takes_nothing_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = Plant(tmp_path)
    plant.publisher.roll_out(Kind.FIRST)
    plant.fill_stick()
    old = shutil.copytree(plant.stick, tmp_path / "old")
    assert plant.pull() == 0
    models = plant.state / "models"
    before = last_nudge(models)
    assert before is not None
    second = plant.publisher.roll_out(Kind.GOOD)
    plant.fill_stick()
    assert plant.pull() == 0
    assert last_nudge(models) != before  # a daemon would look now
    shutil.rmtree(plant.stick)
    # what it finds then: the registry of its configuration is not there, and what is on the box is wanted all the same
    report = Pull(order_of_config(str(plant.path))).run()
    assert report.contact is Contact.UNREACHABLE
    assert report.slots[0].standing is Standing.STAGED
    assert report.slots[0].staged is not None
    assert report.slots[0].staged.digest == second.digest
    old.rename(plant.stick)
    capsys.readouterr()
    assert plant.pull() == 65
    assert "bring a newer stick" in capsys.readouterr().out
    (slot,) = Pull(order_of_config(str(plant.path))).run().slots
    assert slot.staged is not None
    assert slot.staged.digest == second.digest


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_running_daemon_deploys_what_came_on_a_stick(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        plant = Plant(tmp_path, broker.port)
        plant.publisher.roll_out(Kind.FIRST)
        plant.fill_stick()
        assert plant.pull() == 0
        with DaemonProcess(tmp_path, plant.config) as daemon:
            listener.wait_for_verdicts(5, 60)
            assert listener.verdicts[-1]["model"]["release"] == 1
            wait_until(lambda: daemon.status()["registry"]["state"] == "unreachable", 30, "it has looked")
            plant.publisher.roll_out(Kind.GOOD)
            plant.fill_stick()
            assert plant.pull() == 0
            shutil.rmtree(plant.stick)
            wait_until(lambda: "deployment.committed" in [one["kind"] for one in listener.events], 180, "committed")
            listener.wait_for_verdicts(3)
            assert listener.verdicts[-1]["model"]["release"] == 2
        digests = [one["model"]["digest"] for one in listener.verdicts]
        assert len({*digests}) == 2
        assert sum(one != two for one, two in pairwise(digests)) == 1
