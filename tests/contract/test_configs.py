"""Every example configuration and the one in the contract can be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from edge_runtime.config.loader import load
from edge_runtime.config.reference import json_schema
from edge_runtime.config.report import InvalidConfigError

CONTRACT = """\
version: 1
site: plant-a
line: line-3
edge: box-17
mqtt: {host: 127.0.0.1, port: 1883}
cameras:
  top:
    source: rtsp://10.0.0.5/stream
    capture: latest
    fps: 10
models:
  defects:
    path: models/surface-defects
    device: auto
inspections:
  top-surface:
    camera: top
    model: defects
    trigger: continuous
    deadline_ms: 200
    recipe:
      not_ok:
        - {label: scratch, score_min: 0.5}
        - {label: screw, count_below: 4}
      region: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
sparkplug: {group: plant-a}
registry: {url: oci://registry.plant:5000/vision, root: root.json}
http: {listen: 127.0.0.1:8080}
state_dir: /var/lib/edge-runtime
"""
CONFIGS = Path(__file__).parents[2] / "configs"
EXAMPLES = sorted(CONFIGS.glob("*.yaml"))
ENVIRON = {"CAMERA_PASSWORD": "only-for-this-test"}


def test_there_is_an_example_for_every_kind_of_line() -> None:
    assert {"image-folder", "several-cameras", "single-rtsp", "triggered-parts"} <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_draws_no_warning(path: Path) -> None:
    assert load(path, environ=ENVIRON).warnings == ()


def test_of_the_contracts_example_only_what_is_not_built_yet_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "models" / "surface-defects"
    package.mkdir(parents=True)
    (package / "edge-model.json").write_text("{}")
    (tmp_path / "root.json").write_text('{"signed": {"_type": "root"}}')
    path = tmp_path / "edge.yaml"
    path.write_text(CONTRACT)
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ={})
    assert [(problem.path, problem.code) for problem in caught.value.problems] == [
        ("http.listen", "config.not_available"),
    ]
    path.write_text(CONTRACT.partition("http:")[0])
    settings = load(path, environ={}).settings
    assert settings.inspections["top-surface"].recipe.not_ok[1].count_below == 4
    assert settings.registry is not None
    assert settings.registry.root == tmp_path / "root.json"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_obeys_the_json_schema_that_editors_get(path: Path) -> None:
    Draft202012Validator(json_schema()).validate(yaml.safe_load(path.read_text()))
