"""Commands against a real mosquitto, a real daemon and mosquitto's own clients: the lines of an integrator's manual."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.cli import dispatch
from edge_runtime.control.commands import chain
from edge_runtime.control.commands.audit import contents, trail
from edge_runtime.control.commands.ed25519 import generate
from edge_runtime.publish.mqtt.link import MqttSettings, Outgoing, TlsSettings
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup
from tests.brokers import Broker
from tests.daemons import START_S, DaemonProcess, Listener, line_config, wait_until
from tests.fakes.desk import DeskBench
from tests.fakes.mqtt_client import send
from tests.fakes.publishing import QUICK, running_box

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "vision/plant/line/box"
OTHER = "vision/plant-a/line-3/box-17"
TOP = Path(__file__).resolve().parents[2]
TIMED_OUT = 27  # of mosquitto_rr(1)


def ask(
    port: int, topic: str, body: str, *more: str, root: str = ROOT, reply: str = "", cd: str = "7f00aa", wait_s: int = 5
) -> tuple[int, list[str]]:
    """Ask with mosquitto_rr; return its exit code and topic, correlation data, content type, properties, document."""
    where = ("-t", f"{root}/cmd/{topic}", "-e", reply or f"{root}/reply/scada")
    done = subprocess.run(
        [
            *("mosquitto_rr", "-V", "5", "-h", "localhost", "-p", str(port), *where),
            *("-m", body, "-D", "publish", "correlation-data", cd, "-q", "1", "-W", str(wait_s)),
            *("-F", "%t|%D|%C|%P|%p", *more),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.strip().split("|", 4)


def answer(port: int, topic: str, body: str, *more: str, **options: Any) -> dict[str, Any]:
    code, parts = ask(port, topic, body, *more, **options)
    assert code == 0, parts
    document: dict[str, Any] = json.loads(parts[4])
    return document


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    private, public = generate()
    (directory / "ops").write_bytes(private)
    (directory / "ops.pub").write_bytes(public)
    return directory


def config_with_trigger(port: int, directory: Path, **commands: Any) -> dict[str, Any]:
    config = line_config(port, directory / "state", commands=commands)
    config["inspections"]["top"]["trigger"] = "mqtt"
    return config


def audited(directory: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for data in contents(trail(directory / "state")) for line in data.splitlines()]
    return [one for one in found if one["kind"] == kind]


def test_the_lines_of_the_manual(tmp_path: Path, keys: Path) -> None:
    """Answered with its correlation data; again: the same answer; retained, expired, unknown, unsigned: refused."""
    with Broker() as broker, Listener(broker.port) as listener:
        config = config_with_trigger(broker.port, tmp_path, keys={"ops": str(keys / "ops.pub")})
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.status().get("ready", False), 30, "ready")
            code, parts = ask(broker.port, "trigger/top", '{"partId":"P-77"}')
            assert code == 0
            assert parts[:3] == [f"{ROOT}/reply/scada", "7f00aa", "application/json"]
            assert "status:202" in parts[3]
            first = json.loads(parts[4])
            wait_until(lambda: listener.documents, 10, "the result")
            result = listener.documents[0]
            assert (result["jobId"], result["partId"]) == (first["jobId"], "P-77")
            assert result["correlationId"] == first["correlationId"] == b"7f00aa".hex()
            assert answer(broker.port, "trigger/top", '{"partId":"P-77"}') == first
            assert answer(broker.port, "trigger/top", '{"partId":"P-78"}')["status"] == 409
            expired = '{"expiresAt":"2020-01-01T00:00:00Z"}'
            assert answer(broker.port, "trigger/top", expired, cd="2")["status"] == 410
            assert answer(broker.port, "explode", "{}", cd="3")["status"] == 404
            assert answer(broker.port, "trigger/nobody", "{}", cd="4")["status"] == 404
            assert answer(broker.port, "model.update/defects", '{"release":"x"}', cd="5")["status"] == 401
            retained = Outgoing(f"{ROOT}/cmd/trigger/top", b"{}", retain=True)
            send(broker.port, retained)
            assert ask(broker.port, "trigger/top", "{}", cd="7", reply="elsewhere/scada", wait_s=1)[0] == TIMED_OUT
            audits = lambda: [e for e in listener.events if e["kind"] == "command.audit"]  # noqa: E731
            wait_until(lambda: len(audits()) >= 5, 10, "every refusal that was answered as an event")
            unanswered = lambda: [e for e in listener.events if e["kind"] == "command.refused"]  # noqa: E731
            wait_until(lambda: len(unanswered()) == 2, 10, "the others too")
            assert daemon.status()["commands"]["executed"] == {"trigger": 2}
            assert daemon.terminate()[0] == 0
        assert len(listener.documents) == 1, "one part, one result"
    reasons = [one["outcome"]["reason"] for one in audited(tmp_path, "command.refused")]
    assert reasons == ["id_reused", "expired", "unknown_verb", "unsigned", "retained", "reply_topic"]
    proof = chain.verify(contents(trail(tmp_path / "state")))
    assert (proof.broken, proof.torn, proof.tail) == (None, 0, b"")
    assert [audits()[-1]["fields"][key] for key in ("auditSeq", "auditHash")] != [None, None]


@contextmanager
def desk_at(port: int, directory: Path, settings: MqttSettings = QUICK, **policy: Any) -> Iterator[DeskBench]:
    """A desk with a line that accepts everything, in threads of this process, at a real broker."""
    clock: Any = SystemClock()
    bench = DeskBench(directory, clock, **policy)
    commands = ("cmd/#",)
    with (
        running_box(directory, port, settings, on_command=bench.desk.take, commands=commands) as box,
        ServiceGroup() as group,
    ):
        bench.desk._post = box.publisher.post
        for service in bench.desk.services:
            group.start(service)
        box.wait_online()
        yield bench
    bench.close()


def verb(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Run a verb with ``--json`` in this process; return exit code and document."""
    capsys.readouterr()
    code = dispatch([*words, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out.startswith("{") else out


def test_the_verbs_command_and_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys are made, a signed command is proven, and the trail says so and can be verified and exported."""
    ops, state = str(tmp_path / "ops"), tmp_path / "state"
    state.mkdir()
    assert dispatch(["command", "keygen", ops]) == 0
    assert (tmp_path / "ops").stat().st_mode & 0o777 == 0o600
    assert dispatch(["command", "keygen", ops]) == 1, "never over an existing key"
    config = tmp_path / "edge.yaml"
    with Broker() as broker:
        document = line_config(broker.port, state) | {"site": "plant-a", "line": "line-3", "edge": "box-17"}
        config.write_text(json.dumps(document))
        box = ("--config", str(config))
        with desk_at(broker.port, state, keys={"ops": tmp_path / "ops.pub"}) as bench:
            bench.desk.serve("box", {"model.update": bench.line})
            code, asked = verb(capsys, "command", "trigger", "top", *box, "--arg", "partId=P-1", "--arg", "jobId=7")
            assert (code, asked["status"], asked["correlationId"]) == (0, 202, bench.line.done[0].correlation_id)
            assert bench.line.done[0].arguments == {"partId": "P-1", "jobId": "7"}
            assert bench.line.done[0].principal == "box-17"
            code, asked = verb(capsys, "command", "explode", *box)
            assert (code, asked["status"]) == (1, 404)
            code, asked = verb(capsys, "command", "model.update", "defects", *box, "--arg", "release=m")
            assert (code, asked["status"]) == (1, 401)
            signed = ("model.update", "defects", *box, "--arg", "release=m", "--sign", ops, "--id", "once")
            code, asked = verb(capsys, "command", *signed)
            assert (code, asked["status"], bench.line.done[-1].principal) == (0, 202, "ops")
            code, again = verb(capsys, "command", *signed)
            assert (code, again) == (0, asked), "signed anew, and the same command all the same"
            other = ("--host", "127.0.0.1", "--port", str(broker.port), "--box", "plant-a/line-3/box-17", "--as", "mes")
            assert dispatch(["command", "pause", "top", *other]) == 0
            assert capsys.readouterr().out.startswith("202 accepted: done\njobId: ")
        silent = dispatch(["command", "pause", *box, "--timeout", "0.5", "--id", "again-1"])
        assert (silent, "--id again-1" in capsys.readouterr().err) == (69, True), "no daemon, no answer"
    assert verb(capsys, "command", "pause", *box, "--timeout", "0.5")[0] == 69, "no broker"
    assert dispatch(["audit", "show", *box]) == 0
    assert "model.update defects once" in capsys.readouterr().out
    code, proof = verb(capsys, "audit", "verify", *box)
    assert (code, proof["broken"], proof["first"]) == (0, None, 1)
    export = tmp_path / "trail.jsonl"
    code, head = verb(capsys, "audit", "export", str(export), *box)
    assert (code, head["records"], head["head"]) == (0, len(export.read_bytes().splitlines()), proof["head"])
    assert verb(capsys, "audit", "verify", *box, str(export)) == (0, proof), "an export, and options before its name"
    begun = audited(tmp_path, "command.begun")
    assert [(one["who"], one["verb"]) for one in begun] == [
        ({"name": "ops", "proven": True}, "model.update"),
        ({"name": "mes", "proven": False}, "pause"),
    ]
    path = state / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"ops"', b'"eve"', 1))
    code, broken = verb(capsys, "audit", "verify", *box)
    assert (code, bool(broken["broken"])) == (1, True)
    assert verb(capsys, "audit", "verify", str(path)) == (1, broken)
    assert dispatch(["audit", "verify", *box]) == 1
    assert "BROKEN" in capsys.readouterr().out
    assert dispatch(["audit", "show", "--state-dir", str(tmp_path / "absent")]) == 69


def test_the_verb_command_sends_text_where_text_is_meant_and_nothing_that_cannot_be_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Broker() as broker, desk_at(broker.port, tmp_path) as bench:
        box = ("--host", "127.0.0.1", "--port", str(broker.port), "--box", "plant-a/line-3/box-17")
        select = ("command", "recipe.select", "top", *box, "--arg", "recipe=7", "--arg", "version=4")
        assert verb(capsys, *select)[1]["status"] == 202
        assert bench.line.done[-1].arguments == {"recipe": "7", "version": "4"}
        assert dispatch(["command", "trigger", "#", *box]) == 65
        assert dispatch(["command", "pause", *box, "--arg", f"reason={'x' * 70_000}"]) == 65


CHILD = """
import sys, threading
from pathlib import Path
from tests.fakes.desk_child import main
main(Path(sys.argv[1]), int(sys.argv[2]))
"""


def test_a_command_that_was_killed_with_the_daemon_is_never_carried_out_twice(tmp_path: Path) -> None:
    """Kill -9 between the intent and the answer, with a real broker and a real process."""

    def start() -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(broker.port)],
            stdin=subprocess.PIPE,  # ends it; one that is inherited may have ended before
            stdout=subprocess.PIPE,
            text=True,
            cwd=TOP,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "online\n"
        return child

    with Broker() as broker:
        with start() as child:
            assert child.stdout is not None
            pub = [
                "mosquitto_pub",
                "-V",
                "5",
                "-p",
                str(broker.port),
                "-q",
                "1",
                "-t",
                f"{OTHER}/cmd/reset/top",
                "-m",
                "{}",
            ]
            with subprocess.Popen([*pub, "-D", "publish", "correlation-data", "id-1"]) as sender:
                assert child.stdout.readline() == "begun reset\n"
                sender.wait(10)
            child.kill()
        with start() as child:
            done = subprocess.run(
                [
                    *("mosquitto_rr", "-V", "5", "-p", str(broker.port), "-t", f"{OTHER}/cmd/reset/top", "-m", "{}"),
                    *("-e", f"{OTHER}/reply/{b'id-1'.hex()}", "-D", "publish", "correlation-data", "id-1", "-W", "5"),
                ],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
            child.kill()
            assert child.stdout is not None
            assert child.stdout.read() == "", "nothing was carried out"
    assert (json.loads(done.stdout)["status"], "interrupted" in done.stdout) == (500, True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An authority and certificates of the broker, the box, scada and a stranger."""
    directory = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=60)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=plant authority")
    for name in ("localhost", "box-17", "scada", "stranger"):
        openssl("req", *new[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (directory / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        sign = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
        openssl("x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.crt")
    return directory


def test_with_certificates_and_the_shipped_access_list(tmp_path: Path, certificates: Path) -> None:
    """The stranger is stopped by the broker; where the broker is lax, by the box, which says so."""

    def tls(name: str) -> list[str]:
        here = certificates
        return ["--cafile", f"{here}/ca.crt", "--cert", f"{here}/{name}.crt", "--key", f"{here}/{name}.key"]

    strict = (TOP / "deploy" / "mosquitto.acl").read_text()
    lax = strict + "\nuser stranger\ntopic write vision/+/+/+/cmd/#\n"
    settings = (
        f"cafile {certificates}/ca.crt\ncertfile {certificates}/localhost.crt\nkeyfile {certificates}/localhost.key\n"
        "require_certificate true\nuse_identity_as_username true\nacl_file {dir}/acl"
    )
    with Broker(config=settings, files={"acl": strict}) as broker:
        files = TlsSettings(*(certificates / name for name in ("ca.crt", "box-17.crt", "box-17.key")))
        state = tmp_path / "state"
        state.mkdir()
        box = replace(QUICK, host="localhost", tls=files)
        with desk_at(broker.port, state, box, allow={"scada": ("trigger", "pause")}) as bench:
            assert answer(broker.port, "trigger/top", "{}", *tls("scada"), root=OTHER)["status"] == 202
            mine = {"root": OTHER, "reply": f"{OTHER}/reply/stranger"}
            # mosquitto_rr 2.0.11 says "connection lost" (7) to the broker's "not authorized", other versions time out
            assert ask(broker.port, "trigger/top", "{}", *tls("stranger"), cd="s1", wait_s=1, **mine)[0] != 0
            assert audited(tmp_path, "command.refused") == [], "the broker let nothing through"
            mine_too = ("mosquitto_sub", "-V", "5", "-p", str(broker.port), "-t", "vision/+/+/+/latest/+", "-C", "1")
            latest = ("-h", "localhost", "-t", f"{OTHER}/latest/top", "-r", "-m", "{}")
            subprocess.run(["mosquitto_pub", "-p", str(broker.port), *latest, *tls("box-17")], check=True, timeout=10)
            for name, expected in (("box-17", "{}\n"), ("stranger", "")):
                watched = [*mine_too, "-h", "localhost", "-W", "1", *tls(name)]
                done = subprocess.run(watched, capture_output=True, text=True, timeout=10, check=False)
                assert done.stdout == expected, f"{name}: a box may watch what it published, a stranger nothing"
            (broker.directory / "acl").write_text(lax)
            broker.reload()
            wait_until(lambda: "Reloading config" in broker.log(), 5, "the lax access list")
            code, parts = ask(broker.port, "trigger/top", "{}", *tls("stranger"), cd="s2", wait_s=3, **mine)
            assert code == 0, "its own reply topic it may read"
            assert json.loads(parts[4])["status"] == 403
            stolen = ask(broker.port, "trigger/top", "{}", *tls("stranger"), cd="s3", wait_s=1, root=OTHER)
            assert stolen[0] == TIMED_OUT, "the answer for another's name goes to that other"
            assert [event.kind for event in bench.events] == ["command.audit"]
        (refused,) = audited(tmp_path, "command.refused")
        assert (refused["who"]["name"], refused["outcome"]["reason"]) == ("stranger", "not_allowed")


def test_no_reply_topic_makes_the_broker_hang_up_on_the_box(tmp_path: Path) -> None:
    """JSON holds characters that MQTT does not: a broker ends the connection of who publishes to such a topic."""
    with Broker() as broker, desk_at(broker.port, tmp_path) as bench:
        for number, bad in enumerate(("\x7f", "\x85", "\ufffe", "\ufdd0", "\U0001ffff", "/", "#", "\0")):
            body = json.dumps({"correlationId": f"x{number}", "replyTo": f"{OTHER}/reply/a{bad}"}).encode()
            send(broker.port, Outgoing(f"{OTHER}/cmd/pause", body))
        assert answer(broker.port, "pause", "{}", root=OTHER, reply=f"{OTHER}/reply/scada")["status"] == 202
        log = broker.log()
    assert "malformed" not in log.lower()
    assert "protocol error" not in log.lower()
    assert bench.desk.figures()["refused"] == {"reply_topic": 8}


def test_accepted_triggers_that_died_with_the_daemon_are_named_by_the_next_one(tmp_path: Path) -> None:
    """No frame had come for them yet, so the flight recorder knows nothing of them."""
    with Broker() as broker, Listener(broker.port) as listener:
        config = config_with_trigger(broker.port, tmp_path)
        config["cameras"]["top"]["source"] = "sim:conveyor?fps=0.05&size=448x256"
        config["cameras"]["top"]["stall_s"] = 60
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: "cameras" in daemon.status(), START_S, "a line")
            wanted = [
                answer(broker.port, "trigger/top", f'{{"partId":"P-{n}","timeoutMs":60000}}', cd=f"0{n}")
                for n in range(3)
            ]
            assert [one["status"] for one in wanted] == [202] * 3
            daemon.kill()
            daemon.start()
            found = lambda: [one for one in listener.events if one["kind"] == "triggers.lost"]  # noqa: E731
            wait_until(found, START_S, "the event")
    jobs = {job["jobId"]: job["partId"] for job in found()[0]["fields"]["jobs"]}
    assert jobs == {one["jobId"]: f"P-{n}" for n, one in enumerate(wanted)}
