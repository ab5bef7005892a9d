"""Settings of where model releases come from, and by which keys they are believed."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated

from pydantic import Field, SecretStr

from edge_runtime.config.section import Section
from edge_runtime.config.types import (  # noqa: TC001 - as above
    HostPort,
    Id,
    PathSetting,
    ProxyUrl,
    RegistryUrl,
    Text,
)


class Registry(Section):
    """Where model releases come from; what is fetched is believed for its signatures alone, wherever it comes from."""

    url: RegistryUrl = Field(
        description="oci://HOST/NAME, https://HOST/DIR (a static web server), oci-layout:DIR or oci-archive:FILE.tar"
    )
    root: PathSetting = Field(description="file with the root of trust, as the publisher's registry init made it")
    mirrors: Annotated[tuple[RegistryUrl, ...], Field(max_length=8)] = Field(
        default=(), description="other places with the same content, tried in this order when url cannot be had"
    )
    username: Text | None = Field(default=None, description="user name at the registry: an account that only reads")
    password: SecretStr | None = Field(
        default=None, min_length=1, max_length=1024, description="better: password_file, or !secret NAME"
    )
    password_file: PathSetting | None = Field(default=None, description="file that holds the password and nothing else")
    ca_file: PathSetting | None = Field(
        default=None, description="PEM file of the authorities to trust; without it those of the operating system"
    )
    cert_file: PathSetting | None = Field(
        default=None, description="PEM file of this box's own certificate, for mutual TLS"
    )
    key_file: PathSetting | None = Field(default=None, description="PEM file of the private key of cert_file")
    proxy: ProxyUrl | None = Field(default=None, description="http://HOST:PORT of the proxy that leads to the registry")
    realm_hosts: Annotated[tuple[HostPort, ...], Field(max_length=16)] = Field(
        default=(), description="other hosts (HOST or HOST:PORT) that may be shown the password: token servers, mirrors"
    )
    allow_http: bool = Field(default=False, description="allow HTTP without TLS also from other machines than this one")
    poll_s: int = Field(default=60, ge=1, le=86_400, description="seconds from one look at the registry to the next")
    quota_mb: int = Field(
        default=4096, ge=16, le=1_000_000, description="megabytes of releases on disk; beyond it nothing is fetched"
    )
    labels: Annotated[Mapping[Id, Text], Field(max_length=32)] = Field(
        default_factory=dict, description="what this box is, for rollouts that ask for it, for example  {hall: north}"
    )
    publisher_keys: Annotated[tuple[PathSetting, ...], Field(max_length=16)] = Field(
        default=(),
        description="PEM files of public keys; each release must also have a Sigstore bundle that one of them signed",
    )
