"""What an assignment asks beside a release: maintenance window and gates, as text and as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gates:
    """What a candidate must reach before it stays, see `parse_gates`.

    Attributes:
        shadow_frames: frames that shadow has to compare.
        shadow_s: seconds that it has for them.
        disagreement_max: share of the compared frames with another evaluation than the old model's.
        canary_frames: frames that the canary has to judge.
        probation_frames: frames that probation has to judge.
        latency_ratio_max: p99 against the old model's.
        undecided_max: share of NotDecidable more than the old model's.
        not_ok_shift_max: difference of the share of NotOK to the old model's.
        score_shift_max: population stability index of the scores against the old model's.
        memory_growth_mb: MiB that the process of the candidate may grow by in probation.
        crashes_max: strikes that are forgiven; one more rolls back.
    """

    shadow_frames: int = 200
    shadow_s: float = 600.0
    disagreement_max: float = 0.02
    canary_frames: int = 200
    probation_frames: int = 1000
    latency_ratio_max: float = 2.0
    undecided_max: float = 0.01
    not_ok_shift_max: float = 0.25
    score_shift_max: float = 0.5
    memory_growth_mb: float = 64.0
    crashes_max: int = 2
