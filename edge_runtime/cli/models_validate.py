"""``edge-runtime models validate``: every step of the trial with its outcome, and an exit code for scripts."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edge_runtime.pipeline.vet_link import Step, VetReport

_MIB = 1 << 20


def run(args: argparse.Namespace) -> int:
    """Try the model and print what became of it; 65 when it must not be used here.

    Raises:
        EdgeError: why not, when it is not to be printed as JSON.
    """
    from edge_runtime.app.vetting import vet  # noqa: PLC0415 - --help needs none of it
    from edge_runtime.system.logs import configure  # noqa: PLC0415

    configure(style="text", level="critical", journal=False)
    report = vet(args.model, device=args.device, backend=args.backend, deadline_s=args.deadline)
    if args.json:
        print(json.dumps(as_fields(report), indent=1))
        return os.EX_OK if report.error is None else report.error.exit_code
    print(as_text(report), flush=True)
    if report.error is not None:
        raise report.error
    return os.EX_OK


def as_fields(report: VetReport) -> dict[str, object]:
    """Return the report as JSON fields."""
    error = report.error
    fields: dict[str, object] = {
        "ok": error is None,
        "steps": [
            {"step": one.name, "what": one.what, "ok": one.seconds is not None, "seconds": one.seconds}
            for one in report.steps
        ],
        **report.facts,
    }
    if error is not None:
        fields["error"] = {"code": error.code, "message": error.message, "help": error.help}
    return fields


def as_text(report: VetReport) -> str:
    """Return the report as lines for people; what the process said is made fit for a terminal."""
    model = _section(report.facts, "model")
    lines = [f"{model['name']} {model['version']}", f"  digest  {model['digest']}"] if model else []
    lines += [_line(step, _detail(step, report.facts)) for step in report.steps]
    if report.error is None:
        compared = "golden" in report.facts and _section(report.facts, "golden").get("frames")
        lines.append(
            "passed" if compared else "passed; no golden frames, so nothing says whether it sees what it should"
        )
    return "\n".join(_printable(line) for line in lines)


def _line(step: Step, detail: str) -> str:
    took = "      -  " if step.seconds is None else f"{step.seconds:7.2f} s"
    return f"  {'FAIL' if step.seconds is None else 'ok  '}  {step.name:<9} {took}  {detail}"


def _detail(step: Step, facts: Mapping[str, object]) -> str:
    model, engine, golden = (_section(facts, key) for key in ("model", "engine", "golden"))
    if step.name == "gate" and model:
        return f"{model['format']}, {_number(model, 'size_bytes') / _MIB:.1f} MiB"
    if step.name == "engine" and engine:
        return f"{engine['backend']} {engine['version']} on {engine['device']}, {engine['precision']}"
    if step.name == "golden" and golden:
        return _golden(golden)
    if step.name == "speed" and "latency_ms" in facts:
        return _speed(facts)
    return step.what


def _golden(golden: Mapping[str, object]) -> str:
    if not golden.get("frames"):
        return "the package has no golden frames"
    allowed = _section(golden, "tolerances")
    figures = (
        ("iou", "least IoU", "from"),
        ("score", "scores apart by", "up to"),
        ("cosine", "least cosine", "from"),
        ("keypoint", "keypoints off by", "up to"),
        ("value", "values apart by", "up to"),
    )
    parts = [
        f"{words} {_number(golden, key):.4f} ({bound} {_number(allowed, key):g})"
        for key, words, bound in figures
        if golden.get(key) is not None
    ]
    parts.insert(0, f"{golden['frames']} frames")
    problems = golden.get("problems")
    lines = [", ".join(parts), *(map(str, problems) if isinstance(problems, list) else ())]
    return "\n            ".join(lines)


def _speed(facts: Mapping[str, object]) -> str:
    latency, gates = _section(facts, "latency_ms"), _section(facts, "gates")
    parts = (
        ("p50", _number(latency, "p50"), "ms", gates.get("p50_ms")),
        ("p99", _number(latency, "p99"), "ms", gates.get("p99_ms")),
        ("memory", _number(facts, "memory_mb"), "MiB", gates.get("memory_mb")),
    )
    return ", ".join(
        f"{name} {value:.1f} {unit}" + ("" if gate is None else f" (at most {gate:g})")
        for name, value, unit, gate in parts
        if isinstance(gate, int | float | None)
    )


def _section(fields: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = fields.get(key)
    return found if isinstance(found, dict) else {}


def _number(fields: Mapping[str, object], key: str) -> float:
    found = fields.get(key)
    return float(found) if isinstance(found, int | float) else 0.0


def _printable(line: str) -> str:
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in line)
