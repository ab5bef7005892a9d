"""Build the zoo: models as foreign frameworks export them, and what those frameworks see in real pictures.

    FOREIGN/bin/python tools/parity/zoo.py ZOO [NAME ...]

FOREIGN is a virtual environment with the packages of `tools/parity/requirements.txt`, apart from ours; ZOO a folder
outside of the repository. Weights are random and seeded, spread so that bus.jpg and zidane.jpg (fetched by
`tools/fetch_test_assets.py`) give detections: see `waking`. Each model gets a folder with the export, `expected.json`
(see `record`) and a line in README.md. Then

    EDGE_PARITY_ZOO=ZOO tools/test -m parity tests/parity

runs our pipeline on the same files. A model that cannot be built is named at the end, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FAMILIES = ("ultra", "vision", "yolox_nano", "yolov5_classic", "detr", "paddle_ocr", "anomalib_models")
"""Modules with ``EXPORTS``, by name, ``make(name, folder, pictures)``, and ``PICTURES`` if they need others."""
PICTURES = ("bus.jpg", "zidane.jpg")


def main() -> int:
    """Build what was asked for, or everything."""
    parser = argparse.ArgumentParser(description="Build models of foreign frameworks and what these see with them.")
    parser.add_argument("zoo", type=Path)
    parser.add_argument("names", nargs="*", help="models, or families; all of them without")
    arguments = parser.parse_args()
    zoo: Path = arguments.zoo.resolve()
    failed = []
    wanted = set(arguments.names)
    for family in FAMILIES:
        if wanted and wanted <= set(FAMILIES) - {family}:
            continue  # importing a framework takes its time
        module = importlib.import_module(family)
        for name in module.EXPORTS:
            if wanted and not {name, family} & wanted:
                continue
            folder = zoo / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                module.make(name, folder, _pictures(getattr(module, "PICTURES", PICTURES)))
                if not [*folder.rglob("*.onnx"), *folder.rglob("*.xml")]:
                    raise FileNotFoundError(f"nothing was exported into {folder}")  # noqa: TRY301 - said like the rest
                print(f"made     {name}", flush=True)
            except Exception as error:  # noqa: BLE001 - any framework may fail in any way; the others go on
                traceback.print_exc()
                shutil.rmtree(folder, ignore_errors=True)
                failed.append(f"{name}: {type(error).__name__}: {error}")
    importlib.import_module("listing").write(zoo)
    for line in failed:
        print(f"failed   {line}", file=sys.stderr)
    return 1 if failed else 0


def _pictures(names: Sequence[str]) -> list[object]:
    import cv2  # noqa: PLC0415 - the foreign environment's
    from record import Picture  # noqa: PLC0415 - needs numpy of the foreign environment

    root = Path(os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests")
    return [Picture(str(root / name), cv2.imread(str(root / name))) for name in names]


if __name__ == "__main__":
    sys.exit(main())
