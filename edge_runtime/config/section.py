"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

NOT_YET = "x-not-yet"


def not_yet(what: str, **more: Any) -> Any:  # noqa: ANN401 - as pydantic.Field itself
    """Declare an optional setting of the contract that this version refuses; ``what`` names the missing feature."""
    return Field(default=None, json_schema_extra={NOT_YET: what}, **more)


class Section(BaseModel):
    """What all sections have in common."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=False,
    )
