"""Opens a registry by its address: ``oci://``, ``oci-layout:``, ``oci-archive:``, ``https://``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import ConfigError
from edge_runtime.core.source import redact_url
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.directory import Directory
from edge_runtime.registry.carriers.layout import Layout
from edge_runtime.registry.carriers.writer import LayoutPublication

if TYPE_CHECKING:
    from edge_runtime.registry.carriers.carrier import Carrier, Publication

__all__ = ["Access", "open_carrier", "open_publication"]

_LAYOUT: Final = "oci-layout:"


def open_carrier(url: str, access: Access) -> Carrier:  # noqa: ARG001
    """Return the registry at ``url`` for reading; nothing is connected or looked at yet.

    Raises:
        ConfigError: code ``registry.url``: it is none of the addresses we know.
    """
    if url.startswith(_LAYOUT) and url != _LAYOUT:
        return Layout(Directory(Path(url.removeprefix(_LAYOUT))))
    raise _unknown(url)


def open_publication(url: str, access: Access) -> Publication:  # noqa: ARG001
    """Return the registry at ``url`` for reading and writing; nothing is connected or looked at yet.

    Raises:
        ConfigError: code ``registry.url``: it is none of the addresses we know, or one that is only read.
    """
    if url.startswith(_LAYOUT) and url != _LAYOUT:
        return LayoutPublication(Path(url.removeprefix(_LAYOUT)))
    raise _unknown(url)


def _unknown(url: str) -> ConfigError:
    message = f"{redact_url(url)!r} is no address of a registry"
    known = "oci://HOST[:PORT]/NAMESPACE, oci-layout:DIRECTORY, oci-archive:FILE.tar, https://HOST/DIRECTORY"
    return ConfigError("registry.url", message, help=f"write one of {known}")
