"""The whole product on one machine: broker, registry, clip, model, daemon, and an audience that proves what arrived."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app.assets import MODEL, model_package
from edge_runtime.app.audience import Audience
from edge_runtime.app.broker import LocalBroker
from edge_runtime.app.daemon import Control, Daemon, Environment
from edge_runtime.app.demo_packages import Kind
from edge_runtime.app.demo_show import UpdateShow
from edge_runtime.config.schema import Settings
from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.client import MqttSettings
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.app.daemon import Report
    from edge_runtime.app.demo_registry import DemoRegistry
    from edge_runtime.app.demo_trial import Trial
    from edge_runtime.core.manifest import Manifest

logger = logging.getLogger(__name__)

SITE, LINE, EDGE, INSPECTION = "demo-plant", "line-1", "this-box", "conveyor"
STREAM = f"{SITE}/{LINE}/{EDGE}/result/{INSPECTION}"
SETTLE_S = 3.0  # how long the audience waits for the last results after the daemon has ended
SUBSCRIBE_S = 5.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How to show it: ``seconds`` None runs until interrupted; ``on_result`` sees each result as it arrives.

    ``started_s`` is when the command began (``time.monotonic``); ``ready_s`` counts from there to the first verdict.
    ``updates``: a good one and a bad one are shown without being asked, if there is time (`demo_show`). ``say`` gets
    lines about updates. ``on_start`` gets the name of the broker, its port, and what rolls a release out when it is
    called, from any thread.
    """

    started_s: float
    seconds: float | None = None
    port: int | None = None
    on_result: Callable[[dict[str, object]], None] | None = None
    on_start: Callable[[str, int, Callable[[Kind], None]], None] | None = None
    updates: bool = False
    say: Callable[[str], None] = logger.info


def settings_for(port: int, state_dir: Path, registry: DemoRegistry) -> Settings:
    """Return the configuration of the demo: what a plant engineer would write, for a clip instead of a camera."""
    document = {
        "version": 1,
        "site": SITE,
        "line": LINE,
        "edge": EDGE,
        "mqtt": {"host": "127.0.0.1", "port": port, "client_id": f"{EDGE}-{os.getpid()}"},
        "cameras": {
            INSPECTION: {
                # 20 a second at most, and each of them is judged: a machine that is slower shows fewer
                "source": f"file:{model_package() / 'conveyor.mp4'}?loop=1&realtime=0",
                "capture": "every",
                "fps": 20,
                "queue": 2,
            }
        },
        "registry": {"url": registry.url, "root": registry.root},
        "models": {"defects": {"release": MODEL}},
        "inspections": {
            INSPECTION: {
                "camera": INSPECTION,
                "model": "defects",
                "deadline_ms": 5000,
                "recipe": {"id": "demo", "not_ok": ({"label": "*", "score_min": 0.4},)},
            }
        },
        "state_dir": state_dir,
    }
    return Settings.model_validate(document)


def run_demo(options: DemoOptions, control: Control) -> dict[str, object]:
    """Run it and return the summary of contracts.md; ``control`` ends it early.

    Raises:
        UnavailableError: no broker can be started, or nothing arrives.
        DataError: the installation lacks the model.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-runtime-demo-")))
        registry, broker = _prepare(directory, options.port, stack)
        settings = settings_for(broker.port, directory / "state", registry)
        show = UpdateShow(
            lambda kind: _roll_out(registry, kind, settings),
            seconds=options.seconds,
            by_itself=options.updates,
            say=options.say,
            on_end=control.stop,
        )
        if options.on_start is not None:
            options.on_start(broker.name, broker.port, show.ask)
        audience = _audience(broker.port, options, show)
        group = stack.enter_context(ServiceGroup())
        group.start(audience)
        if not audience.wait_subscribed(SUBSCRIBE_S):
            raise UnavailableError("demo.subscribe", f"the broker does not take our subscription: {audience.reason}")
        _take_first(settings)
        daemon = Daemon(settings, control, reload=lambda: settings, environment=Environment(None, None))
        group.start(show)
        daemon.run()
        report = daemon.report
        if report is None:
            raise UnavailableError("demo.report", "the daemon ended before its line was running")
        _settle(audience, report)
        return _summary(audience, report, show, options.started_s)


def _prepare(directory: Path, port: int | None, stack: ExitStack) -> tuple[DemoRegistry, LocalBroker]:
    """Return a registry that has a release, and a broker; both at once, because both take a moment."""
    with ThreadPoolExecutor(1, "demo/registry") as pool:
        founded = pool.submit(_found, directory)
        broker = stack.enter_context(LocalBroker(directory, port=port))
        return founded.result(), broker


def _found(directory: Path) -> DemoRegistry:
    from edge_runtime.app.demo_registry import DemoRegistry  # noqa: PLC0415 - its libraries take as long as a broker

    registry = DemoRegistry(directory, SITE)
    registry.roll_out(Kind.FIRST)
    return registry


def _roll_out(registry: DemoRegistry, kind: Kind, settings: Settings) -> Manifest:
    """Roll out, and have the daemon look now; in a plant it would see it at its next look."""
    from edge_runtime.app.registry_order import MODELS_DIR  # noqa: PLC0415 - as above
    from edge_runtime.registry.box.nudge import nudge  # noqa: PLC0415

    package = registry.roll_out(kind)
    nudge(settings.state_dir / MODELS_DIR)
    return package


def _take_first(settings: Settings) -> None:
    """Have the first release on the box before its daemon starts, as whoever sets a box up does (``models pull``)."""
    from edge_runtime.app.registry_order import order_of_settings  # noqa: PLC0415 - as above
    from edge_runtime.registry.box.pull import Pull  # noqa: PLC0415

    order = order_of_settings(settings)
    assert order is not None  # noqa: S101 - settings_for has written it
    report = Pull(order).run()
    if any(one.current is None for one in report.slots):
        raise UnavailableError("demo.release", f"the first release was not taken: {report}")


def _audience(port: int, options: DemoOptions, show: UpdateShow) -> Audience:
    def on_result(document: dict[str, object]) -> None:
        if options.on_result is not None:
            options.on_result(document)
        show.on_result(document)

    root = f"vision/{SITE}/{LINE}/{EDGE}"
    settings = MqttSettings(host="127.0.0.1", port=port, client_id=f"audience-{os.getpid()}")
    return Audience(settings, [f"{root}/result/+", f"{root}/event/+"], on_result=on_result, on_event=show.on_event)


def worked(summary: dict[str, object]) -> bool:
    """Whether the demo showed what it promises.

    Verdicts arrived, none is missing, every frame is accounted for, and each update went as it should (`Trial`).
    """
    figures = {key: value for key, value in summary.items() if isinstance(value, (int, float))}
    return (
        summary["ready_s"] is not None
        and figures["results_received"] > 0
        and figures["missing"] == 0
        and figures["captured"] == figures["inferred"] + figures["dropped"] + figures["failed"]
        and all(one["worked"] for key in ("update", "bad_update") if isinstance(one := summary[key], dict))
    )


def _settle(audience: Audience, report: Report) -> None:
    """Give the broker a moment to deliver what it acknowledged."""
    deadline = time.monotonic() + SETTLE_S
    while audience.last(STREAM) < report.committed(INSPECTION) and time.monotonic() < deadline:
        threading.Event().wait(0.02)


def _summary(audience: Audience, report: Report, show: UpdateShow, started_s: float) -> dict[str, object]:
    counters = report.counters[INSPECTION]
    proof = audience.proof()
    p50, p99 = audience.latency_ms(0.5, 0.99)
    model = report.models["defects"]
    first = audience.first_verdict_s
    committed = report.committed(INSPECTION)
    return {
        "captured": counters.captured,
        "inferred": counters.inferred,
        "dropped": counters.dropped,
        "failed": counters.failed,
        "results_committed": committed,
        "results_acked": report.acked,
        "results_received": proof.distinct,
        "missing": proof.missing + max(0, committed - audience.last(STREAM)),
        "duplicates": proof.duplicates,
        "latency_ms": {"p50": _rounded(p50), "p99": _rounded(p99)},
        "backend": model.backend if model else None,
        "device": model.device if model else None,
        "model": None
        if model is None
        else {"name": model.model.name, "version": model.model.version, "digest": model.model.digest},
        "update": _fields(show.of(Kind.GOOD)),
        "bad_update": _fields(show.of(Kind.BLIND)),
        "ready_s": None if first is None else round(first - started_s, 2),
    }


def _fields(trial: Trial | None) -> dict[str, object] | None:
    return None if trial is None else trial.fields()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
