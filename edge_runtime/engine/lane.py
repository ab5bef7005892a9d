"""One worker's way through a model, from a frame to what the model sees in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.preprocess import Preprocessor
from edge_runtime.engine.tasks import OPEN_ANSWERS, make_decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.base import Engine, EngineInfo
    from edge_runtime.engine.spec import ModelSpec


class StaleFrameError(Exception):
    """The pixels were replaced while they were being read; there is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model saw in one frame, and how long each step took in milliseconds."""

    predictions: tuple[Prediction, ...]
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float


class Judge(Protocol):
    """A lane of any kind; used by one thread at a time."""

    def predict(self, frame: NDArray[np.uint8], is_current: Callable[[], bool] | None = None) -> Answer:
        """Return what the model sees in ``frame``: (H, W), (H, W, 1) or (H, W, 3), uint8, grey or BGR.

        Args:
            frame: only read, and not after ``is_current`` was last asked.
            is_current: asked once ``frame`` was read; false means that it changed meanwhile.

        Raises:
            DataError: code ``frame.invalid`` or ``model.run_failed``.
            InvalidOutputError: the answer makes no sense.
            StaleFrameError: ``is_current`` said so.
        """
        ...

    def must_compile(self, height: int, width: int) -> bool:
        """Return whether `predict` will compile the model first for a frame of so many pixels, which takes seconds."""
        ...

    def prove(self) -> None:
        """Judge a grey picture of each size that is compiled, which warms everything up.

        Raises:
            DataError: the model does not do what its description says.
        """
        ...

    def run_bare(self) -> None:
        """Run the model on what its input holds, nothing else."""
        ...


class Model(Protocol):
    """Something compiled that lanes lead into."""

    @property
    def spec(self) -> ModelSpec:
        """Its complete description."""
        ...

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        ...

    def open_lane(self) -> Judge:
        """Make a lane.

        Raises:
            DataError: the decoder does not fit the model's outputs.
        """
        ...

    def close(self) -> None:
        """Free the engine; no lane may be running."""
        ...


class Lane:
    """The lane of a model with one input size: canvas, request and decoder of its own; a `Judge`."""

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        """Open a request.

        Raises:
            DataError: the decoder does not fit the model's outputs.
        """
        self._preprocessor = Preprocessor(spec.input)
        self._decoder = make_decoder(spec, engine.info.outputs)
        self._request = engine.open_request()
        self._size = spec.input.size
        self._expected = [(info.dtype, info.shape) for info in engine.info.outputs]
        self._may_change_shape = (spec.task, spec.decoder) in OPEN_ANSWERS

    def predict(self, frame: NDArray[np.uint8], is_current: Callable[[], bool] | None = None) -> Answer:
        """See `Judge`; ``frame`` is not read after the canvas was drawn."""
        begin = time.perf_counter_ns()
        transform = self._preprocessor.fill(frame, self._request.canvas())
        if is_current is not None and not is_current():
            raise StaleFrameError
        drawn = time.perf_counter_ns()
        outputs = self._request.infer()
        inferred = time.perf_counter_ns()
        for array, (dtype, shape) in zip(outputs, self._expected, strict=True):
            if array.dtype.name != dtype or (array.shape != shape and not self._may_change_shape):
                message = f"an output of {array.dtype.name} {array.shape}, it was {dtype} {shape} at first"
                raise InvalidOutputError(message, help="export the model with static shapes")
        with np.errstate(all="ignore"):  # a model may answer anything; decoders look at what came of it
            predictions = self._decoder.decode(outputs, transform)
        end = time.perf_counter_ns()
        return Answer(predictions, (drawn - begin) / 1e6, (inferred - drawn) / 1e6, (end - inferred) / 1e6)

    def must_compile(self, height: int, width: int) -> bool:
        """See `Judge`; the one size is compiled."""
        del height, width
        return False

    def prove(self) -> None:
        """See `Judge`."""
        self.predict(np.full((*self._size, 3), 114, np.uint8))

    def run_bare(self) -> None:
        """See `Judge`."""
        self._request.infer_bare()


class FixedModel:
    """A model with one input size; a `Model`."""

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        """Own ``engine``."""
        self.spec = spec
        self.info = engine.info
        self._engine = engine

    def open_lane(self) -> Lane:
        """See `Model`."""
        return Lane(self._engine, self.spec)

    def close(self) -> None:
        """See `Model`."""
        self._engine.close()
