"""Every normative id has an answer, and the page that says so is true."""

from __future__ import annotations

from edge_runtime.config.yaml12 import parse
from tests.sparkplug.not_applicable import NOT_APPLICABLE
from tests.sparkplug.table import PAGE, ids, named_by_tests, page, rules


def test_every_id_is_met_or_does_not_apply_and_never_both() -> None:
    met = rules() | named_by_tests().keys()
    known = set(ids())
    assert len(known) == 202
    assert sorted(known - met - NOT_APPLICABLE.keys()) == [], "no rule, no test, no reason"
    assert sorted(met & NOT_APPLICABLE.keys()) == [], "met, and said not to apply"
    assert sorted((met | NOT_APPLICABLE.keys()) - known) == [], "no such id"


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.sparkplug.table"


def test_an_inspection_cannot_be_configured_twice() -> None:
    """tck-id-topic-structure-namespace-unique-device-id: devices are inspections, which are keys of one mapping."""
    document = parse("inspections:\n  top: {camera: a}\n  side: {camera: b}\n  top: {camera: c}\n", "box.yaml")
    assert [problem.code for problem in document.problems] == ["yaml.duplicate"]
