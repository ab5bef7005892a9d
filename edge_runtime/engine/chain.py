"""A chain of models as one: the first finds, the others look at what it found; one frame, one answer, one digest."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.engine.joined import TURNS
from edge_runtime.engine.lane import Answer, StaleFrameError
from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.quads import cut_box, cut_polygon

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.core.steps import Step
    from edge_runtime.engine.base import EngineInfo
    from edge_runtime.engine.lane import Judge, Model
    from edge_runtime.engine.spec import ModelSpec

CROPS_LIMIT: Final = 100
"""Findings of one frame that are looked at; more would hold a worker up for seconds (a line of text: 20 to 100 ms)."""
_CORNERS = 4
_HALF_TURN = max(TURNS)


class ChainModel:
    """Several models, compiled by one backend for one device; an `engine.lane.Model`."""

    def __init__(self, models: Sequence[Model], steps: Sequence[Step], spec: ModelSpec) -> None:
        """Own ``models``, one for each of ``steps``; ``spec`` describes all of them as one (`engine.joined`)."""
        self.spec = spec
        self._models = list(models)
        self._steps = tuple(steps)
        self.info = _joined_info([one.info for one in models])

    def open_lane(self) -> ChainLane:
        """See `engine.lane.Model`."""
        return ChainLane([one.open_lane() for one in self._models], self._steps, self.spec)

    def close(self) -> None:
        """See `engine.lane.Model`."""
        while self._models:
            self._models.pop().close()


class ChainLane:
    """One worker's way through all steps; an `engine.lane.Judge`."""

    def __init__(self, lanes: Sequence[Judge], steps: Sequence[Step], spec: ModelSpec) -> None:
        """Lead through ``lanes``, one for each of ``steps``."""
        self._finder, *self._turners, self._looker = lanes
        self._lanes = tuple(lanes)
        self._step = steps[-1]
        self._ids = {label: index for index, label in enumerate(spec.labels)}

    def predict(self, frame: NDArray[np.uint8], is_current: Callable[[], bool] | None = None) -> Answer:
        """See `engine.lane.Judge`.

        A classifier's label and score replace those of the finding it looked at, whose box and outline stay; of several
        labels that it reports each is a prediction. A recogniser adds the text, with its score. When the last step
        reports nothing (unsure, or unreadable) the finding stays as it was.

        Raises:
            InvalidOutputError: also when there are more than `CROPS_LIMIT` findings to be looked at: with some of
                them left out, the answer would be about another part.
        """
        found = self._finder.predict(frame, is_current)
        begin = time.perf_counter_ns()
        wanted = [self._is_looked_at(one) for one in found.predictions]
        if sum(wanted) > CROPS_LIMIT:
            message = f"the first step found {sum(wanted)} things to be looked at, at most {CROPS_LIMIT} are"
            help_ = "raise thresholds.score of the first step, or write its max_predictions to look at the best only"
            raise InvalidOutputError(message, help=help_)
        crops = [self._crop(frame, one) if look else None for one, look in zip(found.predictions, wanted, strict=True)]
        if is_current is not None and not is_current():
            raise StaleFrameError
        answers = [found]
        cut_ms = (time.perf_counter_ns() - begin) / 1e6
        predictions: list[Prediction] = []
        for one, crop in zip(found.predictions, crops, strict=True):
            predictions += [one] if crop is None else self._look(one, crop, answers)
        return Answer(
            tuple(replace(one, id=self._ids[one.label]) for one in predictions),
            sum(one.preprocess_ms for one in answers) + cut_ms,
            sum(one.infer_ms for one in answers),
            sum(one.postprocess_ms for one in answers),
        )

    def must_compile(self, height: int, width: int) -> bool:
        """See `engine.lane.Judge`; what looks at crops has all its sizes."""
        return self._finder.must_compile(height, width)

    def prove(self) -> None:
        """See `engine.lane.Judge`."""
        for lane in self._lanes:
            lane.prove()

    def run_bare(self) -> None:
        """See `engine.lane.Judge`; each step runs once."""
        for lane in self._lanes:
            lane.run_bare()

    def _is_looked_at(self, found: Prediction) -> bool:
        return found.box is not None and (self._step.labels is None or found.label in self._step.labels)

    def _crop(self, frame: NDArray[np.uint8], found: Prediction) -> NDArray[np.uint8]:
        if self._step.crop == "polygon" and found.polygon is not None and len(found.polygon) == _CORNERS:
            return cut_polygon(frame, found.polygon, self._step.pad)
        return cut_box(frame, found.box or (0, 0, 0, 0), self._step.pad)

    def _look(self, found: Prediction, crop: NDArray[np.uint8], answers: list[Answer]) -> list[Prediction]:
        for turner in self._turners:
            direction = turner.predict(crop)
            answers.append(direction)
            if any(one.label == _HALF_TURN and not one.alternative for one in direction.predictions):
                crop = np.ascontiguousarray(crop[::-1, ::-1])
        seen = self._looker.predict(crop)
        answers.append(seen)
        decided = [one for one in seen.predictions if not one.alternative]
        if not decided:
            return [found]
        if decided[0].text is not None:
            return [replace(found, text=decided[0].text, score=decided[0].score)]
        return [replace(found, label=one.label, score=one.score) for one in decided]


def _joined_info(infos: Sequence[EngineInfo]) -> EngineInfo:
    """Facts of all as those of one; where they differ, the first step's, and a note."""
    first = infos[0]
    notes = [f"step {number}: {note}" for number, one in enumerate(infos, 1) for note in one.notes]
    if len({one.precision for one in infos}) > 1:
        notes.append(f"precision by step: {', '.join(one.precision for one in infos)}")
    return replace(first, outputs=infos[-1].outputs, notes=tuple(notes))
