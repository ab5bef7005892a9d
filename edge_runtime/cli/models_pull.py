"""``edge-runtime models pull``: one look at the registry, in this process."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_runtime.cli.models_asked import order_of_arguments
from edge_runtime.cli.models_follow import daemon_runs, refuse_root
from edge_runtime.core.errors import BusyError, DataError, UnavailableError
from edge_runtime.registry.box.nudge import nudge
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Contact, Standing
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse

    from edge_runtime.registry.box.report import Held, Report, SlotReport

_MIB: Final = 1 << 20
_TELL_S: Final = 0.2
_CODES: Final = {
    Contact.OK: os.EX_OK,
    Contact.UNREACHABLE: UnavailableError.exit_code,
    Contact.FROZEN: UnavailableError.exit_code,
    Contact.DENIED: os.EX_NOPERM,
    Contact.REFUSED: DataError.exit_code,
    Contact.FAILED: 1,
}


def run_pull(args: argparse.Namespace) -> int:
    """Look, and print what became of each slot.

    Raises:
        EdgeError: it could not be looked at all.
    """
    configure(style="text", level="error", journal=False)
    order, names = order_of_arguments(args)
    refuse_root(order)
    unknown = sorted(set(names) - {one.slot for one in order.wants})
    if unknown:
        known = ", ".join(one.slot for one in order.wants)
        raise DataError(
            "release.no_slot",
            f"no slot {unknown[0]} has its model from a registry; those that have: {known}",
            help="write  release: MODEL  in models.SLOT of the configuration",
        )
    # what a daemon runs it tries first, also when it has nothing yet
    order = replace(order, first=not daemon_runs(order))
    progress = _Progress()
    try:
        report = Pull(order, on_progress=progress).run(names or None, fresh=True)
    finally:
        progress.end()
    nudge(order.root)
    print(json.dumps(report.as_fields()) if args.json else as_text(report, by_hand=order.first))
    return exit_code(report)


def exit_code(report: Report) -> int:
    """Return 0 when every slot has what it should, or could have it."""
    if report.contact is not Contact.OK:
        return _CODES[report.contact]
    standings = {one.standing for one in report.slots}
    if Standing.REFUSED in standings:
        return DataError.exit_code
    return BusyError.exit_code if Standing.RETRY in standings else os.EX_OK


def as_text(report: Report, *, by_hand: bool) -> str:
    """Return lines for people; ``by_hand``: no daemon takes what waits."""
    lines = []
    if report.contact is not Contact.OK:
        lines.append(f"registry: {report.contact.value.upper()}: {report.message}")
    for slot in report.slots:
        lines += slot_lines(slot)
        if slot.staged is not None:
            lines.append(take_it(slot.slot) if by_hand else "  the daemon tries it; edge-runtime models list shows how")
    return "\n".join(lines)


def slot_lines(slot: SlotReport) -> list[str]:
    """Return lines about one slot."""
    because = slot.message or slot.reason
    said = f"{slot.slot}: {slot.standing.value}" + (f", {because}" if because else "")
    lines = [said + ("; WHAT IT RUNS WAS REVOKED" if slot.revoked else "")]
    for name, held in (("current", slot.current), ("staged", slot.staged), ("previous", slot.previous)):
        if held is not None:
            lines.append(f"  {name:<9} {held_text(slot.model, held)}")
    return lines


def take_it(slot: str) -> str:
    """Return how the release that waits for a slot is taken where nobody takes it by itself."""
    return f"  take it:  edge-runtime models activate {slot}"


def held_text(model: str, held: Held) -> str:
    """Return one release as words."""
    return f"release {held.release} of {model} ({held.version})  {held.digest}"


class _Progress:
    """One line on a terminal; nothing where nobody looks."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._told_s = 0.0
        self._told = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._shows and (now - self._told_s >= _TELL_S or done == total):
            self._told_s, self._told = now, True
            print(f"\r{done / _MIB:.1f} of {total / _MIB:.1f} MiB ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._told:
            print(file=sys.stderr)
