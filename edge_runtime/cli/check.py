"""``edge-runtime check``: every mistake of a configuration at once, with file, line, column and the way out.

Without ``--online`` it imports neither OpenCV nor an engine, so that it answers in a fraction of a second and on a box
without them.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from edge_runtime.app.finding import Finding
    from edge_runtime.config.loader import Loaded
    from edge_runtime.config.schema import Inspection
    from edge_runtime.engine.package import Package

_LABELS_TOLD = 10


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "check",
        help="validate a configuration: every mistake at once, with its place",
        description="Validate a configuration without starting anything. Exit code 0: valid, 78: not, 65: valid, but a "
        "model in it cannot be used or a rule asks for what it does not tell, 69: valid, but --online found something "
        "that does not answer.",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="default: $EDGE_CONFIG, ./edge.yaml, /etc/edge-runtime/config.yaml"
    )
    parser.add_argument(
        "--online",
        action="store_true",
        help="also log in at the broker and take one picture of each camera; one for a single reader must be free",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check and report; returns 0, 78, or what is wrong with that which a right configuration names.

    That is 65 for a model that cannot be used, and 69 for a broker or camera that cannot be reached.

    Raises:
        ConfigError: there is no configuration to check.
    """
    from edge_runtime.config.loader import find_config, load  # noqa: PLC0415 - pydantic costs 0.1 s; --help needs none
    from edge_runtime.config.report import InvalidConfigError, as_json, render  # noqa: PLC0415 - as above

    path = find_config(args.config, os.environ)
    try:
        loaded = load(path, environ=os.environ)
    except InvalidConfigError as error:
        if args.json:
            _print_json({"file": str(path), "valid": False, "problems": [as_json(one) for one in error.problems]})
        else:
            print(error.report(), end="")
        return error.exit_code
    if not args.json:
        if loaded.warnings:
            print(render(loaded.warnings))
        print(f"{path} is valid: {_counted(loaded)}", flush=True)
    findings: list[Finding] = []
    models = list(_unusable_models(loaded))
    for finding in itertools.chain(models, _online(loaded) if args.online else ()):
        findings.append(finding)
        if not args.json:
            print(finding, flush=True)  # the next one may take seconds
    if args.json:
        document = {"file": str(path), "valid": True, "problems": [as_json(one) for one in loaded.warnings]}
        document |= {"models": [_fields(one) for one in models]}
        _print_json(document | ({"online": [_fields(one) for one in findings[len(models) :]]} if args.online else {}))
    if models:
        return os.EX_DATAERR
    return os.EX_UNAVAILABLE if any(one.level == "fail" for one in findings) else os.EX_OK


def _unusable_models(loaded: Loaded) -> Iterator[Finding]:
    """Read and verify every model file, as the engine will, but load none; then hold the rules against what it says.

    A bare model's labels stand in its file, where `config.files` cannot read them.
    """
    from edge_runtime.app.finding import Finding  # noqa: PLC0415 - a configuration with mistakes needs none of it
    from edge_runtime.core.errors import DataError  # noqa: PLC0415
    from edge_runtime.engine.package import open_package  # noqa: PLC0415

    for name, model in loaded.settings.models.items():
        path = model.path or model.factory
        if path is None:
            continue  # its releases are judged when they are fetched
        inspect = f"edge-runtime models inspect {path}"
        try:
            package = open_package(str(path), () if model.backend_name == "auto" else (model.backend_name,))
        except DataError as error:
            yield Finding("fail", f"model {name}: {error.message}", error.help or inspect)
            continue
        for inspection, settings in loaded.settings.inspections.items():
            if settings.model == name:
                for what in _rules_in_vain(settings, package):
                    yield Finding("fail", f"inspection {inspection}: model {name} {what}", inspect)


def _rules_in_vain(inspection: Inspection, package: Package) -> Iterator[str]:
    """Return why rules cannot apply, as `pipeline.results` will see it; it judges nothing then."""
    from edge_runtime.config.files import ANY_LABEL  # noqa: PLC0415 - as above

    rules, labels = inspection.recipe.not_ok, package.spec.labels
    unknown = sorted({rule.label for rule in rules} - {ANY_LABEL, *labels}) if labels else []
    if unknown:
        yield f"has no label {', '.join(unknown)}; it has: {', '.join(labels[:_LABELS_TOLD])}"
    if not package.reads_text and any(rule.text_is is not None or rule.text_matches is not None for rule in rules):
        yield "reads no texts, and a rule asks for one"


def _online(loaded: Loaded) -> Iterator[Finding]:
    """Ask the broker, then every camera once."""
    from edge_runtime.app.doctor import ask_brokers, ask_registry  # noqa: PLC0415 - only --online needs any of it
    from edge_runtime.app.finding import Finding  # noqa: PLC0415
    from edge_runtime.cli.look_at import look_at  # noqa: PLC0415
    from edge_runtime.core.errors import EdgeError  # noqa: PLC0415
    from edge_runtime.system.redact import redact  # noqa: PLC0415

    yield from ask_brokers(loaded.settings)
    for finding in ask_registry(loaded.settings):
        yield replace(finding, what=redact(finding.what, loaded.secrets), mend=redact(finding.mend, loaded.secrets))
    for name, camera in loaded.settings.cameras.items():
        try:
            shape = look_at(camera.source.text, 0.0).shape
        except EdgeError as error:
            mend = error.help or f"edge-runtime cameras probe {camera.source.redacted}"
            yield Finding(
                "fail", redact(f"camera {name}: {error.message}", loaded.secrets), redact(mend, loaded.secrets)
            )
        else:
            size = f"{shape.width} x {shape.height} pixels" if shape is not None else "no picture"
            yield Finding("ok", f"camera {name}: {size}")


def _counted(loaded: Loaded) -> str:
    return ", ".join(
        f"{len(found)} {kind}{'' if len(found) == 1 else 's'}"
        for kind, found in (
            ("camera", loaded.settings.cameras),
            ("model", loaded.settings.models),
            ("inspection", loaded.settings.inspections),
        )
    )


def _fields(finding: Finding) -> dict[str, str]:
    return {"level": finding.level, "what": finding.what, "mend": finding.mend}


def _print_json(document: object) -> None:
    import json  # noqa: PLC0415 - text output does without

    print(json.dumps(document))
