"""Hosts of others, npm and pysparkplug, count what a real daemon sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.sparkplug.hosts import npm_host, pysparkplug_host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sparkplug.hosts import Host

PARTS = 20


@pytest.mark.parametrize("make", [npm_host, pysparkplug_host])
def test_a_foreign_host_counts_exactly_what_the_daemon_says_it_sent(
    tmp_path: Path, make: Callable[[int], Host]
) -> None:
    with Broker(persistent=False) as broker, make(broker.port) as host:
        config: dict[str, Any] = line_config(broker.port, tmp_path / "state", sparkplug={"group": "plant"})
        config["inspections"]["top"]["trigger"] = "mqtt"
        with DaemonProcess(tmp_path, config) as daemon:
            host.wait(lambda seen: "DBIRTH" in seen["counts"], 40)
            wait_until(lambda: daemon.status().get("ready"), 40, "ready")
            for part in range(1, PARTS + 1):
                metrics = [
                    {"name": "Device Control/Trigger", "type": "Boolean", "value": True},
                    {"name": "Device Control/PartId", "type": "String", "value": f"P-{part}"},
                ]
                host.ask("command", group="plant", node="box", device="top", metrics=metrics)
            wait_until(lambda: daemon.status()["sparkplug"]["live"] == PARTS, 20, "a result for each part")
            host.rebirth("plant", "box", timestamp=False)
            wait_until(lambda: daemon.status()["sparkplug"]["rebirths"] == 1, 20, "the rebirth")

            def agree(seen: dict[str, Any]) -> bool:
                sent = daemon.status()["sparkplug"]["sent"]
                return bool(seen["counts"] == {kind: count for kind, count in sent.items() if count})

            report = host.wait(agree)
            daemon.terminate()
            report = host.wait(lambda seen: "NDEATH" in seen["counts"])
    assert (report["seq_gaps"], report["bdseq_mismatches"], report["undeclared"]) == (0, 0, 0)
    assert report["errors"] == []
    assert report["counts"]["NBIRTH"] == 2
    assert {death["bdSeq"] for death in report["deaths"]} == {0}
