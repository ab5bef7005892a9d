"""Takes the orders of Sparkplug hosts to the desk and its answers back.

The desk knows letters: so an order becomes one, with a principal of its own (``sparkplug`` in ``commands.allow``), and
is admitted, remembered, carried out once and kept on record like every other command. Its answer comes back on the
way to a reply topic that nobody else uses. Any thread.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from edge_runtime.core.command import Answer, Status
from edge_runtime.publish.mqtt.link import Inbound
from edge_runtime.publish.payload import dumps

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.core.command import Command, Reply
    from edge_runtime.publish.mqtt.link import Outgoing
    from edge_runtime.publish.payload import Identity

PRINCIPAL = "sparkplug"
WAITING_MAX = 1024  # orders whose answer is not there yet; the desk answers each by its deadline
EXPIRY_S = 10


class Errands:
    """See the module docstring."""

    def __init__(self, identity: Identity, post: Callable[[Outgoing], bool]) -> None:
        """Leave messages that are no answers to us to ``post``."""
        self._identity = identity
        self._post = post
        self._lock = threading.Lock()  # guards _waiting
        self._waiting: OrderedDict[str, Reply] = OrderedDict()  # by reply topic

    def run(self, command: Command, reply: Reply, take: Callable[[Inbound], None]) -> None:
        """Hand ``command`` to the desk (its ``take``); ``reply`` gets the answer."""
        topic = self._identity.topic(f"reply/{PRINCIPAL}/{command.correlation_id}")
        with self._lock:
            full = len(self._waiting) >= WAITING_MAX
            if not full:
                self._waiting[topic] = reply
        if full:
            reply(Answer(Status.TOO_MANY, "too many commands wait for their answers; ask again"))
            return
        target = "" if command.target is None else f"/{command.target}"
        take(
            Inbound(
                topic=self._identity.topic(f"cmd/{command.verb}{target}"),
                payload=dumps(command.arguments),
                qos=1,
                retain=False,
                response_topic=topic,
                correlation=bytes.fromhex(command.correlation_id),
                expiry_s=EXPIRY_S,
            )
        )

    def post(self, message: Outgoing) -> bool:
        """Take an answer of ours out of what the desk posts; everything else goes its way."""
        with self._lock:
            reply = self._waiting.pop(message.topic, None)
        if reply is None:
            return self._post(message)
        document = json.loads(message.body)
        reply(Answer(Status(document["status"]), document["message"]))
        return True
