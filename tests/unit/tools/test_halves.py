"""``tools/halves.py``: two processes, and nothing of what one alone would run is lost."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[3]
COVERED = "def test_{name}(tmp_path):\n    from edge_runtime import it\n    assert it.{name}() == 1\n"


@pytest.fixture
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool in a small checkout, one test in either half."""
    spec = importlib.util.spec_from_file_location("halves", ROOT / "tools" / "halves.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    for name in ("COVERAGE_FILE", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (
        ("PYTHONPATH", str(tmp_path)),
        ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1"),
        ("PYTEST_PLUGINS", "pytest_cov"),
    ):
        monkeypatch.setenv(name, value)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest]\nmarkers = ["soak: no", "parity: no"]\naddopts = ["--import-mode=importlib"]\n'
        "[tool.coverage.run]\nparallel = true\n"
    )
    (tmp_path / "edge_runtime").mkdir()
    (tmp_path / "edge_runtime" / "__init__.py").write_text("")
    (tmp_path / "edge_runtime" / "it.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 1\n")
    for name, place in (("one", "unit"), ("two", "integration")):
        (tmp_path / "tests" / place).mkdir(parents=True)
        (tmp_path / "tests" / place / f"test_{name}.py").write_text(COVERED.format(name=name))
    for place in ("contract", "sparkplug"):
        (tmp_path / "tests" / place).mkdir()
    return module  # type: ignore[no-any-return]


ONCE = (
    "from pathlib import Path\ndef test_once():\n    seen = Path('seen')\n    was = seen.exists()\n    seen.touch()\n"
)


def test_what_failed_runs_again_and_both_halves_cover_together(halves: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tests" / "unit" / "test_unsteady.py").write_text(f"{ONCE}    assert was\n")
    (tmp_path / "tests" / "integration" / "test_never.py").write_text("def test_never():\n    assert False\n")
    assert halves.run() == 1
    failed = {name: tmp_path / ".pytest_cache" / name / "v" / "cache" / "lastfailed" for name in halves.HALVES}
    assert json.loads(failed["calculating"].read_text()) == {}, "it passed when it ran again"
    assert list(json.loads(failed["waiting"].read_text())) == ["tests/integration/test_never.py::test_never"]
    report = [sys.executable, "-m", "coverage", "report"]
    assert "100%" in subprocess.run(report, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_every_test_of_this_checkout_is_in_exactly_one_half(halves: ModuleType) -> None:
    first, *left_out = halves.HALVES["waiting"]
    assert first == "tests"
    assert left_out == [f"--ignore={path}" for path in halves.HALVES["calculating"]]
    assert all(next((ROOT / path).rglob("test_*.py"), None) for path in halves.HALVES["calculating"])
