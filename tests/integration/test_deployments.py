"""Deployments end to end: a registry in a directory, a broker, the daemon with its engines, a line that judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.updates import QUICK, Plant, switches

if TYPE_CHECKING:
    from pathlib import Path

LENIENT = {**QUICK, "undecided_max": 1.0, "latency_ratio_max": 100.0}
"""A box that is busy elsewhere is no fault of a model; what the gates say has tests of its own."""


@pytest.mark.timeout(60)
def test_a_good_release_becomes_the_model_under_a_running_line_and_no_frame_is_lost(tmp_path: Path) -> None:
    with Plant(tmp_path) as plant:
        first = plant.first("good")
        second = plant.release("good")
        seq = plant.roll_out(second, LENIENT)
        end = plant.wait_end(seq)
        assert (end.state, end.reason) == ("committed", None), plant.deployment()
        plant.wait_verdicts(5)
        plant.check()
        assert (plant.lost(), plant.twice()) == (0, 0)
        for inspection in ("left", "right"):
            rows = plant.record.of(inspection)
            assert {row.release for row in rows if row.release is not None} == {first, second}
            assert len(switches(rows)) % 2 == 1, "there, and back only for frames that were handed to the old one"
            assert (rows[-1].release, rows[-1].rollout) == (second, seq)
        links = plant.links()
        assert (links.current, links.previous) == (plant.releases.manifests[second], plant.releases.manifests[first])
        document = plant.record.models["parts"]
        assert (document["state"], document["deployment"]["state"]) == ("current", "committed")
