"""Settings of when this box may change to another model; they only make stricter what a rollout says."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_runtime.config.section import Section
from edge_runtime.config.types import MaintenanceWindow  # noqa: TC001 - pydantic reads the annotations


class Updates(Section):
    """When this box may change to another release of a model; what a rollout asks for beside it holds as well."""

    window: MaintenanceWindow | None = Field(
        default=None,
        description='when it may be switched, in local time, for example "Mon-Fri,22:00-05:00; Sat-Sun,00:00-24:00"; '
        "a window may pass midnight, UTC at the end means UTC; by default at any time",
    )
    between_lots: bool = Field(
        default=False,
        description="switch only while no lot is running; the command lot says when one is, until then nothing changes",
    )
    approve: Literal["auto", "operator"] = Field(
        default="auto", description="operator: each release waits until somebody says model.approve"
    )
    hold: bool = Field(default=False, description="begin no update at all; what is in probation goes on")
