"""Every attack of the list is refused by a test that carries its number, and the page says which."""

from __future__ import annotations

import importlib.util

from tests.attacks import ATTACKS, PAGE, named_by_tests, page


def test_every_attack_has_a_test_with_its_number() -> None:
    assert [one.number for one in ATTACKS if one.number not in named_by_tests()] == []


def test_no_test_carries_a_number_that_is_not_in_the_list() -> None:
    assert sorted(set(named_by_tests()) - {one.number for one in ATTACKS}) == []


def test_the_list_is_whole() -> None:
    assert [one.number for one in ATTACKS] == list(range(1, 44))


def test_what_refuses_an_attack_is_there() -> None:
    names = {f"edge_runtime.{one.where}" for one in ATTACKS}
    assert [name for name in sorted(names) if importlib.util.find_spec(name) is None] == []


def test_the_page_is_what_the_tests_say() -> None:
    """``python -m tests.attacks`` writes it."""
    assert PAGE.read_text("utf-8") == page()
