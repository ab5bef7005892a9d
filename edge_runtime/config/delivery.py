"""Settings of how results leave the box: broker connection, spool, Sparkplug B."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from edge_runtime.config.section import Section
from edge_runtime.config.types import (
    ClientId,
    Endpoint,
    Host,
    PathSetting,
    Shorthand,
    SparkplugId,
    Text,
    TopicRoot,
)


class MqttTls(Section):
    """Encryption of the broker connection."""

    ca_file: PathSetting | None = Field(
        default=None, description="PEM file of the authorities to trust; without it those of the operating system"
    )
    cert_file: PathSetting | None = Field(
        default=None, description="PEM file of this box's own certificate, for mutual TLS"
    )
    key_file: PathSetting | None = Field(default=None, description="PEM file of the private key of cert_file")


def _tls(value: object) -> object:
    if value is True:
        return {}
    return None if value is False else value


def _protocol(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value  # 5 without quotes


class Mqtt(Section):
    """The broker that results go to (MQTT 5)."""

    host: Host = Field(default="127.0.0.1", description="name or address of the broker")
    port: int = Field(default=1883, ge=1, le=65535, description="TCP port of the broker; 8883 when tls is on")
    fallback: Annotated[tuple[Endpoint, ...], Field(max_length=8)] = Field(
        default=(), description="brokers to try in this order when the first one cannot be had, each HOST:PORT"
    )
    tls: Annotated[MqttTls | None, BeforeValidator(_tls), Shorthand("true, false")] = Field(
        default=None, description="true, or a map with ca_file, cert_file, key_file; false is plain TCP"
    )
    username: Text | None = Field(default=None, description="user name at the broker")
    password: SecretStr | None = Field(
        default=None, min_length=1, max_length=1024, description="better: password_file, or !secret NAME"
    )
    password_file: PathSetting | None = Field(default=None, description="file that holds the password and nothing else")
    topic_root: TopicRoot = Field(default="vision", description="first level of every topic")
    cloudevents: bool = Field(
        default=False, description="add the attributes of CloudEvents 1.0 to each message, as MQTT user properties"
    )
    keepalive_s: int = Field(default=15, ge=5, le=3600, description="seconds between signs of life to the broker")
    client_id: ClientId | None = Field(default=None, description="MQTT client id; by default SITE-LINE-EDGE")
    session_expiry_s: int = Field(
        default=2, ge=0, le=0xFFFFFFFF, description="seconds for which the broker keeps our session without us"
    )
    will_delay_s: int = Field(
        default=2,
        ge=0,
        le=3600,
        description="seconds before the broker says that we are lost, at most session_expiry_s: no alarm for a flap",
    )
    require_subscriber: bool = Field(
        default=False,
        description="keep results while the broker says that nobody subscribes to them (reason code 16)",
    )


class Spool(Section):
    """The durable queue between results and the broker."""

    max_mb: int = Field(
        default=512,
        ge=8,
        le=1_000_000,
        description="megabytes on disk, unsent and kept results together; beyond it results are given up",
    )
    evict: Literal["oldest", "newest", "ok_first"] = Field(
        default="oldest", description="which unsent results are given up when max_mb is full; ok_first: OK before NotOK"
    )
    max_age_h: float = Field(
        default=168.0, ge=0.01, le=87_600, description="hours after which an unsent result is given up"
    )
    retention_min: float = Field(
        default=60.0,
        ge=0,
        le=525_600,
        description="minutes for which delivered results are kept, for replay; at most half of max_mb",
    )
    drain_per_s: float | None = Field(
        default=None, ge=1, le=1_000_000, description="results per second of a large backlog; default: no limit"
    )
    durability: Literal["group", "strict"] = Field(
        default="group", description="group syncs to disk every few ms beside the sending; strict syncs before it"
    )


class Sparkplug(Section):
    """Sparkplug B 3.0 on a second connection; what is left out is as in mqtt."""

    group: SparkplugId = Field(description="Sparkplug group id")
    node: SparkplugId | None = Field(default=None, description="Sparkplug edge node id; by default edge")
    primary_host: SparkplugId | None = Field(
        default=None, description="host id of the application without which nothing is sent, only kept"
    )
    servers: Annotated[tuple[Endpoint, ...], Field(max_length=16)] = Field(
        default=(), description="HOST:PORT of each broker, tried in this order; by default those of mqtt"
    )
    protocol: Annotated[Literal["5", "3.1.1"], BeforeValidator(_protocol)] = Field(
        default="5", description="version of MQTT on this connection; 3.1.1 for brokers that have no 5"
    )
    tls: Annotated[MqttTls | None, BeforeValidator(_tls), Shorthand("true")] = Field(
        default=None, description="as mqtt.tls, for a connection of its own kind"
    )
    username: Text | None = Field(default=None, description="user name at the brokers, if it is not that of mqtt")
    password: SecretStr | None = Field(
        default=None, min_length=1, max_length=1024, description="of username; better  !secret NAME"
    )
    client_id: ClientId | None = Field(
        default=None, description="MQTT client id; by default that of mqtt with -sparkplug behind it"
    )
    commands: bool = Field(
        default=True, description="whether devices take commands (DCMD): trigger, pause, resume and choice of recipe"
    )
    datatype_in_data: bool = Field(
        default=False, description="repeat datatypes in every message, for hosts that cannot do without"
    )
    result_json: bool = Field(default=False, description="send the whole result as a metric, too")
