"""Labelled pictures: folders named after classes, COCO annotations, or what `tools/surface_defects` renders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_runtime.core.errors import DataError
from quantize_model.pictures import find_pictures, read_picture, spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_RENDERED_IMAGES: Final = "-images.npy"
_RENDERED_BOXES: Final = "-boxes.json"


@dataclass(frozen=True, slots=True)
class Example:
    """One picture and what is in it.

    Attributes:
        name: of the picture, for messages.
        read: returns it, (h, w, 3) BGR or (h, w) grey.
        label: index of the one label it shows, for classification.
        boxes: (k, 5) label index, left, top, right, bottom in pixels of the picture, for detection.
    """

    name: str
    read: Callable[[], NDArray[np.uint8]]
    label: int | None = None
    boxes: NDArray[np.float32] | None = None


def unlabelled(root: Path, limit: int | None) -> list[Example]:
    """Return pictures of which nothing is known: they tell whether two models agree, not whether either is right.

    Raises:
        DataError: there is none.
    """
    return [Example(str(path), partial(read_picture, path)) for path in find_pictures(root, limit)]


def labelled(
    root: Path, task: str, labels: tuple[str, ...], *, annotations: Path | None, limit: int | None
) -> list[Example]:
    """Return the labelled pictures of ``root``, or ``limit`` of them spread evenly.

    Args:
        root: the directory.
        task: of the model.
        labels: of the model, in its order.
        annotations: COCO file; ``None`` = the only `.json` in ``root``.
        limit: most pictures.

    Raises:
        DataError: the directory does not hold what the task needs, code ``quantize.labels``.
    """
    if task == "classification":
        return _by_folder(root, labels, limit)
    if task != "detection":
        message = f"labelled data of task {task} cannot be judged, only classification and detection"
        raise DataError("quantize.labels", message, help="use --agreement-only")
    if rendered := sorted(root.glob(f"*{_RENDERED_IMAGES}")):
        return _rendered(rendered[-1], len(labels), limit)
    return _coco(root, annotations or _only_json(root), labels, limit)


def _by_folder(root: Path, labels: tuple[str, ...], limit: int | None) -> list[Example]:
    numbers = {str(index): index for index in range(len(labels))} | {label: i for i, label in enumerate(labels)}
    unknown = sorted(one.name for one in root.iterdir() if one.is_dir() and one.name not in numbers)
    if unknown:
        message = f"{root}: folders that are no label of the model: {', '.join(unknown[:5])}"
        help_ = f"name each folder after a label ({', '.join(labels[:5])}, ...) or its number"
        raise DataError("quantize.labels", message, help=help_)
    folders = {one: numbers[one.name] for one in sorted(root.iterdir()) if one.is_dir()}
    if not folders:
        message = f"{root}: expected one folder per label, found none"
        raise DataError("quantize.labels", message, help="or use --agreement-only for pictures without labels")
    found = [(path, number) for folder, number in folders.items() for path in find_pictures(folder)]
    chosen = spread(found, limit)
    return [Example(str(path), partial(read_picture, path), label=number) for path, number in chosen]


def _only_json(root: Path) -> Path:
    found = sorted(root.glob("*.json")) + sorted(root.glob("annotations/*.json"))
    if len(found) == 1:
        return found[0]
    message = f"{root}: expected one COCO .json file, found {len(found)}"
    raise DataError("quantize.labels", message, help="name it with --annotations FILE")


def _coco(root: Path, file: Path, labels: tuple[str, ...], limit: int | None) -> list[Example]:
    """See https://cocodataset.org/#format-data; crowds are left out, as boxes around many things are no truth."""
    try:
        data = json.loads(file.read_bytes())
        names = {one["id"]: one["name"] for one in data["categories"]}
        pictures = {one["id"]: one["file_name"] for one in data["images"]}
        rows: dict[int, list[tuple[float, ...]]] = {one: [] for one in pictures}
        numbers = {label: index for index, label in enumerate(labels)}
        for one in data["annotations"]:
            if one.get("iscrowd"):
                continue
            x, y, width, height = map(float, one["bbox"])
            rows[one["image_id"]].append((numbers[names[one["category_id"]]], x, y, x + width, y + height))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{file}: not COCO annotations for these labels: {type(error).__name__}: {error}"
        help_ = f"categories must be named after the model's labels ({', '.join(labels[:5])}, ...)"
        raise DataError("quantize.labels", message, help=help_) from error
    paths = {identity: _picture_of(root, file, name) for identity, name in sorted(pictures.items())}
    chosen = set(spread(list(paths.values()), limit))
    return [
        Example(str(path), partial(read_picture, path), boxes=np.array(rows[identity], np.float32).reshape(-1, 5))
        for identity, path in paths.items()
        if path in chosen
    ]


def _picture_of(root: Path, file: Path, name: str) -> Path:
    places = [root / name, root / "images" / name, file.parent / name]
    for place in places:
        if place.is_file():
            return place
    raise DataError("quantize.labels", f"{file}: no picture {name} in {root}", help="keep pictures beside the file")


def _rendered(images: Path, count: int, limit: int | None) -> list[Example]:
    """Files of `tools/surface_defects`: RGB at the network's size, and boxes in its pixels."""
    pictures: Any = np.load(images, mmap_mode="r", allow_pickle=False)
    name = images.name.removesuffix(_RENDERED_IMAGES)
    targets = json.loads(images.with_name(name + _RENDERED_BOXES).read_text("utf-8"))["targets"]
    if len(targets) != len(pictures) or any(row[0] >= count for rows in targets for row in rows):
        message = f"{images}: the boxes beside it are not of these pictures, or not of this model's labels"
        raise DataError("quantize.labels", message, help="render both anew")
    chosen = spread(range(len(targets)), limit)
    return [
        Example(
            f"{name} {index}",
            lambda index=index: np.ascontiguousarray(pictures[index][:, :, ::-1]),  # type: ignore[misc]  # bound now
            boxes=np.array(targets[index], np.float32).reshape(-1, 5),
        )
        for index in chosen
    ]
