"""How a node is, for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_runtime.publish.sparkplug.topics import Kind

_KINDS = (Kind.NBIRTH, Kind.NDATA, Kind.NDEATH, Kind.DBIRTH, Kind.DDATA, Kind.DDEATH)


@dataclass(slots=True)
class NodeStats:
    """What an operator would alarm on; written by the session's thread, read by any.

    Attributes:
        state: ``connecting``, ``waiting``, ``online``, ``refused`` or ``stopped``; ``reason`` says why, in words.
        server: the broker in use, HOST:PORT.
        bd_seq: of the newest connection.
        sent: messages by kind; the Will is not one of them.
        rebirths: births on a connection that had one already.
        commands: orders that were handed on.
        refused: messages that made no sense or could not be sent.
        callback_errors: faults of whoever carries orders out.
    """

    state: str = "connecting"
    reason: str | None = None
    server: str | None = None
    bd_seq: int | None = None
    connects: int = 0
    rebirths: int = 0
    commands: int = 0
    refused: int = 0
    callback_errors: int = 0
    sent: dict[str, int] = field(default_factory=lambda: {kind.value: 0 for kind in _KINDS})
