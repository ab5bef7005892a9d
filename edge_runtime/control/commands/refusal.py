"""Why a command is not carried out: raised where it is seen, answered at the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.core.command import Status


class RefusedError(Exception):
    """A command is refused; nothing of it was carried out.

    Attributes:
        status: what the caller is told.
        reason: one word for counters, for example ``expired``.
        message: the same for people; holds no secret.
    """

    def __init__(self, status: Status, reason: str, message: str) -> None:
        """Keep the parts apart."""
        super().__init__(f"{int(status)} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
