"""``edge-runtime models pack``: a package of a bare model, and the golden answers by which other boxes check it."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app.infer import InferOptions, reference
from edge_runtime.app.vetting import vet
from edge_runtime.cli import models_oci
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import ANSWERS_NAME, FOLDER, FRAMES_LIMIT, PICTURE, write_golden
from edge_runtime.core.manifest import MANIFEST_NAME
from edge_runtime.core.reference import PICTURES_MIN
from edge_runtime.engine.authoring import fill_hashes, make_manifest, set_reference, set_release
from edge_runtime.engine.package import open_package
from edge_runtime.system.files import make_directory, read_limited, write_atomic
from edge_runtime.system.logs import configure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from edge_runtime.engine.package import Package

PICTURE_LIMIT_BYTES = 32 << 20


def run(args: argparse.Namespace) -> int:
    """Pack, and say what was written.

    Raises:
        DataError: the model cannot be used, there are no pictures, or something is there already.
    """
    configure(style="text", level="critical", journal=False)
    if args.json and args.oci is None:
        raise DataError("pack.usage", "--json tells about a release", help="add --oci DEST")
    if (args.model / MANIFEST_NAME).exists():
        if args.out is not None or args.golden is not None:
            message = f"{args.model} is a package: --out and --golden are for a bare model"
            raise DataError("pack.usage", message, help=f"put the pictures into {args.model / FOLDER}")
        _complete(args.model, args)
        _release(args.model, args)
        return os.EX_OK
    if args.reference is not None:
        message = f"{args.model} is no package: a reference is added to one"
        raise DataError("pack.usage", message, help="pack it first, then pack the package with --reference DIR")
    if args.oci is not None and args.release is None:
        raise DataError("pack.no_release", f"{args.model}: releases of a model are numbered", help="add --release N")
    if args.out is None and args.oci is not None:
        with tempfile.TemporaryDirectory(prefix="edge-runtime-") as folder:
            _pack(args, Path(folder, "package"))
            _release(Path(folder, "package"), args)
    else:
        _pack(args, args.out)
        _release(args.out, args)
    return os.EX_OK


def _complete(root: Path, args: argparse.Namespace) -> None:
    """Write what a package lacks: hashes, the number of the release if one is given, answers if there are pictures.

    One that is to become a release keeps the answers that it has.
    """
    answers = root / FOLDER / ANSWERS_NAME
    pictures: list[Path] = []
    if (root / FOLDER).exists() and (args.oci is None or args.force or not answers.exists()):
        _refuse_to_replace([answers], force=args.force)
        pictures = _pictures(root / FOLDER)
    if fill_hashes(root):
        _say(f"wrote {root / MANIFEST_NAME}: hashes added", args)
    if args.release is not None and set_release(root, args.release):
        _say(f"wrote {root / MANIFEST_NAME}: release {args.release}", args)
    if args.reference is not None:
        _refer(root, args)
    if pictures:
        write_atomic(answers, _record(root, pictures, args))
        _say(f"wrote {answers}", args)
        return
    open_package(root)
    if not (root / FOLDER).exists():
        text = f"no golden frames; with pictures in {root / FOLDER} other boxes can check that they see the same"
        _say(f"note: {text}", args)


def _refer(root: Path, args: argparse.Namespace) -> None:
    """Write into the manifest what the model sees in pictures of a normal day."""
    pictures = sorted(one for one in args.reference.glob("*") if PICTURE.fullmatch(one.name))
    if len(pictures) < PICTURES_MIN:
        message = f"{args.reference}: expected {PICTURES_MIN} pictures (jpg, png) or more, found {len(pictures)}"
        raise DataError(
            "pack.no_pictures", message, help="put pictures of a normal day there, good and bad parts alike"
        )
    set_reference(root, reference(InferOptions(root, args.device, args.backend), pictures))
    _say(f"wrote {root / MANIFEST_NAME}: reference of {len(pictures)} pictures", args)


def _release(root: Path, args: argparse.Namespace) -> None:
    if args.oci is not None:
        models_oci.publish(root, args.oci, as_json=args.json)


def _say(text: str, args: argparse.Namespace) -> None:
    print(text, file=sys.stderr if args.json else sys.stdout)


def _pack(args: argparse.Namespace, out: Path | None) -> None:
    """Make a package of a model that is none: tried beside its place, then written there, the manifest last."""
    package = open_package(args.model, () if args.backend == "auto" else (args.backend,))
    if package.chain and package.manifest is None:
        message = f"{args.model} holds {len(package.chain)} models, which are no package together"
        raise DataError("pack.usage", message, help=f"use it as it is, or write {MANIFEST_NAME} there with their steps")
    if out is None:
        raise DataError("pack.usage", f"{args.model} is no package", help="say where to make one: --out DIR")
    if package.manifest is not None:
        message = f"{args.model} belongs to a package already"
        raise DataError("pack.usage", message, help=f"edge-runtime models pack {args.model.parent}")
    pictures = [] if args.golden is None else _pictures(args.golden)
    files = _files(package, args, pictures)
    _refuse_to_replace([out / name for name in (*files, f"{FOLDER}/{ANSWERS_NAME}")], force=args.force)
    make_directory(out.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=".pack-", dir=out.absolute().parent) as folder:
        staged = Path(folder) / (out.name or "package")
        _write(staged, files, durable=False)
        if pictures:
            answers = _record(staged, [one.name for one in pictures], args)
            files = {f"{FOLDER}/{ANSWERS_NAME}": answers, **files}
    _write(out, files, durable=True)
    for name in () if args.out is None else files:
        _say(f"wrote {out / name}", args)
    if not pictures:
        _say("note: no golden frames; with --golden DIR other boxes can check that they see the same", args)


def _files(package: Package, args: argparse.Namespace, pictures: Sequence[Path]) -> dict[str, bytes]:
    """Return the content of the package by name, the manifest last: without it the rest is no package."""
    name = "model.onnx" if package.format == "onnx" else "model.xml"
    files = {f"{FOLDER}/{one.name}": read_limited(one, PICTURE_LIMIT_BYTES) for one in pictures}
    files[name] = package.model
    if package.parts:
        files["model.bin"] = package.parts
    files[MANIFEST_NAME] = make_manifest(package, name, version=args.version, release=args.release)
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
    for note in _doubts(root, report.frames):
        _say(f"note: {note}", args)
    return write_golden(report.frames, trusted)


def _doubts(root: Path, frames: Mapping[str, Sequence[object]]) -> Iterator[str]:
    """Yield which answers are so near to the threshold that another engine may not give them."""
    package = open_package(root)
    floor = package.spec.thresholds.score
    reach = package.manifest.tolerances.score if package.manifest is not None else 0.0
    for file, predictions in frames.items():
        for one in predictions:
            score = one.get("score") if isinstance(one, dict) else None
            if isinstance(score, int | float) and isinstance(one, dict) and "box" in one and score < floor + reach:
                text = f"{one.get('label')!r} has {score:.3f}, the threshold is {floor:g}"
                yield f"{file}: {text}; it is not held against a box that does not see it"


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
