"""Invariant: the main process never imports what decodes pictures or runs models."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import edge_runtime.app.daemon, edge_runtime.app.bench, edge_runtime.app.demo, edge_runtime.app.infer
import edge_runtime.app.vetting, edge_runtime.cli.models_pack, edge_runtime.cli.models_validate
found = {"cv2", "onnxruntime", "openvino", "numpy"} & set(sys.modules)
raise SystemExit(f"main imports {found}" if found else 0)
"""


def test_main_imports_no_native_libraries_of_its_children() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
