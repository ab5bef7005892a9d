"""One asset per way of being wrong, with the whole report beside it.

After a deliberate change of a message: EDGE_TEST_WRITE_EXPECTED=1 writes the reports anew, and a person reads the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.config.loader import load
from edge_runtime.config.report import InvalidConfigError

ASSETS = Path(__file__).parents[2] / "assets" / "config"
NAMES = sorted(path.stem for path in ASSETS.glob("*.yaml"))


def report(name: str) -> str:
    with pytest.raises(InvalidConfigError) as caught:
        load(Path(f"{name}.yaml"), environ={})
    return caught.value.report().replace(str(ASSETS), "{here}")


def test_there_is_an_asset_for_every_expectation_and_the_other_way_round() -> None:
    assert len(NAMES) > 45
    assert sorted(path.stem for path in ASSETS.glob("*.expected")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_is_reported_as_written_beside_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ASSETS)
    expected = ASSETS / f"{name}.expected"
    found = report(name)
    if os.environ.get("EDGE_TEST_WRITE_EXPECTED"):
        expected.write_text(found)
    assert expected.read_text() == found


def test_no_report_shows_a_password() -> None:
    everything = "".join(path.read_text() for path in ASSETS.glob("*.yaml") if path.stem != "yaml-not-utf8")
    reports = "".join(path.read_text() for path in ASSETS.glob("*.expected"))
    for password in ("hunter2", "hun/ter2"):
        assert password in everything
        assert password not in reports


def test_a_dozen_mistakes_are_told_in_one_go_each_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ASSETS)
    with pytest.raises(InvalidConfigError) as caught:
        load(Path("dozen.yaml"), environ={})
    places = {(problem.origin.line, problem.origin.column) for problem in caught.value.problems}
    assert len(places) >= 12
    assert all(line and column for line, column in places)
