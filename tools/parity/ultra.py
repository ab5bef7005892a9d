"""Models of Ultralytics: every task and the kinds of head that its exporter writes, and what its predictor sees.

Ultralytics (AGPL-3.0) is installed by whoever runs this, and called; nothing of it is in this repository or in the
product.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "true")  # no look-ups of newer versions
os.environ.setdefault("YOLO_AUTOINSTALL", "false")

import cv2
import openvino
import torch
import ultralytics
from record import Found, Picture, box_of, choose, choose_score, rle_of, write
from ultralytics import RTDETR, YOLO
from ultralytics.data.augment import LetterBox
from waking import aim, settle_norms, spread

LABELS = ("scratch", "dent", "hole", "stain", "crack")
LOW_SCORE = 0.3
CANDIDATES = 120
"""Boxes of two pictures that enter the suppression."""
SEEDS = 40
"""How many are tried until the pictures give about equally many candidates."""
TOP = 5  # of a classifier


@dataclass(frozen=True, slots=True)
class Export:
    """One exported model: the architecture, its input and the exporter's arguments."""

    config: str
    size: int | tuple[int, int] = 320
    format: str = "onnx"
    seed: int = 1
    arguments: dict[str, Any] = field(default_factory=dict)


_NMS = {"nms": True, "conf": LOW_SCORE, "iou": 0.5}
_END_TO_END = {"nms": False}  # since Ultralytics 8.4 the default, None, leaves the suppression to the reader

EXPORTS = {
    "yolov5n": Export("yolov5n.yaml"),
    "yolov8n": Export("yolov8n.yaml"),
    "yolov8n-640": Export("yolov8n.yaml", 640),
    "yolov8n-384x640": Export("yolov8n.yaml", (384, 640)),
    "yolov8n-nms": Export("yolov8n.yaml", arguments=_NMS),
    "yolov8n-dynamic": Export("yolov8n.yaml", arguments={"dynamic": True}),
    "yolov8n-openvino": Export("yolov8n.yaml", format="openvino"),
    "yolov10n": Export("yolov10n.yaml"),
    "yolo11n": Export("yolo11n.yaml"),
    "yolo26n": Export("yolo26n.yaml", arguments=_END_TO_END),
    "yolo26n-raw": Export("yolo26n.yaml"),
    "yolo26n-openvino": Export("yolo26n.yaml", format="openvino", arguments=_END_TO_END),
    "yolov8n-seg": Export("yolov8n-seg.yaml"),
    "yolov8n-seg-nms": Export("yolov8n-seg.yaml", arguments=_NMS),
    "yolov8n-seg-384x640": Export("yolov8n-seg.yaml", (384, 640)),
    "yolov8n-seg-openvino": Export("yolov8n-seg.yaml", format="openvino"),
    "yolo11n-seg": Export("yolo11n-seg.yaml"),
    "yolo26n-seg": Export("yolo26n-seg.yaml", arguments=_END_TO_END),
    "yolo26n-seg-raw": Export("yolo26n-seg.yaml"),
    "yolov8n-pose": Export("yolov8n-pose.yaml"),
    "yolo11n-pose": Export("yolo11n-pose.yaml"),
    "yolo26n-pose": Export("yolo26n-pose.yaml", arguments=_END_TO_END),
    "yolo26n-pose-raw": Export("yolo26n-pose.yaml"),
    "yolov8n-obb": Export("yolov8n-obb.yaml"),
    "yolo11n-obb": Export("yolo11n-obb.yaml"),
    "yolo26n-obb": Export("yolo26n-obb.yaml", arguments=_END_TO_END),
    "yolo26n-obb-raw": Export("yolo26n-obb.yaml"),
    "yolov8n-obb-nms": Export("yolov8n-obb.yaml", arguments=_NMS),
    "yolov8n-pose-nms": Export("yolov8n-pose.yaml", arguments=_NMS),
    "yolov8n-cls": Export("yolov8n-cls.yaml", 224),
    "yolo11n-cls": Export("yolo11n-cls.yaml", 224),
    "yolo26n-cls": Export("yolo26n-cls.yaml", 224),
    "rtdetr-yolov8n": Export("yolov8n-rtdetr.yaml"),
}


def make(name: str, folder: Path, pictures: list[Picture]) -> None:
    """Build ``name`` of `EXPORTS` in ``folder`` and write what Ultralytics sees in ``pictures``."""
    export = EXPORTS[name]
    height, width = (export.size, export.size) if isinstance(export.size, int) else export.size
    model = _seeing(export, folder, _batch(pictures, height, width))
    model.model.names = dict(enumerate(LABELS))
    kind = type(model)
    weights = folder / "network.pt"  # under its own name Ultralytics would ask the network for the trained ones
    model.save(weights)
    arguments = {"imgsz": [height, width], "format": export.format, "verbose": False, **export.arguments}
    written = Path(kind(weights).export(**arguments))
    weights.unlink()
    target = folder / ("model_openvino_model" if written.is_dir() else "model.onnx")  # the end tells the predictor
    shutil.rmtree(target, ignore_errors=True)
    written.rename(target)
    _expect(folder, target, model.task, (height, width), pictures)


def _seeing(export: Export, folder: Path, batch: torch.Tensor) -> YOLO | RTDETR:
    """Return a network of the first seed from ``export.seed`` on that sees something in every picture, see `_even`."""
    config = _config(export.config, folder)
    for seed in range(export.seed, export.seed + SEEDS):
        torch.manual_seed(seed)
        model = RTDETR(config) if "rtdetr" in export.config else YOLO(config, verbose=False)
        _wake(model.model, batch)
        if model.task == "classify" or _even(model.model, batch):
            print(f"{folder.name}: seed {seed}", flush=True)
            return model
    message = f"{folder.name}: none of {SEEDS} seeds sees about as much in each picture"
    raise ValueError(message)


def _even(network: torch.nn.Module, batch: torch.Tensor) -> bool:
    """Whether each picture has candidates, and none of them most of all."""
    with torch.no_grad():
        rows = network(batch)
    rows = rows[0][0] if isinstance(rows[0], tuple) else rows[0]  # of a mask head: the boxes beside the prototypes
    ends = rows.shape[-1] < rows.shape[1]  # (n, candidates, x1 y1 x2 y2 score ...), else (n, box and classes, anchors)
    scores = rows[..., 4] if ends else rows[:, 4 : 4 + len(LABELS)].amax(1)
    counts = (scores > 0.3).sum(1)  # noqa: PLR2004 - about where thresholds will be
    return bool(counts.min() >= 12 and counts.max() <= 5 * counts.min())  # noqa: PLR2004 - a rule of thumb


def _config(name: str, folder: Path) -> str:
    """Copy the architecture with our number of classes; its file name carries the size of the network."""
    from ultralytics.nn.tasks import yaml_model_load  # noqa: PLC0415 - beside its only use
    from ultralytics.utils import YAML  # noqa: PLC0415 - beside its only use

    path = folder / name
    YAML.save(path, {**yaml_model_load(name), "nc": len(LABELS), "yaml_file": name})
    return str(path)


def _batch(pictures: list[Picture], height: int, width: int) -> torch.Tensor:
    """Return the pictures as the predictor would show them, (n, 3, height, width), 0..1."""
    letterbox = LetterBox((height, width), auto=False)
    shown = [cv2.cvtColor(letterbox(image=one.pixels), cv2.COLOR_BGR2RGB) for one in pictures]
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1).float() / 255 for one in shown])


def _wake(network: torch.nn.Module, batch: torch.Tensor) -> None:
    """Make ``network`` see something in ``batch``; see `waking`."""

    def forward() -> object:
        return network(batch)

    settle_norms(network, forward)
    head = network.model[-1]
    if hasattr(head, "linear"):
        spread([head.linear], forward, std=0.7, mean=0.0)
        return
    if hasattr(head, "dec_score_head"):
        aim([head.enc_score_head], forward, candidates=CANDIDATES)
        spread([one.layers[-1] for one in head.dec_bbox_head], forward, std=0.3, mean=0.0)
        aim([head.dec_score_head[-1]], forward, candidates=CANDIDATES)
        return
    for name in ("one2one", "one2many"):
        if name == "one2one" and not hasattr(head, "one2one_cv2"):
            continue
        branches = getattr(head, name)
        head.end2end = name == "one2one"
        spread([one[-1] for one in branches["box_head"]], forward, **_box_spread(head.reg_max))
        aim([one[-1] for one in branches["cls_head"]], forward, candidates=CANDIDATES)
        for extra in ("mask_head", "angle_head", "pose_head"):
            layers = [one[-1] for one in branches.get(extra, ())]
            if layers and isinstance(layers[0], torch.nn.Conv2d):
                spread(layers, forward, std=0.7 if extra == "angle_head" else 1.0, mean=0.0)
        if "kpts_head" in branches:
            spread(branches["kpts_head"], forward, std=1.0, mean=0.0)


def _box_spread(bins: int) -> dict[str, Any]:
    """Return how sides are spread: near two to four strides from their anchor, with plenty of difference."""
    if bins == 1:
        return {"std": 0.5, "mean": 5.0}
    return {"std": 2.0, "mean": torch.linspace(0, -4, bins).repeat(4)}


def _exact_openvino() -> None:
    """Make OpenVINO compute in float32: on some processors its default is bfloat16, and what it sees shows it."""
    compile_model = openvino.Core.compile_model

    def exact(core: openvino.Core, model: object, device_name: str = "CPU", config: Any = None) -> object:  # noqa: ANN401
        return compile_model(core, model, device_name, {**(config or {}), "INFERENCE_PRECISION_HINT": "f32"})

    openvino.Core.compile_model = exact


_exact_openvino()


def _expect(folder: Path, target: Path, task: str, size: tuple[int, int], pictures: list[Picture]) -> None:
    model = RTDETR(str(target)) if "rtdetr" in folder.name else YOLO(target, task=task)
    plain = {"imgsz": list(size), "verbose": False, "device": "cpu", "max_det": 300, "save": False, "rect": False}

    def see(**settings: Any) -> list[Found]:  # noqa: ANN401 - the predictor's own settings
        return [_READERS[task](model.predict(one.pixels, **plain, **settings)[0]) for one in pictures]

    end_to_end = task != "classify" and _has_no_duplicates(target)
    if task == "classify":
        settings, manifest, found = {}, {}, see()
    else:
        if end_to_end:
            score, iou = choose_score(see(conf=LOW_SCORE)), 0.7
        else:
            score, iou = choose(lambda score, iou: see(conf=score, iou=iou), LOW_SCORE)
        settings = {"conf": score, "iou": iou}
        manifest = {"thresholds": {"score": score} if end_to_end else {"score": score, "iou": iou}}
        found = see(**settings)
        if task == "segment":
            for coarse, fine in zip(found, see(**settings, retina_masks=True), strict=True):
                _add_whole_masks(coarse, fine)
    write(
        folder,
        "ultralytics",
        ultralytics.__version__,
        plain | settings,
        manifest,
        list(zip(pictures, found, strict=True)),
    )


_TASKS = {"detect": "detection", "segment": "instance_segmentation"}
"""Our words, for the tasks that are exported to OpenVINO here."""


def _has_no_duplicates(target: Path) -> bool:
    """Whether the export suppresses inside its graph, or never needs to."""
    from ultralytics.nn.autobackend import AutoBackend  # noqa: PLC0415 - beside its only use

    backend = AutoBackend(str(target))
    return backend.end2end or backend.task == "rtdetr" or "rtdetr" in str(target)


def _add_whole_masks(coarse: Found, fine: Found) -> None:
    """Take ``rle`` from the prediction with masks in the picture's own resolution, ``polygon`` stays the usual one."""
    for one, other in zip(coarse, fine, strict=True):
        if one["label"] != other["label"] or one["score"] != other["score"]:
            message = "the masks in the picture's resolution belong to other boxes"
            raise ValueError(message)
        one["rle"], one["area"] = other["rle"], other["area"]


def _labelled(result: Any, index: int, score: float) -> dict[str, Any]:  # noqa: ANN401 - a Results
    return {"label": result.names[int(index)], "id": int(index), "score": float(score)}


def _boxes(result: Any) -> Found:  # noqa: ANN401 - a Results
    rows = result.boxes.data.cpu().double()
    height, width = result.orig_shape
    rows[:, :4] = rows[:, :4].clamp(min=0).minimum(torch.tensor([width, height] * 2))  # RT-DETR's hang out
    return [_labelled(result, row[5], row[4]) | {"box": box_of(row[:4])} for row in rows.tolist()]


def _masks(result: Any) -> Found:  # noqa: ANN401 - a Results
    found = _boxes(result)
    for one, mask, polygon in zip(found, result.masks.data.cpu().numpy(), result.masks.xy, strict=True):
        one |= {"rle": rle_of(mask), "area": int(mask.sum()), "polygon": polygon.tolist()}
    return found


def _keypoints(result: Any) -> Found:  # noqa: ANN401 - a Results
    found = _boxes(result)
    for one, points in zip(found, result.keypoints.data.cpu().numpy(), strict=True):
        one["keypoints"] = points.tolist()
    return found


def _turned(result: Any) -> Found:  # noqa: ANN401 - a Results
    turned = result.obb
    columns = (turned.cls, turned.conf, turned.xyxy, turned.xyxyxyxy, turned.xywhr)
    return [
        _labelled(result, index, score)
        | {"box": box_of(box.tolist()), "corners": corners.tolist(), "xywhr": xywhr.tolist()}
        for index, score, box, corners, xywhr in zip(*(one.cpu().numpy() for one in columns), strict=True)
    ]


def _classes(result: Any) -> Found:  # noqa: ANN401 - a Results
    probabilities = result.probs.data.cpu().numpy()
    best = probabilities.argsort()[::-1][:TOP]
    return [_labelled(result, index, probabilities[index]) for index in best]


_READERS = {"detect": _boxes, "segment": _masks, "pose": _keypoints, "obb": _turned, "classify": _classes}
