"""``edge-runtime spool`` as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_runtime.system.files import LockFile
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.fakes.clock import ManualClock
from tests.integration.test_verbs import edge
from tests.unit.publish.spool.rig import Bench

ASSET = Path(__file__).parents[1] / "assets" / "spool" / "layout-1.db"


def config_of(directory: Path) -> Path:
    path = directory / "edge.yaml"
    path.write_text(yaml.safe_dump({**line_config(1, directory / "state"), "spool": {"max_mb": 99}}))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A spool with 2 results that are owed, 3 that are kept and 2 that were refused."""
    (tmp_path / "state").mkdir()
    with Bench(tmp_path / "state", ManualClock(), followers=("plant",)) as bench:
        bench.put(3)
        bench.deliver()
        bench.put(2)
        bench.step()
        for row in bench.take():
            bench.spool.refused(row, "not authorized (135)")
        bench.step(2)
        bench.spool.acked(bench.take())
        bench.put(2)
        bench.step()
    return config_of(tmp_path)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_status_says_what_is_in_the_spool(config: Path) -> None:
    done = edge("spool", "status", "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["depth"], found["dead"], found["deadByReason"]) == (2, 2, {"not authorized (135)": 2})
    assert found["streams"]["result/top"] == 7
    assert (found["limits"]["maxBytes"], found["durability"], found["followers"]) == (99 << 20, "group", {"plant": 0})
    assert found["file"].endswith("spool.db")
    assert "deadByReason" in edge("spool", "status", "--config", config).stdout


def test_export_writes_json_lines_of_what_was_asked_for(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    done = edge("spool", "export", "--config", config, "--dead", "--out", out, "--json")
    assert (done.returncode, json.loads(done.stdout)["written"]) == (0, 2), done.stderr
    found = lines(out.read_text())
    assert [(line["topic"], line["seq"], line["state"], line["reason"]) for line in found] == [
        ("result/top", 4, "dead", "not authorized (135)"),
        ("result/top", 5, "dead", "not authorized (135)"),
    ]
    assert found[0]["document"]["schema"] == "vision.result/1"
    owed = lines(edge("spool", "export", "--config", config, "--owed").stdout)
    assert [line["seq"] for line in owed] == [6, 7]
    everything = lines(edge("spool", "export", "--config", config).stdout)
    assert [line["seq"] for line in everything if line["topic"] == "result/top"] == [*range(1, 8)]


def test_requeue_makes_what_was_refused_owed_again(config: Path) -> None:
    none = edge("spool", "requeue", "--config", config, "--reason", "too large", "--json")
    assert json.loads(none.stdout) == {"requeued": 0}
    done = edge("spool", "requeue", "--config", config, "--stream", "result/top")
    assert (done.returncode, done.stdout) == (0, "2 dead letters will be sent again\n")
    found = json.loads(edge("spool", "status", "--config", config, "--json").stdout)
    assert (found["dead"], found["depth"]) == (0, 4)


def test_without_a_spool_the_verb_says_so(tmp_path: Path) -> None:
    done = edge("spool", "status", "--config", config_of(tmp_path))
    assert done.returncode == 69
    assert "there is no spool" in done.stderr


def test_while_the_daemon_runs_status_works_and_the_others_name_it(tmp_path: Path, free_port: int) -> None:
    daemon = DaemonProcess(tmp_path, line_config(free_port, tmp_path / "state"))
    with daemon:
        wait_until(lambda: daemon.status().get("spool", {}).get("depth"), 40, "a result")
        done = edge("spool", "status", "--config", daemon.config, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["depth"] >= 1
        assert found["age_s"] < 10
        assert "held by process" in found["daemon"]
        for words in (["requeue"], ["export", "--owed"]):
            done = edge("spool", *words, "--config", daemon.config)
            assert done.returncode == 75
            assert "held by process" in done.stderr


def test_what_is_only_in_the_log_of_a_file_that_was_put_aside_is_read_too(tmp_path: Path) -> None:
    damaged = tmp_path / "spool.db.corrupt-1"
    with Bench(tmp_path, ManualClock()) as bench:
        bench.put(7)
        bench.step(2)
        shutil.copy(tmp_path / "spool.db", damaged)
        shutil.copy(tmp_path / "spool.db-wal", tmp_path / "spool.db-wal.corrupt-1")
    done = edge("spool", "export", "--file", damaged)
    assert done.returncode == 0, done.stderr
    assert [line["seq"] for line in lines(done.stdout)] == [*range(1, 8)]


def test_a_damaged_file_of_the_version_before_is_read_too(tmp_path: Path) -> None:
    damaged = tmp_path / "spool.db.corrupt-1"
    shutil.copy(ASSET, damaged)
    before = damaged.read_bytes()
    done = edge("spool", "export", "--file", damaged)
    assert (done.returncode, len(lines(done.stdout))) == (0, 15), done.stderr
    assert damaged.read_bytes() == before


def test_a_file_of_which_nothing_can_be_read_is_bad_data(tmp_path: Path) -> None:
    damaged = tmp_path / "spool.db.corrupt-1"
    damaged.write_bytes(b"garbage" * 1000)
    done = edge("spool", "export", "--file", damaged)
    assert done.returncode == 65
    assert "nothing can be read" in done.stderr


def test_while_the_daemon_has_the_spool_an_older_export_stays_and_the_way_out_is_told(
    config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("an older export")
    with LockFile(tmp_path / "state" / "spool.db.lock"):
        for verb, way_out in (("export", "command replay"), ("requeue", "command spool.requeue")):
            done = edge("spool", verb, "--config", config, *(["--out", out] if verb == "export" else []))
            assert (done.returncode, way_out in done.stderr, "systemctl stop" in done.stderr) == (75, True, True)
    assert edge("spool", "export", "--file", config, "--out", out).returncode == 65
    assert out.read_text() == "an older export"
