"""Builds the Sparkplug B node of a box from its configuration, and says how it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.core.errors import InvariantError
from edge_runtime.publish.mqtt.client import Address, MqttDial, MqttSettings, TlsSettings
from edge_runtime.publish.sparkplug.bdseq import BdSeq
from edge_runtime.publish.sparkplug.node import Node
from edge_runtime.publish.sparkplug.session import SparkplugSession
from edge_runtime.publish.sparkplug.spoken import DeviceSpec, NodeSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.config.schema import Settings
    from edge_runtime.core.command import Command, Reply
    from edge_runtime.core.result import Event
    from edge_runtime.publish.spool.spool import Spool
    from edge_runtime.system.clock import Clock

FOLLOWER = "sparkplug"
BDSEQ_FILE = "sparkplug-bdseq.json"
DEPTH = "Spool/Depth"  # results and events that the JSON side is still to deliver
CAMERA_EVENT = "camera."  # what follows is a state of pipeline.camera_link
PAUSE_EVENTS = {"inspection.paused": True, "inspection.resumed": False}
RECIPE_EVENT = "recipe.selected"
BACKLOG = "Spool/Backlog"  # results that this node is still to send


def sparkplug_settings(settings: Settings) -> tuple[object, ...]:
    """Return what the node is made of; while it is equal, a reload leaves it alone."""
    if settings.sparkplug is None:
        return ()
    return (settings.sparkplug, settings.mqtt, _devices(settings))


def make_session(
    settings: Settings,
    spool: Spool,
    boot_id: str,
    clock: Clock,
    on_command: Callable[[Command, Reply], None],
) -> SparkplugSession | None:
    """Return the node's session, not started; ``None`` without Sparkplug. Its owner starts it or closes it."""
    if settings.sparkplug is None:
        return None
    follower = spool.follow(FOLLOWER)
    return SparkplugSession(
        [MqttDial(one) for one in connections(settings)],
        make_node(settings, boot_id, (DEPTH, BACKLOG)),
        follower,
        BdSeq(settings.state_dir / BDSEQ_FILE),
        clock,
        on_command=on_command,
        gauges=lambda: {DEPTH: spool.stats().depth, BACKLOG: follower.backlog},
        drained=lambda: spool.drained,
    )


def make_node(settings: Settings, boot_id: str, gauges: tuple[str, ...]) -> Node:
    """Return the node of a box whose settings have Sparkplug.

    Raises:
        InvariantError: they have not.
    """
    sparkplug = settings.sparkplug
    if sparkplug is None:
        raise InvariantError("sparkplug.unset", "a node without the sparkplug section")
    return Node(
        NodeSpec(
            group=sparkplug.group,
            node=sparkplug.node or settings.edge,
            devices=_devices(settings),
            primary_host=sparkplug.primary_host,
            properties={
                "Version": __version__,
                "BootId": boot_id,
                "Site": settings.site,
                "Line": settings.line,
                "Edge": settings.edge,
            },
            gauges=gauges,
            commands=sparkplug.commands,
            datatypes=sparkplug.datatype_in_data,
            result_json=sparkplug.result_json,
            servers=len(connections(settings)),
        )
    )


def connections(settings: Settings) -> list[MqttSettings]:
    """Return how to reach each broker; what Sparkplug's section leaves out is as in that of mqtt.

    The session ends with the connection (principles-persistence-clean-session-50), and the Will is not held back.
    """
    sparkplug, mqtt = settings.sparkplug, settings.mqtt
    if sparkplug is None:
        return []
    own = sparkplug if sparkplug.username is not None else mqtt
    tls = sparkplug.tls or mqtt.tls
    first = MqttSettings(
        host=mqtt.host.strip("[]"),
        port=mqtt.port,
        protocol=sparkplug.protocol,
        client_id=sparkplug.client_id or f"{settings.client_id}-sparkplug",
        username=own.username,
        password=None if own.password is None else own.password.get_secret_value(),
        tls=None if tls is None else TlsSettings(ca=tls.ca_file, cert=tls.cert_file, key=tls.key_file),
        keepalive_s=mqtt.keepalive_s,
        session_expiry_s=0,
        will_delay_s=0,
    )
    written = [Address.parse(server) for server in sparkplug.servers or mqtt.fallback]
    found = [replace(first, host=address.host, port=address.port) for address in written]
    return found if sparkplug.servers else [first, *found]


def note(session: SparkplugSession, event: Event) -> None:
    """Have hosts learn what became of a camera or of an inspection."""
    recipe = event.fields.get("recipe")
    if event.kind.startswith(CAMERA_EVENT):
        session.set_camera(event.scope, event.kind.removeprefix(CAMERA_EVENT))
    elif event.kind in PAUSE_EVENTS:
        session.set_up(event.scope, paused=PAUSE_EVENTS[event.kind])
    elif event.kind == RECIPE_EVENT and isinstance(recipe, dict):
        session.set_up(event.scope, recipe=str(recipe["id"]))


def document(session: SparkplugSession) -> dict[str, object]:
    """Return how the node is, as JSON-able values."""
    stats, feed = session.stats, session.feed_stats
    return {
        "state": stats.state,
        "reason": stats.reason,
        "server": stats.server,
        "bdSeq": stats.bd_seq,
        "connects": stats.connects,
        "rebirths": stats.rebirths,
        "sent": dict(stats.sent),
        "live": feed.live,
        "historical": feed.historical,
        "owed": session.owed,
        "held": feed.held,
        "givenUp": feed.given_up,
        "evicted": feed.evicted,
        "foreign": feed.foreign,
        "tooLarge": feed.too_large,
        "commands": stats.commands,
        "refused": stats.refused,
    }


def _devices(settings: Settings) -> tuple[DeviceSpec, ...]:
    return tuple(
        DeviceSpec(name, inspection.camera, inspection.trigger.kind == "mqtt")
        for name, inspection in settings.inspections.items()
    )
