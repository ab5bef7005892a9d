"""The daemon as a user runs it: a real process, a real broker, real children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Broker
from tests.daemons import DaemonProcess, Listener, line_config, wait_until


def test_verdicts_arrive_complete_and_in_order_and_every_frame_is_accounted_for(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        with DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon:
            listener.wait_for_verdicts(60)
            code, seconds = daemon.terminate()
        assert code == 0, daemon.log.read_text()
        assert seconds < 5.0
        proof = listener.audience.proof()
        counters = listener.documents[-1]["counters"]
    assert proof.complete
    assert (proof.duplicates, proof.inversions) == (0, 0)
    assert counters["captured"] == (
        counters["inferred"] + counters["dropped"] + counters["failed"] + counters["inFlight"]
    )
    judged = listener.verdicts[-1]
    assert judged["model"]["name"] == "surface-defects"
    assert judged["model"]["digest"].startswith("sha256:")
    assert (judged["backend"], judged["device"]) == ("openvino", "CPU")
    assert judged["simulated"] is True


def test_sigterm_says_goodbye_in_the_retained_status(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        with DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon:
            listener.wait_for_verdicts(3)
            assert daemon.terminate()[0] == 0
        status = _retained(broker.port, "vision/plant/line/box/status")
    assert (status["state"], status["reason"]) == ("offline", "shutdown")


def test_the_retained_info_says_what_the_box_is_made_of_without_passwords(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state")
        config["cameras"]["gate"] = {"source": "rtsp://user:hush-hush@127.0.0.1:1/none"}
        config["inspections"]["gate"] = {"camera": "gate", "model": "defects"}
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(3)
            topic = "vision/plant/line/box/info"
            wait_until(lambda: _retained(broker.port, topic)["models"]["defects"]["state"] == "ready", 10, "the model")
            info = _retained(broker.port, topic)
            assert info["models"]["defects"]["device"] == "CPU"
            assert info["inspections"]["top"]["camera"] == "top"
            assert "hush-hush" not in json.dumps(info)
            assert "127.0.0.1:1" in info["cameras"]["gate"]["source"]
        assert "hush-hush" not in daemon.log.read_text()


def test_a_killed_daemon_leaves_its_will_and_no_process_behind(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        with DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon:
            listener.wait_for_verdicts(3)
            family = daemon.family()
            assert len(family) == 3  # zygote, engine, camera
            daemon.kill()
            wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), 2.0, "the children end")
        topic = "vision/plant/line/box/status"
        wait_until(lambda: _retained(broker.port, topic)["state"] == "offline", 10.0, "the Will")
        assert _retained(broker.port, topic)["reason"] == "connection-lost"


def test_a_second_daemon_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with (
        Broker() as broker,
        Listener(broker.port) as listener,
        DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon,
    ):
        listener.wait_for_verdicts(3)
        second = _run("run", "--config", str(daemon.config))
        assert second.returncode == 75
        assert str(daemon.pid) in second.stderr
        assert "Traceback" not in second.stderr
        listener.wait_for_verdicts(3)


def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state")
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(3)
            daemon.write({**config, "camera": {}})
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(lambda: "refused" in daemon.log.read_text(), 10, "the refusal in the log")
            assert "edge.yaml:" in daemon.log.read_text()
            listener.wait_for_verdicts(3)
            (tmp_path / "broken.onnx").write_bytes(b"no model")
            daemon.write({**config, "models": {"defects": {"path": str(tmp_path / "broken.onnx")}}})
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(lambda: daemon.log.read_text().count("refused") > 1, 30, "the refusal of a model")
            listener.wait_for_verdicts(3)
            recipe = {"id": "strict", "not_ok": [{"label": "*", "count_below": 1}]}
            config["inspections"]["top"]["recipe"] = recipe
            daemon.write(config)
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(lambda: listener.documents[-1]["recipe"]["id"] == "strict", 20, "results of the new recipe")
        assert len([e for e in listener.events if e["kind"] == "runtime.started"]) == 1, "a reload is no start"
        frames = [(d["bootId"], d["frameId"]) for d in listener.documents if d["frameId"]]
        assert len(set(frames)) == len(frames), "a frame id was used twice in one boot"
        assert listener.audience.proof().complete


def test_a_reload_refuses_paths_that_cannot_be_looked_at_and_pipes_that_nobody_writes_to(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    os.mkfifo(tmp_path / "pipe")
    package = tmp_path / "package"
    package.mkdir()
    (package / "edge-model.json").symlink_to(tmp_path / "circle")
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state")
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(3)
            for number, wrong in enumerate(
                [
                    {"state_dir": "x" * 300},
                    {"state_dir": "circle/state"},
                    {"state_dir": "/proc/self/state"},
                    {"models": {"defects": {"path": "package"}}},
                    {"models": {"defects": {"path": "circle"}}},
                    {"mqtt": {**config["mqtt"], "password_file": "pipe"}},
                    {"mqtt": {**config["mqtt"], "tls": {"ca_file": "pipe"}}},
                ],
                start=1,
            ):
                daemon.write({**config, **wrong})
                os.kill(daemon.pid, signal.SIGHUP)
                wait_until(lambda n=number: daemon.log.read_text().count("is refused") >= n, 10, f"refusal of {wrong}")
            listener.wait_for_verdicts(3)
            wait_until(lambda: _refusals(listener) == number, 10, "an event for each refusal")
            assert daemon.terminate()[0] == 0
        assert "Traceback" not in daemon.log.read_text()


def test_what_a_refusing_disk_kept_from_being_numbered_is_named_by_the_next_boot(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, state, "sim:conveyor?fps=5&size=448x256")
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(3)
            assert daemon.terminate()[0] == 0
        (state / "spool.db").rename(state / "kept.db")
        (state / "spool.db").mkdir()
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.counters().get("inferred", 0) > 5, 30, "verdicts without a spool")
            assert daemon.terminate()[0] == 0
        (state / "spool.db").rmdir()
        (state / "kept.db").rename(state / "spool.db")
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(3)
            assert daemon.terminate()[0] == 0
        assert "Traceback" not in daemon.log.read_text()
        last = [e for e in listener.events if e["kind"] == "runtime.started"][-1]
        assert len(last["fields"]["framesInFlight"]["top"]["frameIds"]) > 5


def test_results_wait_for_a_broker_that_is_absent_at_the_start(tmp_path: Path) -> None:
    with Broker() as broker:
        broker.stop()
        with DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon:
            wait_until(lambda: daemon.counters().get("inferred", 0) > 30, 30, "verdicts without a broker")
            broker.start()
            with Listener(broker.port) as listener:
                listener.wait_for_verdicts(30)
                wait_until(lambda: daemon.status()["spool"]["depth"] < 10, 20, "the backlog is sent")
                assert listener.audience.proof().missing == 0


def test_status_tells_ready_and_why_not(tmp_path: Path) -> None:
    with Broker() as broker:
        config = line_config(broker.port, tmp_path / "state")
        config["cameras"]["gone"] = {"source": "rtsp://127.0.0.1:1/none"}
        config["inspections"]["gone"] = {"camera": "gone", "model": "defects"}
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.counters().get("inferred", 0) > 3, 30, "verdicts")
            wait_until(lambda: daemon.status()["cameras"]["gone"]["state"] == "lost", 10, "the camera is lost")
            done = _run("status", "--config", str(daemon.config), "--json")
            found = json.loads(done.stdout)
            assert done.returncode == 1
            assert found["live"] is True
            assert any("gone" in reason for reason in found["reasons"])
        done = _run("status", "--config", str(daemon.config))
        assert done.returncode == 69
        assert "no daemon runs" in done.stderr


def test_a_camera_of_which_no_picture_may_be_skipped_waits_for_the_engine_and_for_reloads(tmp_path: Path) -> None:
    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state", "sim:conveyor?fps=0.0&size=448x256")
        config["cameras"]["top"] |= {"capture": "every", "queue": 8}
        config["inspections"]["top"]["deadline_ms"] = 20_000
        with DaemonProcess(tmp_path, config) as daemon:
            listener.wait_for_verdicts(100)
            counters = daemon.counters()
            assert (counters["dropped"], counters["failed"]) == (0, 0)
            for recipe in ("first", "second"):
                config["inspections"]["top"]["recipe"] = {"id": recipe}
                daemon.write(config)
                os.kill(daemon.pid, signal.SIGHUP)
                wait_until(lambda: listener.documents[-1]["recipe"]["id"] == recipe, 20, "results again")  # noqa: B023
            assert daemon.terminate()[0] == 0
        assert listener.audience.proof().complete
        results = {d["frameId"]: d for d in listener.documents}
        assert list(results) == [*range(1, len(listener.documents) + 1)], "each picture has one result"
        failed = [d["reason"].partition(":")[0] for d in results.values() if d["evaluation"] == "NotDecidable"]
        assert set(failed) == {"shutdown"}


def test_a_trigger_gets_one_result_with_its_ids(tmp_path: Path) -> None:
    from edge_runtime.publish.mqtt.link import Outgoing
    from tests.fakes.mqtt_client import send

    with Broker() as broker, Listener(broker.port) as listener:
        config = line_config(broker.port, tmp_path / "state")
        config["inspections"]["top"]["trigger"] = "mqtt"
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.status().get("ready", False), 30, "ready")
            topic = "vision/plant/line/box/cmd/trigger/top"
            for number in range(5):
                send(broker.port, Outgoing(topic, json.dumps({"partId": f"P-{number}"}).encode()))
            wait_until(lambda: len(listener.documents) >= 5, 10, "five results")
            send(broker.port, Outgoing(topic, b"{not json"))
            send(broker.port, Outgoing(topic, b"{}", retain=True))
            send(broker.port, Outgoing("vision/plant/line/box/cmd/trigger/nobody", b"{}"))
            refused = [e["message"] for e in listener.events if e["kind"] == "command.refused"]
            wait_until(lambda: len(_refused(listener)) == 3, 10, f"three refusals, not {refused}")
            wait_until(lambda: daemon.counters().get("inferred") == 5, 5, "the status shows five verdicts")
        assert [d["partId"] for d in listener.documents[:5]] == [f"P-{n}" for n in range(5)]
        assert listener.documents[-1]["counters"]["dropped"] > 0


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_that_is_still_starting_ends_at_once(tmp_path: Path, signal_number: signal.Signals) -> None:
    with Broker() as broker, DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon:
        wait_until((tmp_path / "state" / "spool.db").exists, 20, "the state directory")
        os.kill(daemon.pid, signal_number)
        assert daemon.wait(6) == 0


def _refusals(listener: Listener) -> int:
    return len([event for event in listener.events if event["kind"] == "config.refused"])


def _refused(listener: Listener) -> list[dict[str, Any]]:
    return [event for event in listener.events if event["kind"] == "command.refused"]


def _retained(port: int, topic: str) -> dict[str, Any]:
    done = subprocess.run(
        ["mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-C", "1", "-W", "5"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_runtime", *words], capture_output=True, text=True, timeout=30, check=False
    )
