"""The verbs there are, and the check of their arguments against the types of ``publish.contract.commands``: pure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_type_hints

from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.core.command import Status
from edge_runtime.publish.contract import commands as contract

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE_MAX = (1 << 63) - 1
IDS_MAX = 10_000
COMMON = frozenset(get_type_hints(contract.CommandFields))
TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class Verb:
    """What the desk must know of a verb.

    Attributes:
        arguments: the TypedDict that names its fields and their types.
        critical: what it changes must not be changed twice or unseen: on disk before it is carried out, and told.
        signed: refused without a signature, whatever the configuration says.
        lenient: fields that nobody knows are ignored, an empty body is an empty object, and no id is needed.
    """

    arguments: type
    critical: bool = False
    signed: bool = False
    lenient: bool = False


VERBS: Mapping[str, Verb] = {
    TRIGGER: Verb(contract.TriggerArguments, lenient=True),
    "pause": Verb(contract.PauseArguments, critical=True),
    "resume": Verb(contract.PauseArguments, critical=True),
    "recipe.select": Verb(contract.RecipeSelectArguments, critical=True),
    "snapshot": Verb(contract.SnapshotArguments),
    "reset": Verb(contract.ResetArguments, critical=True),
    "config.get": Verb(contract.ConfigGetArguments),
    "replay": Verb(contract.ReplayArguments),
    "spool.requeue": Verb(contract.RequeueArguments, critical=True),
    "model.update": Verb(contract.ModelUpdateArguments, critical=True, signed=True),
    "model.rollback": Verb(contract.ModelRollbackArguments, critical=True, signed=True),
}
_TYPES = {name: get_type_hints(verb.arguments) for name, verb in VERBS.items()}


def check_arguments(name: str, document: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of ``document`` that are the verb's own, each of its type; ``None`` counts as left out.

    Raises:
        RefusedError: 400: a field is unknown, or has another type than declared.
    """
    types = _TYPES[name]
    found = {}
    for key, value in document.items():
        if key in COMMON:
            continue
        if key not in types:
            if VERBS[name].lenient:
                continue
            near = get_close_matches(key, types, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"it has: {', '.join(types)}"
            raise RefusedError(Status.MALFORMED, "field", f'{name} has no field "{key[:40]}"; {hint}')
        if value is not None:
            found[key] = _checked(f"{name}: {key}", value, types[key])
    return found


def text(where: str, value: object) -> str:
    """Return a name, or a text, as text.

    Raises:
        RefusedError: 400: it is neither, or too long.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > contract.TEXT_MAX:
        raise RefusedError(
            Status.MALFORMED, "field", f"{where} must be a text of at most {contract.TEXT_MAX} characters"
        )
    return str(value)


def _checked(where: str, value: object, wanted: object) -> object:
    if wanted == contract.Name:
        return text(where, value)
    if wanted is str:
        if not isinstance(value, str):
            raise RefusedError(Status.MALFORMED, "field", f"{where} must be a text")
        return text(where, value)
    if wanted is int:
        return _whole(where, value)
    if not isinstance(value, list) or len(value) > IDS_MAX:
        raise RefusedError(Status.MALFORMED, "field", f"{where} must be a list of at most {IDS_MAX} whole numbers")
    return [_whole(where, one) for one in value]


def _whole(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= WHOLE_MAX:
        raise RefusedError(Status.MALFORMED, "field", f"{where} must be a whole number from 0 to {WHOLE_MAX}")
    return value
