"""What the engine may read, tried for real in a process that confines itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.engine.confinement import model_places
from edge_runtime.system.sandbox import landlock_abi
from tests.assets.make_models import colours, write_package
from tests.unit.engine.test_package import BARE_METADATA

ROOT = Path(__file__).resolve().parents[3]
READ = """
import sys
from edge_runtime.engine.confinement import confine
from edge_runtime.engine.package import open_package

confine({"models": sys.argv[1:2], "cache_dir": None})
print(open_package(sys.argv[1]).ref.name)
try:
    open(sys.argv[2])
except PermissionError:
    print("refused")
"""


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """`models/current.onnx`, a link to a bare model in the directory `store`."""
    for folder in ("store", "models"):
        (tmp_path / folder).mkdir()
    (tmp_path / "store" / "1.onnx").write_bytes(colours(metadata=BARE_METADATA).SerializeToString())
    link = tmp_path / "models" / "current.onnx"
    link.symlink_to(Path("../store/1.onnx"))
    return link


def test_a_package_is_read_where_it_is(tmp_path: Path) -> None:
    package = write_package(tmp_path, "colours")
    assert model_places([package]) == {package}


def test_a_bare_file_is_read_where_it_is_and_where_it_leads_to(tmp_path: Path, linked: Path) -> None:
    store = tmp_path / "store"
    assert model_places([store / "1.onnx"]) == {store}
    assert model_places([linked]) == {linked.parent, store}


def test_the_weights_of_an_ir_may_be_a_link_of_their_own(tmp_path: Path) -> None:
    for folder in ("a", "b", "models"):
        (tmp_path / folder).mkdir()
    (tmp_path / "models" / "m.xml").symlink_to(tmp_path / "a" / "1.xml")
    (tmp_path / "models" / "m.bin").symlink_to(tmp_path / "b" / "1.bin")
    assert model_places([tmp_path / "models" / "m.xml"]) == {tmp_path / folder for folder in ("a", "b", "models")}


def test_a_link_to_itself_ends_nothing(tmp_path: Path) -> None:
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    assert model_places([loop, tmp_path / "missing.onnx"]) == {tmp_path}


@pytest.mark.skipif(not landlock_abi(), reason="no Landlock here")
def test_a_confined_engine_reads_a_linked_model_and_nothing_else(tmp_path: Path, linked: Path) -> None:
    stranger = tmp_path / "secret.txt"
    stranger.write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(linked), str(stranger)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "current\nrefused\n"), done.stderr


@pytest.mark.skipif(not landlock_abi(), reason="no Landlock here")
def test_a_confined_engine_reads_the_version_directories_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / "m" / "3").mkdir(parents=True)
    model = colours(metadata=BARE_METADATA).SerializeToString()
    (tmp_path / "m" / "3" / "model.onnx").write_bytes(model)
    stranger = tmp_path / "secret.txt"
    stranger.write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "m"), str(stranger)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "m\nrefused\n"), done.stderr
