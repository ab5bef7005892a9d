"""The observer of the conformance tests: silent about a good conversation, and not about any of the bad ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sparkplug import conformance
from tests.sparkplug.conformance import judge
from tests.sparkplug.conversation import HOST, good
from tests.sparkplug.mutants import MUTANTS, Mutant

RULES = set(re.findall(r'"(tck-id-[a-zA-Z0-9-]+)"', Path(str(conformance.__file__)).read_text("utf-8")))


def test_a_good_conversation_meets_every_rule() -> None:
    report = judge(good(260), primary_host=HOST, servers=2)
    assert report.broken == {}
    assert RULES - report.met.keys() == set()
    assert report.unused == set()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_conversation_is_named(mutant: Mutant) -> None:
    report = judge(mutant.make(good()), primary_host=HOST, servers=2)
    assert set(mutant.ids) - report.broken.keys() == set(), sorted(report.broken)


def test_every_rule_can_fail() -> None:
    shown = {one for mutant in MUTANTS for one in mutant.ids}
    assert RULES - shown == set()
    assert shown - RULES == set(), "a mutant names an id that no rule checks"
