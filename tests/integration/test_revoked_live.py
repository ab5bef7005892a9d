"""A release that is taken away while it judges: what stands in, and that the line does not notice.

The plant is the product: publisher, registry, daemon, its processes, a broker; see `tests.updates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_models import MODEL, write
from tests.updates import QUICK, SITE, Plant

if TYPE_CHECKING:
    from pathlib import Path

GATES = {**QUICK, "not_ok_shift_max": 1.0, "latency_ratio_max": 20.0}
FACTORY = 99

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180)]


def plant_of(folder: Path, **model: Any) -> Plant:
    """A plant whose slot has more settings."""
    return Plant(folder, models={"parts": {"release": MODEL, **model}})


def wait_judged(plant: Plant, release: int | None) -> None:
    """Wait until the newest results of both inspections are of a release, ``None`` = of the factory model."""

    def judged() -> bool:
        newest = [plant.record.of(inspection)[-1:] for inspection in ("left", "right")]
        return all(row and row[0].digest is not None and row[0].release == release for row in newest)

    plant.wait(judged, 60, f"results of release {release}")
    plant.wait_verdicts(10)
    assert judged()


def wait_event(plant: Plant, kind: str, count: int = 1) -> dict[str, Any]:
    """Wait for the n-th event of a kind; return the newest."""
    plant.wait(lambda: plant.record.kinds().count(kind) >= count, 60, f"{count} events {kind}")
    return next(one for one in reversed(plant.record.events) if one["kind"] == kind)


def test_the_release_before_stands_in_and_then_the_factory_model(tmp_path: Path) -> None:
    factory = write(tmp_path / "factory", "good", release=FACTORY)
    with plant_of(tmp_path, factory=str(factory)) as plant:
        plant.first()  # the factory model judges until it is committed
        assert plant.wait_end(plant.seq()).state == "committed"
        second = plant.release("good")
        assert plant.wait_end(plant.roll_out(second, GATES)).state == "committed"

        plant.desk.revoke(MODEL, second)
        assert "release 1" in wait_event(plant, "deployment.fallback")["message"]
        wait_judged(plant, 1)
        assert plant.links().current == plant.releases.manifests[1]
        plant.check()

        plant.desk.kill(MODEL, 1, SITE)
        assert "factory" in wait_event(plant, "deployment.fallback", 2)["message"]
        wait_judged(plant, None)
        assert (plant.lost(), plant.twice()) == (0, 0)

        plant.end_daemon()
        plant.start()
        wait_judged(plant, None)


def test_a_release_that_is_revoked_on_probation_goes_at_once(tmp_path: Path) -> None:
    with Plant(tmp_path) as plant:
        plant.first()
        second = plant.release("good")
        seq = plant.roll_out(second, GATES, bake_s=600.0)
        plant.wait_state(seq, "probation")
        wait_judged(plant, second)
        plant.desk.revoke(MODEL, second)
        end = plant.wait_end(seq)
        assert end.state == "rolled_back", end
        assert end.reason is not None
        wait_judged(plant, 1)
        assert (plant.lost(), plant.twice()) == (0, 0)
        plant.check()


def test_with_nothing_to_stand_in_it_stops_and_says_why_also_after_a_restart(tmp_path: Path) -> None:
    with plant_of(tmp_path, if_revoked="stop") as plant:
        plant.first()
        plant.desk.revoke(MODEL, 1)
        wait_event(plant, "deployment.safe")

        def stopped() -> bool:
            rows = plant.record.of("left")[-3:]
            return all(row.digest is None and (row.reason or "").startswith("no_model") for row in rows)

        plant.wait(stopped, 30, "results that say that there is no model")
        assert "revoked" in (plant.record.rows[-1].reason or "")
        assert plant.links().current is None

        plant.end_daemon()
        plant.record.rows.clear()
        plant.daemon.start()
        plant.wait(lambda: len(plant.record.of("left")) >= 10 and stopped(), 60, "results after the restart")
        assert all(row.evaluation == "NotDecidable" for row in plant.record.rows)
        assert "may run" in (plant.record.rows[-1].reason or "")

        second = plant.release("good")
        plant.roll_out(second, GATES)
        wait_judged(plant, second)


def test_with_nothing_to_stand_in_it_goes_on_with_an_alarm_if_so_configured(tmp_path: Path) -> None:
    with plant_of(tmp_path, if_revoked="run-and-alarm") as plant:
        plant.first()
        plant.desk.revoke(MODEL, 1)
        wait_event(plant, "deployment.alarm")
        wait_judged(plant, 1)
        assert (plant.lost(), plant.twice()) == (0, 0)

        plant.end_daemon()
        plant.start()
        wait_event(plant, "deployment.alarm", 2)
        wait_judged(plant, 1)
