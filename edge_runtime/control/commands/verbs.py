"""The verbs there are, and the check of their arguments against the types of ``publish.contract.command``: pure."""

from __future__ import annotations

import types
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, NotRequired, get_args, get_origin, get_type_hints

from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.core.command import Status
from edge_runtime.publish.contract.catalogue import COMMANDS
from edge_runtime.publish.contract.command import TEXT_MAX, Command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.contract.terms import Term

TRIGGER = "trigger"
COMMON = frozenset(get_type_hints(Command))
_WHOLE_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Verb:
    """What the desk must know of a verb.

    Attributes:
        critical: what it changes must not be changed twice or unseen: on disk before it is carried out, and told.
        signed: refused without a signature, whatever the configuration says.
        lenient: fields that nobody knows are ignored, an empty body is an empty object, and no id is needed.
    """

    critical: bool = False
    signed: bool = False
    lenient: bool = False


VERBS: Mapping[str, Verb] = {
    TRIGGER: Verb(lenient=True),
    "pause": Verb(critical=True),
    "resume": Verb(critical=True),
    "recipe.select": Verb(critical=True),
    "snapshot": Verb(),
    "reset": Verb(critical=True),
    "config.get": Verb(),
    "replay": Verb(),
    "spool.requeue": Verb(critical=True),
    "model.check": Verb(),
    "model.update": Verb(critical=True, signed=True),
    "model.rollback": Verb(critical=True, signed=True),
    "model.approve": Verb(critical=True, signed=True),
    "model.hold": Verb(critical=True, signed=True),
    "lot": Verb(critical=True),
}


@dataclass(frozen=True, slots=True)
class _Field:
    """What a field takes: types, the bounds of its term, and the only texts where there are but some."""

    types: frozenset[object]
    term: Term
    is_required: bool
    choices: tuple[str, ...] = ()


def _field(hint: Any) -> _Field:  # noqa: ANN401 - a type form has no type of its own
    is_required = get_origin(hint) is not NotRequired
    inner = hint if is_required else get_args(hint)[0]
    plain, term = get_args(inner)  # every field of a command is Annotated with its Term
    if get_origin(plain) is Literal:
        return _Field(frozenset((str,)), term, is_required, get_args(plain))
    options = get_args(plain) if isinstance(plain, types.UnionType) else (plain,)
    return _Field(frozenset(options) - {types.NoneType}, term, is_required)


_FIELDS = {
    verb: {
        name: _field(hint)
        for name, hint in get_type_hints(COMMANDS[verb], include_extras=True).items()
        if name not in COMMON
    }
    for verb in VERBS
}


def takes_only_text(verb: str, name: str) -> bool:
    """Return whether a field takes text and nothing else, so that what looks like a number is meant as text."""
    field = _FIELDS.get(verb, {}).get(name)
    return field is not None and field.types == {str}


def check_arguments(verb: str, document: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of ``document`` that are the verb's own, each of its type; ``None`` counts as left out.

    A whole number where a text may stand too is returned as text: ids are compared, not counted with.

    Raises:
        RefusedError: 400: a field is unknown, missing, or not as declared.
    """
    known, found = _FIELDS[verb], {}
    for name, value in document.items():
        if name in known and value is not None:
            found[name] = _checked(f"{verb}: {name}", value, known[name])
        elif name not in known and name not in COMMON and not VERBS[verb].lenient:
            near = get_close_matches(name, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"it has: {', '.join(known) or 'none'}"
            raise RefusedError(Status.MALFORMED, "field", f'{verb} has no field "{name[:40]}"; {hint}')
    missing = [name for name, field in known.items() if field.is_required and name not in found]
    if missing:
        way = f"edge-runtime command takes it as --arg {missing[0]}=VALUE"
        raise RefusedError(Status.MALFORMED, "field", f"{verb} needs {' and '.join(missing)} in its JSON object; {way}")
    return found


def text(where: str, value: object) -> str:
    """Return a name, or a text, as text.

    Raises:
        RefusedError: 400: it is neither, or too long.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > TEXT_MAX:
        raise RefusedError(Status.MALFORMED, "field", f"{where} must be a text of at most {TEXT_MAX} characters")
    return str(value)


def _checked(where: str, value: object, field: _Field) -> object:
    if field.types == {str, int}:
        return text(where, value)
    if field.types == {str}:
        if not isinstance(value, str):
            raise RefusedError(Status.MALFORMED, "field", f"{where} must be a text")
        if field.choices and value not in field.choices:
            raise RefusedError(Status.MALFORMED, "field", f"{where} must be one of: {', '.join(field.choices)}")
        return text(where, value)
    if field.types == {int}:
        return _whole(where, value, field.term)
    if not isinstance(value, bool):
        raise RefusedError(Status.MALFORMED, "field", f"{where} must be true or false")
    return value


def _whole(where: str, value: object, term: Term) -> int:
    low = 0 if term.minimum is None else int(term.minimum)
    high = _WHOLE_MAX if term.maximum is None else int(term.maximum)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RefusedError(Status.MALFORMED, "field", f"{where} must be a whole number from {low} to {high}")
    return value
