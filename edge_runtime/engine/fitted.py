"""Models whose input size follows from the picture (`engine.sizes`): one engine per size, few at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.engine.lane import Lane
from edge_runtime.engine.preprocess import check_frame
from edge_runtime.engine.sizes import KEPT_LIMIT, at_load, fitting

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.engine.base import Engine
    from edge_runtime.engine.lane import Answer
    from edge_runtime.engine.spec import InputSpec, ModelSpec

Size = tuple[int, int]


class FittedModel:
    """A model compiled for each of a few sizes; an `engine.lane.Model`, of which `open_size` is for any thread."""

    def __init__(self, make: Callable[[InputSpec], Engine], spec: ModelSpec) -> None:
        """Compile the sizes that are known beforehand; ``make`` compiles for one and raises as `load_engine` does."""
        self.spec = spec
        self._make = make
        self._lock = threading.Lock()  # guards _engines: a size is compiled once, whoever sees it first
        self._engines: OrderedDict[Size, Engine] = OrderedDict()
        for size in at_load(spec.input.fit, spec.input.size):
            self._engine(size)
        self.info = self._engines[spec.input.size].info

    def open_lane(self) -> FittedLane:
        """See `engine.lane.Model`."""
        return FittedLane(self, self.spec)

    def open_size(self, size: Size) -> Lane:
        """Return a lane for inputs of ``size`` (height, width in pixels), compiled now if need be.

        Raises:
            DataError: the model cannot be compiled for it, or its decoder does not fit.
        """
        with self._lock:
            return Lane(self._engine(size), self._sized(size))

    def close(self) -> None:
        """See `engine.lane.Model`."""
        with self._lock:
            while self._engines:
                self._engines.popitem()[1].close()

    def _engine(self, size: Size) -> Engine:
        if size not in self._engines:
            engine = self._make(self._sized(size).input)
            self._engines[size] = engine
            if len(self._engines) > KEPT_LIMIT[self.spec.input.fit]:
                self._engines.popitem(last=False)[1].close()
        self._engines.move_to_end(size)
        return self._engines[size]

    def _sized(self, size: Size) -> ModelSpec:
        return replace(self.spec, input=replace(self.spec.input, size=size, fit="fixed"))


class FittedLane:
    """The lane of a model that has a size for each picture; an `engine.lane.Judge`."""

    def __init__(self, model: FittedModel, spec: ModelSpec) -> None:
        """Open a request for each size that is known beforehand."""
        self._model = model
        self._fit, self._size = spec.input.fit, spec.input.size
        self._known = at_load(self._fit, self._size)
        self._lanes = OrderedDict((size, model.open_size(size)) for size in self._known)

    def predict(self, frame: NDArray[np.uint8], is_current: Callable[[], bool] | None = None) -> Answer:
        """See `engine.lane.Judge`; the first frame of a new size waits until the model is compiled for it."""
        check_frame(frame)
        size = fitting(self._fit, self._size, (frame.shape[0], frame.shape[1]))
        if size not in self._lanes:
            if len(self._lanes) >= KEPT_LIMIT[self._fit]:
                self._lanes.popitem(last=False)  # before the next one takes its memory
            self._lanes[size] = self._model.open_size(size)
        self._lanes.move_to_end(size)
        return self._lanes[size].predict(frame, is_current)

    def must_compile(self, height: int, width: int) -> bool:
        """See `engine.lane.Judge`."""
        return fitting(self._fit, self._size, (height, width)) not in self._lanes

    def prove(self) -> None:
        """See `engine.lane.Judge`."""
        for lane in self._lanes.values():
            lane.prove()

    def run_bare(self) -> None:
        """See `engine.lane.Judge`; of the sizes, the one that was used last."""
        next(reversed(self._lanes.values())).run_bare()
