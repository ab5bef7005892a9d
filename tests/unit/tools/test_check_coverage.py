"""The coverage gate names what is missing, and cannot pass by accident."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools.check_coverage import COMPLETE, OVERALL_MIN_PERCENT, FileCoverage, main, problems

if TYPE_CHECKING:
    from pathlib import Path

FULL = FileCoverage((), ())
EXISTING = [pattern.replace("*", "one") for pattern in COMPLETE]

PYPROJECT = """
[tool.coverage.run]
branch = true
source = ["edge_runtime"]
parallel = true
"""
COVERED = "def double(x):\n    return x + x\n"
BRANCHY = "def sign(x):\n    if x > 0:\n        return 1\n    return -1\n"


def test_everything_covered_breaks_no_promise() -> None:
    assert problems(dict.fromkeys(EXISTING, FULL), 100.0, EXISTING) == []


def test_missing_lines_and_branches_are_named() -> None:
    files = dict.fromkeys(EXISTING, FULL)
    files[EXISTING[0]] = FileCoverage((3, 4, 5, 9), ((7, 9), (12, -1)))
    assert problems(files, 99.0, EXISTING) == [
        f"{EXISTING[0]}: not reached by any test: lines 3-5, 9; branches 7->9, 12->exit"
    ]


def test_a_missing_branch_is_enough() -> None:
    files = dict.fromkeys(EXISTING, FULL)
    files[EXISTING[0]] = FileCoverage((), ((7, 9),))
    assert problems(files, 99.0, EXISTING) == [f"{EXISTING[0]}: not reached by any test: branches 7->9"]


def test_a_file_that_was_not_measured_is_missing() -> None:
    files = dict.fromkeys(EXISTING[1:], FULL)
    assert problems(files, 99.0, EXISTING) == [f"{EXISTING[0]}: was not measured at all"]


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    assert problems(dict.fromkeys(EXISTING[1:], FULL), 99.0, EXISTING[1:]) == [
        f"{COMPLETE[0]}: no file matches this pattern of check_coverage.py"
    ]


def test_a_pattern_does_not_reach_into_folders_below() -> None:
    existing = [*EXISTING, "edge_runtime/core/deep/one.py"]
    assert problems(dict.fromkeys(EXISTING, FULL), 99.0, existing) == []


@pytest.mark.parametrize(("percent", "count"), [(OVERALL_MIN_PERCENT, 0), (OVERALL_MIN_PERCENT - 0.1, 1)])
def test_the_whole_must_reach_its_minimum(percent: float, count: int) -> None:
    assert len(problems(dict.fromkeys(EXISTING, FULL), percent, EXISTING)) == count


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with one tiny file for each pattern."""
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    for path in EXISTING:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(COVERED)
    for directory in (tmp_path / "edge_runtime").rglob("*"):
        if directory.is_dir():
            (directory / "__init__.py").write_text("")
    (tmp_path / "edge_runtime" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _measure(checkout: Path, *, also: str = "pass") -> None:
    """Run every ``double`` of the tree under coverage, as one process of a test run would."""
    script = f"""
import coverage, importlib, pathlib
measuring = coverage.Coverage(data_file=".coverage", data_suffix=False)
measuring.start()
for path in sorted(pathlib.Path("edge_runtime").rglob("*.py")):
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    if hasattr(module, "double"):
        module.double(1)
{also}
measuring.stop()
measuring.save()
"""
    subprocess.run([sys.executable, "-c", script], cwd=checkout, check=True, timeout=50)


def test_a_tree_that_is_covered_passes(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _measure(checkout)
    assert main([str(checkout)]) == 0
    assert capsys.readouterr().out == "coverage: 100.0 % overall, and all of what must be complete is\n"


def test_a_branch_that_no_test_took_fails_with_its_place(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "edge_runtime/pipeline/wire.py").write_text(COVERED + BRANCHY)
    _measure(checkout, also="from edge_runtime.pipeline import wire; wire.sign(1)")
    assert main([str(checkout)]) == 1
    assert capsys.readouterr().err == (
        "coverage: edge_runtime/pipeline/wire.py: not reached by any test: lines 6; branches 4->6\n"
    )


def test_without_data_nothing_passes(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkout)]) == 1
    assert "run tools/test first" in capsys.readouterr().err


def test_data_without_branches_do_not_pass(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "pyproject.toml").write_text(PYPROJECT.replace("branch = true", ""))
    _measure(checkout)
    assert main([str(checkout)]) == 1
    assert "--cov-branch" in capsys.readouterr().err
