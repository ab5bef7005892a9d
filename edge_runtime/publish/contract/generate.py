"""Makes JSON Schema (draft 2020-12) out of the types of the wire. Pure.

Understood: ``TypedDict`` (``NotRequired``), ``Literal``, ``list[X]``, ``dict[str, X]``, unions, ``str``, ``int``,
``float``, ``bool``, ``None``, ``object`` (anything), and ``Annotated`` with a ``Term``. The first sentence of a type's
docstring is its description. No object is closed: readers ignore what they do not know.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from edge_runtime.core.errors import InvariantError
from edge_runtime.publish.contract.terms import Term

DIALECT = "https://json-schema.org/draft/2020-12/schema"
READERS = "Readers must ignore fields that are not listed here."
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
_KEYWORDS = {  # field of Term -> keyword
    "about": "description",
    "pattern": "pattern",
    "minimum": "minimum",
    "maximum": "maximum",
    "min_items": "minItems",
    "max_items": "maxItems",
    "max_length": "maxLength",
}


def schema_of(document: type, schema_id: str) -> dict[str, object]:
    """Return the JSON Schema of a ``TypedDict``; ``schema_id`` is for example ``vision.result/1``.

    Raises:
        InvariantError: a type has no form in JSON Schema.
    """
    body = _object(document)
    body.pop("description")
    return {
        "$schema": DIALECT,
        "$id": f"urn:edge-runtime:{schema_id}",
        "title": _about(document),
        **body,
        "description": READERS,
    }


def _about(document: type) -> str:
    return " ".join((document.__doc__ or "").partition("\n\n")[0].split()).rstrip(".")


def _object(document: type) -> dict[str, Any]:
    hints = get_type_hints(document, include_extras=True)
    required = [name for name, hint in hints.items() if get_origin(hint) is not NotRequired]
    properties = {
        name: _schema(get_args(hint)[0] if get_origin(hint) is NotRequired else hint) for name, hint in hints.items()
    }
    schema: dict[str, Any] = {"type": "object", "description": _about(document), "properties": properties}
    return schema | ({"required": required} if required else {})


def _schema(hint: Any) -> dict[str, Any]:  # noqa: ANN401 - a type form has no type of its own
    if is_typeddict(hint):
        return _object(hint)
    if hint is object:
        return {}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    return _composed(hint)


def _composed(hint: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _with_terms(_schema(arguments[0]), arguments[1:])
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is dict:
        values = _schema(arguments[1])
        return {"type": "object"} | ({"additionalProperties": values} if values else {})
    if origin in (Union, types.UnionType):
        return _any_of([_schema(argument) for argument in arguments])
    msg = f"{hint!r} has no form in JSON Schema"
    raise InvariantError("contract.type", msg)


def _with_terms(schema: dict[str, Any], terms: tuple[Any, ...]) -> dict[str, Any]:
    for term in terms:
        if isinstance(term, Term):
            found = {keyword: getattr(term, field) for field, keyword in _KEYWORDS.items()}
            schema = schema | {keyword: value for keyword, value in found.items() if value is not None}
    return schema


def _any_of(options: list[dict[str, Any]]) -> dict[str, Any]:
    """Join options; bare types become a list of types, which is easier to read."""
    if all(set(option) == {"type"} for option in options):
        return {"type": [option["type"] for option in options]}
    return {"anyOf": options}
