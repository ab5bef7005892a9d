"""docs/registry.md: its commands are run in their order, as somebody would who has never seen this."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.daemons import MODEL
from tests.fakes.certificates import Authority
from tests.pages import run_page
from tests.registries import Registry

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs" / "registry.md"
USERS = {"publisher": "may-push", "robot": "may-pull"}


@pytest.mark.timeout(300)
def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    for name, password in USERS.items():
        (directory / f"{name}.secret").write_text(f"{password}\n")
    authority = Authority(directory)
    certificate = authority.sign("registry")
    with (
        Registry(tls=certificate, users=USERS) as registry,
        Registry(
            tls=certificate,
            users=USERS,
            upstream=registry.url,
            upstream_user=("robot", USERS["robot"]),
            upstream_ca=authority.ca,
        ) as cache,
    ):
        replace = {
            "/opt/models/surface-defects": str(MODEL),
            "registry.example.com": registry.address,
            "mirror.example.com": cache.address,
        }
        problems = run_page(PAGE.read_text("utf-8"), directory, replace, timeout_s=280)
    assert not problems, "\n".join(problems)


def test_the_codes_of_the_page_are_those_of_the_product() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    codes = {code for row in rows for code in re.findall(r"`([a-z]+\.[a-z_]+)`", row.split("|")[1])}
    source = "".join(path.read_text("utf-8") for path in (TOP / "edge_runtime" / "registry").rglob("*.py"))
    assert {code for code in codes if f'"{code}"' not in source} == set()
    assert len(codes) > 20
