"""The whole product on one machine: broker, clip, model, daemon, and an audience that proves what arrived."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app.assets import model_package
from edge_runtime.app.audience import Audience
from edge_runtime.app.broker import LocalBroker
from edge_runtime.app.daemon import Control, Daemon, Environment
from edge_runtime.config.schema import Settings
from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.client import MqttSettings
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.app.daemon import Report

SITE, LINE, EDGE, INSPECTION = "demo-plant", "line-1", "this-box", "conveyor"
STREAM = f"{SITE}/{LINE}/{EDGE}/result/{INSPECTION}"
SETTLE_S = 3.0  # how long the audience waits for the last results after the daemon has ended
SUBSCRIBE_S = 5.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How to show it: ``seconds`` None runs until interrupted; ``on_result`` sees each result as it arrives.

    ``started_s`` is when the command began (``time.monotonic``); ``ready_s`` counts from there to the first verdict.
    """

    started_s: float
    seconds: float | None = None
    port: int | None = None
    on_result: Callable[[dict[str, object]], None] | None = None
    on_start: Callable[[str, int], None] | None = None  # broker name and port


def settings_for(port: int, state_dir: Path) -> Settings:
    """Return the configuration of the demo: what a plant engineer would write, for a clip instead of a camera."""
    package = model_package()
    document = {
        "version": 1,
        "site": SITE,
        "line": LINE,
        "edge": EDGE,
        "mqtt": {"host": "127.0.0.1", "port": port, "client_id": f"{EDGE}-{os.getpid()}"},
        "cameras": {INSPECTION: {"source": f"file:{package / 'conveyor.mp4'}?loop=1"}},
        "models": {"defects": {"path": package}},
        "inspections": {
            INSPECTION: {
                "camera": INSPECTION,
                "model": "defects",
                "deadline_ms": 500,
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
        broker = stack.enter_context(LocalBroker(directory, port=options.port))
        if options.on_start is not None:
            options.on_start(broker.name, broker.port)
        listener = MqttSettings(host="127.0.0.1", port=broker.port, client_id=f"audience-{os.getpid()}")
        root = f"vision/{SITE}/{LINE}/{EDGE}"
        audience = Audience(listener, [f"{root}/result/+", f"{root}/event/+"], on_result=options.on_result)
        group = stack.enter_context(ServiceGroup())
        group.start(audience)
        if not audience.wait_subscribed(SUBSCRIBE_S):
            raise UnavailableError("demo.subscribe", f"the broker does not take our subscription: {audience.reason}")
        daemon = Daemon(
            settings_for(broker.port, directory / "state"),
            control,
            reload=lambda: settings_for(broker.port, directory / "state"),
            environment=Environment(None, None),
        )
        timer = threading.Timer(options.seconds, control.stop) if options.seconds is not None else None
        if timer is not None:
            timer.start()
        try:
            daemon.run()
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()
        report = daemon.report
        if report is None:
            raise UnavailableError("demo.report", "the daemon ended before its line was running")
        _settle(audience, report)
        return _summary(audience, report, options.started_s)


def worked(summary: dict[str, object]) -> bool:
    """Whether the demo showed what it promises: verdicts arrived, all of them, and every frame is accounted for."""
    figures = {key: value for key, value in summary.items() if isinstance(value, (int, float))}
    return (
        summary["ready_s"] is not None
        and figures["results_received"] > 0
        and figures["missing"] == 0
        and figures["captured"] == figures["inferred"] + figures["dropped"] + figures["failed"]
    )


def _settle(audience: Audience, report: Report) -> None:
    """Give the broker a moment to deliver what it acknowledged."""
    deadline = time.monotonic() + SETTLE_S
    while audience.last(STREAM) < report.committed(INSPECTION) and time.monotonic() < deadline:
        threading.Event().wait(0.02)


def _summary(audience: Audience, report: Report, started_s: float) -> dict[str, object]:
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
        "update": None,
        "bad_update": None,
        "ready_s": None if first is None else round(first - started_s, 2),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
