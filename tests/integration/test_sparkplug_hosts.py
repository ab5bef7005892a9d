"""Hosts of others, npm and pysparkplug, count what a real daemon sends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.sparkplug.hosts import npm_host, pysparkplug_host

if TYPE_CHECKING:
    from pathlib import Path

PARTS = 5


def _told(daemon: DaemonProcess, count: int) -> bool:
    return bool(daemon.status()["sparkplug"]["live"] == count)


def test_foreign_hosts_count_exactly_what_the_daemon_says_it_sent(tmp_path: Path) -> None:
    with Broker(persistent=False) as broker, npm_host(broker.port) as npm, pysparkplug_host(broker.port) as python:
        config: dict[str, Any] = line_config(broker.port, tmp_path / "state", sparkplug={"group": "plant"})
        config["inspections"]["top"]["trigger"] = "mqtt"
        with DaemonProcess(tmp_path, config) as daemon:
            npm.wait(lambda seen: "DBIRTH" in seen["counts"], 40)
            wait_until(lambda: daemon.status().get("ready"), 40, "ready")
            for part in range(1, PARTS + 1):
                metrics = [
                    {"name": "Device Control/Trigger", "type": "Boolean", "value": True},
                    {"name": "Device Control/PartId", "type": "String", "value": f"P-{part}"},
                ]
                asking = npm if part % 2 else python
                asking.ask("command", group="plant", node="box", device="top", metrics=metrics)
                wait_until(partial(_told, daemon, part), 20, "its result")
            python.rebirth("plant", "box", timestamp=False)
            wait_until(lambda: daemon.status()["sparkplug"]["rebirths"] == 1, 20, "the rebirth")

            def agree(seen: dict[str, Any]) -> bool:
                sent = daemon.status()["sparkplug"]["sent"]
                return bool(seen["counts"] == {kind: count for kind, count in sent.items() if count})

            for host in (npm, python):
                host.wait(agree)
            daemon.terminate()
            reports = [host.wait(lambda seen: "NDEATH" in seen["counts"]) for host in (npm, python)]
    for report in reports:
        assert (report["seq_gaps"], report["bdseq_mismatches"], report["undeclared"]) == (0, 0, 0)
        assert report["errors"] == []
        assert report["counts"]["NBIRTH"] == 2
        assert {death["bdSeq"] for death in report["deaths"]} == {0}
