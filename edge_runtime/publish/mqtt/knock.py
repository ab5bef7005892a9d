"""Asks a broker whether it would take us in: a whole MQTT connection with credentials, then goodbye."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.link import Accepted, Ended
from edge_runtime.publish.mqtt.waker import Waker
from edge_runtime.system.service import Stop

if TYPE_CHECKING:
    from edge_runtime.publish.mqtt.link import Dial, Link

ANSWER_S: Final = 5.0
_TURN_S: Final = 0.25


def knock(dial: Dial, *, answer_s: float = ANSWER_S) -> None:
    """Connect, wait at most ``answer_s`` seconds for the broker's answer, and take leave; blocks as ``Link.open`` does.

    The client id of ``dial`` must be nobody else's: the broker would end the other connection.

    Raises:
        UnavailableError: nobody answers, or the broker refuses us; the message says which.
    """
    link = dial(None)
    where = f"the broker at {link.where}"
    with closing(Waker()) as waker, closing(link):
        link.open(Stop(), clean=True)
        answer = _answer(link, waker.descriptor, answer_s)
        if isinstance(answer, Accepted):
            link.disconnect()
            link.pump(0.0, waker.descriptor)
        elif answer is None:
            message = f"{where} accepts connections and says nothing within {answer_s:g} s"
            raise UnavailableError("mqtt.silent", message, help="check that an MQTT broker listens at that port")
        elif answer.lasting:
            raise UnavailableError("mqtt.tls", answer.words)
        elif answer.refused:
            message = f"{where} is there, but: {answer.words}"
            raise UnavailableError(
                "mqtt.refused", message, help="mend mqtt.username, the password, or the broker's list"
            )
        else:
            message = f"{where} ended the connection without an answer: {answer.words}"
            raise UnavailableError("mqtt.ended", message, help="check mqtt.port and mqtt.tls: is it MQTT 5, is it TLS?")


def _answer(link: Link, wake: int, answer_s: float) -> Accepted | Ended | None:
    deadline = time.monotonic() + answer_s
    while time.monotonic() < deadline:
        link.pump(_TURN_S, wake)
        for happening in link.happened():
            if isinstance(happening, Accepted | Ended):
                return happening
    return None
