"""One connection: dialling, and what it is asked before it stands."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt import client as mqtt
from edge_runtime.publish.mqtt.link import Backoff, Outgoing, TlsSettings, words
from edge_runtime.publish.mqtt.waker import Waker
from edge_runtime.system.service import Stop
from tests.fakes.publishing import QUICK


def test_the_size_of_a_packet_is_never_underestimated() -> None:
    link = mqtt.MqttDial(QUICK)(None)
    message = Outgoing("topic", b"x" * 300, (("k", "v"),))
    assert link.size(message) >= 300 + len("topic") + len("k") + len("v")
    link.close()


@pytest.mark.parametrize("tls", [TlsSettings(Path("absent")), TlsSettings(cert=Path("absent"), key=Path("absent"))])
def test_unusable_tls_files_are_said(tls: TlsSettings) -> None:
    with pytest.raises(UnavailableError, match="absent cannot be read: No such file"):
        mqtt.MqttDial(replace(QUICK, port=1, tls=tls))(None).open(Stop(), clean=True)


def test_a_stop_does_not_wait_for_a_silent_name_server_and_what_is_connected_after_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answer, resolve = threading.Event(), threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **more: Any) -> Any:
        asked.set()
        answer.wait(10)
        return resolve(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = mqtt.MqttDial(replace(QUICK, port=server.getsockname()[1]))(None)
        stop = Stop()
        timer = threading.Timer(0.05, stop.set)
        timer.start()
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="stopped while connecting"):
            link.open(stop, clean=True)
        assert asked.is_set()
        assert time.monotonic() - started < 2
        link.close()
        timer.join()
        answer.set()
        server.settimeout(5)
        with server.accept()[0] as peer:
            peer.settimeout(5)
            assert peer.recv(1) == b""


def test_a_password_is_not_printed() -> None:
    assert "hunter2" not in repr(replace(QUICK, username="u", password="hunter2"))


def test_pauses_double_up_to_their_bound_and_start_again() -> None:
    backoff = Backoff()
    assert [backoff.next() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next() == 0.1


def test_reason_codes_have_words_and_unknown_ones_their_number() -> None:
    assert words(0x87) == "not authorized (135)"
    assert words(0xFE) == "reason (254)"


def test_a_poke_after_the_end_touches_no_other_descriptor(tmp_path: Path) -> None:
    waker = Waker()
    waker.poke()
    waker.close()
    waker.close()
    with (tmp_path / "file").open("w+b") as file:  # most likely has the same number now
        waker.poke()
        assert file.seek(0, 2) == 0
