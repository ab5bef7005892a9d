"""``tools/portions.py``: several processes, and nothing of what one alone would run is lost."""

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
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool in a small checkout, one test that calculates and one that waits."""
    spec = importlib.util.spec_from_file_location("portions", ROOT / "tools" / "portions.py")
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


def test_what_failed_runs_again_and_all_cover_together(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tests" / "unit" / "test_unsteady.py").write_text(f"{ONCE}    assert was\n")
    (tmp_path / "tests" / "integration" / "test_never.py").write_text("def test_never():\n    assert False\n")
    assert tool.run() == 1
    kept = tmp_path / ".pytest_cache"
    failed = {path.parents[2].name: json.loads(path.read_text()) for path in kept.glob("*/v/cache/lastfailed")}
    assert failed.pop("calculating") == {}, "it passed when it ran again"
    assert [list(one) for one in failed.values()] == [["tests/integration/test_never.py::test_never"]]
    report = [sys.executable, "-m", "coverage", "report"]
    assert "100%" in subprocess.run(report, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_a_portion_without_a_test_for_today_is_no_failure(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tests" / "integration" / "test_two.py").write_text(
        "import pytest\npytestmark = pytest.mark.soak\ndef test_long():\n    pass\n"
    )
    assert tool.run() == 0


def test_every_test_of_this_checkout_is_in_exactly_one_portion(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "ROOT", ROOT)
    found = tool.portions()
    assert list(found) == ["calculating", *(f"waiting-{number + 1}" for number in range(tool.DEALT))]
    named = [ROOT / path for paths in found.values() for path in paths]
    files = [one for path in named for one in (path.rglob("test_*.py") if path.is_dir() else [path])]
    assert sorted(files) == sorted((ROOT / "tests").rglob("test_*.py"))
