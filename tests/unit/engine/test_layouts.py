"""Model directories of MLflow, Triton and OVMS open as they are; each way of being wrong is said in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.layouts import version_number
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.confinement import model_places
from edge_runtime.engine.layouts import check_signature, find_foreign, foreign
from edge_runtime.engine.layouts.pbtxt import parse_pbtxt
from edge_runtime.engine.package import open_package
from tests.assets.make_models import SIDE, colours
from tests.unit.engine.gates.test_irgate import BIN_BYTES, IR
from tests.unit.engine.test_package import BARE_METADATA

if TYPE_CHECKING:
    from pathlib import Path

MODEL = colours(metadata=BARE_METADATA).SerializeToString()
INPUT = {"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3, SIDE, SIDE]}}


def mlflow(root: Path, data: str = "model.onnx", signature: object = None, text: str | None = None) -> Path:
    """What `mlflow.onnx.save_model` writes (MLflow 2), without what nobody reads."""
    root.mkdir()
    inputs = json.dumps([INPUT] if signature is None else signature)
    document = f"""flavors:
  onnx:
    code: null
    data: {data}
    onnx_version: 1.17.0
    providers:
    - CPUExecutionProvider
  python_function:
    loader_module: mlflow.onnx
mlflow_version: 2.19.0
model_uuid: 1b7c
signature:
  inputs: '{inputs}'
  outputs: '[]'
  params: null
utc_time_created: '2026-11-26 12:00:00.000000'
"""
    (root / "MLmodel").write_text(document if text is None else text)
    (root / "model.onnx").write_bytes(MODEL)
    return root


def exported(root: Path, *names: str) -> Path:
    root.mkdir()
    for name in names:
        (root / name).write_bytes(MODEL)
    (root / "metadata.yaml").write_text("author: Ultralytics\n")
    return root


def test_a_directory_of_ultralytics_opens_as_the_model_in_it(tmp_path: Path) -> None:
    root = exported(tmp_path / "best_openvino_model", "best.onnx")
    assert open_package(root).ref == open_package(root / "best.onnx").ref


def test_with_two_models_beside_the_metadata_one_has_to_be_named(tmp_path: Path) -> None:
    root = exported(tmp_path / "exports", "best.onnx", "last.onnx")
    with pytest.raises(DataError, match=r"without edge-model.json, with best.onnx, last.onnx"):
        open_package(root)


def repository(root: Path, *versions: str, files: dict[str, bytes] | None = None) -> Path:
    for version in versions:
        (root / version).mkdir(parents=True)
        for name, content in ({"model.onnx": MODEL} if files is None else files).items():
            (root / version / name).write_bytes(content)
    return root


def refused(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        open_package(path)
    return caught.value


def test_an_mlflow_model_opens_as_the_bare_file_that_it_holds(tmp_path: Path) -> None:
    root = mlflow(tmp_path / "colours")
    package, bare = open_package(root), open_package(root / "model.onnx")
    assert (package.ref.name, package.ref.version, package.ref.digest) == ("colours", "0", bare.ref.digest)
    assert (package.model, package.manifest, package.spec) == (MODEL, None, bare.spec)


def test_an_mlflow_model_needs_no_signature(tmp_path: Path) -> None:
    assert open_package(mlflow(tmp_path / "m", text="flavors: {onnx: {data: model.onnx}}\n")).model == MODEL


def test_a_name_that_the_signature_leaves_out_is_that_of_the_only_input(tmp_path: Path) -> None:
    signature = [{key: value for key, value in INPUT.items() if key != "name"}]
    assert open_package(mlflow(tmp_path / "m", signature=signature)).model == MODEL


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ([INPUT | {"name": "other"}], "the signature says other float32"),
        ([INPUT | {"tensor-spec": {"dtype": "uint8", "shape": [-1, 3, SIDE, SIDE]}}], "says x uint8"),
        ([INPUT | {"tensor-spec": {"dtype": "float32", "shape": [-1, 3, 7, SIDE]}}], "3, 7, "),
        ([INPUT | {"tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}], r"\[-1, 3\]"),
        ([INPUT | {"tensor-spec": {"dtype": "float32", "shape": "any"}}], "float32 any"),
        ([INPUT, INPUT], "x .*; x .*, the model takes x"),
        ([], "the signature says , the model takes"),
        ([{"type": "string"}], "no list of tensors"),
        ([3], "no list of tensors"),
        (3, "no list of tensors"),
    ],
)
def test_a_signature_of_another_model_is_refused(tmp_path: Path, signature: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_package(mlflow(tmp_path / "m", signature=signature))
    assert caught.value.code == "model.wrong_signature"


def test_a_signature_that_mlflow_could_not_tell_says_nothing(tmp_path: Path) -> None:
    signature = [{"type": "any", "required": True}]  # of MLflow 3.17 in place of tensors
    assert open_package(mlflow(tmp_path / "m", signature=signature)).model == MODEL


def test_where_an_mlflow_model_came_from_is_kept(tmp_path: Path) -> None:
    origin = open_package(mlflow(tmp_path / "m")).origin
    assert (origin["system"], origin["model_uuid"], origin["mlflow_version"]) == ("mlflow", "1b7c", "2.19.0")
    assert sorted(origin["files"]) == ["MLmodel", "model.onnx"]  # type: ignore[call-overload]  # a dict


def test_a_signature_says_nothing_about_a_shape_that_the_model_leaves_open() -> None:
    check_signature(json.dumps([INPUT]), [TensorInfo("x", "float32", None)], "m")


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("flavors: {sklearn: {data: m}, python_function: {}}\n", "model.no_form", "found: sklearn, python_function"),
        ("flavors: {onnx: {data: [1]}}\n", "model.no_form", "found: onnx"),
        ("flavors: onnx\n", "model.no_form", "found: none"),
        ("name: x\n", "model.no_form", "found: none"),
        ("flavors: {onnx: {data: ../other.onnx}}\n", "model.missing", "leads out"),
        ("flavors: {onnx: {data: /etc/passwd}}\n", "model.missing", "leads out"),
        ("flavors: {onnx: {data: lost.onnx}}\n", "model.missing", "no such file"),
        ("flavors: {onnx: {data: model.bin}}\n", "model.missing", "not a model|no such file"),
        ("flavors: [\n", "model.unreadable", r"m/MLmodel:\d"),
        ("flavors: &a {onnx: *a}\n", "model.unreadable", "MLmodel"),
        ("- flavors\n", "model.unreadable", "MLmodel"),
        ("a: 1\n" * 60_000, "model.unreadable", "more than 262144 bytes"),
    ],
)
def test_an_mlmodel_that_names_no_model_is_refused(tmp_path: Path, text: str, code: str, message: str) -> None:
    (tmp_path / "other.onnx").write_bytes(MODEL)
    with pytest.raises(DataError, match=message) as caught:
        open_package(mlflow(tmp_path / "m", text=text))
    assert caught.value.code == code


def test_an_mlmodel_that_is_no_text_is_refused(tmp_path: Path) -> None:
    root = mlflow(tmp_path / "m")
    (root / "MLmodel").write_bytes(b"flavors: \xff")
    assert "not UTF-8" in refused(root).message


@pytest.mark.parametrize("name", ["MLmodel", "model.onnx"])
def test_a_link_out_of_the_directory_is_refused(tmp_path: Path, name: str) -> None:
    root = mlflow(tmp_path / "m")
    (root / name).rename(tmp_path / name)
    (root / name).symlink_to(tmp_path / name)
    assert f"m/{name} leads out" in refused(root).message


def test_an_mlmodel_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m" / "MLmodel").mkdir(parents=True)
    assert refused(tmp_path / "m").code == "model.missing"


def test_the_highest_version_of_a_repository_is_taken(tmp_path: Path) -> None:
    root = repository(tmp_path / "colours", "9", "10", "2")
    package = open_package(root)
    assert (package.ref.name, package.ref.version, package.model) == ("colours", "10", MODEL)
    assert package.notes == ("version 10 of 3 is the highest; for another one name its directory",)


def test_the_directory_of_a_version_is_that_version(tmp_path: Path) -> None:
    root = repository(tmp_path / "colours", "9", "10")
    package = open_package(root / "9")
    assert (package.ref.name, package.ref.version, package.notes) == ("colours", "9", ())
    assert (package.origin["system"], package.origin["version"]) == ("triton", "9")
    (root / "config.pbtxt").write_text("version_policy { specific { versions: [10] } }")
    assert open_package(root / "9").ref.version == "9"
    assert model_places([root / "9"]) == {root, root / "9"}


def test_a_model_of_a_repository_of_several_has_to_be_named(tmp_path: Path) -> None:
    repository(tmp_path / "models" / "welds", "1")
    (tmp_path / "models" / "python").mkdir()
    (tmp_path / "models" / "python" / "config.pbtxt").write_text('backend: "python"')
    error = refused(tmp_path / "models")
    assert (error.code, "several models, not one: python, welds" in error.message) == ("model.ambiguous", True)
    assert f"like {tmp_path / 'models' / 'python'}" in (error.help or "")


# docs/examples/model_repository/densenet_onnx/config.pbtxt of Triton, with our names
DENSENET = """name: "densenet_onnx"
platform: "onnxruntime_onnx"
max_batch_size : 1
input [
  {
    name: "x"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 32, 32 ]
  }
]
output [
  {
    name: "y"
    data_type: TYPE_FP32
    dims: [ 3 ]
    reshape { shape: [ 3, 1, 1 ] }
    label_filename: "densenet_labels.txt"
  }
]
"""


def described(root: Path, text: str, *versions: str, files: dict[str, bytes] | None = None) -> Path:
    repository(root, *(versions or ("1",)), files=files)
    (root / "config.pbtxt").write_text(text)
    (root / "densenet_labels.txt").write_text("rot\ngrün\nblau\n")
    return root


def test_labels_layout_and_size_are_read_from_the_config_of_a_repository(tmp_path: Path) -> None:
    metadata = {"edge.task": "classification", "edge.decoder": "probabilities", "edge.input.color": "RGB"}
    metadata |= {"edge.input.resize": "stretch", "edge.input.scale": "255"}
    raw = colours((1, "c", "h", "w"), metadata=metadata).SerializeToString()
    package = open_package(described(tmp_path / "m", DENSENET, files={"model.onnx": raw}))
    spec = package.spec
    assert (spec.labels, spec.input.layout, spec.input.size) == (("rot", "grün", "blau"), "NCHW", (32, 32))
    assert package.sources["input.size"].source == "config.pbtxt"
    assert package.notes == ("labels are those of densenet_labels.txt, as config.pbtxt says",)
    assert sorted(package.origin["files"]) == ["config.pbtxt", "densenet_labels.txt", "model.onnx"]  # type: ignore[call-overload]  # a dict
    other = described(tmp_path / "n", DENSENET, files={"model.onnx": raw})
    (other / "densenet_labels.txt").write_text("a\nb\nc\n")
    assert open_package(other).ref.digest != package.ref.digest


@pytest.mark.parametrize(
    ("text", "version", "note"),
    [
        ("version_policy: { latest: { num_versions: 1 }}", "10", "version 10 of 3 is the highest;"),
        ("version_policy { all { } }", "10", "version 10 of 3 is the highest;"),
        ("version_policy { specific { versions: [2, 9] } }", "9", "is the highest that config.pbtxt offers"),
        ("version_policy { specific { versions: 2 versions: 7 } }", "2", "is the highest that config.pbtxt offers"),
    ],
)
def test_the_policy_says_which_versions_are_offered(tmp_path: Path, text: str, version: str, note: str) -> None:
    package = open_package(described(tmp_path / "m", text, "9", "10", "2"))
    assert (package.ref.version, note in package.notes[0]) == (version, True)


def test_the_name_of_the_file_may_be_said(tmp_path: Path) -> None:
    root = described(tmp_path / "m", "default_model_filename: 'b.onnx'", files={"a.onnx": b"", "b.onnx": MODEL})
    assert open_package(root).model == MODEL


def test_labels_of_several_outputs_are_not_read(tmp_path: Path) -> None:
    root = described(tmp_path / "m", 'output [{label_filename: "a"}, {label_filename: "b"}]')
    assert open_package(root).notes == ("labels of a, b are not read: they are of several outputs",)


def test_an_input_of_open_size_says_only_its_layout(tmp_path: Path) -> None:
    root = described(tmp_path / "m", 'input { format: FORMAT_NHWC dims: [-1, -1, 3] } output { label_filename: "x" }')
    assert refused(root).code == "model.missing"  # the labels
    (root / "x").write_text("a\nb\nc")
    assert "NHWC makes" in refused(root).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('platform: "tensorrt_plan"', "platform 'tensorrt_plan' does not run here"),
        ('platform: "ensemble"', "platform 'ensemble' does not run here"),
        ('backend: "python"', "backend 'python' does not run here"),
        ("version_policy { specific { versions: [7] } }", "expected version 7, as config.pbtxt says, found 1, 2"),
        ("default_model_filename: 'model.plan'", "expected 'model.plan', a .onnx or .xml file, found model.onnx"),
        ("name:", "line 1: expected a name or a value, found the end"),
        ("name", "expected a value"),
        ("a {\n b: 1", "line 2: expected }, found the end"),
        ("a: [1 2]", "expected , or ]"),
        ("a: 1 }", "expected a name"),
        ("a: 'x", "not a token"),
        ("a {" * 20 + "}" * 20, "nested too deeply"),
        ('output { label_filename: "../../labels" }', "leads out"),
    ],
)
def test_a_config_of_a_repository_that_cannot_be_followed_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(described(tmp_path / "m", text, "1", "2")).message


def test_a_model_without_versions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text("")
    assert "expected a version, like 1, found nothing" in refused(tmp_path / "m").message


def test_text_format_is_read_as_protocol_buffers_write_it() -> None:
    text = "a: \"x\" 'y\\n\\'' # comment\nb <c: -1.5e3; d: TRUE,> b { } e: [{f: 1}, {f: 2}] g: [] a: 2"
    assert parse_pbtxt(text) == {
        "a": ["xy\n'", "2"],
        "b": [{"c": ["-1.5e3"], "d": ["TRUE"]}, {}],
        "e": [{"f": ["1"]}, {"f": ["2"]}],
        "g": [],
    }


def test_an_ir_lies_in_a_repository_as_two_files(tmp_path: Path) -> None:
    info = b'<author value="Ultralytics"/><task value="classify"/><names value="[]"/><character value="a&#10;b&#10;c"/>'
    files = {"m.xml": IR.replace(b"<framework>", b"<framework>" + info), "m.bin": b"\0" * BIN_BYTES}
    package = open_package(repository(tmp_path / "m", "1", files=files))
    assert (package.ref.version, package.format, package.parts) == ("1", "openvino-ir", b"\0" * BIN_BYTES)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "found nothing"),
        ({"model.plan": b""}, "found model.plan"),
        ({"model.pt": b"", "model.graphdef": b""}, "found model.graphdef, model.pt"),
        ({"a.onnx": MODEL, "b.onnx": MODEL}, r"found a\.onnx, b\.onnx"),
        ({"model.xml": IR}, r"model\.bin: no such file"),
    ],
)
def test_a_version_without_one_model_that_runs_here_is_refused(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_package(repository(tmp_path / "m", "1", files=files))
    assert caught.value.code in ("model.no_form", "model.missing")


@pytest.mark.parametrize("link", ["model.xml", "model.bin", "1"])
def test_links_out_of_a_repository_are_refused(tmp_path: Path, link: str) -> None:
    root = repository(tmp_path / "m", "1", files={"model.xml": IR, "model.bin": b""})
    place = root / link if link == "1" else root / "1" / link
    place.rename(tmp_path / link)
    place.symlink_to(tmp_path / link)
    assert "leads out" in refused(root).message


def test_a_link_inside_a_repository_is_followed(tmp_path: Path) -> None:
    root = repository(tmp_path / "m", "1")
    (root / "2").symlink_to(root / "1")
    assert open_package(root).ref.version == "2"


def test_files_that_are_called_like_versions_are_none(tmp_path: Path) -> None:
    root = repository(tmp_path / "m", "1")
    (root / "7").write_bytes(b"")
    assert open_package(root).ref.version == "1"


@pytest.mark.parametrize(
    ("name", "number"), [("1", 1), ("12", 12), ("0", None), ("01", None), ("v1", None), ("²", None)]
)
def test_versions_are_whole_numbers_from_1(name: str, number: int | None) -> None:
    assert version_number(name) == number


def test_too_many_files_are_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "ENTRIES_LIMIT", 2)
    assert "more than 2 files" in refused(repository(tmp_path / "m", "1", "2", "3")).message


def test_another_directory_is_none_of_them(tmp_path: Path) -> None:
    assert find_foreign(tmp_path) is None
    assert "edge-model.json" in refused(tmp_path).message


def test_a_package_stays_one_whatever_lies_in_it(tmp_path: Path) -> None:
    root = repository(tmp_path / "m", "1")
    (root / "edge-model.json").write_text("{}")
    assert refused(root).code == "manifest.invalid"


def test_the_engine_may_read_the_whole_of_such_a_directory(tmp_path: Path) -> None:
    root = repository(tmp_path / "m", "1")
    assert model_places([root]) == {root}
