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


def test_a_daemon_without_a_registry_imports_nothing_of_it() -> None:
    """Its start takes no longer than before there were registries, and no library of theirs is in its memory."""
    code = (
        "import sys, edge_runtime.app.daemon\n"
        "found = {one for one in sys.modules if one.startswith(('edge_runtime.registry', 'tuf', 'urllib3'))}\n"
        "sys.exit(f'main imports {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_main_imports_no_native_libraries_of_its_children() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
