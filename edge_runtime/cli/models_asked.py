"""What the verbs about releases are about: the order that a configuration makes, or the command line alone."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_runtime.app.registry_order import HARDWARE_LABEL, MODELS_DIR, hardware, order_of_settings, versions
from edge_runtime.config.loader import find_config, load_part
from edge_runtime.config.secrets import SecretError, read_secret
from edge_runtime.core.errors import ConfigError
from edge_runtime.registry.box.order import Order, Want
from edge_runtime.registry.carriers.access import Access
from edge_runtime.registry.statements import STABLE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from edge_runtime.config.checks import Loc

WANTED: Final[Sequence[Loc]] = [
    (name,)
    for name in (
        *("site", "line", "edge", "state_dir", "registry", "models"),
        *("cameras", "defaults", "inspections", "recipes"),  # which cameras a slot judges for
    )
]
_STARTS: Final = ("oci-layout:", "oci-archive:")
_MB: Final = 1 << 20


def order_of_config(config: str | None) -> Order:
    """Return what the slots of a configuration want.

    Raises:
        ConfigError: there is none, it is wrong, or none of its models comes from a registry.
    """
    return order_and_factories(config)[0]


def order_and_factories(config: str | None) -> tuple[Order, dict[str, str]]:
    """Return what the slots of a configuration want, and the paths of the factory models of those that have one.

    Raises:
        ConfigError: as `order_of_config`.
    """
    path = find_config(config, os.environ)
    settings = load_part(path, environ=os.environ, wanted=WANTED).settings
    order = order_of_settings(settings)
    if order is None:
        message = f"{path}: no model has its releases from a registry"
        raise ConfigError(
            "registry.none", message, help="write  registry: {url, root}  and  models.SLOT.release: MODEL"
        )
    return order, {name: str(one.factory) for name, one in settings.models.items() if one.factory is not None}


def order_of_arguments(args: argparse.Namespace) -> tuple[Order, list[str]]:
    """Return the order of ``models pull``, and the slots that were named.

    Raises:
        ConfigError: something is missing, or the configuration is wrong.
    """
    urls = [one for one in args.what if "://" in one or one.startswith(_STARTS)]
    names = [one for one in args.what if one not in urls]
    if args.root is None:
        order = order_of_config(args.config)
        if urls:
            has_own = args.username or args.ca_file or args.cert_file or args.allow_http
            order = replace(order, urls=tuple(urls), access=access_of_arguments(args) if has_own else order.access)
        return order, names
    missing = [
        option
        for option, value in (("URL", urls), ("--site", args.site), ("--state-dir", args.state_dir), ("MODEL", names))
        if not value
    ]
    if missing:
        message = f"without a configuration these are needed too: {', '.join(missing)}"
        raise ConfigError("registry.usage", message, help="or leave out --root to use the configuration")
    wants = tuple(Want(name.partition("@")[0], *_model(name)) for name in names)
    labels = dict(one.partition("=")[::2] for one in args.labels)
    order = Order(
        root=args.state_dir.absolute() / MODELS_DIR,
        anchor=args.root,
        urls=tuple(urls),
        access=access_of_arguments(args),
        site=args.site,
        line=args.line,
        edge=args.edge,
        wants=wants,
        labels=labels,
        hardware=hardware(labels.get(HARDWARE_LABEL, "")),
        versions=versions(),
        quota_bytes=args.quota_mb * _MB,
    )
    return order, []


def access_of_arguments(args: argparse.Namespace) -> Access:
    """Return how a registry of the command line may be reached.

    Raises:
        ConfigError: the password cannot be read.
    """
    password = None
    if args.password_file is not None:
        try:
            password = read_secret(args.password_file)
        except SecretError as error:
            raise ConfigError("config.no_value", error.message, help=error.help) from error
    return Access(
        username=args.username,
        password=password,
        ca_file=args.ca_file,
        cert_file=args.cert_file,
        key_file=args.key_file,
        proxy="environment",
        allow_http=args.allow_http,
    )


def _model(name: str) -> tuple[str, str]:
    model, _, channel = name.partition("@")
    return model, channel or STABLE
