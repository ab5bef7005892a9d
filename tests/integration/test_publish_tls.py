"""TLS to a real mosquitto: certificates on both sides, exchanged while it runs, and each way of being wrong."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.client import MqttDial
from edge_runtime.publish.mqtt.knock import knock
from edge_runtime.publish.mqtt.link import MqttSettings, TlsSettings
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.certificates import Authority, Pair
from tests.fakes.publishing import QUICK, running_box

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def guarded(authority: Authority, server: Pair, *, mutual: bool = True) -> Broker:
    lines = [f"cafile {authority.ca}", f"certfile {server.cert}", f"keyfile {server.key}"]
    return Broker(config="\n".join([*lines, "require_certificate true"] if mutual else lines), persistent=False)


def settings(authority: Authority, client: Pair | None = None, **changes: object) -> MqttSettings:
    pair = (None, None) if client is None else (client.cert, client.key)
    return replace(QUICK, tls=TlsSettings(authority.ca, *pair), **changes)


def test_results_flow_with_certificates_on_both_sides(tmp_path: Path, authority: Authority) -> None:
    with (
        guarded(authority, authority.sign("server")) as broker,
        running_box(tmp_path, broker.port, settings(authority, authority.sign("client"))) as box,
    ):
        box.put(500)
        box.wait_acked(500)


def test_a_connection_older_than_tls_1_2_is_not_made(authority: Authority) -> None:
    context = MqttDial(settings(authority))._certificates
    assert context is not None
    assert context.context().minimum_version.name == "TLSv1_2"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("authority", "no authority that we trust signed the broker's certificate"),
        ("expired", "the broker's certificate has expired"),
        ("host", "the broker's certificate is for another name"),
        ("none", "the broker wants a certificate of ours"),
        ("ours expired", "the broker does not accept our certificate"),
        ("ours foreign", "the broker does not accept our certificate"),
    ],
)
def test_what_is_wrong_is_said_once_with_its_remedy_and_tried_slowly(
    tmp_path: Path, authority: Authority, wrong: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    client: Pair | None = authority.sign("client", days=-1 if wrong == "ours expired" else 2)
    client = None if wrong == "none" else other.sign("mine") if wrong == "ours foreign" else client
    server = authority.sign(
        "server", days=-1 if wrong == "expired" else 2, host="10.0.0.9" if wrong == "host" else "127.0.0.1"
    )
    mine = settings(other if wrong == "authority" else authority, client)
    with guarded(authority, server) as broker:
        with pytest.raises(UnavailableError, match=words):
            knock(MqttDial(replace(mine, port=broker.port)))
        with running_box(tmp_path, broker.port, mine) as box:
            wait_until(lambda: words in (box.publisher.stats.reason or ""))
            assert box.publisher.stats.state == "refused"
            wait_until(lambda: broker.log().count("New connection") >= 4)
    told = [record.message for record in caplog.records if words in record.message]
    assert len(told) == 1
    assert f"127.0.0.1:{broker.port}" in told[0]
    assert "; " in told[0]


def test_tls_on_one_side_only_is_said_in_plain_words(authority: Authority) -> None:
    with Broker(persistent=False) as broker, pytest.raises(UnavailableError, match="does that port speak TLS"):
        knock(MqttDial(settings(authority, port=broker.port)))
    with (
        guarded(authority, authority.sign("server")) as broker,
        pytest.raises(UnavailableError, match=r"does mqtt\.port want mqtt\.tls"),
    ):
        knock(MqttDial(replace(QUICK, port=broker.port)))


@pytest.mark.parametrize("wrong", ["absent", "foreign key", "no certificate", "no authority"])
def test_files_that_cannot_be_used_are_named(authority: Authority, wrong: str) -> None:
    client = authority.sign("client")
    tls = TlsSettings(authority.ca, client.cert, client.key)
    if wrong == "absent":
        client.key.unlink()
        words = f"{client.key} cannot be read: No such file"
    elif wrong == "foreign key":
        shutil.copy(authority.sign("other").key, client.key)
        words = f"the key does not belong to the certificate \\({client.cert} and {client.key}\\)"
    elif wrong == "no certificate":
        client.cert.write_text("hello")
        words = "holds nothing that TLS can use"
    else:
        authority.ca.write_text("hello")
        words = f"mqtt.tls.ca_file: {authority.ca} holds nothing that TLS can use"
    with pytest.raises(UnavailableError, match=words) as caught:
        knock(MqttDial(replace(QUICK, port=1, tls=tls)))
    assert caught.value.code == "mqtt.tls_file"
    assert caught.value.help


def test_new_certificates_on_disk_are_taken_up_with_nothing_lost_or_sent_twice(
    tmp_path: Path, authority: Authority
) -> None:
    client = authority.sign("client")
    with guarded(authority, authority.sign("server")) as broker:
        with running_box(tmp_path, broker.port, settings(authority, client)) as box:
            box.put(100)
            box.wait_acked(100)
            fresh = authority.sign("fresh")
            shutil.copy(fresh.cert, client.cert)
            shutil.copy(fresh.key, client.key)
            wait_until(lambda: box.publisher.stats.connects == 2)
            box.put(100)
            box.wait_acked(200)
            assert box.publisher.stats.published - box.publisher.stats.acked < 40  # documents; no result twice
        assert broker.log().count("Received PUBLISH from box-17 (d0, q1, r0") == 200


def test_a_broken_new_certificate_leaves_the_connection_alone_and_is_told_once(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    client = authority.sign("client")
    with (
        guarded(authority, authority.sign("server")) as broker,
        running_box(tmp_path, broker.port, settings(authority, client)) as box,
    ):
        box.wait_online()
        client.cert.write_text("torn")
        wait_until(lambda: "the new TLS files are not used" in caplog.text)
        box.put(1)
        box.wait_acked(1)
        broker.restart()  # the next connection goes on with what was read before
        box.put(1)
        box.wait_acked(2)
        assert caplog.text.count("the new TLS files are not used") == 1
        fresh = authority.sign("fresh")
        shutil.copy(fresh.cert, client.cert)
        shutil.copy(fresh.key, client.key)
        connects = box.publisher.stats.connects
        wait_until(lambda: box.publisher.stats.connects > connects)


def test_openssl_agrees_that_the_certificates_are_what_they_are_called(authority: Authority) -> None:
    good, old = authority.sign("good"), authority.sign("old", days=-1)
    verify = ["openssl", "verify", "-CAfile", str(authority.ca)]
    assert subprocess.run([*verify, str(good.cert)], capture_output=True, check=False).returncode == 0
    assert b"expired" in subprocess.run([*verify, str(old.cert)], capture_output=True, check=False).stderr
