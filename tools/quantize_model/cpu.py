"""Which instructions the CPU has that multiply 8-bit integers, and so how many bits weights may have."""

from __future__ import annotations

from pathlib import Path
from typing import Final

VNNI: Final = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
"""Flags of /proc/cpuinfo: sums of U8 x S8 in 32 bits at once; `asimddp` is Arm's dot product."""


def vnni_flags(text: str) -> tuple[str, ...]:
    """Return those of `VNNI` that every CPU in the text of a /proc/cpuinfo has."""
    lists = [
        set(line.partition(":")[2].split()) for line in text.splitlines() if line.startswith(("flags", "Features"))
    ]
    shared = set.intersection(*lists) if lists else set()
    return tuple(flag for flag in VNNI if flag in shared)


def needs_reduced_range(target: str) -> bool:
    """Whether weights must spare a bit.

    Kernels without VNNI add two products of U8 and S8 in 16 bits with saturation: 2 x 255 x 127 = 64770 overflows
    32767, 2 x 255 x 64 = 32640 does not. A model with all 8 bits answers differently there than where it was judged.

    Args:
        target: `yes` or `no`, whether the CPU that will run the model has VNNI; `auto` = it is this one.
    """
    return not vnni_flags(Path("/proc/cpuinfo").read_text("utf-8")) if target == "auto" else target == "no"


def cpu_name() -> str:
    """Return the model name of the CPU, for reports."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"
