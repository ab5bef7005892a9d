"""``python -m edge_runtime.engine.devices``: what each inference engine can run on, as one JSON object.

A process of its own, because a broken driver may take the process that asks it down (used by ``doctor``).
"""

from __future__ import annotations

import importlib
import json
import os

BACKENDS = {"openvino": "edge_runtime.engine.ov", "onnxruntime": "edge_runtime.engine.ort"}


def devices() -> dict[str, list[str] | str]:
    """Return the devices by backend, or why the backend cannot be used."""
    found: dict[str, list[str] | str] = {}
    for backend, module in BACKENDS.items():
        try:
            found[backend] = list(importlib.import_module(module).available_devices())
        except (ImportError, OSError, RuntimeError) as error:
            found[backend] = str(error)
    return found


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    print(json.dumps(devices()))  # noqa: T201 - a program of its own
