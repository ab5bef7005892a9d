"""How right a model is, how far two runs agree, and how long they take: all through the product's own engines."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from surface_defects.engines import overlap_matrix
from surface_defects.precision import LEVELS, average_precision

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import EngineOptions
from edge_runtime.engine.lane import FixedModel
from edge_runtime.engine.loader import LoadedModel, all_in_words, make_engine
from edge_runtime.engine.package import Package, open_package
from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.preprocess import Preprocessor, limit_cv2_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from quantize_model.truth import Example

TASKS: Final = ("classification", "detection")
"""Tasks whose answers are compared; of others the raw outputs are."""
SAME_IOU: Final = 0.5
"""Boxes of two runs that overlap by less are not the same box."""
_LOWEST_SCORE: Final = 0.005
_MOST_BOXES: Final = 300
_TURN_S: Final = 0.06
_WARM_UP: Final = 3


class Contender:
    """One form of a model on one engine, open for judging.

    Attributes:
        package: as opened, with the thresholds of the package.
        model: compiled, with the thresholds of the judge.
    """

    def __init__(self, package: Package, backend: str, threads: int, *, doubtful: bool) -> None:
        """Compile ``package`` with ``backend`` on the CPU.

        Args:
            package: the model.
            backend: one of `engine.base.BACKENDS`.
            threads: cores of inference.
            doubtful: whether it tells of boxes below the package's threshold, too: average precision asks for them,
                and suppressing hundreds takes longer than many a model.

        Raises:
            DataError: the engine cannot, or the model does not do what its description says.
        """
        limit_cv2_threads()
        if package.spec.input.fit != "fixed":
            message = f"{package.ref.name}: its input has no size of its own"
            raise DataError("model.unsupported", message, help='write "input": {"size": [height, width]} and try again')
        self.package = package
        limits = package.spec.thresholds
        if package.spec.task == "classification":
            limits = replace(limits, by_label={}, score=0.0, max_predictions=1)
        elif package.spec.task == "detection" and doubtful:
            limits = replace(limits, by_label={}, score=_LOWEST_SCORE, max_predictions=_MOST_BOXES)
        judged = replace(package, spec=replace(package.spec, thresholds=limits))
        started_ns = time.perf_counter_ns()
        with all_in_words(package.ref.name):
            self._engine = make_engine(package, backend, EngineOptions(threads=threads))
            self.model = LoadedModel(judged, FixedModel(self._engine, judged.spec), 1, started_ns)

    def run(self, examples: Sequence[Example]) -> Run:
        """Judge every picture."""
        if self.package.spec.task not in TASKS:
            return Run((), tuple(self._raw(one.read()) for one in examples), 0)
        answers, invalid = [], 0
        for example in examples:
            try:
                answers.append(self.model.lanes[0].predict(example.read()).predictions)
            except InvalidOutputError:
                answers.append(())  # what has no verdict on the line is not right here
                invalid += 1
        return Run(tuple(answers), (), invalid)

    def _raw(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        request = self._engine.open_request()
        Preprocessor(self.package.spec.input).fill(frame, request.canvas())
        return np.concatenate([np.asarray(one, np.float32).ravel() for one in request.infer()])

    def close(self) -> None:
        """Free the engine."""
        self.model.close()


@dataclass(frozen=True, slots=True)
class Run:
    """What a contender answered to each picture, best first; raw outputs for tasks outside `TASKS`; answers refused."""

    answers: tuple[tuple[Prediction, ...], ...]
    raw: tuple[NDArray[np.float32], ...]
    invalid: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share that is right, 0..1, by `top-1` or `mAP50-95`; ``map50`` for detection."""

    metric: str
    value: float
    map50: float | None = None


def open_form(path: Path, backend: str, threads: int, *, doubtful: bool) -> Contender:
    """Open what ``backend`` gets when the product opens the model at ``path``; see `Contender`.

    Raises:
        DataError: it cannot be opened.
    """
    return Contender(open_package(path, (backend,)), backend, threads, doubtful=doubtful)


def accuracy(run: Run, examples: Sequence[Example], package: Package) -> Accuracy:
    """Compare a run with the truth."""
    if package.spec.task == "classification":
        right = [found[0].id == one.label for found, one in zip(run.answers, examples, strict=True) if found]
        return Accuracy("top-1", sum(right) / len(examples))
    table = np.array([_precisions(run, examples, label) for label in range(len(package.spec.labels))])
    shown = table[~np.isnan(table[:, 0])]  # labels of which the pictures have none say nothing
    if not len(shown):
        return Accuracy("mAP50-95", 0.0, 0.0)
    return Accuracy("mAP50-95", float(shown.mean()), float(shown[:, 0].mean()))


def _precisions(run: Run, examples: Sequence[Example], label: int) -> list[float]:
    """Average precision of one label at each of `LEVELS`."""
    scores: list[float] = []
    hits: list[NDArray[np.bool_]] = []
    truths = 0
    for found, example in zip(run.answers, examples, strict=True):
        boxes = example.boxes if example.boxes is not None else np.zeros((0, 5), np.float32)
        truth = boxes[boxes[:, 0] == label, 1:]
        truths += len(truth)
        mine = [one for one in found if one.id == label]
        overlaps = overlap_matrix(_corners(mine), truth)
        free = np.ones((len(LEVELS), len(truth)), np.bool_)
        for row, one in enumerate(mine):
            hit = np.zeros(len(LEVELS), np.bool_)
            for level, least in enumerate(LEVELS):
                candidates = np.where(free[level], overlaps[row], -1.0) if len(truth) else np.array([-1.0])
                best = int(candidates.argmax())
                if candidates[best] >= least:
                    hit[level], free[level, best] = True, False
            scores.append(one.score)
            hits.append(hit)
    order = np.argsort(-np.array(scores), kind="stable")
    table = np.array(hits, np.float32).reshape(-1, len(LEVELS))[order]
    return [average_precision(table[:, level], truths) for level in range(len(LEVELS))]


def _corners(found: Sequence[Prediction]) -> NDArray[np.float32]:
    rows = np.array([one.box for one in found], np.float32).reshape(-1, 4)
    rows[:, 2:] += rows[:, :2]
    return rows


def agreement(first: Run, second: Run, package: Package) -> float:
    """Return how far two runs say the same, 0..1.

    Classification: share of the pictures with the same first label. Detection: of all boxes above the package's
    thresholds, the share that has a partner of the same label with an overlap of `SAME_IOU`; 1 when neither run has
    any. Else: 1 minus the distance of the raw outputs, relative to their length, mean over the pictures.
    """
    pairs = list(zip(first.answers, second.answers, strict=True))
    if package.spec.task == "classification":
        return sum([one.id for one in a] == [one.id for one in b] for a, b in pairs) / len(pairs)
    if package.spec.task == "detection":
        firm = [(_firm(a, package), _firm(b, package)) for a, b in pairs]
        boxes = sum(len(a) + len(b) for a, b in firm)
        return 2 * sum(_matched(a, b) for a, b in firm) / boxes if boxes else 1.0
    distances = [
        float(np.linalg.norm(a - b) / max(float(np.linalg.norm(a)), 1e-9))
        for a, b in zip(first.raw, second.raw, strict=True)
    ]
    return max(0.0, 1 - statistics.mean(distances))


def seen(run: Run, package: Package) -> int:
    """Return how many boxes reach the package's thresholds; of other tasks, how many pictures there are."""
    if package.spec.task == "detection":
        return sum(len(_firm(one, package)) for one in run.answers)
    return len(run.answers) + len(run.raw)


def _firm(found: Sequence[Prediction], package: Package) -> list[Prediction]:
    limits = package.spec.thresholds
    return [one for one in found if one.score >= limits.by_label.get(one.label, limits.score)]


def _matched(first: Sequence[Prediction], second: Sequence[Prediction]) -> int:
    overlaps = overlap_matrix(_corners(first), _corners(second))
    for row, one in enumerate(first):
        overlaps[row, [other.id != one.id for other in second]] = -1
    count = 0
    while overlaps.size and overlaps.max() >= SAME_IOU:  # best pairs first, each box once
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[row, :] = overlaps[:, column] = -1
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class Pace:
    """Milliseconds of one run of the bare model by the clock, and of processor time.

    ``speedup`` says how many times less processor time it takes than the first of the race: what a box that is full
    gains in throughput, and the one figure that other work on the machine hardly changes.
    """

    p50_ms: float
    p99_ms: float
    cpu_ms: float
    speedup: float


def race(contenders: dict[str, Contender], rounds: int) -> dict[str, Pace]:
    """Time the bare models in short turns, one after the other, so that all see the same machine.

    Absolute times drift with the load, so ``speedup`` is the median over the rounds of the ratio to the first
    contender's turn in the same round.
    """
    lanes = {name: one.model.open_lane() for name, one in contenders.items()}
    repeats = {}
    for name, lane in lanes.items():
        for _ in range(_WARM_UP):
            begin = time.perf_counter()
            lane.run_bare()
        repeats[name] = max(1, round(_TURN_S / (time.perf_counter() - begin)))
    clock: dict[str, list[float]] = {name: [] for name in lanes}
    processor: dict[str, list[float]] = {name: [] for name in lanes}
    for _ in range(rounds):
        for name, lane in lanes.items():
            before = time.process_time()
            for _ in range(repeats[name]):
                begin = time.perf_counter()
                lane.run_bare()
                clock[name].append((time.perf_counter() - begin) * 1e3)
            processor[name].append((time.process_time() - before) * 1e3 / repeats[name])
    reference = next(iter(processor.values()))
    return {
        name: Pace(
            p50_ms=float(np.percentile(clock[name], 50)),
            p99_ms=float(np.percentile(clock[name], 99)),
            cpu_ms=statistics.median(turns),
            speedup=statistics.median(base / turn for base, turn in zip(reference, turns, strict=True)),
        )
        for name, turns in processor.items()
    }
