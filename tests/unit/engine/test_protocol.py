"""What the engine says can be sent, whatever strangers wrote into a model."""

from __future__ import annotations

from contextlib import closing

from edge_runtime.core.errors import DataError
from edge_runtime.engine.protocol import TEXT_LIMIT, failed, load_failed
from edge_runtime.system.messages import LIMIT_BYTES, pair

LONG = "half a pair: \ud800" + "\0" * LIMIT_BYTES


def sent(message: dict[str, object]) -> dict[str, object]:
    """What main receives."""
    ours, theirs = pair()
    with closing(ours), closing(theirs):
        ours.send(message)
        received = theirs.receive(1)
    assert received is not None
    return received


def test_a_reason_that_is_long_or_no_text_is_cut_and_sent() -> None:
    for message in (load_failed("a", DataError("model.unreadable", LONG)), failed(1, "invalid_output", LONG)):
        text = sent(message)["message"]
        assert isinstance(text, str)
        assert text.startswith("half a pair: \\ud800")
        assert len(text) < TEXT_LIMIT + 10
