"""docs/updates.md: its commands are run in their order, and its tables are those of the product."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from edge_runtime.control.deployment.deployment import PROBATION_S, State
from edge_runtime.registry.conditions import Gates
from tests.bad_models import MODEL, SOURCE, write
from tests.brokers import Broker
from tests.pages import run_page

PAGE = Path(__file__).parents[2] / "docs" / "updates.md"


@pytest.mark.soak  # half a minute of commands
@pytest.mark.timeout(400)
def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    with Broker() as broker:
        replace = {  # another model, because this one is tried several times
            "/opt/models/surface-defects": str(write(tmp_path / "package", "good", release=1)),
            "surface-defects": MODEL,
            "sim:conveyor": SOURCE,
            "port: 1883": f"port: {broker.port}",
        }
        problems = run_page(PAGE.read_text("utf-8"), directory, replace, timeout_s=380)
    assert not problems, "\n".join(problems)


def rows(first: str) -> dict[str, str]:
    """The second column of the table whose first column has this head, by the first."""
    table = PAGE.read_text("utf-8").partition(f"| {first} |")[2].partition("\n\n")[0]
    return {found[1]: found[2] for found in re.finditer(r"^\| `(\w+)` \| ([^|]*?) \|", table, re.MULTILINE)}


def test_the_gates_and_states_of_the_page_are_those_of_the_product() -> None:
    assert {name: float(text) for name, text in rows("gate").items()} == {
        one.name: float(one.default) for one in fields(Gates)
    }
    assert set(rows("state")) == {one.value for one in State}
    assert f"({PROBATION_S:g})" in PAGE.read_text("utf-8")
