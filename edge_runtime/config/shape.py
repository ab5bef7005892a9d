"""What a setting accepts, read from the schema's annotations: for messages, overrides and ``config show``."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, SecretStr

from edge_runtime.config.types import Expect, Shorthand
from edge_runtime.config.yaml12 import resolve
from edge_runtime.core.source import Source

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from edge_runtime.config.checks import Loc
    from edge_runtime.config.tree import Scalar


class Kind(Enum):
    """The kinds of settings there are."""

    SECTION = "section"  # a map with fixed keys
    NAMES = "names"  # a map with free keys
    LIST = "list"
    TEXT = "text"  # also paths, sources and secrets
    CHOICE = "choice"
    BOOL = "bool"
    WHOLE = "whole number"
    NUMBER = "number"


_WORDS = {Kind.NAMES: "a map of names", Kind.LIST: "a list", Kind.TEXT: "text", Kind.BOOL: "true or false"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What one setting accepts.

    Attributes:
        kind: what it is made of.
        model: class of a section.
        item: shape of the values of ``NAMES`` and ``LIST``.
        choices: allowed values of ``CHOICE``.
        low: smallest allowed value.
        high: largest allowed value.
        expect: words for "must be", where the annotation has any.
        shorthand: words by which a section may be replaced, for example ``continuous, mqtt``.
        secret: the value must never be shown.
    """

    kind: Kind
    model: type[BaseModel] | None = None
    item: Shape | None = None
    choices: tuple[object, ...] = ()
    low: float | None = None
    high: float | None = None
    expect: str | None = None
    shorthand: str | None = None
    secret: bool = False

    @property
    def words(self) -> str:
        """What follows "must be"."""
        if self.expect:
            return self.expect
        if self.kind is Kind.SECTION:
            names = ", ".join(self.fields)
            return f"{self.shorthand} or a map with {names}" if self.shorthand else f"a map with {names}"
        if self.kind is Kind.CHOICE:
            return "one of " * (len(self.choices) > 1) + ", ".join(str(choice) for choice in self.choices)
        return _WORDS.get(self.kind) or f"a {self.kind.value}{self._range()}"

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        """Settings of a section by name; empty for everything else."""
        return self.model.model_fields if self.model else {}

    def child(self, step: str | int) -> Shape | None:
        """Return the shape of one setting inside, ``None`` if there is no such."""
        if isinstance(step, str) and step in self.fields:
            found = self.fields[step]
            return shape_of(found.annotation, found.metadata)
        fits = isinstance(step, int) if self.kind is Kind.LIST else self.kind is Kind.NAMES
        return self.item if fits else None

    def _range(self) -> str:
        if self.low is not None and self.high is not None:
            return f" from {self.low:.12g} to {self.high:.12g}"
        return "" if self.low is None else f" of at least {self.low:.12g}"


def at(root: type[BaseModel], loc: Loc) -> Shape | None:
    """Walk down from a section class; ``None`` if the schema has nothing at ``loc``."""
    shape: Shape | None = Shape(Kind.SECTION, model=root)
    for step in loc:
        if shape is None:
            return None
        shape = shape.child(step)
    return shape


def typed(text: str, shape: Shape | None) -> Scalar:
    """Give a variable's text the type that its setting wants; empty text stays text, for it unsets nothing unseen."""
    return text if not text or (shape is not None and shape.kind is Kind.TEXT) else resolve(text)


def shape_of(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> Shape:  # noqa: ANN401 - any type expression
    """Describe a type expression of the schema; ``metadata`` are the extras of its ``Annotated``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extras = get_args(annotation)
        return shape_of(inner, [*extras, *metadata])
    if origin in (Union, types.UnionType):
        inner = next(part for part in get_args(annotation) if part is not type(None))
        return shape_of(inner, metadata)
    return _with_extras(_plain(annotation, origin), metadata)


_SCALARS: dict[Any, Kind] = {bool: Kind.BOOL, int: Kind.WHOLE, float: Kind.NUMBER}
_TEXTS = (str, Path, Source, SecretStr)


def _plain(annotation: Any, origin: Any) -> Shape:  # noqa: ANN401 - any type expression
    if origin is Literal:
        return Shape(Kind.CHOICE, choices=get_args(annotation))
    if origin is Mapping:
        return Shape(Kind.NAMES, item=shape_of(get_args(annotation)[1]))
    if origin is tuple:
        return Shape(Kind.LIST, item=shape_of(get_args(annotation)[0]))
    if annotation in _TEXTS:
        return Shape(Kind.TEXT, secret=annotation is SecretStr)
    if annotation in _SCALARS:
        return Shape(_SCALARS[annotation])
    return Shape(Kind.SECTION, model=annotation)


def _with_extras(shape: Shape, extras: list[Any] | tuple[Any, ...]) -> Shape:
    for extra in extras:
        match extra:
            case Expect(words):
                shape = replace(shape, expect=words)
            case Shorthand(words):
                shape = replace(shape, shorthand=words)
            case annotated_types.Ge(limit) if isinstance(limit, (int, float)):
                shape = replace(shape, low=limit)
            case annotated_types.Le(limit) if isinstance(limit, (int, float)):
                shape = replace(shape, high=limit)
            case _:
                inner = getattr(extra, "metadata", None)  # a FieldInfo inside Annotated keeps its bounds there
                if inner:
                    shape = _with_extras(shape, inner)
    return shape
