"""Reads a configuration: files, ``config.d``, variables, secrets, defaults; and tells all its mistakes at once.

Order, later wins: the file, ``config.d/*.yaml`` beside it by name (maps merge, lists replace), ``EDGE__...`` variables,
options. Then ``${VAR}`` is expanded in what came from files, ``!secret`` looked up, and everything validated. Relative
paths start at the directory of the file.

The only module that reads the environment, which is passed in; nothing here starts or opens anything but files.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from pydantic import BaseModel, SecretStr, ValidationError

from edge_runtime.config.checks import cross_references, dotted
from edge_runtime.config.complete import complete
from edge_runtime.config.expand import ExpansionError, expand
from edge_runtime.config.explain import Finding, explain, find, not_available, place
from edge_runtime.config.files import missing_files
from edge_runtime.config.overrides import from_environment, from_options, put
from edge_runtime.config.report import InvalidConfigError, Problem, SourceText, make_excerpt
from edge_runtime.config.schema import STATE_DIR, Settings
from edge_runtime.config.secrets import SecretError, SecretStore, read_secret
from edge_runtime.config.shape import Kind, Shape
from edge_runtime.config.tree import DEFAULT, Entry, Node, Origin, Place
from edge_runtime.config.types import BASE
from edge_runtime.config.yaml12 import LIMIT_BYTES, LINE_BREAK, parse, resolve
from edge_runtime.core.errors import ConfigError, InvariantError
from edge_runtime.system.redact import hide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_runtime.config.checks import Loc

LOCAL_FILE: Final = Path("edge.yaml")
SYSTEM_FILE: Final = Path("/etc/edge-runtime/config.yaml")
FRAGMENTS: Final = "config.d"
PROBLEMS_LIMIT: Final = 1000  # nobody mends more at once, and wording them takes long


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be run.

    Attributes:
        settings: the validated settings; relative paths have become absolute.
        origins: where each setting comes from, by dotted path; lists count as one setting.
        warnings: what is worth saying although it can be run.
        files: every file that was read, the main one first.
        secrets: every secret value in ``settings``, for a ``Redactor``.
    """

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...]
    secrets: frozenset[str] = field(repr=False)


def find_config(explicit: str | None, environ: Mapping[str, str]) -> Path:
    """Return the file to load: ``--config``, ``$EDGE_CONFIG``, ``./edge.yaml``, ``/etc/edge-runtime/config.yaml``.

    Raises:
        ConfigError: none was named and neither of the two usual ones exists.
    """
    named = explicit or environ.get("EDGE_CONFIG")
    if named:
        return Path(named)
    for path in (LOCAL_FILE, SYSTEM_FILE):
        if path.is_file():
            return path
    raise ConfigError(
        "config.not_found",
        f"no configuration: neither ./{LOCAL_FILE} nor {SYSTEM_FILE} exists",
        help="edge-runtime config init > edge.yaml  makes one, --config FILE names another",
    )


def load(path: Path, *, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Loaded:
    """Read and validate the configuration in ``path``.

    Args:
        path: the main file.
        environ: environment variables.
        overrides: values by dotted path that win over everything, for example ``{"mqtt.port": 1884}``.

    Raises:
        InvalidConfigError: anything at all is wrong; it holds every problem that could be found.
    """
    return _Load(path, environ).run(overrides or {})


class _Load:
    """One loading: collects problems while the tree goes from step to step."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._base = Path(os.path.abspath(path.parent))  # noqa: PTH100 - resolve() would follow links of /etc
        self._environ = environ
        self._lines: dict[str, Sequence[str]] = {}  # by file
        self._problems: list[Problem] = []
        self._secrets: set[str] = set()

    def run(self, overrides: Mapping[str, object]) -> Loaded:
        root = self._read_all()
        if root is None:
            raise self._invalid()
        root, unknown_variables = from_environment(root, self._environ)
        root, unknown_options = from_options(root, overrides)
        self._problems += unknown_variables + unknown_options
        root = self._values(root)
        root = self._defaults(root)
        password = self._password_file(root)
        settings = self._validate(root)
        if settings is None or any(not problem.warning for problem in self._problems):
            raise self._invalid()
        origins = dict(_origins(settings, root))
        if password is not None:
            secret, origin = password
            settings = settings.model_copy(update={"mqtt": settings.mqtt.model_copy(update={"password": secret})})
            origins["mqtt.password"] = origin
        self._register(settings)
        files = tuple(Path(name) for name in self._lines)
        return Loaded(settings, origins, tuple(self._finished()), files, frozenset(self._secrets))

    # files

    def _read_all(self) -> Node | None:
        """Return the merged tree; ``None`` when any file could not be read, for then half of it would seem missing."""
        root = self._read(self._path)
        directory = self._path.parent / FRAGMENTS
        try:
            names = sorted(os.listdir(directory))  # noqa: PTH208 - names are what is sorted and tested
        except (FileNotFoundError, NotADirectoryError):
            names = []
        except (OSError, ValueError) as error:
            self._add("config.unreadable", f"cannot read {directory}: {error}", Origin(Place.FILE, str(directory)))
            return None
        for name in names:
            if not name.endswith(".yaml") or name.startswith("."):
                continue
            fragment = self._read(directory / name, may_be_empty=True)
            root = None if root is None or fragment is None else _merge(root, fragment)
        return root

    def _read(self, path: Path, *, may_be_empty: bool = False) -> Node | None:
        name = str(path)
        origin = Origin(Place.FILE, name)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                self._add("config.unreadable", f"{name} is not a file", origin, "name the YAML file itself")
                return None
            with path.open("rb") as file:
                raw = file.read(LIMIT_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or str(error)
            self._add("config.unreadable", f"cannot read {name}: {reason}", origin, "check its path and its owner")
            return None
        if len(raw) > LIMIT_BYTES:
            self._add("config.too_large", f"{name} is larger than {LIMIT_BYTES // 1024} KiB", origin, "split it")
            return None
        text = self._decode(raw, name)
        if text is None:
            return None
        self._lines[name] = LINE_BREAK.split(text.removeprefix("\ufeff"))
        document = parse(text, name)
        if may_be_empty and [problem.code for problem in document.problems] == ["yaml.empty"]:
            return Node({}, Origin(Place.FILE, name, 1, 1, 1, 2))
        self._problems += document.problems
        return document.root

    def _decode(self, raw: bytes, name: str) -> str | None:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            before = LINE_BREAK.split(raw[: error.start].decode())
            origin = Origin(Place.FILE, name, len(before), len(before[-1]) + 1, len(before), len(before[-1]) + 2)
            self._add("yaml.encoding", f"byte 0x{raw[error.start]:02x} is not UTF-8", origin, "save the file as UTF-8")
            return None

    # values

    def _values(self, root: Node) -> Node:
        """Expand variables and look secrets up."""
        store = SecretStore(self._environ, self._base)

        def value(node: Node) -> Node:
            if node.secret:
                secret = store.get(str(node.value))
                self._secrets.add(secret)
                return replace(node, value=secret)
            if node.origin.place is not Place.FILE or not isinstance(node.value, str) or "${" not in node.value:
                return node
            text = expand(node.value, self._environ)
            return replace(node, value=text) if node.raw is None else replace(node, value=resolve(text), raw=text)

        def checked(node: Node, loc: Loc) -> Node:
            try:
                return value(node)
            except (ExpansionError, SecretError) as error:
                self._problems.append(Problem("config.no_value", error.message, node.origin, dotted(loc), error.help))
                return replace(node, value=None, secret=False, broken=True)

        return _map_scalars(root, checked, ())

    def _defaults(self, root: Node) -> Node:
        """Add what follows from the box: its name and where it keeps state."""
        for name, value, why in (
            ("edge", _box_name(), "host name"),
            ("state_dir", *_state_dir(self._environ)),
        ):
            if isinstance(root.value, dict) and name not in root.value:
                root = put(root, (name,), Node(value, Origin(Place.DEFAULT, why)))
        return root

    def _password_file(self, root: Node) -> tuple[SecretStr, Origin] | None:
        spot = find(root, ("mqtt", "password_file"))
        if spot.node is None or not isinstance(spot.node.value, str) or not spot.node.value:
            return None
        path = self._base / spot.node.value
        try:
            secret = read_secret(path)
        except SecretError as error:
            path_of = "mqtt.password_file"
            self._problems.append(Problem("config.no_value", error.message, spot.origin, path_of, error.help))
            return None
        self._secrets.add(secret)
        return SecretStr(secret), Origin(Place.FILE, str(path))

    def _validate(self, root: Node) -> Settings | None:
        data = cast("dict[str, object]", _plain(root, Shape(Kind.SECTION, model=Settings)))
        completed = complete(data)
        mistakes = [*cross_references(completed), *missing_files(completed, self._base)]
        self._problems += place(root, mistakes)
        self._problems += not_available(root)
        said = {mistake.loc for mistake in mistakes}
        try:
            return Settings.model_validate(data, context={BASE: self._base})
        except ValidationError as error:
            findings = cast("list[Finding]", error.errors(include_url=False, include_input=False))
            untold = (finding for finding in findings if finding["loc"] not in said)
            self._problems += explain(root, list(islice(untold, PROBLEMS_LIMIT + 1)))
            if not any(not problem.warning for problem in self._problems):
                raise InvariantError("config.unexplained", f"refused without a reason: {findings}") from error
            return None

    def _register(self, settings: Settings) -> None:
        """Collect secrets that stand in the settings themselves."""
        if settings.mqtt.password is not None:
            self._secrets.add(settings.mqtt.password.get_secret_value())
        for camera in settings.cameras.values():
            user_info = re.match(r"[a-z]+://([^/?#]*)@", camera.source.location)
            if user_info and ":" in user_info[1]:
                self._secrets.add(user_info[1].partition(":")[2])

    # problems

    def _add(self, code: str, message: str, origin: Origin, way_out: str | None = None) -> None:
        self._problems.append(Problem(code, message, origin, help=way_out))

    def _finished(self) -> Iterator[Problem]:
        """Sort by place, leave out what was said twice, add source lines."""
        order = {name: number for number, name in enumerate(self._lines)}
        in_order = sorted(
            self._problems,
            key=lambda one: (order.get(one.origin.name, len(order)), one.origin.line, one.origin.column, one.code),
        )
        hidden = frozenset(problem.hides for problem in self._problems if problem.hides is not None)
        texts = {name: SourceText(lines, hidden) for name, lines in self._lines.items()}
        seen: set[tuple[Origin, str, str]] = set()
        for problem in map(self._veiled, in_order):
            identity = (problem.origin, problem.code, problem.message)
            if len(seen) == PROBLEMS_LIMIT:
                message = f"there are more problems; the first {PROBLEMS_LIMIT} are shown"
                yield Problem("config.too_many", message, Origin(Place.FILE, str(self._path)))
                return
            if identity not in seen:
                seen.add(identity)
                text = texts.get(problem.origin.name)
                yield replace(problem, excerpt=make_excerpt(text, problem.origin)) if text else problem

    def _veiled(self, problem: Problem) -> Problem:
        """Return ``problem`` without the secrets that were looked up: one may stand where no secret belongs."""
        message, way_out = (hide(text, self._secrets) for text in (problem.message, problem.help or ""))
        return replace(problem, message=message, help=way_out or None)

    def _invalid(self) -> InvalidConfigError:
        return InvalidConfigError(str(self._path), list(self._finished()))


def _merge(under: Node, over: Node) -> Node:
    """Lay one tree over another: maps merge, everything else is replaced."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    entries = dict(under.value)
    for name, entry in over.value.items():
        below = entries.get(name)
        entries[name] = entry if below is None else Entry(entry.key, _merge(below.node, entry.node))
    return replace(under, value=entries)


def _map_scalars(node: Node, change: Callable[[Node, Loc], Node], loc: Loc) -> Node:
    if isinstance(node.value, dict):
        entries = {
            name: Entry(entry.key, _map_scalars(entry.node, change, (*loc, name))) for name, entry in node.value.items()
        }
        return replace(node, value=entries)
    if isinstance(node.value, tuple):
        return replace(
            node, value=tuple(_map_scalars(inside, change, (*loc, i)) for i, inside in enumerate(node.value))
        )
    return change(node, loc)


def _plain(node: Node, shape: Shape | None) -> object:
    """Return plain data for validation: text settings get numbers as they were written, broken values are left out."""
    if isinstance(node.value, dict):
        return {
            name: _plain(entry.node, shape.child(name) if shape else None)
            for name, entry in node.value.items()
            if not entry.node.broken
        }
    if isinstance(node.value, tuple):
        inside = shape.child(0) if shape else None
        return tuple(_plain(item, inside) for item in node.value)
    if shape is not None and shape.kind is Kind.TEXT and node.value is not None and node.raw is not None:
        return node.raw
    return node.value


def _box_name() -> str:
    name = re.sub("[^A-Za-z0-9_-]", "-", os.uname().nodename.partition(".")[0])
    return name[:64] or "edge"


def _state_dir(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the directory and why: systemd's, the system's if it can be written, else the user's."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return given, "STATE_DIRECTORY"
    if os.geteuid() == 0 or os.access(STATE_DIR, os.W_OK):
        return str(STATE_DIR), ""
    home = environ.get("HOME")
    user_state = environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")
    if not user_state:
        return str(STATE_DIR), ""
    return f"{user_state}/edge-runtime", f"{STATE_DIR} is not writable"


def _origins(settings: Settings, root: Node) -> Iterator[tuple[str, Origin]]:
    def walk(value: object, loc: Loc) -> Iterator[tuple[str, Origin]]:
        inside: Mapping[str, object] | None = None
        if isinstance(value, BaseModel):
            inside = {name: getattr(value, name) for name in type(value).model_fields}
        elif isinstance(value, dict):
            inside = value
        if inside is None:
            yield dotted(loc), _origin(root, loc)
        else:
            for name, below in inside.items():
                yield from walk(below, (*loc, name))

    return walk(settings, ())


def _origin(root: Node, loc: Loc) -> Origin:
    spot = find(root, loc)
    if spot.node is not None:
        return spot.node.origin
    above = find(root, loc[:-1]).node  # a section written as one word, for example  trigger: mqtt
    written = above is not None and above.value is not None and not isinstance(above.value, (dict, tuple))
    return above.origin if above is not None and written else DEFAULT
