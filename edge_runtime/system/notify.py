"""Tells systemd how the daemon is (sd_notify(3)): one datagram of ``KEY=value`` lines to ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import logging
import socket

logger = logging.getLogger(__name__)


class Notifier:
    """Sends state to the service manager; does nothing where there is none. Call from any thread."""

    def __init__(self, address: str | None) -> None:
        """Use the value of ``NOTIFY_SOCKET``: a path, or ``@name`` for an abstract socket; ``None`` = no manager."""
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def send(self, *lines: str) -> None:
        """Send for example ``READY=1`` or ``WATCHDOG=1``; a manager that is gone is only logged."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.settimeout(1.0)
                manager.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.warning("the service manager cannot be told %s: %s", lines, error)


def watchdog_interval_s(watchdog_usec: str | None) -> float | None:
    """Return how often to send ``WATCHDOG=1``: half of ``$WATCHDOG_USEC`` (sd_watchdog_enabled(3)), or ``None``."""
    if watchdog_usec is None or not watchdog_usec.isascii() or not watchdog_usec.isdigit() or int(watchdog_usec) == 0:
        return None
    return int(watchdog_usec) / 2_000_000
