"""The findings of a run, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantize_model.judge import Accuracy, Pace


@dataclass(frozen=True, slots=True)
class Measured:
    """One form of the model on one engine; ``None`` = not measured."""

    precision: str
    backend: str
    size_bytes: int
    accuracy: Accuracy | None
    pace: Pace | None
    invalid: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One recipe and what came of it.

    Attributes:
        recipe: in words.
        rows: fp32 and INT8 on each engine.
        drop_points: by engine, how many points of 100 the INT8 form is worse; ``None`` without labels.
        agreement: by pair of runs, 0..1.
        refusals: why it is not handed out; none = it is.
        warnings: what the reader should know all the same.
    """

    recipe: str
    rows: tuple[Measured, ...]
    drop_points: dict[str, float] | None
    agreement: dict[str, float]
    refusals: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """Everything about a run, as `--json` prints it and the package keeps it.

    Attributes:
        source: path of the fp32 model.
        facts: frames, pictures, CPU, versions.
        doubts: what is suspicious about the calibration frames.
        attempts: in order; the last one was accepted if any was.
        package: where the new package is, ``None`` = nothing was good enough.
    """

    source: str
    facts: dict[str, Any]
    doubts: tuple[str, ...]
    attempts: list[Attempt] = field(default_factory=list)
    package: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"schema": "quantization/1", "accepted": self.package is not None, **asdict(self)}


def _row(one: Measured) -> str:
    accuracy = f"{one.accuracy.value:.4f}" if one.accuracy else "-"
    pace = (f"{one.pace.p50_ms:.2f}", f"{one.pace.p99_ms:.2f}", f"{one.pace.speedup:.2f}") if one.pace else ("-",) * 3
    cells = (one.precision, one.backend, f"{one.size_bytes / 1e6:.2f}", accuracy, *pace)
    return f"{cells[0]:<6}{cells[1]:<13}{cells[2]:>8}{cells[3]:>10}{cells[4]:>9}{cells[5]:>9}{cells[6]:>9}"


def table(attempt: Attempt) -> str:
    """Return one attempt as text."""
    metric = next((one.accuracy.metric for one in attempt.rows if one.accuracy), "-")
    lines = [f"{'':<6}{'engine':<13}{'MB':>8}{metric:>10}{'p50 ms':>9}{'p99 ms':>9}{'speedup':>9}"]
    lines += [_row(one) for one in attempt.rows]
    lines += [f"agreement {name}: {value:.4f}" for name, value in attempt.agreement.items()]
    lines += [f"drop {name}: {points:+.2f} points" for name, points in (attempt.drop_points or {}).items()]
    lines += [f"warning: {one}" for one in attempt.warnings]
    lines += [f"refused: {one}" for one in attempt.refusals]
    return "\n".join(lines)
