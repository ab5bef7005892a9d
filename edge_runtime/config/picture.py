"""Settings of what is looked for in the pictures of a camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from edge_runtime.config.section import Section
from edge_runtime.config.types import Fraction, refuse


class Picture(Section):
    """When the picture of a camera counts as bad; limits that are left out follow from its reference picture."""

    off: Annotated[
        tuple[Literal["frozen", "dark", "bright", "covered", "blurred", "moved"], ...], Field(max_length=6)
    ] = Field(default=(), description="what is not looked for: frozen, dark, bright, covered, blurred, moved")
    dark: float | None = Field(
        default=None,
        ge=0,
        le=255,
        description="mean grey, 0 to 255, below which a picture is dark; by default half of the reference, or 16",
    )
    bright: Fraction | None = Field(
        default=None,
        description="share of white pixels above which it is overexposed; by default a fifth more of those that "
        "are not in the reference, or 0.5",
    )
    covered: Fraction | None = Field(
        default=None,
        description="share of the picture on edges below which the lens is covered; by default a quarter of the "
        "reference; without one, only a picture of a single grey",
    )
    blurred: Fraction | None = Field(
        default=None,
        description="share of an edge within two pixels below which it is blurred; by default half of the reference, "
        "or 0.3",
    )
    moved: Fraction | None = Field(
        default=None,
        description="shift against the reference, as a fraction of width or height, above which the camera was moved; "
        "by default 0.03; never without a reference",
    )
    after_s: float = Field(default=4.0, ge=0.5, le=3600, description="seconds a fault must last before it counts")
    not_decidable: bool = Field(
        default=False, description="judge no frame while the picture is bad: its results are NotDecidable, bad_picture"
    )


def written_picture(value: object) -> object:
    """Take ``true`` for the defaults and ``false`` for none of it."""
    if isinstance(value, bool):
        return {} if value else {"off": ("frozen", "dark", "bright", "covered", "blurred", "moved")}
    if not isinstance(value, Mapping | Picture):
        raise refuse("config.picture", "must be true, false or a map", "for example  picture: {not_decidable: true}")
    return value
