"""A real Node-RED with one of our flows, on loopback, ended with its block."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.brokers import free_port
from tests.required import needs

if TYPE_CHECKING:
    from types import TracebackType

START_S = 40.0
SETTINGS = """
module.exports = {
    uiHost: "127.0.0.1", uiPort: PORT, httpAdminRoot: false, flowFile: "flow.json",
    credentialSecret: false, telemetry: {enabled: false, updateNotification: false},
    externalModules: {autoInstall: false, palette: {allowInstall: false}, modules: {allowInstall: false}},
    logging: {console: {level: "info", metrics: false, audit: false}},
};
"""


class NodeRed:
    """Runs ``flow`` with ``environment`` beside the variables of the process."""

    def __init__(self, flow: Path, directory: Path, environment: dict[str, str]) -> None:
        folder = Path(os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests")
        script = folder / "node-red" / "node_modules" / "node-red" / "red.js"
        node = shutil.which("node")
        needs(node, "node: apt-get install nodejs")
        needs(script.exists(), "node-red (run: python tools/fetch_test_assets.py)")
        assert node is not None
        directory.mkdir()
        shutil.copy(flow, directory / "flow.json")
        (directory / "settings.js").write_text(SETTINGS.replace("PORT", str(free_port())))
        self._command = [node, str(script), "--userDir", str(directory), "--settings", str(directory / "settings.js")]
        self._environment = {**os.environ, "HOME": str(directory), **environment}
        self._started = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, name="node-red", daemon=True)
        self._reader.start()
        if not self._started.wait(START_S):
            self.__exit__(None, None, None)
            raise AssertionError("Node-RED did not start:\n" + "\n".join(self.lines))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        if self._reader is not None:
            self._reader.join(10)
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        if error is not None:
            print("\n".join(self.lines[-40:]))

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            if "Started flows" in line:
                self._started.set()
