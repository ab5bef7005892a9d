"""Fails unless what must be covered by tests is: run it after pytest with ``--cov --cov-branch``.

Usage: check_coverage.py [DIRECTORY]   (with .coverage and pyproject.toml; default: this checkout)

Two promises: every line and every branch of the pure modules and of the spool, and 90 % of everything. A pattern
below that matches no file is an error too, so that a module which moves does not leave the list unseen.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import coverage
from coverage.exceptions import CoverageException

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OVERALL_MIN_PERCENT = 90.0
COMPLETE = (
    "edge_runtime/app/release_news.py",
    "edge_runtime/config/report.py",
    "edge_runtime/config/yaml12.py",
    "edge_runtime/control/commands/answers.py",
    "edge_runtime/control/commands/chain.py",
    "edge_runtime/control/commands/journal.py",
    "edge_runtime/control/commands/keyring.py",
    "edge_runtime/control/commands/letter.py",
    "edge_runtime/control/commands/policy.py",
    "edge_runtime/control/commands/replies.py",
    "edge_runtime/control/commands/signature.py",
    "edge_runtime/control/commands/tally.py",
    "edge_runtime/control/commands/verbs.py",
    "edge_runtime/app/deployment_terms.py",
    "edge_runtime/control/deployment/*.py",
    "edge_runtime/core/*.py",
    "edge_runtime/engine/layouts/*.py",
    "edge_runtime/engine/metadata/huggingface.py",
    "edge_runtime/engine/postprocess.py",
    "edge_runtime/engine/tasks/*.py",
    "edge_runtime/pipeline/actions.py",
    "edge_runtime/pipeline/attempt.py",
    "edge_runtime/pipeline/drift.py",
    "edge_runtime/pipeline/flight.py",
    "edge_runtime/pipeline/inspection.py",
    "edge_runtime/pipeline/judged.py",
    "edge_runtime/pipeline/news.py",
    "edge_runtime/pipeline/picture_health.py",
    "edge_runtime/pipeline/picture_window.py",
    "edge_runtime/pipeline/pictures.py",
    "edge_runtime/pipeline/recipe.py",
    "edge_runtime/pipeline/results.py",
    "edge_runtime/pipeline/setup.py",
    "edge_runtime/pipeline/slot.py",
    "edge_runtime/pipeline/standby.py",
    "edge_runtime/pipeline/switchover.py",
    "edge_runtime/pipeline/wire.py",
    "edge_runtime/publish/contract/*.py",
    "edge_runtime/publish/mqtt/cloudevents.py",
    "edge_runtime/publish/mqtt/packets.py",
    "edge_runtime/publish/mqtt/parser.py",
    "edge_runtime/publish/mqtt/unheard.py",
    "edge_runtime/publish/payload.py",
    "edge_runtime/publish/prover.py",
    "edge_runtime/publish/sparkplug/bdseq.py",
    "edge_runtime/publish/sparkplug/commands.py",
    "edge_runtime/publish/sparkplug/device.py",
    "edge_runtime/publish/sparkplug/feed.py",
    "edge_runtime/publish/sparkplug/host.py",
    "edge_runtime/publish/sparkplug/mapping.py",
    "edge_runtime/publish/sparkplug/node.py",
    "edge_runtime/publish/sparkplug/payload.py",
    "edge_runtime/publish/sparkplug/points.py",
    "edge_runtime/publish/sparkplug/scalars.py",
    "edge_runtime/publish/sparkplug/schema.py",
    "edge_runtime/publish/sparkplug/topics.py",
    "edge_runtime/publish/sparkplug/values.py",
    "edge_runtime/publish/spool/alarm.py",
    "edge_runtime/publish/spool/backlog.py",
    "edge_runtime/publish/spool/eviction.py",
    "edge_runtime/publish/spool/following.py",
    "edge_runtime/publish/spool/handout.py",
    "edge_runtime/publish/spool/housekeeping.py",
    "edge_runtime/publish/spool/intake.py",
    "edge_runtime/publish/spool/losses.py",
    "edge_runtime/publish/spool/numbering.py",
    "edge_runtime/publish/spool/pace.py",
    "edge_runtime/publish/spool/revival.py",
    "edge_runtime/publish/spool/rows.py",
    "edge_runtime/publish/spool/spool.py",
    "edge_runtime/publish/spool/store.py",
    "edge_runtime/publish/spool/throttle.py",
    "edge_runtime/publish/spool/trouble.py",
    "edge_runtime/publish/spool/writer.py",
    "edge_runtime/registry/box/countersign.py",
    "edge_runtime/registry/box/memory.py",
    "edge_runtime/registry/box/order.py",
    "edge_runtime/registry/box/report.py",
    "edge_runtime/registry/box/sources.py",
    "edge_runtime/registry/carriers/addresses.py",
    "edge_runtime/registry/carriers/auth.py",
    "edge_runtime/registry/carriers/body.py",
    "edge_runtime/registry/carriers/fischer.py",
    "edge_runtime/registry/carriers/index.py",
    "edge_runtime/registry/carriers/layout.py",
    "edge_runtime/registry/carriers/listing.py",
    "edge_runtime/registry/carriers/whole.py",
    "edge_runtime/registry/conditions.py",
    "edge_runtime/registry/descriptor.py",
    "edge_runtime/registry/documents.py",
    "edge_runtime/registry/download.py",
    "edge_runtime/registry/package/*.py",
    "edge_runtime/registry/publisher/draft.py",
    "edge_runtime/registry/publisher/explain.py",
    "edge_runtime/registry/publisher/home.py",
    "edge_runtime/registry/publisher/pending.py",
    "edge_runtime/registry/publisher/releases.py",
    "edge_runtime/registry/publisher/repository.py",
    "edge_runtime/registry/publisher/rollouts.py",
    "edge_runtime/registry/publisher/roots.py",
    "edge_runtime/registry/publisher/signing.py",
    "edge_runtime/registry/statements.py",
    "edge_runtime/registry/store/*.py",
    "edge_runtime/registry/trust/*.py",
    "edge_runtime/system/clock.py",
    "edge_runtime/system/names.py",
    "edge_runtime/system/timex.py",
)


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """What the tests did not reach in one file."""

    missing_lines: tuple[int, ...]
    missing_branches: tuple[tuple[int, int], ...]

    @property
    def complete(self) -> bool:
        """Whether every line and branch was reached."""
        return not self.missing_lines and not self.missing_branches

    def __str__(self) -> str:
        """Say what is missing, for example ``lines 3-5, 9; branches 7->exit``."""
        parts = []
        if self.missing_lines:
            parts.append("lines " + _ranges(self.missing_lines))
        if self.missing_branches:
            arcs = (f"{start}->{end if end > 0 else 'exit'}" for start, end in self.missing_branches)
            parts.append("branches " + ", ".join(arcs))
        return "; ".join(parts)


def problems(files: Mapping[str, FileCoverage], percent: float, existing: Sequence[str]) -> list[str]:
    """Return what breaks the promises, one sentence each.

    Args:
        files: measured files by path, relative to the top of the checkout.
        percent: lines and branches of everything that were reached.
        existing: source files that exist, relative as well.
    """
    found = []
    for pattern in COMPLETE:
        matching = [path for path in existing if Path(path).match(pattern)]
        if not matching:
            found.append(f"{pattern}: no file matches this pattern of {Path(__file__).name}")
        for path in matching:
            measured = files.get(path)
            if measured is None:
                found.append(f"{path}: was not measured at all")
            elif not measured.complete:
                found.append(f"{path}: not reached by any test: {measured}")
    if percent < OVERALL_MIN_PERCENT:
        found.append(f"overall: {percent:.1f} % of lines and branches, at least {OVERALL_MIN_PERCENT:g} % needed")
    return found


def measured(top: Path) -> tuple[dict[str, FileCoverage], float]:
    """Read the coverage data of the last run in ``top``.

    Raises:
        CoverageException: there are none, or they are without branches.
    """
    data = coverage.Coverage(data_file=str(top / ".coverage"), config_file=str(top / "pyproject.toml"))
    data.load()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "coverage.json")
        percent = data.json_report(outfile=str(report), ignore_errors=False)
        document = json.loads(report.read_text(encoding="utf-8"))
    if not document["meta"]["branch_coverage"]:
        msg = "the tests ran without --cov-branch"
        raise CoverageException(msg)
    files = {
        path: FileCoverage(
            tuple(entry["missing_lines"]), tuple((start, end) for start, end in entry["missing_branches"])
        )
        for path, entry in document["files"].items()
    }
    return files, percent


def main(arguments: Sequence[str]) -> int:
    """Print every broken promise; return 1 when there is one."""
    top = Path(arguments[0] if arguments else Path(__file__).parent.parent).resolve()
    os.chdir(top)  # coverage names files relative to the working directory
    try:
        files, percent = measured(top)
    except CoverageException as error:
        print(f"coverage: {error}; run tools/test first", file=sys.stderr)
        return 1
    existing = sorted(path.relative_to(top).as_posix() for path in top.glob("edge_runtime/**/*.py"))
    broken = problems(files, percent, existing)
    for problem in broken:
        print(f"coverage: {problem}", file=sys.stderr)
    if not broken:
        print(f"coverage: {percent:.1f} % overall, and all of what must be complete is")
    return 1 if broken else 0


def _ranges(numbers: Iterable[int]) -> str:
    """Return ``3-5, 9`` for 3, 4, 5, 9."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
