"""Whether something keeps the kernel's clock right: adjtimex(2), read only."""

from __future__ import annotations

import ctypes

_STA_UNSYNC = 0x0040  # linux/timex.h: set at boot, and by whoever gives up disciplining the clock


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_long * 16),  # longer than it is anywhere
    )


def synchronised() -> bool:
    """Tell whether the kernel believes its clock; False where it does not say."""
    timex = _Timex(modes=0)
    if ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) < 0:
        return False
    return not timex.status & _STA_UNSYNC
