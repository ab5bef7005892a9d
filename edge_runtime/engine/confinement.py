"""What the engine process gives up before it touches a model: the network, and every file but models and libraries."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.layouts import home_of
from edge_runtime.system.sandbox import landlock, rlimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

logger = logging.getLogger(__name__)

OPEN_FILES: Final = 512
MEMORY_SHARE: Final = 0.75
"""Of the box's memory, what an engine may allocate: the rest of the product and the system need some, too."""
_SYSTEM: Final = (
    *("/lib", "/lib64", "/usr", "/opt/intel", "/proc", "/sys"),  # /proc and /sys: the shape of the processor
    *("/etc/ld.so.cache", "/etc/OpenCL", "/etc/localtime"),
)
_DEVICES: Final = ("/dev/null", "/dev/dri", "/dev/accel", "/dev/shm")  # noqa: S108 - the drivers' own choice


def confine(args: Mapping[str, object], *, file_size_bytes: int | None = None, cpu_s: int | None = None) -> None:
    """Confine this process for good; before it has a second thread.

    Args:
        args: ``models`` lists the paths of the packages or files that may be read; ``cache_dir`` is the only
            directory that may be written; ``memory_bytes`` may be allocated, `MEMORY_SHARE` of the box when not
            stated. Without ``models`` nothing is confined (tests run the worker in a thread).
        file_size_bytes: see `system.sandbox.rlimits`.
        cpu_s: see there.

    Raises:
        PermissionDeniedError: the kernel has Landlock but refuses.
    """
    models, cache_dir, memory = args.get("models"), args.get("cache_dir"), args.get("memory_bytes")
    if not isinstance(models, list):
        return
    places = map(str, model_places(map(Path, map(str, models))))
    read_only = {*_SYSTEM, *sysconfig.get_paths().values(), sys.base_prefix, sys.prefix, *places}
    read_write = [*_DEVICES, *([cache_dir] if isinstance(cache_dir, str) else [])]
    memory_bytes = memory if isinstance(memory, int) else round(_box_bytes() * MEMORY_SHARE)
    rlimits(data_bytes=memory_bytes, open_files=OPEN_FILES, file_size_bytes=file_size_bytes, cpu_s=cpu_s)
    made = landlock(
        read_only=[path for path in sorted(read_only) if Path(path).exists()],
        read_write=[path for path in read_write if Path(path).exists()],
        connect_ports=(),
    )
    if made.reason:
        logger.warning("the engine is not fully confined: %s", made.reason)


def _box_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def model_places(models: Iterable[Path]) -> set[Path]:
    """Return the directories that ``models`` are read from: a package, or where a bare file and its weights lie.

    Either file may be a link, for example to the current one of several; then also where it leads to. In a directory of
    another system a model may be described farther up.
    """
    places = set()
    for path in models:
        places.add(home_of(path))
        if path.is_dir():
            places.add(path)
            continue
        for part in (path, path.with_suffix(".bin")):
            places |= {part.parent, Path(os.path.realpath(part)).parent}
    return places
