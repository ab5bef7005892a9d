"""The verbs as a user types them: data on stdout, words on stderr, documented exit codes, never a traceback."""

from __future__ import annotations

import json
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_runtime.app import broker as local_broker
from edge_runtime.cli import VERBS
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.payload import Stamp, encode_result
from tests.brokers import Broker
from tests.daemons import MODEL, DaemonProcess, line_config, wait_until
from tests.fakes.mqtt_client import send
from tests.fakes.results import IDENTITY, make_result
from tests.judge import Witness

pytestmark = pytest.mark.timeout(120)


def edge(*words: str | Path, timeout_s: float = 100.0) -> subprocess.CompletedProcess[str]:
    """Run a verb; a traceback is a failure whatever the test wants."""
    command = [sys.executable, "-m", "edge_runtime", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str) -> None:
    done = edge(verb, "--help")
    assert done.returncode == 0
    assert verb in done.stdout


@pytest.mark.parametrize("words", [(), ("fly",), ("run", "--fast")])
def test_wrong_words_are_a_usage_error(words: tuple[str, ...]) -> None:
    done = edge(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage" in done.stderr


def test_version_lists_what_it_stands_on() -> None:
    found = json.loads(edge("version", "--json").stdout)
    assert found["edge-runtime"]
    assert found["openvino"]
    assert "edge-runtime" in edge("version").stdout


def test_doctor_says_what_runs_where() -> None:
    findings = json.loads(edge("doctor", "--json").stdout)
    assert any(f["what"].startswith("openvino runs on CPU") for f in findings)
    assert all(f["mend"] for f in findings if f["level"] == "fail")


def test_doctor_finds_that_the_broker_does_not_answer(tmp_path: Path, free_port: int) -> None:
    daemon = DaemonProcess(tmp_path, line_config(free_port, tmp_path / "state"))
    done = edge("doctor", "--config", daemon.config)
    assert done.returncode == 1
    assert f"127.0.0.1:{free_port} does not answer" in done.stdout


def elsewhere(directory: Path, port: int, **mqtt: object) -> Path:
    """A configuration that was copied to a machine without its models, pictures, variables and camera passwords."""
    config = line_config(port, directory / "state", "images:nowhere")
    config["mqtt"] |= mqtt
    config["cameras"]["gate"] = {"source": "rtsp://viewer:${NOBODY_SET_THIS}@127.0.0.1:1/none"}
    config["models"]["defects"]["path"] = "nowhere/surface-defects"
    return DaemonProcess(directory, config).config


def test_doctor_looks_at_broker_and_state_directory_although_models_are_missing(tmp_path: Path) -> None:
    with Broker() as broker:
        config = elsewhere(tmp_path, broker.port, password_file="nowhere")
        done = edge("doctor", "--config", config)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert f"fail  3 problems in {config}  -> edge-runtime check --config {config}" in lines
    assert f"ok    something listens at the broker's address 127.0.0.1:{broker.port}" in lines
    assert any(line.startswith(f"ok    {tmp_path}/state: ") for line in lines)


def test_status_needs_neither_models_nor_secrets(tmp_path: Path) -> None:
    config = elsewhere(tmp_path, 1, password_file="nowhere")
    done = edge("status", "--config", config)
    assert done.returncode == 69
    assert f"no daemon runs on {tmp_path}/state" in done.stderr


def test_infer_prints_one_result_per_image_in_order() -> None:
    images = sorted((MODEL / "golden").glob("frame-*.*"))[:3]
    done = edge("infer", MODEL, *images)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [d["seq"] for d in found] == [1, 2, 3]
    assert {d["schema"] for d in found} == {"vision.result/1"}
    assert [Path(d["origin"]).name for d in found] == [image.name for image in images]
    assert all(d["model"]["name"] == "surface-defects" for d in found)


def test_infer_judges_more_images_than_may_wait() -> None:
    image = min((MODEL / "golden").glob("frame-*.*"))
    done = edge("infer", MODEL, *[image] * 60)
    assert done.returncode == 0, done.stdout[-500:]
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [*range(1, 61)]


def test_infer_says_of_a_bad_image_why_it_has_no_verdict(tmp_path: Path) -> None:
    bad, empty = tmp_path / "page.png", tmp_path / "empty.jpg"
    sliver = tmp_path / "sliver.bmp"
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 58, 0, 0, 54, 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
    sliver.write_bytes(header + bytes(4))
    bad.write_text("<html>404</html>")
    empty.touch()
    good = min((MODEL / "golden").glob("frame-*.*"))
    done = edge("infer", MODEL, bad, good, empty, tmp_path / "absent.png", sliver)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 65
    assert [d["evaluation"] == "NotDecidable" for d in found] == [True, False, True, True, True]
    assert "1 x 1 pixels" in found[-1]["reason"]
    assert all(d["reason"].startswith("invalid_frame: ") for d in found if d["evaluation"] == "NotDecidable")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x08\x07garbage"])
def test_infer_refuses_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    done = edge("infer", model, min((MODEL / "golden").glob("frame-*.*")))
    assert done.returncode == 65
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")


def test_infer_does_not_fall_back_to_another_device() -> None:
    done = edge("infer", MODEL, min((MODEL / "golden").glob("frame-*.*")), "--device", "npu")
    assert done.returncode in (65, 69)
    assert "npu" in done.stderr.lower()
    assert done.stdout == ""


def test_watch_proves_what_arrives(tmp_path: Path) -> None:
    with Broker() as broker, DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon:
        wait_until(lambda: daemon.counters().get("inferred", 0) > 3, 30, "verdicts")
        done = edge("watch", "--host", "127.0.0.1", "--port", str(broker.port), "--seconds", "2", "--json")
        assert done.returncode == 0, done.stderr
        *documents, proof = [json.loads(line) for line in done.stdout.splitlines()]
        assert proof["proof"]["missing"] == 0
        assert proof["proof"]["received"] == len([d for d in documents if d["schema"] == "vision.result/1"]) > 0
        assert edge("watch", "--config", daemon.config, "--seconds", "1").stdout.count("#") > 0


def test_watch_needs_of_a_configuration_only_its_broker(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with Broker() as broker, DaemonProcess(tmp_path / "here", line_config(broker.port, tmp_path / "state")):
        done = edge("watch", "--config", elsewhere(tmp_path / "there", broker.port), "--seconds", "8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("#") > 0


def test_watch_ends_quietly_when_nobody_reads_it(tmp_path: Path) -> None:
    with Broker() as broker, DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")):
        watch = f"{sys.executable} -m edge_runtime watch --host 127.0.0.1 --port {broker.port} --seconds 30"
        started_s = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", f"{watch} | head -2"], capture_output=True, text=True, timeout=60, check=False
        )
        assert time.monotonic() - started_s < 25.0
        assert len(done.stdout.splitlines()) == 2
        assert "Traceback" not in done.stderr
        full = subprocess.run(
            ["sh", "-c", f"{watch} > /dev/full"], capture_output=True, text=True, timeout=60, check=False
        )
    assert (full.returncode, full.stderr) == (1, "error: the output cannot be written: No space left on device\n")


def test_watch_ends_at_once_when_it_is_told_to_before_the_broker_answers(free_port: int) -> None:
    command = [sys.executable, "-m", "edge_runtime", "watch", "--host", "127.0.0.1", "--port", str(free_port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stderr is not None
        watch.stderr.readline()  # it says that it is not subscribed
        started_s = time.monotonic()
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=20)
    assert time.monotonic() - started_s < 4.0
    assert (watch.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_watch_says_that_the_broker_refuses_us_and_not_that_it_is_silent() -> None:
    with Broker(anonymous=False) as broker:
        done = edge("watch", "--host", "127.0.0.1", "--port", str(broker.port), timeout_s=60)
    assert done.returncode == 69
    assert "not authorized" in done.stderr
    assert "does not answer" not in done.stderr


def test_check_online_logs_in_and_looks_at_every_camera_and_leaves_the_daemon_alone(
    tmp_path: Path, free_port: int
) -> None:
    with Broker() as broker, DaemonProcess(tmp_path, line_config(broker.port, tmp_path / "state")) as daemon:
        wait_until(lambda: daemon.status().get("broker", {}).get("connects"), 30, "the connection of the daemon")
        done = edge("check", "--online", "--config", daemon.config)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[1:] == [
            f"ok    the broker at 127.0.0.1:{broker.port} takes this box in, without a user name",
            "ok    camera top: 448 x 256 pixels",
        ]
        wait_until(lambda: daemon.status()["broker"]["acked"] > 50, 30, "the daemon goes on")
        assert daemon.status()["broker"]["connects"] == 1
        assert "plant-line-box-check-" in broker.log()
    config = line_config(broker.port, tmp_path / "state")
    config["cameras"]["gate"] = {"source": f"rtsp://viewer:hush-hush@127.0.0.1:{free_port}/none"}
    done = edge("check", "--online", "--json", "--config", DaemonProcess(tmp_path, config).config)
    assert done.returncode == 69
    found = json.loads(done.stdout)
    assert found["valid"] is True
    assert [(one["level"], "camera" in one["what"]) for one in found["online"]] == [
        ("fail", False),
        ("fail", True),  # gate
        ("ok", True),  # top
    ]
    assert all(one["mend"] for one in found["online"] if one["level"] == "fail")
    assert "hush-hush" not in done.stdout + done.stderr


def test_check_online_uses_the_credentials_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("right\n")
    config = line_config(1, tmp_path / "state")
    with Broker(config="password_file {dir}/passwords", anonymous=False, files={"passwords": ""}) as broker:
        subprocess.run(
            ["mosquitto_passwd", "-b", str(broker.directory / "passwords"), "box", "right"],
            check=True,
            capture_output=True,
        )
        broker.reload()
        config["mqtt"] |= {"port": broker.port, "username": "box", "password_file": "pw"}
        config["sparkplug"] = {"group": "plant"}
        path = DaemonProcess(tmp_path, config).config
        done = edge("check", "--online", "--config", path)
        assert done.returncode == 0, done.stdout
        assert "takes this box in, as box" in done.stdout
        assert "takes this box in for Sparkplug, as box" in done.stdout
        (tmp_path / "pw").write_text("wrong\n")
        done = edge("check", "--online", "--config", path)
    assert done.returncode == 69
    assert "fail  the broker at" in done.stdout
    assert "not authorized" in done.stdout
    assert "-> mend mqtt.username" in done.stdout


def test_check_online_asks_nobody_about_a_wrong_configuration(tmp_path: Path, free_port: int) -> None:
    done = edge("check", "--online", "--config", elsewhere(tmp_path, free_port))
    assert done.returncode == 78
    assert "broker at" not in done.stdout


def test_watch_proves_nothing_when_nothing_arrives() -> None:
    with Broker() as broker:
        done = edge("watch", "--host", "127.0.0.1", "--port", str(broker.port), "--seconds", "0.5", "--prove")
    assert done.returncode == 69
    assert "nothing" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--seconds", "0"),
        ("demo", "--seconds", "nan"),
        ("demo", "--port", "99999"),
        ("watch", "--port", "0"),
        ("watch", "--host", "127.0.0.1", "--topic-root", "a/#"),
        ("bench", "model.onnx", "--size", "0x0"),
        ("bench", "model.onnx", "--seconds", "-1"),
    ],
)
def test_values_that_make_no_sense_are_a_usage_error(words: tuple[str, ...]) -> None:
    done = edge(*words)
    assert done.returncode == 2
    assert "expected" in done.stderr


def test_the_demo_ends_quietly_when_nobody_reads_it() -> None:
    command = f"{sys.executable} -m edge_runtime demo --seconds 30 | head -2"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=29, check=False)
    assert len(done.stdout.splitlines()) == 2
    assert "Traceback" not in done.stderr


def test_the_broker_of_a_killed_demo_ends_with_it() -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "edge_runtime", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    with demo.stdout, demo.stderr:
        demo.stdout.readline()
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
        demo.kill()
        demo.wait(5)
    assert children
    wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children), 5, "the broker ends")


@pytest.mark.parametrize("end", ["kill", "freeze"])
def test_watch_does_not_claim_what_it_could_not_see(end: str) -> None:
    """The broker vanishes, or falls silent, before the end: whether more results came is unknown."""
    watch = [sys.executable, "-m", "edge_runtime", "watch", "--host", "127.0.0.1", "--seconds", "6"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Broker() as broker:
        with subprocess.Popen([*watch, "--port", str(broker.port)], text=True, **pipes) as process:
            assert process.stdout is not None
            for seq in range(1, 1000):
                message = encode_result(make_result(seq), IDENTITY, Stamp(seq, "b"))
                send(broker.port, Outgoing(IDENTITY.topic(message.topic), message.body))
                if select.select([process.stdout], [], [], 0.1)[0]:
                    break
            getattr(broker, end)()
            _, told = process.communicate(timeout=30)
        if end == "freeze":
            broker.thaw()
    assert process.returncode == 69
    assert "was not seen" in told


def test_watch_says_that_the_broker_does_not_answer(free_port: int) -> None:
    done = edge("watch", "--host", "127.0.0.1", "--port", str(free_port), "--seconds", "1")
    assert done.returncode == 69
    assert str(free_port) in done.stderr


def test_run_without_a_configuration_is_a_configuration_error(tmp_path: Path) -> None:
    done = edge("run", "--config", tmp_path / "absent.yaml")
    assert done.returncode == 78
    assert "absent.yaml" in done.stderr


@pytest.mark.parametrize("broker", ["mosquitto", "iotcore"])
def test_the_demo_works_with_either_broker(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_runtime.app.daemon import Control
    from edge_runtime.app.demo import DemoOptions, run_demo, worked

    if broker == "iotcore":
        monkeypatch.setattr(local_broker, "MOSQUITTO_PLACES", ())
    summary = run_demo(DemoOptions(time.monotonic(), seconds=8), Control())
    assert worked(summary), summary
    assert summary["results_acked"] == summary["results_committed"] == summary["results_received"]


def test_the_demo_prints_one_summary(free_port: int) -> None:
    with Witness(free_port) as witness:
        done = edge("demo", "--headless", "--seconds", "6", "--json", "--port", str(free_port))
    assert done.returncode == 0, done.stderr
    assert "too short to show updates" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["update"], summary["bad_update"]) == (None, None)
    assert summary["captured"] == summary["inferred"] + summary["dropped"] + summary["failed"]
    assert summary["missing"] == 0
    assert {"result", "metrics", "status"} <= witness.judge.judged.keys()


@pytest.mark.timeout(150)
def test_the_demo_shows_a_good_update_and_a_bad_one_under_the_running_line() -> None:
    """What counts is what an independent subscriber saw: no picture without a verdict, and each switch once."""
    done = edge("demo", "--headless", "--seconds", "12", "--json")
    summary = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr + done.stdout
    assert (summary["missing"], summary["duplicates"], summary["dropped"]) == (0, 0, 0)
    good, bad = summary["update"], summary["bad_update"]
    assert (good["outcome"], good["frames_lost"]) == ("committed", 0)
    assert good["switches"] == 1 + 2 * good["handed_back"]
    assert (good["from"]["release"], good["to"]["release"]) == (1, 2)
    assert good["from"]["digest"] != good["to"]["digest"]
    assert next(iter(good["stages"])) == "vetting"
    assert (bad["outcome"], bad["stage"], bad["frames_lost"]) == ("rolled_back", "probation", 0)
    assert bad["switches"] == 2 + 2 * bad["handed_back"]
    assert bad["reason"].startswith("gate.")
    assert bad["frames_by_release"] > 0
    assert bad["from"] == good["to"]
    assert summary["model"]["digest"] == good["to"]["digest"]  # what was left in the end


def test_bench_states_both_sides_of_the_ratio() -> None:
    done = edge("bench", MODEL, "--seconds", "4", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    shares = [one["engine_threads"] for one in found["throughput"]]
    assert shares == sorted({max(1, found["cpus"] - 1), found["cpus"]})
    for one in found["throughput"]:
        assert one["bare_fps"] > 0
        assert one["product_fps"] > 0
    steps = found["steps"]
    assert steps["share_of_bare"] > 0
    assert all(steps[f"{step}_p50_ms"] > 0 for step in ("bare", "preprocess", "infer", "postprocess"))
    paced = found["paced"]
    assert paced["capture_to_puback_minus_infer_ms"]["p99"] > 0
    assert paced["failed"] == 0


def test_bench_chooses_what_meets_the_target_and_the_configuration_says_so_afterwards(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, line_config(1883, tmp_path / "state"))
    done = edge("bench", MODEL, "--choose", "fps=1", "--seconds", "1", "--write", daemon.config, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    usable = [one for one in found["candidates"] if one["failure"] is None]
    assert {one["backend"] for one in usable} >= {"openvino", "onnxruntime"}
    assert found["chosen"]["cpu_ms_per_frame"] == min(one["cpu_ms_per_frame"] for one in usable)
    shown = json.loads(edge("config", "show", "--config", daemon.config, "--json").stdout)
    assert "90-bench-defects.yaml" in json.dumps(shown)
    assert edge("check", "--config", daemon.config).returncode == 0


def test_bench_fails_when_nothing_meets_the_target() -> None:
    done = edge("bench", MODEL, "--choose", "fps=99999", "--seconds", "1", "--device", "cpu", "--backend", "openvino")
    assert done.returncode == 1
    assert "nothing here reaches fps=99999: most is " in done.stderr
    assert "openvino" in done.stdout


@pytest.mark.parametrize("device", ["gpu", "npu"])
def test_a_device_that_is_not_there_is_an_error_of_every_verb(device: str) -> None:
    """A GPU or NPU that is asked for is used, or it is said that it is not there; the CPU never stands in for it."""
    image = min((MODEL / "golden").glob("frame-*.*"))
    for words in (
        ("infer", MODEL, image, "--device", device),
        ("bench", MODEL, "--device", device, "--seconds", "1"),
        ("bench", MODEL, "--device", device, "--seconds", "1", "--choose", "fps=1"),
    ):
        done = edge(*words)
        assert done.returncode == 69, done.stderr
        assert f"device {device}" in done.stderr.lower()
        assert "not on this box" in done.stderr
        assert done.stdout == ""


def test_run_with_a_device_that_is_not_there_judges_nothing_and_says_why(tmp_path: Path) -> None:
    with Broker() as broker:
        config = line_config(broker.port, tmp_path / "state", models={"defects": {"path": str(MODEL), "device": "npu"}})
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: "device.missing" in daemon.log.read_text(), 30.0, "the log says what is missing")
            said = "NPU is not on this box"
            wait_until(lambda: said in json.dumps(daemon.status()), 10.0, "the status says it, too")
            status = edge("status", "--config", daemon.config, "--json")
    assert status.returncode != 0
    assert said in status.stdout
    assert 'inferred": 0' in status.stdout


def test_output_may_be_cut_off_by_its_reader() -> None:
    command = f"{sys.executable} -m edge_runtime config schema | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""


def test_an_incomplete_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_runtime.app import assets
    from edge_runtime.core.errors import DataError

    monkeypatch.setattr(assets, "PACKAGE", tmp_path / "package")
    shutil.copytree(MODEL, tmp_path / "package" / "_models" / "surface-defects")
    assert assets.model_package() == tmp_path / "package" / "_models" / "surface-defects"
    with pytest.raises(DataError, match="other"):
        assets.model_package("other")
