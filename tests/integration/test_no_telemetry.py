"""Both engines phone home by default; ours must not: no connection tried, no file left, watched by the kernel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.assets.make_models import write_package
from tests.integration.real_assets import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
import numpy as np
from edge_runtime.engine.loader import load_engine
for backend in ("openvino", "onnxruntime"):
    model = load_engine(sys.argv[1], backend=backend, cache_dir=sys.argv[2])
    print(backend, model.lanes[0].predict(np.zeros((8, 8, 3), np.uint8)).predictions[0].label)
"""
CREATED = re.compile(r'(?:openat|mkdir|mkdirat)\((?:AT_FDCWD, )?"([^"]+)"(?:[^)]*O_CREAT|, 0[0-7]+)[^)]*\)\s*= \d')
NETWORK = re.compile(r"\b(?:connect|sendto|sendmsg)\(.*(?:AF_INET|AF_INET6)")


@pytest.mark.parametrize(
    "line",
    [
        '7 connect(9, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16) = 0',
        "7 connect(9, {sa_family=AF_INET6, sin6_port=htons(443)}, 28) = -1 EINPROGRESS (Operation now in progress)",
        '7 sendto(9, "x", 1, MSG_NOSIGNAL, {sa_family=AF_INET, sin_port=htons(53)}, 16) = 1',
    ],
)
def test_a_connection_in_the_trace_would_be_seen(line: str) -> None:
    assert NETWORK.search(line)
    assert not NETWORK.search('7 connect(9, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = -1 ENOENT')


@pytest.mark.parametrize(
    "line",
    [
        '7 openat(AT_FDCWD, "/root/.cache/x.db", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 8',
        '7 mkdir("/root/intel", 0777) = 0',
        '7 mkdirat(AT_FDCWD, "/root/intel", 0777) = 0',
    ],
)
def test_a_file_in_the_trace_would_be_seen(line: str) -> None:
    assert CREATED.search(line)
    assert not CREATED.search('7 openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 8')
    assert not CREATED.search('7 mkdir("/root/intel", 0777) = -1 EEXIST (File exists)')


@pytest.mark.timeout(180)
def test_loading_and_running_both_engines_tells_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None and os.environ.get("CI") != "true":
        pytest.skip("missing: strace (apt-get install strace)")
    assert strace is not None
    home, cache, trace = tmp_path / "home", tmp_path / "cache", tmp_path / "trace"
    home.mkdir()
    cache.mkdir()
    package = write_package(tmp_path, "colours")
    calls = "trace=connect,sendto,sendmsg,openat,mkdir,mkdirat"
    command = [strace, "-f", "-qq", "-s", "400", "-e", calls, "-o", str(trace), sys.executable, "-c", PROGRAM]
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    done = subprocess.run(
        [*command, str(package), str(cache)], env=environment, capture_output=True, text=True, timeout=150, check=False
    )

    assert done.stdout.split() == ["openvino", "red", "onnxruntime", "red"], done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    assert len(lines) > 100  # the trace saw the process
    assert [line for line in lines if NETWORK.search(line)] == []
    created = [match[1] for line in lines if (match := CREATED.search(line))]
    elsewhere = [path for path in created if not path.startswith((str(cache), "/dev/", "/proc/self/"))]
    assert elsewhere == []
    assert any(path.startswith(str(cache)) for path in created)  # and what is meant to be written was seen
    assert list(home.rglob("*")) == []
