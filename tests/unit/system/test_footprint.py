"""``system.footprint``: the memory of a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from edge_runtime.system.footprint import own_mb


def test_what_a_process_allocates_is_its_own() -> None:
    before = own_mb(os.getpid())
    kept = bytearray(os.urandom(32 << 20))
    after = own_mb(os.getpid())
    assert before is not None
    assert after is not None
    assert len(kept) >> 20 == 32
    assert 28 < after - before < 40


def test_a_process_that_is_gone_has_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert own_mb(child.pid) is None
