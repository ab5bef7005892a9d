"""Reads a configuration: files, ``config.d``, variables, secrets, defaults; and tells all its mistakes at once.

Order, later wins: the file, ``config.d/*.yaml`` beside it by name (maps merge, lists replace), ``EDGE__...`` variables,
options. Then ``${VAR}`` is expanded in what came from files, ``!secret`` looked up, and everything validated. Relative
paths start at the directory of the file.

The only module that reads the environment, which is passed in; nothing here starts or opens anything but files.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from pydantic import SecretStr, ValidationError

from edge_runtime.config.box import add_defaults
from edge_runtime.config.checks import cross_references, dotted
from edge_runtime.config.complete import complete
from edge_runtime.config.explain import Finding, explain, find, not_available, place
from edge_runtime.config.files import missing_files
from edge_runtime.config.fill import fill, plain
from edge_runtime.config.origins import origins
from edge_runtime.config.overrides import from_environment, from_options
from edge_runtime.config.part import Part, stand_in
from edge_runtime.config.report import InvalidConfigError, Problem, SourceText, make_excerpt
from edge_runtime.config.schema import Settings
from edge_runtime.config.secrets import SecretError, read_secret
from edge_runtime.config.shape import Kind, Shape, at
from edge_runtime.config.tree import Node, Origin, Place, merge
from edge_runtime.config.types import BASE
from edge_runtime.config.yaml12 import LIMIT_BYTES, LINE_BREAK, parse
from edge_runtime.core.errors import ConfigError, InvariantError
from edge_runtime.system.redact import hide
from edge_runtime.system.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from edge_runtime.config.checks import Loc, Mistake

LOCAL_FILE: Final = Path("edge.yaml")
SYSTEM_FILE: Final = Path("/etc/edge-runtime/config.yaml")
FRAGMENTS: Final = "config.d"
PASSWORD_SECTIONS: Final = ("mqtt", "registry")  # those with a password_file
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
        try:
            if stat.S_ISREG(path.stat().st_mode):
                return path
        except PermissionError:
            return path  # it may be there: loading it says what is wrong
        except OSError:
            continue
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


def load_part(path: Path, *, environ: Mapping[str, str], wanted: Sequence[Loc]) -> Part:
    """Read what ``wanted`` names, for programs that look on from outside; the rest may be wrong or missing here.

    Neither the model files and pictures that the rest names nor its variables and secrets are needed.

    Args:
        path: the main file.
        environ: environment variables.
        wanted: paths, for example ``[("mqtt", "host"), ("state_dir",)]``.

    Raises:
        InvalidConfigError: what is wanted is wrong, or the file is no YAML.
    """
    return _Load(path, environ).run_part(wanted)


class _Load:
    """One loading: collects problems while the tree goes from step to step."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._base = Path()
        self._environ = environ
        self._lines: dict[str, Sequence[str]] = {}  # by file
        self._problems: list[Problem] = []
        self._secrets: set[str] = set()

    def run(self, overrides: Mapping[str, object]) -> Loaded:
        root, unknown_options = from_options(self._open(), overrides)
        self._problems += unknown_options
        root = self._filled(root)
        passwords = self._password_files(root)
        settings = _with_passwords(self._validated(root, missing_files), passwords)
        found = dict(origins(settings, root))
        found |= {f"{section}.password": origin for section, (_, origin) in passwords.items()}
        self._register(settings)
        files = tuple(Path(name) for name in self._lines)
        return Loaded(settings, found, tuple(self._finished()), files, frozenset(self._secrets))

    def run_part(self, wanted: Sequence[Loc]) -> Part:
        root = self._filled(stand_in(self._open(), wanted))
        passwords = self._password_files(root)
        settings = _with_passwords(self._validated(root, lambda _data, _base: iter(())), passwords)
        return Part(settings.mqtt, settings.state_dir, settings)

    # files

    def _open(self) -> Node:
        """Return the tree of all files and variables."""
        try:
            self._base = Path(os.path.abspath(self._path.parent))  # noqa: PTH100 - resolve() would follow links of /etc
        except FileNotFoundError as error:
            where = Origin(Place.FILE, str(self._path))
            way_out = "change into another directory, or name the file with its whole path"
            self._add("config.unreadable", "the working directory does not exist any more", where, way_out)
            raise self._invalid() from error
        root = self._read_all()
        if root is None:
            raise self._invalid()
        root, unknown_variables = from_environment(root, self._environ)
        self._problems += unknown_variables
        return root

    def _read_all(self) -> Node | None:
        """Return the merged tree; ``None`` when any file could not be read, for then half of it would seem missing."""
        root = self._read(self._path)
        directory = self._path.parent / FRAGMENTS
        try:
            names = sorted(os.listdir(directory))  # noqa: PTH208 - names are what is sorted and tested
        except (FileNotFoundError, NotADirectoryError):
            names = []
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            origin = Origin(Place.FILE, str(directory))
            self._add("config.unreadable", f"cannot read {directory}: {reason}", origin, "check its path and its owner")
            return None
        for name in names:
            if not name.endswith(".yaml") or name.startswith("."):
                continue
            fragment = self._read(directory / name, may_be_empty=True)
            root = None if root is None or fragment is None else merge(root, fragment)
        return root

    def _read(self, path: Path, *, may_be_empty: bool = False) -> Node | None:
        name = str(path)
        origin = Origin(Place.FILE, name)
        try:
            with open_regular(path) as file:
                raw = file.read(LIMIT_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or str(error)
            is_none = getattr(error, "errno", None) in (errno.EISDIR, errno.EINVAL)
            way_out = "name the YAML file itself" if is_none else "check its path and its owner"
            self._add("config.unreadable", f"cannot read {name}: {reason}", origin, way_out)
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

    def _filled(self, root: Node) -> Node:
        """Expand variables, look secrets up, add what follows from the box."""
        filled = fill(root, self._environ, self._base)
        self._secrets |= filled.secrets
        self._problems += filled.problems
        return add_defaults(filled.root, self._environ)

    def _password_files(self, root: Node) -> dict[str, tuple[SecretStr, Origin]]:
        """Return the passwords that stand in files of their own, by section."""
        found = {}
        for section in PASSWORD_SECTIONS:
            loc = (section, "password_file")
            spot = find(root, loc)
            written = plain(spot.node, at(Settings, loc)) if spot.node is not None else None
            if not isinstance(written, str) or not written:
                continue
            path = self._base / written
            try:
                secret = read_secret(path)
            except SecretError as error:
                self._problems.append(Problem("config.no_value", error.message, spot.origin, dotted(loc), error.help))
                continue
            self._secrets.add(secret)
            found[section] = (SecretStr(secret), Origin(Place.FILE, str(path)))
        return found

    def _validated(self, root: Node, files: Callable[[Mapping[str, object], Path], Iterator[Mistake]]) -> Settings:
        """Return the settings if nothing at all is wrong with them, nor was before."""
        data = cast("dict[str, object]", plain(root, Shape(Kind.SECTION, model=Settings)))
        completed = complete(data)
        mistakes = [*cross_references(completed), *files(completed, self._base)]
        self._problems += place(root, mistakes)
        self._problems += not_available(root)
        said = {mistake.loc for mistake in mistakes if not mistake.warning}
        try:
            settings = Settings.model_validate(data, context={BASE: self._base})
        except ValidationError as error:
            findings = cast("list[Finding]", error.errors(include_url=False, include_input=False))
            untold = (finding for finding in findings if finding["loc"] not in said)
            self._problems += explain(root, list(islice(untold, PROBLEMS_LIMIT + 1)))
            if not any(not problem.warning for problem in self._problems):
                raise InvariantError("config.unexplained", f"refused without a reason: {findings}") from error
            raise self._invalid() from error
        if any(not problem.warning for problem in self._problems):
            raise self._invalid()
        return settings

    def _register(self, settings: Settings) -> None:
        """Collect secrets that stand in the settings themselves."""
        registry = settings.registry
        for account in (settings.mqtt, settings.sparkplug, registry):
            if account is not None and account.password is not None:
                self._secrets.add(account.password.get_secret_value())
        urls = [camera.source.location for camera in settings.cameras.values()]
        for url in (*urls, registry.proxy or "" if registry is not None else ""):
            user_info = re.match(r"[a-z]+://([^/?#]*)@", url)
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


def _with_passwords(settings: Settings, passwords: Mapping[str, tuple[SecretStr, Origin]]) -> Settings:
    update = {
        name: getattr(settings, name).model_copy(update={"password": one}) for name, (one, _) in passwords.items()
    }
    return settings.model_copy(update=update)
