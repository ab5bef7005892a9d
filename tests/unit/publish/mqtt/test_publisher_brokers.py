"""Which broker the publisher is with, and how it behaves towards one that will not have it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.mqtt import client
from edge_runtime.publish.mqtt import publisher as module
from edge_runtime.publish.mqtt.link import Address
from tests.daemons import wait_until
from tests.fakes.broker_packets import PacketBroker
from tests.fakes.publishing import QUICK, running_box

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection counts as one that stood."""
    monkeypatch.setattr(client, "_STOOD_S", 0.0)
    monkeypatch.setattr(module, "_STABLE_NS", 0)


@pytest.mark.usefixtures("fast")
def test_the_next_broker_takes_over_and_the_first_one_is_tried_first_again(
    tmp_path: Path, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with PacketBroker() as second:
        settings = replace(QUICK, fallback=(Address("127.0.0.1", second.port),))
        with running_box(tmp_path, free_port, settings) as box:
            box.put(10)
            box.wait_acked(10)
            assert box.publisher.stats.broker == f"127.0.0.1:{second.port}"
            with PacketBroker(port=free_port) as first:
                second.drop()
                box.put(10)
                first.wait(lambda b: len(b.bodies("/result/top")) == 10)
                box.wait_acked(20)
                assert box.publisher.stats.broker == f"127.0.0.1:{first.port}"
                assert len(second.bodies("/result/top")) == 10
    assert f"connected to the broker at 127.0.0.1:{second.port}" in caplog.text
    assert f"not connected to the broker at 127.0.0.1:{free_port}: cannot connect" in caplog.text


def test_a_broker_that_refuses_us_is_left_for_the_next_one_at_once(tmp_path: Path) -> None:
    with PacketBroker(connack=0x87) as first, PacketBroker() as second:
        settings = replace(QUICK, slow_retry_s=3600.0, fallback=(Address("127.0.0.1", second.port),))
        with running_box(tmp_path, first.port, settings) as box:
            box.put(1)
            box.wait_acked(1)
            assert len(first.peers) == 1


def test_when_no_broker_will_have_us_and_one_says_so_we_come_back_slowly(tmp_path: Path, free_port: int) -> None:
    with PacketBroker(connack=0x86) as first:
        settings = replace(QUICK, slow_retry_s=0.5, fallback=(Address("127.0.0.1", free_port),))
        with running_box(tmp_path, first.port, settings):
            started = time.monotonic()
            first.wait(lambda b: len(b.peers) == 3)
            assert time.monotonic() - started > 0.8


def test_a_broker_that_flaps_is_no_busy_loop_and_fills_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with PacketBroker() as broker:
        broker.flaps = 6
        with running_box(tmp_path, broker.port) as box:
            started = time.monotonic()
            box.put(1)
            box.wait_acked(1)
            assert time.monotonic() - started > 1.5  # 0.1 + 0.2 + 0.4 + 0.8 + ...
    assert len(caplog.records) < 6


def test_two_boxes_with_one_client_id_do_not_chase_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with PacketBroker() as broker, running_box(tmp_path, broker.port, replace(QUICK, slow_retry_s=0.7)) as box:
        box.wait_online()
        broker.raw = b"\xe0\x02\x8e\x00"  # DISCONNECT, session taken over
        box.put(1)
        wait_until(lambda: box.publisher.stats.state == "refused")
        taken = time.monotonic()
        box.wait_acked(1)
        assert time.monotonic() - taken > 0.6
    assert "another client with our client id took the session over" in caplog.text
