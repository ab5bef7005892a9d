from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from edge_runtime.core.acceptance import Gates, Tolerances
from edge_runtime.core.description import TASKS, InputFields, OutputFields, Thresholds, wrong_values
from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import SIZE_LIMIT_BYTES, Weights, WeightsFile, bare_digest, parse_manifest

SHA = "ab" * 32

FULL: dict[str, Any] = {
    "schema": "edge-model/1",
    "name": "surface-defects",
    "version": "1.2.0-rc1+4",
    "release": 7,
    "task": "detection",
    "decoder": "yolo",
    "weights": {"file": "weights/model.onnx", "format": "onnx", "precision": "int8", "sha256": SHA},
    "input": {
        "name": "images",
        "layout": "NCHW",
        "color": "RGB",
        "size": [288, 512],
        "resize": "letterbox",
        "interpolation": "area",
        "crop": 0.875,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.25],
        "scale": 255,
        "pad": 114,
    },
    "output": {"name": "output0", "boxes": "cxcywh", "normalized": False, "characters": ["a", " "]},
    "labels": ["scratch", "dent"],
    "thresholds": {"score": 0.25, "iou": 0.5, "max_predictions": 100, "by_label": {"dent": 0.4}},
    "hardware": ["cpu"],
    "requires": {"openvino": "2026.1"},
    "golden": {"tolerances": {"score": 0.05, "iou": 0.8}, "gates": {"p99_ms": 50}},
    "provenance": {"seed": 7},
}


def raw(**changes: Any) -> bytes:
    """`FULL` with top-level keys replaced; `...` removes one."""
    return json.dumps({key: value for key, value in {**FULL, **changes}.items() if value is not ...}).encode()


def problems(data: bytes) -> list[str]:
    with pytest.raises(DataError) as caught:
        parse_manifest(data)
    assert caught.value.code == "manifest.invalid"
    head, *lines = caught.value.message.split("\n  ")
    assert head == f"edge-model.json: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    return lines


def test_a_full_manifest_keeps_every_value() -> None:
    manifest = parse_manifest(raw())

    assert (manifest.name, manifest.version, manifest.release) == ("surface-defects", "1.2.0-rc1+4", 7)
    described = manifest.description
    assert (described.task, described.decoder, described.labels) == (
        "detection",
        "yolo",
        ("scratch", "dent"),
    )
    files = (WeightsFile("weights/model.onnx", SHA),)
    assert manifest.weights == (Weights(files, "onnx", "int8", ("openvino", "onnxruntime")),)
    assert described.input == InputFields(
        "NCHW", "RGB", (288, 512), "letterbox", "area", 0.875, (0.485, 0.456, 0.406), (0.25,), 255.0, 114
    )
    assert described.output == OutputFields("output0", boxes="cxcywh", normalized=False, characters=("a", " "))
    assert described.thresholds == Thresholds(0.25, 0.5, 100, {"dent": 0.4})
    assert manifest.tolerances == Tolerances(0.05, 0.8)
    assert manifest.golden["gates"] == {"p99_ms": 50}
    assert manifest.gates == Gates(p99_ms=50)
    assert (manifest.hardware, manifest.requires) == (("cpu",), {"openvino": "2026.1"})
    assert manifest.provenance == {"seed": 7}
    assert manifest.ignored == ()


def test_the_digest_is_the_sha256_of_the_bytes_as_they_lie_in_the_file() -> None:
    compact, spaced = raw(), json.dumps(json.loads(raw()), indent=2).encode()

    assert parse_manifest(compact).digest == "sha256:" + hashlib.sha256(compact).hexdigest()
    assert parse_manifest(spaced).digest != parse_manifest(compact).digest


def test_what_is_not_stated_stays_unknown() -> None:
    least = {"schema": "edge-model/1", "name": "a", "version": "1", "weights": {"file": "m.onnx", "sha256": SHA}}

    manifest = parse_manifest(json.dumps(least).encode())

    described = manifest.description
    assert (described.task, described.decoder, described.labels, manifest.release) == (
        None,
        None,
        None,
        None,
    )
    assert described.input == InputFields()
    assert described.thresholds == Thresholds()
    assert manifest.tolerances == Tolerances()
    assert manifest.weights[0].format == "onnx"


def test_a_package_may_have_one_form_for_each_backend() -> None:
    ir = {
        "file": "m.xml",
        "sha256": SHA,
        "parts": [{"file": "m.bin", "sha256": SHA, "size_bytes": 4}],
        "precision": "int8",
    }
    onnx = {"file": "m.onnx", "sha256": SHA, "backends": ["onnxruntime"]}

    first, second = parse_manifest(raw(weights=[ir, onnx])).weights

    assert first == Weights(
        (WeightsFile("m.xml", SHA), WeightsFile("m.bin", SHA)), "openvino-ir", "int8", ("openvino",)
    )
    assert second.backends == ("onnxruntime",)


def test_a_pad_of_one_grey_level_may_be_written_per_channel() -> None:
    assert parse_manifest(raw(input={"pad": [114, 114, 114]})).description.input.pad == 114


def test_every_problem_is_said_at_once() -> None:
    found = problems(raw(schema="edge-model/2", name="Bad Name", labels=[], weights={"file": "m.onnx"}))

    assert [line.partition(":")[0] for line in found] == ["schema", "labels", "name", "weights.sha256"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schema": ...}, "schema: expected a text, found null"),
        ({"schema": "edge-model/2"}, "schema: expected 'edge-model/1', found 'edge-model/2'"),
        ({"version": 1.0}, "version: expected a text, found the number 1.0"),
        ({"release": -1}, "release: expected a whole number from 0 to"),
        ({"release": True}, "release: expected a whole number from 0 to 9007199254740992, found true"),
        ({"task": "Detection"}, f"task: expected one of {', '.join(TASKS)} (did you mean 'detection'?)"),
        ({"task": 3}, f"task: expected one of {', '.join(TASKS)}, found the number 3"),
        ({"task": ["detection"]}, f"task: expected one of {', '.join(TASKS)}, found a list"),
        ({"decoder": "yolov8"}, "decoder: expected one of yolo, nanodet, end2end"),
        ({"task": "classification", "decoder": "yolo"}, "decoder: expected one of probabilities, softmax, sigmoid"),
        ({"weights": "model.onnx"}, "weights: expected an object, found 'model.onnx'"),
        ({"weights": ["model.onnx"]}, "weights[0]: expected an object, found 'model.onnx'"),
        ({"weights": {"file": "../m.onnx", "sha256": SHA}}, "weights.file: expected a text like"),
        ({"weights": {"file": "/m.onnx", "sha256": SHA}}, "weights.file: expected a text like"),
        ({"weights": {"file": "a/./m.onnx", "sha256": SHA}}, "weights.file: expected a text like"),
        ({"weights": {"file": "m.onnx", "sha256": "AB" * 32}}, "weights.sha256: expected a text like"),
        ({"weights": {"file": "m.pt", "sha256": SHA}}, "weights.format: expected one of onnx, openvino-ir, found null"),
        ({"weights": {"file": "m.pt", "format": "torch", "sha256": SHA}}, "weights.format: expected one of"),
        (
            {"weights": {"file": "m.xml", "sha256": SHA, "backends": ["onnxruntime"]}},
            "weights.backends: expected some of openvino for openvino-ir, found a list",
        ),
        ({"weights": {"file": "m.onnx", "sha256": SHA, "backends": []}}, "weights.backends: expected some of"),
        (
            {"weights": {"file": "m.xml", "sha256": SHA, "parts": [{"file": "m.bin"}]}},
            "weights.parts[0].sha256: expected a text, found null",
        ),
        ({"input": []}, "input: expected an object, found a list"),
        ({"input": {"size": [640]}}, "input.size: expected [height, width], whole numbers from 1 to 8192"),
        ({"input": {"size": [640, True]}}, "input.size: expected [height, width]"),
        ({"input": {"size": [640, 9000]}}, "input.size: expected [height, width]"),
        ({"input": {"size": 640}}, "input.size: expected [height, width]"),
        ({"input": {"scale": 0.00392}}, "input.scale: expected a number from 1 to 65535, found the number 0.00392"),
        ({"input": {"std": [0]}}, "input.std: expected a list of 1 or 3 numbers"),
        ({"input": {"mean": [0, 0]}}, "input.mean: expected a list of 1 or 3 numbers"),
        ({"input": {"mean": 0.5}}, "input.mean: expected a list of 1 or 3 numbers"),
        ({"input": {"color": "GRAY", "mean": [1, 2, 3]}}, "input.mean: expected one number for a grey model"),
        ({"input": {"pad": [114, 0, 0]}}, "input.pad: expected a whole number from 0 to 255, found a list"),
        ({"input": {"colour": "RGB"}}, "input.colour: unknown key (did you mean 'color'?)"),
        ({"output": {"characters": []}}, "output.characters: expected a list of characters, found a list"),
        ({"output": {"characters": ["a", ""]}}, "output.characters: expected a list of characters, found a list"),
        ({"output": {"normalized": "no"}}, "output.normalized: expected true or false, found 'no'"),
        ({"output": {"groups": [["a"], []]}}, "output.groups: expected a list of lists of texts, found a list"),
        ({"output": {"groups": "a b"}}, "output.groups: expected a list of lists of texts, found 'a b'"),
        ({"output": {"parents": ["a"]}}, "output.parents: expected an object, found a list"),
        ({"output": {"parents": {"a": None}}}, "output.parents.a: expected a text, found null"),
        ({"output": {"normalization_scale": 0}}, "output.normalization_scale: expected a number from 1e-12 to 1e+12"),
        ({"labels": "scratch"}, "labels: expected a list of non-empty texts, found 'scratch'"),
        ({"labels": ["a", " "]}, "labels: expected a list of non-empty texts, found a list"),
        ({"labels": []}, "labels: expected 1 to 100000 labels, found a list"),
        ({"labels": ["a", "ä" * 128]}, "labels: expected labels of at most 256 bytes, found 'äää"),
        ({"labels": ["\n" * 127 + "a"] * 2 + ["\n" * 127 + "ab"]}, "labels: expected labels of at most 256 bytes"),
        ({"labels": ["x" * 200] * 4000}, "labels: expected labels of at most 655360 bytes in all, found a list"),
        (
            {"thresholds": {"max_predictions": 1001}},
            "thresholds.max_predictions: expected a whole number from 1 to 1000",
        ),
        (
            {"thresholds": {"by_label": {f"label {i}": 0.5 for i in range(1001)}}},
            "thresholds.by_label: expected at most 1000 labels, found an object",
        ),
        ({"thresholds": {"score": 25}}, "thresholds.score: expected a number from 0 to 1, found the number 25"),
        ({"thresholds": {"score": 10**400}}, "thresholds.score: expected a number from 0 to 1, found the number 1000"),
        ({"thresholds": {"score": False}}, "thresholds.score: expected a number from 0 to 1, found false"),
        ({"thresholds": {"by_label": {"dent": 2}}}, "thresholds.by_label.dent: expected a number from 0 to 1"),
        ({"golden": {"tolerances": {"iou": 2}}}, "golden.tolerances.iou: expected a number from 0 to 1"),
        (
            {"golden": {"tolerances": {"keypoints": 0.1}}},
            "golden.tolerances.keypoints: unknown tolerance, known are score, iou, cosine, keypoint, value",
        ),
        ({"golden": {"tolerances": {"cosine": -1}}}, "golden.tolerances.cosine: expected a number from 0 to 1"),
        (
            {"golden": {"gates": {"p98_ms": 5}}},
            "golden.gates.p98_ms: unknown gate, known are p50_ms, p99_ms, memory_mb",
        ),
        ({"golden": {"gates": {"iou": 50}}}, "golden.gates.iou: expected a number from 0 to 1, found the number 50"),
        ({"golden": {"gates": {"memory_mb": "1"}}}, "golden.gates.memory_mb: expected a number from 0 to 1e+06"),
        ({"requires": 3}, "requires: expected an object, found the number 3"),
        ({"lables": []}, "lables: unknown key (did you mean 'labels'?)"),
        ({"name": "x" * 100}, "name: expected a text like"),
        ({"name": {}}, "name: expected a text, found an object"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(changes: dict[str, Any], expected: str) -> None:
    (found,) = problems(raw(**changes))
    assert found.startswith(expected)


def test_infinity_written_as_a_huge_number_is_refused() -> None:
    text = raw().replace(b'"scale": 255', b'"scale": 1e999').replace(b"[0.25]", b"[1e999]")
    found = problems(text)
    assert {line.partition(":")[0] for line in found} == {"input.scale", "input.std"}


def test_values_from_elsewhere_are_held_to_the_same_limits() -> None:
    values = {"labels": ["a"], "input": {"pad": 999, "size": [8, 8]}, "thresholds": {"score": float("nan")}}
    assert wrong_values(values) == (
        "input.pad: expected a whole number from 0 to 255, found the number 999",
        "thresholds.score: expected a number from 0 to 1, found the number nan",
    )


def test_a_label_that_cannot_be_sent_is_none() -> None:
    assert wrong_values({"labels": ["half a pair: \ud800"]}) == (
        "labels: expected a list of non-empty texts, found a list",
    )


def test_keys_of_a_later_version_are_kept_by_name() -> None:
    manifest = parse_manifest(raw(signature={}, input={"gamma": 2.2}, description="of ours"))
    assert manifest.ignored == ("input.gamma", "signature")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "expected an object at the top, found a list"),
        (b"null", "expected an object at the top, found null"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1, "a": 2}', "key 'a' is written twice in one object"),
        (b'{"a": ' + b"[" * 100_000, "not a sensible JSON document"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not a sensible JSON document"),
        (b'{"name": "\\ud800"}', "not a sensible JSON document"),
        (b" " * (SIZE_LIMIT_BYTES + 1), "1048577 bytes, the limit is 1048576"),
    ],
)
def test_what_is_not_one_json_object_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_manifest(data, where="pkg/edge-model.json")
    assert caught.value.code == "manifest.unreadable"
    assert "pkg/edge-model.json" in caught.value.message
    assert expected in caught.value.message


def test_a_syntax_error_says_line_and_column() -> None:
    with pytest.raises(DataError, match=r"edge-model\.json:2:3: not JSON"):
        parse_manifest(b'{\n  name: "x"}')


def test_long_values_are_cut_in_messages() -> None:
    (found,) = problems(raw(task="x" * 500))
    assert found.count("x") < 100


def test_bare_weights_are_identified_by_their_bytes() -> None:
    other = "cd" * 32
    assert bare_digest([SHA]) == f"sha256:{SHA}"
    assert bare_digest([SHA, other]) == "sha256:" + hashlib.sha256(f"{SHA}\n{other}\n".encode()).hexdigest()
    assert bare_digest([SHA, other]) != bare_digest([other, SHA])


def test_groups_of_labels_are_kept_in_their_order() -> None:
    output = {"groups": [["round", "square"], ["blue"]], "parents": {"blue": "round"}}
    found = parse_manifest(raw(output=output)).description.output
    assert found.groups == (("round", "square"), ("blue",))
    assert found.parents == {"blue": "round"}
