"""The table of topics: what is said where and how. AsyncAPI, the tests' judge and the topics of ``payload`` follow it.

To add a topic, add a ``Topic`` to ``TOPICS`` and its row to docs/scada-integrator.md; a message on a topic that is not
here fails the test that sends it. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from edge_runtime.publish.contract.event import EventHeaders
from edge_runtime.publish.contract.info import DocumentHeaders
from edge_runtime.publish.contract.reply import ReplyHeaders
from edge_runtime.publish.contract.result import ResultHeaders
from edge_runtime.publish.contract.status import StatusHeaders
from edge_runtime.publish.contract.terms import OtherHeaders

LEVEL: Final = "[A-Za-z0-9_.-]+"
JSON: Final = "application/json"
_PLACE = re.compile(r"\{(\w+)\}")
_BOX_LEVELS: Final = "(?:" + LEVEL + "/){4,}"  # at least topic root, site, line, edge


@dataclass(frozen=True, slots=True)
class Topic:
    """One row.

    Attributes:
        name: what it is called in AsyncAPI, and what ``contract list`` shows.
        address: below the box's root, with ``{place}`` for a level; whole where ``rooted`` is false.
        about: one sentence.
        document: name of its document in ``catalogue``; ``None`` for a body that is not JSON.
        sent: by the box; otherwise it is sent to it.
        will_qos: QoS of the Will on it, where that is another one.
        retain: whether it is retained; a command that is retained is refused.
        expiry_s: the broker forgets it after so long; a text says what that depends on, ``None``: never.
        headers: the type of its MQTT user properties.
        optional: only said when something is configured.
    """

    name: str
    address: str
    about: str
    document: str | None
    sent: bool = True
    qos: Literal[0, 1] = 1
    retain: bool = False
    expiry_s: int | str | None = None
    content_type: str | None = JSON
    headers: type = OtherHeaders
    rooted: bool = True
    optional: bool = False
    will_qos: Literal[0, 1] | None = None

    @property
    def fixed(self) -> str:
        """What stands before the first place, for example ``result/``."""
        return self.address.partition("{")[0]

    @property
    def places(self) -> tuple[str, ...]:
        """The levels that vary, in order."""
        return tuple(_PLACE.findall(self.address))

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches whole topics of this row."""
        level = LEVEL if self.rooted else "[^/+#]+"  # Sparkplug ids may have spaces and letters of any script
        below = level.join(re.escape(part) for part in _PLACE.split(self.address)[::2])
        return re.compile((_BOX_LEVELS if self.rooted else "") + below)


STATUS = Topic(
    "status",
    "status",
    "online or offline with reason; the Will says `connection-lost`, also for a moment when the box reconnects at once",
    "status",
    retain=True,
    headers=StatusHeaders,
)
INFO = Topic("info", "info", "what the box is made of", "info", retain=True, headers=DocumentHeaders)
RESULT = Topic(
    "result",
    "result/{inspection}",
    "one message for each judged or undecidable frame, from a durable spool",
    "result",
    headers=ResultHeaders,
)
LATEST = Topic(
    "latest",
    "latest/{inspection}",
    "the newest result, at most 5 a second, expires after an hour",
    "result",
    retain=True,
    expiry_s=3600,
    headers=ResultHeaders,
)
EVENT = Topic(
    "event",
    "event/{scope}",
    "something somebody may have to act on, from the same spool; scope is an inspection, a camera or `system`",
    "event",
    headers=EventHeaders,
)
METRICS = Topic(
    "metrics",
    "metrics",
    "counters, latencies, state of spool and broker, once a second",
    "metrics",
    qos=0,
    expiry_s=60,
    headers=DocumentHeaders,
)
IMAGE = Topic(
    "image",
    "image/{camera}",
    "a JPEG, only when a `snapshot` with `publish` asked for it; expires after 30 s",
    None,
    qos=0,
    expiry_s=30,
    content_type="image/jpeg",
)
REPLY = Topic(
    "reply",
    "reply/{correlationId}",
    "the one answer to a command, unless its Response Topic names another topic below `reply/`",
    "reply",
    expiry_s="what is left of the time in which the command is answered",
    headers=ReplyHeaders,
)
REPLY_TO_CALLER = Topic(
    "reply-to-caller",
    "reply/{caller}/{place}",
    "the same where the caller's Response Topic is below its own name",
    "reply",
    expiry_s="what is left of the time in which the command is answered",
    headers=ReplyHeaders,
)


def _command(verb: str, target: str, about: str) -> Topic:
    """Return a row of a command that is about something; ``COMMAND`` is that about the whole box."""
    return Topic(verb, f"cmd/{verb}/{{{target}}}", about, f"command.{verb}", sent=False, expiry_s="its deadline")


COMMAND: Final = Topic(
    "command",
    "cmd/{verb}",
    "any of the commands below, of the whole box; its fields are those of the verb",
    "command",
    sent=False,
    expiry_s="its deadline",
)
PLC = Topic(
    "plc",
    "plc/{inspection}",
    "the signals of a hand-shake with a controller, with every change and every heartbeat",
    "plc",
    retain=True,
    expiry_s="three heartbeats",
    headers=DocumentHeaders,
    optional=True,
)
PLC_SIGNAL = Topic(
    "plc_signal",
    "cmd/plc/{inspection}/{signal}",
    "a level that a controller drives: `trigger`, `ack` or `reset`",
    "command.plc",
    sent=False,
    optional=True,
)
MODEL = Topic(
    "model",
    "model/{slot}/state",
    "which release of its model a slot has from the registry, which one it should have, and why it does not yet",
    "model",
    retain=True,
    headers=DocumentHeaders,
    optional=True,
)
COMMANDS: Final = (
    COMMAND,
    _command("trigger", "inspection", "judge the next picture; a retained trigger is refused"),
    _command("pause", "inspection", "judge no more pictures"),
    _command("resume", "inspection", "go on after pause"),
    _command("recipe.select", "inspection", "judge by another recipe from the next frame on"),
    _command("snapshot", "camera", "take a picture"),
    _command("reset", "inspection", "begin anew what is stuck"),
    _command("config.get", "section", "return the configuration in use, secrets masked"),
    _command("replay", "inspection", "send kept results again, from `fromSeq` to `toSeq`"),
    _command("spool.requeue", "inspection", "make dead letters owed again"),
    _command("model.check", "slot", "look at the registry now; a hint without content, at most one look per 10 s"),
    _command("model.update", "slot", "bring a signed release to a model slot; needs a signature"),
    _command("model.rollback", "slot", "go back to the release before; needs a signature"),
    _command("model.approve", "slot", "agree to the release that waits for it; needs a signature"),
    _command("model.hold", "slot", "begin no more updates of a slot, or go on with them; needs a signature"),
    _command("lot", "slot", "say whether a lot is running, for boxes that change models between lots only"),
)


def _sparkplug(
    kind: str,
    device: str,
    about: str,
    *,
    sent: bool = True,
    qos: Literal[0, 1] = 0,
    will_qos: Literal[0, 1] | None = None,
) -> Topic:
    """Return a row of Sparkplug B 3.0 (chapters 4 and 6), whose payloads are Protocol Buffers."""
    return Topic(
        kind.lower(),
        f"spBv1.0/{{group}}/{kind}/{{node}}{device}",
        about,
        None,
        sent=sent,
        qos=qos,
        content_type=None,
        rooted=False,
        optional=True,
        will_qos=will_qos,
    )


SPARKPLUG: Final = (
    _sparkplug("NBIRTH", "", "everything the node will ever say, and that it is there"),
    _sparkplug("NDATA", "", "what changed at the node"),
    _sparkplug("NDEATH", "", "the node is gone; its Will has QoS 1", will_qos=1),
    _sparkplug("NCMD", "", "a wish to the node, for example Node Control/Rebirth", sent=False, qos=1),
    _sparkplug("DBIRTH", "/{device}", "everything an inspection will ever say, and that its camera is there"),
    _sparkplug("DDATA", "/{device}", "one inspected frame or part"),
    _sparkplug("DDEATH", "/{device}", "the camera of an inspection is gone, or the node leaves"),
    _sparkplug("DCMD", "/{device}", "a wish to an inspection, for example Device Control/Trigger", sent=False, qos=1),
    Topic(
        "state",
        "spBv1.0/STATE/{host}",
        "whether the primary host is there",
        None,
        sent=False,
        retain=True,
        rooted=False,
        optional=True,
    ),
)
TOPICS: Final = (
    STATUS,
    INFO,
    RESULT,
    LATEST,
    EVENT,
    METRICS,
    IMAGE,
    PLC,
    MODEL,
    REPLY,
    REPLY_TO_CALLER,
    *COMMANDS,
    PLC_SIGNAL,
    *SPARKPLUG,
)
PLACES: Final = {  # what a level stands for
    "inspection": "a configured inspection",
    "scope": "an inspection, a camera, or system",
    "correlationId": "id of the command",
    "caller": "who asked: its user name at the broker",
    "place": "where it wants the answer",
    "camera": "a configured camera",
    "section": "part of the configuration",
    "slot": "a model slot",
    "signal": "trigger, ack or reset",
    "verb": "what is asked for",
    "group": "Sparkplug group",
    "node": "Sparkplug edge node: this box",
    "device": "Sparkplug device: an inspection",
    "host": "Sparkplug primary host",
}
