"""What the documents promise exists: files, verbs, configuration keys."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from edge_runtime.cli import VERBS
from edge_runtime.config.schema import Settings
from edge_runtime.core.description import DECODERS
from edge_runtime.core.manifest import parse_manifest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "ARCHITECTURE.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)\)")
VERB = re.compile(r"edge-runtime ([a-z]+)\b")
WORDS_AFTER_THE_NAME = {"under", "and", "is", "at", "in", "to"}  # prose, not verbs


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    missing = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_verbs_in_documents_exist(page: str) -> None:
    named = set(VERB.findall((ROOT / page).read_text())) - WORDS_AFTER_THE_NAME
    assert named <= set(VERBS)


@pytest.mark.parametrize("page", ["README.md", "docs/plant-engineer.md"])
def test_configuration_examples_are_valid(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    whole = [yaml.safe_load(block) for block in blocks if block.startswith("version:")]
    assert whole
    for document in whole:
        assert Settings.model_validate(document).inspections


def test_the_unit_file_is_understood_by_systemd() -> None:
    unit = (ROOT / "deploy" / "edge-runtime.service").read_text()
    keys = {line.partition("=")[0] for line in unit.splitlines() if "=" in line and not line.startswith("#")}
    assert {"Type", "WatchdogSec", "ExecStart", "ExecReload", "RestartPreventExitStatus"} <= keys
    assert "MemoryDenyWriteExecute" not in keys  # it breaks OpenVINO's code generation


def unit() -> list[tuple[str, str]]:
    lines = (ROOT / "deploy" / "edge-runtime.service").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and not line.startswith("#")]
    return [(key, value) for key, _, value in pairs]


def test_a_wrong_configuration_ends_the_unit_instead_of_starting_it_for_ever() -> None:
    """systemd.service(5): RestartPreventExitStatus= is about the main process, not about what runs before it."""
    assert ("RestartPreventExitStatus", "78") in unit()
    assert ("Restart", "always") in unit()
    assert {key for key, _ in unit() if key.startswith("Exec")} == {"ExecStart", "ExecReload"}


def test_the_unit_starts_on_a_box_without_a_broker_password() -> None:
    """systemd.exec(5): a credential with a path must be there; one without is looked for and may be missing."""
    credentials = [value for key, value in unit() if key.startswith("LoadCredential")]
    assert credentials == ["mqtt-password", "sparkplug-password"]


def test_no_machine_path_or_registry_host_is_committed() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    here = re.escape(str(ROOT.parent)) if len(ROOT.parent.parts) > 2 else "(?!)"  # "/tmp" tells nothing
    wrong = re.compile(here + r"/|https?://[^ \"']+/(?:simple|packages)/")
    texts = [f for f in files if f.endswith((".py", ".md", ".toml", ".sh", ".yaml", ".json")) or "/" not in f]
    found = [f for f in texts if (ROOT / f).is_file() and wrong.search((ROOT / f).read_text(errors="replace"))]
    assert [f for f in found if f != str(Path(__file__).relative_to(ROOT))] == []


def test_every_family_and_decoder_has_a_row() -> None:
    page = (ROOT / "docs" / "model-families.md").read_text()
    rows = [line.split("|")[1:3] for line in page.partition("## Families")[2].splitlines() if line.startswith("| ")]
    cells = " ".join(cell for row in rows for cell in row)
    words = {*DECODERS, *(decoder for decoders in DECODERS.values() for decoder in decoders)}
    assert words == set(re.findall(r"`(\w+)`", cells))


def test_descriptions_in_the_documents_are_whole() -> None:
    """Hashes are what `models pack` adds."""
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "model-families.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        document = json.loads(block)
        if "weights" in document:
            document["weights"]["sha256"] = "0" * 64
        assert parse_manifest(json.dumps(document).encode()).ignored == ()
