"""From settings to what is asked of the registry: one translation, for the daemon and the verbs."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime import __version__
from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.carriers.access import Access

if TYPE_CHECKING:
    from edge_runtime.config.registry import Registry
    from edge_runtime.config.schema import Settings

MODELS_DIR: Final = "models"  # below state_dir
LIBRARIES: Final = ("openvino", "onnxruntime", "numpy", "opencv-python-headless")
HARDWARE_LABEL: Final = "hardware"  # names, separated by commas, that this box answers to beside those that are found
_MB: Final = 1 << 20


def order_of_settings(settings: Settings, *, first: bool = True) -> Order | None:
    """Return what the models of ``settings`` want of its registry; ``None`` when it has none or they want nothing.

    ``first`` as in `Order`.
    """
    wants = wants_of(settings)
    registry = settings.registry
    if registry is None or not wants:
        return None
    return Order(
        root=settings.state_dir / MODELS_DIR,
        anchor=registry.root,
        urls=(registry.url, *registry.mirrors),
        access=access_of(registry),
        site=settings.site,
        line=settings.line,
        edge=settings.edge,
        wants=wants,
        labels=dict(registry.labels),
        hardware=hardware(registry.labels.get(HARDWARE_LABEL, "")),
        versions=versions(),
        publisher_keys=registry.publisher_keys,
        quota_bytes=registry.quota_mb * _MB,
        first=first,
    )


def wants_of(settings: Settings) -> tuple[Want, ...]:
    """Return the slots that have their model from the registry."""
    cameras: dict[str, list[str]] = {}
    for inspection in settings.inspections.values():
        cameras.setdefault(inspection.model, []).append(inspection.camera)
    return tuple(
        Want(name, *wanted, tuple(sorted(set(cameras.get(name, ())))))
        for name, model in settings.models.items()
        if (wanted := model.wanted) is not None
    )


def access_of(registry: Registry) -> Access:
    """Return how the registry may be reached."""
    return Access(
        username=registry.username,
        password=None if registry.password is None else registry.password.get_secret_value(),
        ca_file=registry.ca_file,
        cert_file=registry.cert_file,
        key_file=registry.key_file,
        proxy=registry.proxy,
        realm_hosts=registry.realm_hosts,
        allow_http=registry.allow_http,
    )


def hardware(also: str = "") -> tuple[str, ...]:
    """Return the names of what this box has, by which a release says where it may run: devices and architecture."""
    found = {"cpu", platform.machine()}
    found |= {"gpu"} if any(Path("/dev/dri").glob("renderD*")) else set()
    found |= {"npu"} if any(Path("/dev/accel").glob("accel*")) else set()
    return tuple(sorted(found | {one.strip() for one in also.split(",") if one.strip()}))


def versions() -> dict[str, str]:
    """Return the versions of what a release may require; what is not installed is left out."""
    found = {"edge-runtime": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
