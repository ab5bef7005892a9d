"""A plant in which models are updated under a running line: registry, publisher, broker, daemon, and who keeps record.

    with Plant(tmp_path) as plant:
        plant.first("good")                    what the slot begins with
        seq = plant.roll_out(plant.release("crash_live"))
        end = plant.wait_end(seq)              {"state": "rolled_back", "reason": ...}
        plant.check()                          what must be true whatever happened

Two simulated cameras with 30 pictures a second, an inspection each, and one slot for both, or one each. Everything is
the product's own and a process of its own but the publisher and the subscriber, who share no code with the line.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.publish.prover import Prover
from edge_runtime.registry.publisher.rollouts import rollout_of
from edge_runtime.registry.store.floors import FloorsFiles
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.service import ServiceGroup
from tests.bad_models import MODEL, SOURCE, is_bad, write
from tests.brokers import Broker
from tests.daemons import DaemonProcess, wait_until
from tests.release_desk import ReleaseDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import Inbound
    from edge_runtime.registry.publisher.draft import Draft
    from edge_runtime.registry.trust.floors import Floors

SITE: Final = "plant"
ROOT: Final = f"vision/{SITE}/line/box"
ENDS: Final = ("committed", "rejected", "rolled_back", "superseded")
QUICK: Final[Mapping[str, object]] = {"shadow_frames": 30, "canary_frames": 30, "probation_frames": 60}
END_S = 60.0
FPS: Final = 30.0


class Row(NamedTuple):
    """One result as it arrived."""

    arrived_s: float  # CLOCK_MONOTONIC
    captured_s: float  # Unix
    boot: str
    inspection: str
    seq: int
    frame: int
    evaluation: str
    reason: str | None
    digest: str | None
    release: int | None
    rollout: int | None
    total_ms: float
    captured: int  # frames of this line so far, as the result counts them
    lost: int  # dropped and failed ones among them


@dataclass(frozen=True)
class Step:
    """A state that a deployment was said to be in."""

    arrived_s: float
    slot: str
    id: str
    seq: int | None
    state: str
    reason: str | None


class Record:
    """Subscribes to all that a box says and keeps it, small; a block."""

    def __init__(self, port: int) -> None:
        self.lock = threading.Lock()  # held while it takes a message
        self.rows: list[Row] = []
        self.steps: list[Step] = []
        self.events: list[dict[str, Any]] = []
        self.models: dict[str, dict[str, Any]] = {}
        self.prover = Prover()
        settings = MqttSettings("127.0.0.1", port, client_id="record", session_expiry_s=3600)
        filters = [f"{ROOT}/{what}" for what in ("result/+", "event/+", "model/+/state")]
        self._subscriber = Subscriber(MqttDial(settings), filters, self._take)
        self._group = ServiceGroup()

    def __enter__(self) -> Self:
        self._group.__enter__()
        self._group.start(self._subscriber)
        assert self._subscriber.wait_subscribed(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._group.__exit__(None, None, None)

    def _take(self, message: Inbound) -> None:
        with self.lock:
            self._keep(json.loads(message.payload))

    def _keep(self, document: dict[str, Any]) -> None:
        self.prover.add(document)
        match document["schema"]:
            case "vision.result/1":
                self.rows.append(_row(document))
            case "vision.event/1":
                self.events.append(document)
            case "vision.model/1":
                self._model(document)

    def _model(self, document: dict[str, Any]) -> None:
        slot, said = document["slot"], document.get("deployment")
        before = (self.models.get(slot) or {}).get("deployment")
        self.models[slot] = document
        if said is None or (before is not None and (before["id"], before["state"]) == (said["id"], said["state"])):
            return
        step = Step(time.monotonic(), slot, said["id"], said.get("seq"), said["state"], said.get("reason"))
        self.steps.append(step)

    def kinds(self) -> list[str]:
        """The events so far, by kind."""
        return [one["kind"] for one in self.events]

    def of(self, inspection: str) -> list[Row]:
        """The results of one inspection by their number, each once."""
        return [row for _, row in sorted({row.seq: row for row in self.rows if row.inspection == inspection}.items())]


def _row(document: dict[str, Any]) -> Row:
    model, counters = document["model"] or {}, document["counters"]
    return Row(
        time.monotonic(),
        datetime.fromisoformat(document["ts"]).timestamp(),
        document["bootId"],
        document["inspection"],
        int(document["seq"]),
        int(document["frameId"]),
        document["evaluation"],
        document["reason"],
        model.get("digest"),
        model.get("release"),
        document.get("rolloutSeq", model.get("rolloutSeq")),
        float(document["timings_ms"]["total"]),
        int(counters["captured"]),
        int(counters["dropped"]) + int(counters["failed"]),
    )


@dataclass
class Releases:
    """What the publisher made: numbers by the digest of their `edge-model.json`, and back."""

    digests: dict[int, str] = field(default_factory=dict)
    manifests: dict[int, str] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)


class Plant:
    """See the module docstring; a block.

    Args:
        folder: for everything.
        slots: 1 = both inspections share a slot; 2 = one each.
        source: of both cameras.
        judge: look at each message whether the contract has it, which costs this process time.
        config: more of the configuration; a mapping is merged with what is there.
    """

    def __init__(
        self, folder: Path, *, slots: int = 1, source: str = SOURCE, judge: bool = True, **config: Any
    ) -> None:
        self.folder = folder
        self.slots = ("parts",) if slots == 1 else ("left", "right")
        self.releases = Releases()
        self._judge = judge
        self._wanted: dict[str, tuple[int, dict[str, Any]]] = {}
        self._stack = contextlib.ExitStack()
        self._source, self._more = source, config
        self.problems: list[str] = []
        self._floors: Floors | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            url = f"oci-layout:{self.folder / 'registry'}"
            self.desk = stack.enter_context(ReleaseDesk(self.folder / "publisher", url, sites=(SITE,)))
            self.broker = stack.enter_context(Broker())
            self.record = stack.enter_context(Record(self.broker.port))
            self.daemon = DaemonProcess(self.folder, self.config(), strangers=() if self._judge else ("vision/",))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._stack:
            self.end_daemon()

    def end_daemon(self) -> None:
        """End the daemon, if it was started."""
        if self.daemon.process is not None:
            self.daemon.__exit__(None, None, None)

    def config(self) -> dict[str, Any]:
        """The configuration of the box."""
        camera = {"source": self._source, "capture": "every", "queue": 60, "stall_s": 10.0}
        slot_of = dict(zip(("left", "right"), self.slots * 2, strict=False))
        fixed: dict[str, Any] = {
            "version": 1,
            "site": SITE,
            "line": "line",
            "edge": "box",
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port},
            "cameras": {name: dict(camera) for name in slot_of},
            "models": {slot: {"release": MODEL} for slot in self.slots},
            "recipes": {"parts": {"version": "1", "not_ok": [{"label": "bad", "score_min": 0.5}]}},
            "inspections": {
                name: {"camera": name, "model": slot, "recipe": "parts", "deadline_ms": 5000}
                for name, slot in slot_of.items()
            },
            "registry": {"url": self.desk.url, "root": str(self.desk.root), "poll_s": 1},
            "state_dir": str(self.folder / "state"),
        }
        for key, value in self._more.items():
            fixed[key] = {**fixed[key], **value} if isinstance(fixed.get(key), dict) else value
        return fixed

    # the publisher

    def release(self, kind: str, **more: Any) -> int:
        """Publish a package of a kind as the next release; return its number."""
        number = len(self.releases.digests) + 1
        root = write(self.folder / "packages" / str(number), kind, release=number, **more)
        manifest, _ = self.desk.publish(root)
        document = (root / "edge-model.json").read_bytes()
        self.releases.digests[number] = _digest(document)
        self.releases.manifests[number], self.releases.kinds[number] = manifest, kind
        return number

    def roll_out(self, release: int, gates: Mapping[str, object] = QUICK, **assignment: Any) -> int:
        """Assign a release to every slot, for a probation of a second; return the sequence number of the rollout."""
        self.desk.assign(MODEL, release, site=SITE, **{"gates": dict(gates), "bake_s": 1.0, **assignment})
        return self.seq()

    def seq(self) -> int:
        """The newest rollout's number."""
        found: list[int] = []

        def look(draft: Draft) -> None:
            found.append(rollout_of(draft, SITE).seq)

        self.desk.edit(look)
        return found[0]

    # the box

    def first(self, kind: str = "good") -> int:
        """Start the daemon with a release of ``kind`` in every slot; return when all inspections judge."""
        number = self.release(kind)
        self.roll_out(number)
        self.start()
        self.record.rows.clear()  # from here on the line never stops
        return number

    def start(self) -> None:
        """Start the daemon, or a killed one again, and wait until it judges."""
        if self.daemon.process is None:
            self.daemon.__enter__()
        else:
            self.daemon.start()
        self.wait_verdicts(3, timeout_s=180)

    def kill(self, pid: int | None = None) -> None:
        """End main, or another process, by SIGKILL."""
        if pid is None:
            self.daemon.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def forget(self, *, killed: bool = False) -> None:
        """Check what has come so far and keep only the end of it, so that a long run needs no memory."""
        self.problems = self.problems_found(killed=killed)
        with self.record.lock:
            kept = [row for inspection in ("left", "right") for row in self.record.of(inspection)[-20:]]
            self.record.rows[:] = sorted(kept)
            del self.record.steps[:-40], self.record.events[:-200]

    def engines(self) -> dict[int, str]:
        """Engine processes by pid; names are cut to 15 characters."""
        return {pid: name for pid, name in self.daemon.family().items() if name.startswith("edge:engine")}

    def wait_verdicts(self, count: int, timeout_s: float = END_S) -> None:
        """Wait until each inspection has so many more verdicts."""

        def counts() -> dict[str, int]:
            found = dict.fromkeys(("left", "right"), 0)
            for row in self.record.rows[begin:]:
                found[row.inspection] += row.digest is not None and row.evaluation in ("OK", "NotOK")
            return found

        begin = len(self.record.rows)
        self.wait(lambda: min(counts().values()) >= count, timeout_s, f"{count} more verdicts each")

    def deployment(self, slot: str | None = None) -> dict[str, Any] | None:
        """What a slot was said last to be deploying."""
        found: dict[str, Any] | None = self.record.models.get(slot or self.slots[0], {}).get("deployment")
        return found

    def wait_state(self, seq: int, *states: str, slot: str | None = None, timeout_s: float = END_S) -> Step:
        """Wait until the deployment of a rollout was in one of ``states``; return that step."""
        place = slot or self.slots[0]

        def found() -> Step | None:
            mine = [one for one in self.record.steps if one.slot == place and one.seq == seq]
            return next((one for one in mine if one.state in states), None)

        self.wait(found, timeout_s, f"{' or '.join(states)} of rollout {seq}")
        step = found()
        assert step is not None
        return step

    def wait_end(self, seq: int, slot: str | None = None, timeout_s: float = END_S) -> Step:
        """Wait for the end of the deployment of a rollout."""
        return self.wait_state(seq, *ENDS, slot=slot, timeout_s=timeout_s)

    def wait(self, condition: Callable[[], object], timeout_s: float = END_S, what: str = "it") -> None:
        """Wait until ``condition()`` is true, and no longer than the daemon lives."""
        try:
            wait_until(lambda: condition() or self._ended(), timeout_s, what)
            assert condition(), f"the daemon ended before {what}"
        except AssertionError as error:
            steps = [f"{one.slot} {one.seq} {one.state} {one.reason or ''}" for one in self.record.steps[-8:]]
            error.add_note(f"deployments: {'; '.join(steps)}\nlog: {self.daemon.log.read_text()[-3000:]}")
            raise

    def _ended(self) -> bool:
        return self.daemon.process is None or self.daemon.process.poll() is not None

    # what must be true

    def check(self, *, killed: bool = False) -> None:
        """Check everything that must be true whatever happened; ``killed``: main was, so frames in it are lost."""
        problems = self.problems_found(killed=killed)
        assert problems == [], "\n".join(problems[:20])

    def problems_found(self, *, killed: bool = False) -> list[str]:
        """See `check`."""
        problems = [*self.problems, *self._store_problems(), *overlaps(self.record.steps)]
        for inspection in ("left", "right"):
            rows = self.record.of(inspection)
            problems += disorder(inspection, rows, killed=killed) + untruths(inspection, rows)
        proof = self.record.prover.proof()
        if not proof.complete:
            problems.append(f"the stream is not complete: {proof}")
        return problems

    def lost(self) -> int:
        """Frames without a verdict, counted or not, while one line ran."""
        found = 0
        for inspection in ("left", "right"):
            rows = self.record.of(inspection)
            found += sum(row.evaluation not in ("OK", "NotOK") and not _at_the_end(row) for row in rows)
            found += sum(max(0, other.frame - one.frame - 1) for one, other in itertools.pairwise(rows))
        return found

    def twice(self) -> int:
        """Frames that have more than one result."""
        rows = [row for inspection in ("left", "right") for row in self.record.of(inspection)]
        return len(rows) - len({(row.boot, row.inspection, row.frame) for row in rows})

    def releases_of(self, kind: str) -> list[int]:
        """Numbers of the releases of a kind."""
        return [number for number, one in self.releases.kinds.items() if one == kind]

    def kind_of(self, digest: str | None) -> str | None:
        """What kind of model has the digest that stands in a result."""
        known = {one: self.releases.kinds[number] for number, one in self.releases.digests.items()}
        return known.get(digest or "")

    def watch_floors(self) -> None:
        """Note it when a floor is lower than it was when this was called last."""
        with contextlib.suppress(FileNotFoundError):
            now = FloorsFiles(self.folder / "state" / "models").read()
            if now is not None:
                if self._floors is not None and not now.covers(self._floors):
                    self.problems.append(f"floors fell: {self._floors} then {now}")
                self._floors = now

    def links(self, slot: str | None = None) -> Any:
        """Where the links of a slot lead."""
        return ModelStore(self.folder / "state" / "models").slots.links(slot or self.slots[0])

    def _store_problems(self) -> list[str]:
        self.watch_floors()
        store, found = ModelStore(self.folder / "state" / "models"), []
        for slot in self.slots:
            links = store.slots.links(slot)
            if links.current is None:
                found.append(f"slot {slot} has nothing current")
            for digest in links.digests():
                release = store.releases.find(digest)
                if release is None:
                    found.append(f"slot {slot} points to {digest}, which is not there")
                else:
                    store.releases.verify(release)
        return found


def _at_the_end(row: Row) -> bool:
    """Whether a frame was in the line when it was told to stop."""
    return (row.reason or "").startswith("shutdown")


def _digest(raw: bytes) -> str:
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def switches(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Return the pairs of following verdicts that two models gave."""
    judged = [row for row in rows if row.digest is not None and row.evaluation in ("OK", "NotOK")]
    return [(one, other) for one, other in itertools.pairwise(judged) if one.digest != other.digest]


def overlaps(steps: Iterable[Step]) -> list[str]:
    """Tell of deployments of a slot of which one began before the other had ended."""
    open_: dict[str, str] = {}
    found = []
    for step in steps:
        busy = open_.get(step.slot)
        if busy is not None and busy != step.id:
            found.append(f"slot {step.slot}: {step.id} is {step.state} while {busy} has not ended")
        if step.state in ENDS:
            open_.pop(step.slot, None)
        else:
            open_[step.slot] = step.id
    return found


def disorder(inspection: str, rows: list[Row], *, killed: bool) -> list[str]:
    """Frames of a line come in order, each once, what is missing is counted; without a kill there is one line."""
    found = []
    for one, other in itertools.pairwise(rows):
        missing = other.frame - one.frame - 1
        if one.boot != other.boot or other.captured < one.captured:
            if not killed:
                found.append(f"{inspection}: another line from {other.seq} on")
        elif missing < 0:
            found.append(f"{inspection}: frame {other.frame} after {one.frame}")
        elif missing > other.lost - one.lost:
            found.append(f"{inspection}: {missing} frames before {other.frame}, {other.lost - one.lost} counted")
    return found


def untruths(inspection: str, rows: list[Row]) -> list[str]:
    """No verdict is wrong, whoever gave it."""
    return [
        f"{inspection}: frame {row.frame} is {row.evaluation} by {row.digest}"
        for row in rows
        if row.evaluation in ("OK", "NotOK") and (row.evaluation == "NotOK") is not is_bad(row.frame)
    ]
