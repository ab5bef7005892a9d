"""``${VAR}``, ``${VAR:-default}`` and ``${VAR:?message}`` inside values; pure.

Done after parsing and only inside scalars, so that a variable can never add keys, and line numbers stay true.
``$${`` is a literal ``${``. Unlike a shell there is no nesting and no ``$VAR`` without braces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?P<escaped>\$)(?=\{)|\$\{(?P<inside>[^{}]*)\}|\$\{")
_INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<how>[-?])(?P<rest>.*))?", re.DOTALL)


class ExpansionError(Exception):
    """A reference that has no value. The caller knows the place.

    Attributes:
        message: which one.
        whole: the same with what stood behind ``:?``, which is not to be shown of a password.
        help: the way out.
    """

    def __init__(self, message: str, way_out: str, said: str = "") -> None:
        """Keep the parts."""
        super().__init__(message)
        self.message = message
        self.whole = f"{message}: {said}" if said else message
        self.help = way_out


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace every reference in ``text`` by its value from ``environ``.

    ``:-`` and ``:?`` also act when the variable is set but empty, as in a shell.

    Raises:
        ExpansionError: a variable without default is not set, or a reference is malformed.
    """

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"  # "$${" becomes "${": what follows is not looked at again
        inside = _INSIDE.fullmatch(found["inside"] or "")
        if inside is None:
            raise ExpansionError("a reference that is not of the form ${NAME}", "write $${ for a literal ${")
        name, how = inside["name"], inside["how"]
        current = environ.get(name)
        if how is None and current is not None:
            return current
        if how is not None and current:
            return current
        if how == "-":
            return str(inside["rest"])
        message = f"variable {name} is {'not set' if current is None else 'empty'}"
        if how == "?" and inside["rest"]:
            raise ExpansionError(message, f"export {name}=...", str(inside["rest"]))
        raise ExpansionError(message, f"export {name}=..., or give a default with  ${{{name}:-value}}")

    return _REFERENCE.sub(value, text)
