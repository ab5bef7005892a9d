"""Papers that are made say what is stated and what is not, in the forms that others read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from edge_runtime.core.manifest import parse_manifest
from edge_runtime.registry.package.papers import (
    Subject,
    make_card,
    make_licence,
    make_provenance,
    make_sbom,
)
from tests.daemons import MODEL
from tests.fakes.packages import write_weld
from tests.required import needs

ASSETS = Path(os.environ.get("EDGE_TEST_ASSETS") or Path.home() / ".cache" / "edge-runtime-tests")
BARE = {"task": None, "decoder": None, "labels": None, "input": None, "hardware": None, "requires": None}


def subject(root: Path, **changes: object) -> Subject:
    raw = (write_weld(root, **changes) / "edge-model.json").read_bytes()
    package = parse_manifest(raw)
    weights = {file.file: file.sha256 for form in package.weights for file in form.files}
    return Subject(package, json.loads(raw), weights)


@pytest.fixture(params=["stated", "bare", "licence of its own"])
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    changes: dict[str, dict[str, object]] = {
        "stated": {"description": "Finds spatter | pores\non seams.", "labels": [f"label {n}" for n in range(25)]},
        "bare": {**BARE, "provenance": None},
        "licence of its own": {"license": "Plant A only, see contract 7"},
    }
    return subject(tmp_path, **changes[request.param])


def cyclonedx() -> jsonschema.Draft7Validator:
    folder = ASSETS / "cyclonedx"
    needs(folder.exists(), "CycloneDX schemas (run: python tools/fetch_test_assets.py)")
    schemas = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    resources = [(f"http://cyclonedx.org/schema/{name}", Resource.from_contents(one)) for name, one in schemas.items()]
    registry: Registry[Any] = Registry().with_resources(resources)
    return jsonschema.Draft7Validator(schemas["bom-1.6.SNAPSHOT.schema.json"], registry=registry)


def test_the_bill_of_materials_is_valid_cyclonedx(one: Subject) -> None:
    validator = cyclonedx()
    document = json.loads(make_sbom(one))
    assert [error.message for error in validator.iter_errors(document)] == []
    document["metadata"]["component"]["modelCard"]["surprise"] = 1
    assert list(validator.iter_errors(document))  # the schema does look into the model card


def test_the_model_of_this_repository_has_the_bill_that_would_be_made() -> None:
    raw = (MODEL / "edge-model.json").read_bytes()
    package = parse_manifest(raw)
    weights = {file.file: file.sha256 for form in package.weights for file in form.files}
    bill = make_sbom(Subject(package, json.loads(raw), weights))
    assert bill == (MODEL / "sbom.cdx.json").read_bytes()
    assert list(cyclonedx().iter_errors(json.loads(bill))) == []


def test_the_bill_of_materials_says_what_is_stated(tmp_path: Path) -> None:
    document = json.loads(make_sbom(subject(tmp_path)))
    component = document["metadata"]["component"]
    assert component["type"] == "machine-learning-model"
    assert component["licenses"] == [{"license": {"id": "MIT"}}]
    (weights,) = component["components"]
    assert weights["name"] == "cpu/model.onnx"
    assert weights["hashes"][0]["content"] == subject(tmp_path).weights["cpu/model.onnx"]
    parameters = component["modelCard"]["modelParameters"]
    assert parameters["task"] == "detection"
    assert parameters["inputs"] == [{"format": "RGB image 64x32 pixels"}]
    assert parameters["datasets"][0]["description"] == "rendered"
    assert document["metadata"]["tools"]["components"] == [
        {"type": "application", "name": "torch", "version": "2.13.0"}
    ]


def test_the_serial_number_is_that_of_the_package(tmp_path: Path) -> None:
    numbers = {json.loads(make_sbom(subject(tmp_path, version=one)))["serialNumber"] for one in ("1.0", "1.1", "1.0")}
    assert len(numbers) == 2


def test_the_provenance_is_an_in_toto_statement_about_every_file_that_decides(tmp_path: Path) -> None:
    one = subject(tmp_path)
    document = json.loads(make_provenance(one))
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    assert document["subject"] == [
        {"name": "cpu/model.onnx", "digest": {"sha256": one.weights["cpu/model.onnx"]}},
        {"name": "edge-model.json", "digest": {"sha256": one.package.digest.removeprefix("sha256:")}},
    ]
    predicate = document["predicate"]
    assert predicate["buildDefinition"]["externalParameters"]["stated"] == dict(one.package.provenance)
    assert "unknown" in predicate["runDetails"]["builder"]["id"]


def test_the_card_says_what_nobody_stated(tmp_path: Path) -> None:
    text = make_card(subject(tmp_path, **BARE, provenance=None)).decode()
    assert "What this model is for is not stated by the publisher." in text
    assert "| licence | not stated by the publisher |" in text
    assert "| data | not stated by the publisher |" in text


def test_the_card_is_one_table_whatever_is_stated(tmp_path: Path) -> None:
    one = subject(tmp_path, provenance={"data": "a | b\nc"}, labels=[f"{n}|" for n in range(25)])
    lines = make_card(one).decode().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert "| data | a \\| b c |" in rows
    assert all(row.replace("\\|", "").count("|") == 3 for row in rows)
    assert any(row.endswith("and 5 more |") for row in rows)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"license": "Apache-2.0"}, "SPDX-License-Identifier: Apache-2.0\n"),
        ({}, "SPDX-License-Identifier: MIT\n"),
        ({"license": "AGPL-3.0 License (https://ultralytics.com/license)"}, "SPDX-License-Identifier: AGPL-3.0\n"),
        ({"license": "apache-2.0"}, "SPDX-License-Identifier: Apache-2.0\n"),
        ({"license": "MIT or so"}, "Licence: MIT or so\n"),
        ({"provenance": None}, "No licence is stated for the model weld 1.2.0"),
        ({"provenance": {"license": 7}}, "No licence is stated"),
        ({"license": " ", "provenance": None}, "No licence is stated"),
    ],
)
def test_the_licence_is_what_is_stated_or_that_none_is(tmp_path: Path, changes: dict[str, object], what: str) -> None:
    assert what in make_licence(subject(tmp_path, **changes)).decode()
