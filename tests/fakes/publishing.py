"""A spool and a publisher that run for the length of a ``with`` block."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_runtime.app.audience import Audience
from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.publisher import Publisher
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.publish.spool.spool import Spool
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup
from tests.daemons import wait_until
from tests.fakes.results import BOOT, IDENTITY, make_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import Inbound

QUICK = MqttSettings(
    "127.0.0.1", client_id="box-17", connect_timeout_s=1.0, ack_timeout_s=1.0, slow_retry_s=0.2, will_delay_s=1
)


class Box:
    """The publishing half of a daemon."""

    def __init__(self, spool: Spool, publisher: Publisher) -> None:
        self.spool = spool
        self.publisher = publisher
        self.clock = SystemClock()
        self.frame = 0

    def put(self, count: int = 1, inspection: str = "top", **fields: Any) -> None:
        for _ in range(count):
            self.frame += 1
            self.spool.put(make_result(self.frame, self.clock, inspection=inspection, **fields))

    def wait_online(self) -> None:
        wait_until(lambda: self.publisher.stats.state == "online", what="the connection")

    def wait_acked(self, count: int) -> None:
        wait_until(lambda: self.spool.stats().acked >= count, what=f"{count} acknowledgements")


@contextmanager
def running_box(directory: Path, port: int, settings: MqttSettings = QUICK, **options: Any) -> Iterator[Box]:
    clock = SystemClock()
    spool = Spool(directory / "spool.db", IDENTITY, BOOT, clock)
    spool.open()
    dial = MqttDial(replace(settings, port=port))
    publisher = Publisher(dial, spool, IDENTITY, BOOT, clock, **options)
    with ServiceGroup() as group:
        group.start(spool)
        group.start(publisher)
        box = Box(spool, publisher)
        try:
            yield box
        finally:
            spool.finish()
            assert group.failures == ()


@contextmanager
def proving(port: int, client_id: str = "prover") -> Iterator[Audience]:
    """An independent subscriber to every result and event; keeps its session over broker restarts."""
    settings = replace(QUICK, port=port, client_id=client_id)
    with ServiceGroup() as group:
        audience = Audience(settings, ["vision/+/+/+/result/#", "vision/+/+/+/event/#"])
        group.start(audience)
        assert audience.wait_subscribed(10.0)
        yield audience


@contextmanager
def listening(port: int, *filters: str, client_id: str = "listener") -> Iterator[list[Inbound]]:
    """Every message on ``filters``, retained ones included, in a list that grows."""
    messages: list[Inbound] = []
    dial = MqttDial(replace(QUICK, port=port, client_id=client_id, session_expiry_s=0))
    with ServiceGroup() as group:
        subscriber = Subscriber(dial, filters, messages.append)
        group.start(subscriber)
        assert subscriber.wait_subscribed(10.0)
        yield messages
