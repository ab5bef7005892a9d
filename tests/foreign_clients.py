"""Clients of registries that others wrote: modelpack-client and oras, in processes that see none of our packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.required import needs

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 50.0

_MODELPACK = """
import json, sys
from modelpack_client import ModelDescriptor, ModelLayer, ModelPackClient, ModelPackConfig, ModelTechnicalConfig
order = json.load(sys.stdin)
client = ModelPackClient(order["host"], insecure=order["ca"] is None, tls_verify=order["ca"] or False,
                         auth_backend="basic" if order["user"] else "token")
if order["user"]:
    client.login(order["host"], *order["user"])
if order["verb"] == "push":
    config = ModelPackConfig(ModelDescriptor(name=order["name"], version=order["version"], licenses=("Apache-2.0",)),
                             ModelTechnicalConfig(architecture="detector", format="onnx", precision="fp32"))
    layers = [ModelLayer(path, media_type, artifact_path=name) for name, (path, media_type) in order["files"].items()]
    done = client.push(order["target"], layers=layers, config=config)
    print(json.dumps({"digest": done.digest}))
else:
    done = client.pull(order["target"], order["directory"])
    print(json.dumps({"files": [str(path) for path in done.files], "config": done.config}))
"""

_ORAS = """
import json, os, sys
import oras.client
order = json.load(sys.stdin)
os.chdir(order["directory"])
client = oras.client.OrasClient(hostname=order["host"], insecure=True, tls_verify=False, auth_backend="basic")
answer = client.push(order["target"], files=order["files"], disable_path_validation=True)
print(json.dumps({"digest": answer.headers.get("Docker-Content-Digest")}))
"""


def modelpack_push(
    target: str, files: Mapping[str, tuple[Path, str]], *, name: str = "model", version: str = "1.0.0"
) -> str:
    """Push files to ``HOST:PORT/REPOSITORY:TAG`` over plain HTTP; return the digest of the manifest.

    Args:
        target: host, repository and tag.
        files: path in the package -> file on disk and media type.
        name: of the model.
        version: of the model.
    """
    named = {path: (str(file), media_type) for path, (file, media_type) in files.items()}
    order = {"verb": "push", "files": named, "name": name, "version": version}
    return str(_modelpack(target, order)["digest"])


def modelpack_pull(
    target: str, directory: Path, *, ca: Path | None = None, user: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Pull ``HOST:PORT/REPOSITORY:TAG`` into a directory; return its ModelPack config, which it validated.

    Args:
        target: host, repository and tag.
        directory: is made.
        ca: of the registry; without it plain HTTP.
        user: name and password for Basic authentication.
    """
    order = {"verb": "pull", "directory": str(directory)}
    found: dict[str, Any] = _modelpack(target, order, ca, user)["config"]
    return found


def oras_push(target: str, directory: Path, files: list[str]) -> str:
    """Push files of ``directory`` with ``oras.push`` over plain HTTP; return the digest of the manifest."""
    order = {"host": target.partition("/")[0], "target": target, "directory": str(directory), "files": files}
    return str(_run(_ORAS, order)["digest"])


def _modelpack(
    target: str, order: dict[str, Any], ca: Path | None = None, user: tuple[str, str] | None = None
) -> dict[str, Any]:
    more = {"host": target.partition("/")[0], "target": target, "ca": str(ca) if ca else None, "user": user}
    return _run(_MODELPACK, order | more)


def _run(script: str, order: dict[str, Any]) -> dict[str, Any]:
    folder = os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests"
    packages = Path(folder) / "oci-clients"
    needs(packages.exists(), "oras and modelpack-client (run: python tools/fetch_test_assets.py)")
    with tempfile.TemporaryDirectory(prefix="foreign-") as home:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": home, "PYTHONPATH": str(packages)}
        done = subprocess.run(
            [sys.executable, "-S", "-c", script],  # -S: of installed packages it sees those and no others
            input=json.dumps(order).encode(),
            capture_output=True,
            cwd=home,
            env=environment,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
