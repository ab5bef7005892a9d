"""``edge-runtime models pack``: a package of a bare model, and the golden answers by which other boxes check it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app.vetting import vet
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import ANSWERS_NAME, FOLDER, FRAMES_LIMIT, PICTURE, write_golden
from edge_runtime.core.manifest import MANIFEST_NAME
from edge_runtime.engine.authoring import fill_hashes, make_manifest
from edge_runtime.engine.package import open_package
from edge_runtime.system.files import make_directory, read_limited, write_atomic
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from edge_runtime.engine.package import Package

PICTURE_LIMIT_BYTES = 32 << 20


def run(args: argparse.Namespace) -> int:
    """Pack, and say what was written.

    Raises:
        DataError: the model cannot be used, there are no pictures, or something is there already.
    """
    configure(style="text", level="critical", journal=False)
    if (args.model / MANIFEST_NAME).exists():
        if args.out is not None or args.golden is not None:
            message = f"{args.model} is a package: --out and --golden are for a bare model"
            raise DataError("pack.usage", message, help=f"put the pictures into {args.model / FOLDER}")
        _answer(args.model, args)
    else:
        _pack(args)
    return os.EX_OK


def _answer(root: Path, args: argparse.Namespace) -> None:
    """Write the golden answers of a package, and the hashes that it lacks; of one without pictures these only."""
    if not (root / FOLDER).exists():
        if fill_hashes(root):
            print(f"wrote {root / MANIFEST_NAME}: hashes added")
        open_package(root)
        print(f"note: no golden frames; with pictures in {root / FOLDER} other boxes can check that they see the same")
        return
    answers = root / FOLDER / ANSWERS_NAME
    _refuse_to_replace([answers], force=args.force)
    pictures = _pictures(root / FOLDER)
    if fill_hashes(root):
        print(f"wrote {root / MANIFEST_NAME}: hashes added")
    write_atomic(answers, _record(root, pictures, args))
    print(f"wrote {answers}")


def _pack(args: argparse.Namespace) -> None:
    """Make a package of a model that is none: tried beside its place, then written there, the manifest last."""
    package = open_package(args.model, () if args.backend == "auto" else (args.backend,))
    if package.chain and package.manifest is None:
        message = f"{args.model} holds {len(package.chain)} models, which are no package together"
        raise DataError("pack.usage", message, help=f"use it as it is, or write {MANIFEST_NAME} there with their steps")
    if args.out is None:
        raise DataError("pack.usage", f"{args.model} is no package", help="say where to make one: --out DIR")
    if package.manifest is not None:
        message = f"{args.model} belongs to a package already"
        raise DataError("pack.usage", message, help=f"edge-runtime models pack {args.model.parent}")
    pictures = [] if args.golden is None else _pictures(args.golden)
    files = _files(package, args, pictures)
    _refuse_to_replace([args.out / name for name in (*files, f"{FOLDER}/{ANSWERS_NAME}")], force=args.force)
    make_directory(args.out.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=args.out.absolute().parent) as folder:
        staged = Path(folder) / (args.out.name or "package")
        _write(staged, files, durable=False)
        if pictures:
            answers = _record(staged, [one.name for one in pictures], args)
            files = {f"{FOLDER}/{ANSWERS_NAME}": answers, **files}
    _write(args.out, files, durable=True)
    for name in files:
        print(f"wrote {args.out / name}")
    if not pictures:
        print("note: no golden frames; with --golden DIR other boxes can check that they see the same")


def _files(package: Package, args: argparse.Namespace, pictures: Sequence[Path]) -> dict[str, bytes]:
    """Return the content of the package by name, the manifest last: without it the rest is no package."""
    name = "model.onnx" if package.format == "onnx" else "model.xml"
    files = {f"{FOLDER}/{one.name}": read_limited(one, PICTURE_LIMIT_BYTES) for one in pictures}
    files[name] = package.model
    if package.parts:
        files["model.bin"] = package.parts
    files[MANIFEST_NAME] = make_manifest(package, name, version=args.version)
    return files


def _write(root: Path, files: Mapping[str, bytes], *, durable: bool) -> None:
    for name, content in files.items():
        make_directory((root / name).absolute().parent)
        write_atomic(root / name, content, durable=durable)


def _record(root: Path, pictures: Sequence[str] | Sequence[Path], args: argparse.Namespace) -> bytes:
    """Run the model over ``pictures`` of the package and return the content of the file of answers.

    Raises:
        EdgeError: the model cannot be used.
    """
    names = tuple(Path(one).name for one in pictures)
    report = vet(root, device=args.device, backend=args.backend, deadline_s=args.deadline, record=names)
    if report.error is not None:
        raise report.error
    engine = report.facts.get("engine")
    trusted = (
        {key: engine[key] for key in ("backend", "version", "device", "precision")} if isinstance(engine, dict) else {}
    )
    _warn_of_doubt(root, report.frames)
    return write_golden(report.frames, trusted)


def _warn_of_doubt(root: Path, frames: Mapping[str, Sequence[object]]) -> None:
    """Say which answers are so near to the threshold that another engine may not give them."""
    package = open_package(root)
    floor = package.spec.thresholds.score
    reach = package.manifest.tolerances.score if package.manifest is not None else 0.0
    for file, predictions in frames.items():
        for one in predictions:
            score = one.get("score") if isinstance(one, dict) else None
            if isinstance(score, int | float) and isinstance(one, dict) and "box" in one and score < floor + reach:
                text = f"{one.get('label')!r} has {score:.3f}, the threshold is {floor:g}"
                print(f"note: {file}: {text}; it is not held against a box that does not see it")


def _pictures(folder: Path) -> list[Path]:
    found = sorted(one for one in folder.iterdir() if one.is_file()) if folder.is_dir() else []
    pictures = [one for one in found if PICTURE.fullmatch(one.name)]
    if not 1 <= len(pictures) <= FRAMES_LIMIT:
        message = f"{folder}: expected 1 to {FRAMES_LIMIT} pictures (jpg, png), found {len(pictures)}"
        raise DataError("pack.no_pictures", message, help="put pictures there whose answers you have looked at")
    return pictures


def _refuse_to_replace(paths: Sequence[Path], *, force: bool) -> None:
    there = next((path for path in paths if os.path.lexists(path)), None)
    if there is not None and not force:
        raise DataError("pack.exists", f"{there} exists already", help="--force replaces it")
