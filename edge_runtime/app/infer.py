"""Judges image files: the product's own line with a folder of files as its camera and standard output as its sink."""

from __future__ import annotations

import json
import os
import queue
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app.assembly import LineService
from edge_runtime.app.plan import CameraPlan, InspectionPlan, LinePlan, every_slots, recipe_ref
from edge_runtime.app.waiting import await_model
from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.core.reference import LABELS_MAX, ModelReference
from edge_runtime.core.result import Evaluation, Event, Result
from edge_runtime.core.source import Source
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.pipeline.inspection import Capture, InspectionSpec
from edge_runtime.pipeline.judged import Tally
from edge_runtime.pipeline.recipe import Recipe
from edge_runtime.pipeline.slot import SlotSpec
from edge_runtime.publish.payload import Identity, Stamp, encode_result
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "images"
DEADLINE_MS = 60_000
QUEUE = 8


@dataclass(frozen=True, slots=True)
class InferOptions:
    """What to judge with: model path, ``device`` and ``backend`` as in the configuration."""

    model: Path
    device: str = "auto"
    backend: str = "auto"


class _Collector:
    """A sink that other threads can wait on; bounded by the number of images, which are put once each."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()

    def put(self, item: Result | Event) -> None:
        if isinstance(item, Result):
            self.results.put(item)


def infer(options: InferOptions, images: Sequence[Path]) -> Iterator[tuple[bytes, Evaluation]]:
    """Judge ``images`` and yield (result as JSON, evaluation) for each, in order; a bad image is NotDecidable.

    Raises:
        DataError: the model cannot be used.
        UnavailableError: the device cannot be used, or nothing answers.
    """
    plan = _plan(options, images)
    sink = _Collector()
    identity, boot_id = Identity("local", "local", "local"), uuid.uuid4().hex
    with ExitStack() as stack:
        line = LineService(plan, sink, FlightRecorder(), cache_dir=None)
        stack.callback(line.close)
        group = stack.enter_context(ServiceGroup())
        group.start(line)
        await_model(line, "model", group)
        for seq in range(1, len(images) + 1):
            result = _next(sink, group)
            yield encode_result(result, identity, Stamp(seq, boot_id)).body, result.evaluation


def reference(options: InferOptions, images: Sequence[Path]) -> ModelReference:
    """Judge ``images`` and return what was seen in them; an image that cannot be judged is an error.

    Raises:
        DataError: the model cannot be used, or code ``reference.picture``: an image cannot be judged.
        UnavailableError: the device cannot be used, or nothing answers.
    """
    tally = Tally()
    for image, (raw, evaluation) in zip(images, infer(options, images), strict=True):
        result = json.loads(raw)
        if evaluation is Evaluation.NOT_DECIDABLE:
            raise DataError("reference.picture", f"{image}: {result['reason']}", help="leave it out")
        best: dict[str, float] = {}
        for one in result["predictions"]:
            best[one["label"]] = max(one["score"], best.get(one["label"], 0.0))
        tally.judged(evaluation, 0.0, best)
    seen = tally.now()
    shares = sorted(seen.labels.items(), key=lambda item: -item[1])[:LABELS_MAX]
    return ModelReference(len(images), seen.scores, {label: count / len(images) for label, count in shares})


def _plan(options: InferOptions, images: Sequence[Path]) -> LinePlan:
    recipe = Recipe()
    camera = CameraPlan(
        id=NAME,
        source=Source("images", str(Path.cwd()), {}, "images"),
        capture=Capture.EVERY,
        fps=None,
        stall_s=60.0,
        ring_slots=every_slots(QUEUE),
        files=tuple(str(path.absolute()) for path in images),
    )
    slot = SlotSpec(
        id="model",
        path=str(options.model.absolute()),
        device=options.device,
        backend=options.backend,
        threads=len(os.sched_getaffinity(0)),
        hang_ms=DEADLINE_MS,
    )
    spec = InspectionSpec(
        id=NAME, camera=NAME, slot="model", capture=Capture.EVERY, deadline_ms=DEADLINE_MS, queue=every_slots(QUEUE)
    )
    return LinePlan((camera,), (slot,), (InspectionPlan(spec, recipe, recipe_ref(recipe)),))


def _next(sink: _Collector, group: ServiceGroup) -> Result:
    deadline = time.monotonic() + 2 * DEADLINE_MS / 1000
    while time.monotonic() < deadline and not group.stop.is_set():
        try:
            return sink.results.get(timeout=0.1)
        except queue.Empty:
            continue
    raise UnavailableError("engine.silent", "no result came in time")
