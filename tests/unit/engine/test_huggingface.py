"""Directories of transformers open as they are: how pictures are shown follows the image processor's own arithmetic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.layouts import home_of
from edge_runtime.engine.authoring import make_manifest
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.confinement import model_places
from edge_runtime.engine.layouts import find_around
from edge_runtime.engine.metadata import huggingface
from edge_runtime.engine.metadata.graph import Graph
from edge_runtime.engine.metadata.values import UnusableMetadataError
from edge_runtime.engine.package import open_package
from edge_runtime.engine.preprocess import Preprocessor, TensorWriter
from edge_runtime.engine.spec import InputSpec
from tests.assets.make_models import SIDE, colours

if TYPE_CHECKING:
    from pathlib import Path

MODEL = colours(("batch_size", "num_channels", "height", "width")).SerializeToString()
CONFIG = {
    "architectures": ["ViTForImageClassification"],
    "id2label": {"0": "red", "1": "green", "2": "blue"},
    "model_type": "vit",
    "transformers_version": "4.57.6",
}
# `save_pretrained` of transformers 4.57.6
COMMON: dict[str, Any] = {"do_resize": True, "do_rescale": True, "rescale_factor": 0.00392156862745098}
HALVES: dict[str, Any] = {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
SQUARE = {"height": SIDE, "width": SIDE}
VIT = {**COMMON, **HALVES, "image_processor_type": "ViTImageProcessor", "resample": 2, "size": SQUARE}
CLIP = {
    **COMMON,
    "crop_size": {"height": 24, "width": 24},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": {"shortest_edge": 30},
}
CONVNEXT = {
    **COMMON,
    **HALVES,
    "crop_pct": 0.875,
    "image_processor_type": "ConvNextImageProcessor",
    "resample": 3,
    "size": {"shortest_edge": 28},
}
MOBILEVIT = {
    **COMMON,
    "crop_size": {"height": 24, "width": 24},
    "do_center_crop": True,
    "do_flip_channel_order": True,
    "do_reduce_labels": False,
    "image_processor_type": "MobileViTImageProcessor",
    "resample": 2,
    "size": {"shortest_edge": 30},
}


def directory(root: Path, *files: str, settings: object = VIT, config: object = CONFIG) -> Path:
    root.mkdir(parents=True)
    for name, document in (("config.json", config), ("preprocessor_config.json", settings)):
        if document is not None:
            (root / name).write_text(json.dumps(document))
    for name in files:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(MODEL)
    return root


def graph(config: object = None, settings: object = None, *outputs: str) -> Graph:
    texts = {"config.json/text": config, "preprocessor_config.json/text": settings}
    metadata = {key: json.dumps(value) for key, value in texts.items() if value is not None}
    return Graph(metadata, [], [TensorInfo(name, "float32", (1, 3)) for name in outputs])


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx"])
def test_a_directory_with_one_export_opens_as_that(tmp_path: Path, name: str) -> None:
    package = open_package(directory(tmp_path / "vit-base", name))
    assert (package.ref.name, package.model, package.manifest) == ("vit-base", MODEL, None)
    spec = package.spec
    assert (spec.task, spec.decoder, spec.labels) == ("classification", "softmax", ("red", "green", "blue"))
    assert (spec.input.size, spec.input.resize, spec.input.interpolation) == ((SIDE, SIDE), "stretch", "antialias")
    assert (spec.input.scale, spec.input.mean, spec.input.std) == (255.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert package.sources["labels"].source == "config.json"
    assert package.sources["input.size"].source == "preprocessor_config.json"


def test_which_of_several_exports_is_meant_has_to_be_said(tmp_path: Path) -> None:
    root = directory(tmp_path / "vit", "onnx/model.onnx", "onnx/model_quantized.onnx")
    with pytest.raises(DataError, match=r"2 exports of the model: onnx/model.onnx, onnx/model_quantized") as caught:
        open_package(root)
    assert caught.value.code == "model.ambiguous"
    assert str(root / "onnx/model.onnx") in (caught.value.help or "")
    package = open_package(root / "onnx" / "model_quantized.onnx")
    assert (package.ref.name, package.spec.labels[0]) == ("vit", "red")


def test_the_identity_pins_what_is_read_beside_the_model(tmp_path: Path) -> None:
    first = open_package(directory(tmp_path / "a", "model.onnx"))
    other = open_package(directory(tmp_path / "b", "model.onnx", settings={**VIT, "resample": 3}))
    same = open_package(directory(tmp_path / "c", "model.onnx"))
    assert first.ref.digest == same.ref.digest != other.ref.digest
    assert first.origin["system"] == "huggingface"
    assert sorted(first.origin["files"]) == ["config.json", "model.onnx", "preprocessor_config.json"]  # type: ignore[call-overload]  # a dict


@pytest.mark.parametrize(
    ("settings", "pixels", "mean", "deviation"),
    [  # pixel_values of transformers 4.57.6 with Pillow for this picture: four corners and the middle, and all of them
        (VIT, [-0.9529, 0.4196, -0.5608, 0.9765, -0.9529], -0.0148, 0.5087),
        (CLIP, [-0.3178, -0.0988, -1.2418, 1.4633, -0.755], 0.2182, 0.8599),
        (CONVNEXT, [-0.3804, -0.0118, -0.749, 0.6863, -0.6627], 0.0231, 0.4674),
        (MOBILEVIT, [0.8118, 0.2, 0.2, 0.8471, 0.9059], 0.5084, 0.2145),
    ],
)
def test_tensors_are_those_of_the_image_processor(
    settings: dict[str, Any], pixels: list[float], mean: float, deviation: float
) -> None:
    y, x = np.mgrid[0:50, 0:64]
    picture = np.stack([(255 - x * 4) % 256, (x * y) % 256, (x * 7 + y * 3) % 256], -1).astype(np.uint8)  # BGR
    stated = huggingface.stated_beside(graph(CONFIG, settings))
    values: Any = {"crop": 1.0, **{key.removeprefix("input."): value for key, value in stated.items()}}
    spec = InputSpec(name="x", dtype="float32", layout="NCHW", pad=0, **values)
    canvas = np.zeros((*spec.size, 3), np.uint8)
    writer = TensorWriter(spec)
    Preprocessor(spec).fill(picture, canvas)
    writer.write(canvas)
    found = writer.tensor[0]
    middle = spec.size[0] // 2
    places = [(0, 0, 0), (0, 0, -1), (1, middle, middle), (2, -1, 0), (2, -1, -1)]
    level = 1.001 / 255 / min(spec.std)
    assert [float(found[place]) for place in places] == pytest.approx(pixels, abs=level)
    assert (float(found.mean()), float(found.std())) == pytest.approx((mean, deviation), abs=level / 20)


def test_a_snapshot_in_the_cache_is_read_through_its_links(tmp_path: Path) -> None:
    blobs = directory(tmp_path / "models--acme--weld-vit" / "blobs", "model.onnx")
    root = tmp_path / "models--acme--weld-vit" / "snapshots" / ("0123456789" * 4)
    (root / "onnx").mkdir(parents=True)
    for name, blob in (("config.json",) * 2, ("preprocessor_config.json",) * 2, ("onnx/model.onnx", "model.onnx")):
        (root / name).symlink_to(blobs / blob)
    package = open_package(root)
    assert package.ref.name == "weld-vit"
    assert (package.origin["repository"], package.origin["revision"]) == ("models--acme--weld-vit", root.name)
    assert home_of(root) == tmp_path / "models--acme--weld-vit"
    assert home_of(root) in model_places([root / "onnx" / "model.onnx"])


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (b"---\nlicense: apache-2.0\ntags: [vision]\n---\n# A model\n", "apache-2.0"),
        (b"---\ntags:\n- vision\nlicense: 'mit'\n---\n", "mit"),
        (b"---\ntags: [vision]\n---\nlicense: mit\n", None),
        (b"# A model\nlicense: mit\n", None),
        (b"---\nlicense: [mit, other]\n---\n", None),
        (b"---\nlicense: \xff\n---\n", None),
    ],
)
def test_the_licence_of_the_model_card_is_kept(card: bytes, licence: str | None, tmp_path: Path) -> None:
    root = directory(tmp_path / "weld-vit", "model.onnx")
    (root / "README.md").write_bytes(card)
    package = open_package(root)
    assert package.origin.get("license") == licence
    document = json.loads(make_manifest(package, "model.onnx", version="1"))
    assert document.get("license") == licence


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    root = directory(tmp_path / "vit", "model.onnx")
    (root / "config.json").rename(tmp_path / "config.json")
    (root / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(DataError, match=r"vit/config.json leads out"):
        open_package(root)


def test_the_engine_may_read_what_describes_an_export(tmp_path: Path) -> None:
    root = directory(tmp_path / "vit", "onnx/model.onnx")
    assert root in model_places([root / "onnx" / "model.onnx"])


def test_weights_of_other_kinds_are_not_loaded(tmp_path: Path) -> None:
    root = directory(tmp_path / "vit")
    (root / "pytorch_model.bin").write_bytes(b"\x80\x04}.")
    with pytest.raises(DataError, match=r"no model.onnx .* pytorch_model.bin; other weights are not loaded") as caught:
        open_package(root)
    assert caught.value.code == "model.no_form"


def test_another_file_beside_such_a_directory_is_a_bare_one(tmp_path: Path) -> None:
    root = directory(tmp_path / "vit", "encoder.onnx", "model.onnx")
    assert find_around(root / "encoder.onnx") is None
    (root / "config.json").unlink()
    assert find_around(root / "model.onnx") is None


def test_without_the_preprocessor_it_has_to_be_written(tmp_path: Path) -> None:
    root = directory(tmp_path / "vit", "onnx/model.onnx", settings=None)
    with pytest.raises(DataError, match=r"not stated anywhere: input.size, input.color") as caught:
        open_package(root)
    assert caught.value.code == "model.ambiguous"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"problem_type": "multi_label_classification"}, "sigmoid"),
        ({"problem_type": "single_label_classification"}, "softmax"),
        ({"problem_type": "regression"}, None),
        ({"id2label": {"0": "x"}}, None),
        ({"id2label": None}, None),
    ],
)
def test_what_the_numbers_of_a_classifier_are_is_said_or_is_what_the_pipeline_does(
    change: dict[str, Any], expected: str | None
) -> None:
    assert huggingface.stated(graph({**CONFIG, **change}))["decoder"] == expected


@pytest.mark.parametrize(
    ("kind", "activation", "background"),
    [("yolos", "softmax", "last"), ("rt_detr_v2", "sigmoid", "none"), ("owlvit", None, None)],
)
def test_detectors_answer_as_their_family_does(kind: str, activation: str | None, background: str | None) -> None:
    config = {**CONFIG, "architectures": ["XForObjectDetection"], "model_type": kind}
    values = huggingface.stated(graph(config))
    assert values["task"] == "detection"
    assert (values.get("output.activation"), values.get("output.background")) == (activation, background)


def test_a_segmenter_is_read_at_its_logits() -> None:
    config = {**CONFIG, "architectures": ["SegformerForSemanticSegmentation"]}
    values = huggingface.stated(graph(config, None, "logits", "hidden"))
    assert (values["task"], values["decoder"], values["output.name"]) == ("semantic_segmentation", "argmax", "logits")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "is of BertForMaskedLM"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label"),
        ({"id2label": {"0": 1}}, "id2label"),
        ({"id2label": ["a"]}, "id2label"),
        ([], "cannot be used"),
    ],
)
def test_a_config_that_cannot_be_followed_is_refused(config: object, message: str) -> None:
    with pytest.raises(UnusableMetadataError, match=message):
        huggingface.stated(graph(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resample": 1}, "resample 1"),
        ({"resample": None}, "resample None"),
        ({"rescale_factor": 0}, "rescale_factor 0"),
        ({"rescale_factor": 2}, "rescale_factor 2"),
        ({"rescale_factor": True}, "rescale_factor True"),
        ({"include_top": True}, "include_top"),
        ({"rescale_offset": True}, "rescale_offset"),
    ],
)
def test_what_cannot_be_done_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnusableMetadataError, match=message):
        huggingface.stated_beside(graph(CONFIG, {**VIT, **change}))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (VIT | {"size": 64}, {"input.size": (64, 64), "input.resize": "stretch"}),
        (VIT | {"image_processor_type": "ViTImageProcessorFast"}, {"input.size": (32, 32), "input.resize": "stretch"}),
        (CONVNEXT | {"size": {"shortest_edge": 384}}, {"input.size": (384, 384), "input.resize": "stretch"}),
        (CONVNEXT | {"crop_pct": None}, {}),
        (CONVNEXT | {"size": {"shortest_edge": True}}, {}),
        (CLIP | {"size": {"shortest_edge": 20}}, {}),  # the crop would reach beyond the picture
        (CLIP | {"do_center_crop": False}, {}),
        (CLIP | {"crop_size": {"height": 24, "width": 20}}, {}),
        (CLIP | {"crop_size": None}, {}),
        (VIT | {"image_processor_type": "PoolFormerImageProcessor"}, {}),
        (VIT | {"image_processor_type": "BeitImageProcessor", "do_center_crop": True, "crop_size": 20}, {}),
        (VIT | {"size": {"height": 0, "width": 2}}, {}),
        (VIT | {"do_resize": False}, {}),
        ({**VIT, "image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 8, "longest_edge": 9}}, {}),
    ],
)
def test_the_geometry_of_known_processors_is_followed_and_none_is_guessed(
    settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    values = huggingface.stated_beside(graph(CONFIG, settings))
    assert {key: values[key] for key in values if key in ("input.size", "input.resize", "input.crop")} == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"do_normalize": False}, (255.0, (0.0,), (1.0,))),
        ({"do_rescale": False}, (1.0, (0.5,) * 3, (0.5,) * 3)),
        ({"image_mean": None}, None),
        ({"image_std": ["a"]}, None),
    ],
)
def test_normalisation_is_one_statement(change: dict[str, Any], expected: tuple[Any, ...] | None) -> None:
    values = huggingface.stated_beside(graph(CONFIG, {**VIT, **change}))
    found = tuple(values[f"input.{key}"] for key in ("scale", "mean", "std")) if "input.scale" in values else None
    assert found == expected


@pytest.mark.parametrize(("channels", "color"), [(1, "GRAY"), (3, "RGB"), (4, None), ("3", None)])
def test_a_model_of_one_channel_is_grey(channels: object, color: str | None) -> None:
    assert huggingface.stated_beside(graph({**CONFIG, "num_channels": channels}, VIT))["input.color"] == color
