"""Commands against a real mosquitto, a real daemon and mosquitto's own clients: the lines of an integrator's manual."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.control.commands import chain
from edge_runtime.control.commands.audit import contents, trail
from edge_runtime.control.commands.ed25519 import generate
from edge_runtime.publish.mqtt.link import Outgoing
from tests.brokers import Broker
from tests.daemons import DaemonProcess, Listener, line_config, wait_until
from tests.fakes.mqtt_client import send

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "vision/plant/line/box"
TOP = Path(__file__).resolve().parents[2]
TIMED_OUT = 27  # of mosquitto_rr(1)


def ask(
    port: int,
    topic: str,
    body: str,
    *more: str,
    reply: str = f"{ROOT}/reply/scada",
    cd: str = "7f00aa",
    wait_s: int = 5,
) -> tuple[int, list[str]]:
    """Ask with mosquitto_rr; return its exit code and topic, correlation data, content type, properties, document."""
    done = subprocess.run(
        [
            *("mosquitto_rr", "-V", "5", "-h", "localhost", "-p", str(port), "-t", f"{ROOT}/cmd/{topic}", "-e", reply),
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


def command_verb(*arguments: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_runtime", "command", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=TOP,
    )


def audit_verb(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_runtime", "audit", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=TOP,
    )


def test_the_verbs_command_and_audit(tmp_path: Path) -> None:
    """Keys are made, a signed command is proven, and the trail says so and can be verified and exported."""
    made = command_verb("keygen", str(tmp_path / "ops"))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "ops").stat().st_mode & 0o777 == 0o600
    assert command_verb("keygen", str(tmp_path / "ops")).returncode == 1, "never over an existing key"
    with Broker() as broker:
        config = config_with_trigger(broker.port, tmp_path, keys={"ops": str(tmp_path / "ops.pub")})
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.status().get("ready", False), 30, "ready")
            box = ("--config", str(daemon.config), "--json")
            asked = command_verb("trigger", "top", *box, "--arg", "partId=P-1")
            assert asked.returncode == 0, asked.stderr
            assert json.loads(asked.stdout)["status"] == 202
            asked = command_verb("trigger", "nobody", *box)
            assert (asked.returncode, json.loads(asked.stdout)["status"]) == (1, 404)
            unsigned = command_verb("model.update", "defects", *box, "--arg", "release=m")
            assert json.loads(unsigned.stdout)["status"] == 401
            signed = command_verb(
                "model.update", "defects", *box, "--arg", "release=m", "--sign", str(tmp_path / "ops")
            )
            assert (signed.returncode, json.loads(signed.stdout)["status"]) == (1, 503)
            assert "no registry" in json.loads(signed.stdout)["message"]
        asked = command_verb("pause", *box, "--timeout", "1")
        assert asked.returncode == 69, "no daemon, no answer"
    shown = audit_verb("show", "--config", str(daemon.config))
    assert "ops" in shown.stdout
    assert audit_verb("verify", "--config", str(daemon.config)).returncode == 0
    export = tmp_path / "trail.jsonl"
    head = json.loads(audit_verb("export", str(export), "--config", str(daemon.config), "--json").stdout)
    assert head["records"] == len(export.read_bytes().splitlines())
    begun = audited(tmp_path, "command.begun")
    assert [(one["who"], one["verb"]) for one in begun] == [({"name": "ops", "proven": True}, "model.update")]
    path = tmp_path / "state" / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"ops"', b'"eve"', 1))
    broken = audit_verb("verify", "--config", str(daemon.config), "--json")
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["broken"]


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
            [sys.executable, "-c", CHILD, str(tmp_path), str(broker.port)], stdout=subprocess.PIPE, text=True, cwd=TOP
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "online\n"
        return child

    root = "vision/plant-a/line-3/box-17"
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
                f"{root}/cmd/reset/top",
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
                    *("mosquitto_rr", "-V", "5", "-p", str(broker.port), "-t", f"{root}/cmd/reset/top", "-m", "{}"),
                    *("-e", f"{root}/reply/{b'id-1'.hex()}", "-D", "publish", "correlation-data", "id-1", "-W", "5"),
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
    for name in ("localhost", "box", "scada", "stranger"):
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
        config = config_with_trigger(broker.port, tmp_path, allow={"scada": ["trigger", "pause"]})
        files = {
            kind: str(certificates / name)
            for kind, name in (("ca_file", "ca.crt"), ("cert_file", "box.crt"), ("key_file", "box.key"))
        }
        config["mqtt"] |= {"host": "localhost", "tls": files}
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.status().get("broker", {}).get("state") == "online", 30, "online")
            wait_until(lambda: daemon.status().get("ready", False), 30, "ready")
            assert answer(broker.port, "trigger/top", "{}", *tls("scada"))["status"] == 202
            own = f"{ROOT}/reply/stranger"
            # mosquitto_rr 2.0.11 says "connection lost" (7) to the broker's "not authorized", other versions time out
            assert ask(broker.port, "trigger/top", "{}", *tls("stranger"), reply=own, cd="s1", wait_s=1)[0] != 0
            assert audited(tmp_path, "command.refused") == [], "the broker let nothing through"
            (broker.directory / "acl").write_text(lax)
            broker.reload()
            wait_until(lambda: "Reloading config" in broker.log(), 5, "the lax access list")
            code, parts = ask(broker.port, "trigger/top", "{}", *tls("stranger"), reply=own, cd="s2", wait_s=2)
            assert code == 0, "its own reply topic it may read"
            assert json.loads(parts[4])["status"] == 403
            stolen = ask(broker.port, "trigger/top", "{}", *tls("stranger"), cd="s3", wait_s=1)
            assert stolen[0] == TIMED_OUT, "the answer for another's name goes to that other"
        (refused,) = audited(tmp_path, "command.refused")
        assert (refused["who"]["name"], refused["outcome"]["reason"]) == ("stranger", "not_allowed")
