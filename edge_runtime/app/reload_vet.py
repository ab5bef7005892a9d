"""Tries the models that a new configuration names and the running line has not loaded, before that line is ended."""

from __future__ import annotations

import logging
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from edge_runtime.app.vetting import DEADLINE_S, spec_for
from edge_runtime.core.errors import UnavailableError
from edge_runtime.pipeline.vet_link import START_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_runtime.app.assembly import LineService
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.pipeline.vet_link import VetReport

logger = logging.getLogger(__name__)

SLICE_S: Final = 0.1

Loaded = tuple[str | None, str, str, tuple[int, ...]]
"""What was loaded: path, device, backend, and which bytes that was."""


def loaded(specs: Iterable[SlotSpec]) -> frozenset[Loaded]:
    """Return what a line with ``specs`` loads, of models that are no releases: those are tried when they arrive."""
    return frozenset(_loaded(one) for one in specs if one.path is not None and one.release is None)


def try_models(
    line: LineService, specs: Iterable[SlotSpec], known: frozenset[Loaded], is_over: Callable[[], bool]
) -> None:
    """Try those of ``specs`` that are not ``known``, beside what the line does; blocks for as long as that takes.

    Args:
        line: it lends its processes, and goes on.
        specs: slots of a line that is to come.
        known: what the line has loaded.
        is_over: nobody wants to know any more.

    Raises:
        EdgeError: one must not be used, or could not be tried.
    """
    for spec in specs:
        if spec.path is not None and spec.release is None and _loaded(spec) not in known:
            logger.info("model %s is tried before the line begins with it", spec.id)
            _try(line, spec, Path(spec.path), is_over)


def _try(line: LineService, spec: SlotSpec, path: Path, is_over: Callable[[], bool]) -> None:
    reports: SimpleQueue[VetReport] = SimpleQueue()
    line.vet(spec_for(spec, path), f"reload/{spec.id}", reports.put)
    left_s = DEADLINE_S + START_S
    while left_s > 0 and not is_over():
        try:
            error = reports.get(timeout=SLICE_S).error
        except Empty:
            left_s -= SLICE_S
        else:
            if error is not None:
                raise error
            return
    raise UnavailableError("vet.not_ended", f"model {spec.id} was not tried to the end", help="reload once more")


def _loaded(spec: SlotSpec) -> Loaded:
    return spec.path, spec.device, spec.backend, _stamp(Path(spec.path or ""))


def _stamp(path: Path) -> tuple[int, ...]:
    """Tell other bytes under the same path: of a package its document counts."""
    try:
        status = (path / "edge-model.json" if path.is_dir() else path).stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns
