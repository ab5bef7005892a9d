"""How much memory a process has for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_KIB_PER_MIB: Final = 1024
_OWN: Final = ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:")


def own_mb(pid: int) -> float | None:
    """Return the MiB that only ``pid`` has (USS): what its end would give back, without the pages of the zygote.

    It is the sum of the private pages in ``/proc/PID/smaps_rollup`` (Linux 4.14), which the kernel counts when it is
    read: some milliseconds for a large process, so not for every frame. ``None``: the process is gone, or is not ours.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = (line.split() for line in text.splitlines()[1:])
    return sum(int(words[1]) for words in fields if words[0] in _OWN) / _KIB_PER_MIB
