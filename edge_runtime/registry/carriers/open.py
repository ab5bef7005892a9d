"""Opens a registry by its address: ``oci://``, ``oci-layout:``, ``oci-archive:``, ``https://``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import ConfigError
from edge_runtime.core.source import redact_url
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.carriers.archive import Archive
from edge_runtime.registry.carriers.directory import Directory
from edge_runtime.registry.carriers.layout import Layout
from edge_runtime.registry.carriers.writer import LayoutPublication

if TYPE_CHECKING:
    from edge_runtime.registry.carriers.carrier import Carrier, Publication

__all__ = ["Access", "open_carrier", "open_publication"]

_OCI: Final = "oci://"
_LAYOUT: Final = "oci-layout:"
_ARCHIVE: Final = "oci-archive:"
_WEB: Final = ("https://", "http://")


def open_carrier(url: str, access: Access) -> Carrier:
    """Return the registry at ``url`` for reading, by any number of threads; nothing is connected or looked at yet.

    Raises:
        ConfigError: code ``registry.url``: it is none of the addresses we know.
    """
    if url.startswith(_OCI):
        from edge_runtime.registry.carriers.oci import OciRegistry  # noqa: PLC0415 - urllib3 takes its time

        return OciRegistry(url, access)
    if url.startswith(_WEB):
        from edge_runtime.registry.carriers.static import WebFiles  # noqa: PLC0415 - the same

        return Layout(WebFiles(url, access))
    if url.startswith(_LAYOUT) and url != _LAYOUT:
        return Layout(Directory(Path(url.removeprefix(_LAYOUT))))
    if url.startswith(_ARCHIVE) and url != _ARCHIVE:
        return Layout(Archive(Path(url.removeprefix(_ARCHIVE))))
    raise _unknown(url)


def open_publication(url: str, access: Access) -> Publication:
    """Return the registry at ``url`` for reading and writing, by one thread; nothing is connected or looked at yet.

    Raises:
        ConfigError: code ``registry.url``: it is none of the addresses we know, or one that is only read.
    """
    if url.startswith(_OCI):
        from edge_runtime.registry.carriers.push import OciPublication  # noqa: PLC0415 - urllib3 takes its time

        return OciPublication(url, access)
    if url.startswith(_LAYOUT) and url != _LAYOUT:
        return LayoutPublication(Path(url.removeprefix(_LAYOUT)))
    if url.startswith((*_WEB, _ARCHIVE)):
        message = f"{redact_url(url)!r}: can only be read"
        way_out = "publish into a directory, oci-layout:DIRECTORY, and copy that to the web server or into an archive"
        raise ConfigError("registry.url", message, help=way_out)
    raise _unknown(url)


def _unknown(url: str) -> ConfigError:
    message = f"{redact_url(url)!r} is no address of a registry"
    known = "oci://HOST[:PORT]/NAMESPACE, oci-layout:DIRECTORY, oci-archive:FILE.tar, https://HOST/DIRECTORY"
    return ConfigError("registry.url", message, help=f"write one of {known}")
