from __future__ import annotations

import random
import re

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.pattern import DEPTH_LIMIT, PATTERN_LIMIT, TEXT_LIMIT, Pattern


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("LOT", ["LOT"], ["", "LO", "LOTT", "lot", "A LOT"]),
        (r"LOT \d{6}", ["LOT 123456"], ["LOT 12345", "LOT 1234567", "LOT 12345O"]),
        (r".*LOT \d+.*", ["x LOT 1 y", "LOT 1"], ["LOT "]),
        ("(EU|US)-[A-F0-9]+", ["EU-0", "US-AF"], ["EU-", "UK-0", "EU-G"]),
        ("ab?c", ["ac", "abc"], ["abbc"]),
        ("a{2,3}", ["aa", "aaa"], ["a", "aaaa"]),
        ("a{2,}", ["aa", "aaaaa"], ["a"]),
        ("a{0}b", ["b"], ["ab"]),
        (r"\w\s\.", ["a .", "_\u3000."], ["- .", "a x"]),
        ("[^0-9]", ["a"], ["0", ""]),
        (r"[\d.-]+", ["1.5-2"], ["1,5"]),
        ("[-a]", ["-", "a"], ["b"]),
        ("(a|)b", ["ab", "b"], ["a"]),
        ("((a*)*)*", ["", "aaa"], ["b"]),
        ("größe|大小", ["größe", "大小"], ["GRÖSSE"]),
    ],
)
def test_a_pattern_is_compared_with_the_whole_text(pattern: str, fitting: list[str], other: list[str]) -> None:
    made = Pattern(pattern)
    assert [text for text in (*fitting, *other) if made.matches(text)] == fitting


def random_pattern(chance: random.Random, depth: int = 0) -> str:
    inner = [random_pattern(chance, depth + 1) for _ in range(2)] if depth < 4 and chance.random() < 0.5 else []
    if not inner:
        return chance.choice(["a", "b", ".", r"\d", "[ab]", "[^a]", "[a-c]", "1"])
    if chance.random() < 0.3:
        return f"({inner[0]}|{inner[1]})"
    if chance.random() < 0.5:
        return f"({inner[0]}{inner[1]})" + chance.choice(["?", "*", "+", "{2}", "{1,2}", "{0,}", ""])
    return inner[0] + inner[1]


def test_patterns_mean_what_they_mean_to_python() -> None:
    chance = random.Random(7)
    for _ in range(500):
        text = random_pattern(chance)
        made, theirs = Pattern(text), re.compile(text)
        for _ in range(10):
            sample = "".join(chance.choice("abc1") for _ in range(chance.randint(0, 6)))
            assert made.matches(sample) == bool(theirs.fullmatch(sample)), (text, sample)


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a+)+b", "(a|a)*b", ".*.*.*.*.*b", "(.*a){20}"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    # the engine of `re` would not be done with these in this universe
    assert not Pattern(pattern).matches("a" * (TEXT_LIMIT - 1) + "!")


def test_longer_texts_match_nothing() -> None:
    assert Pattern(".*").matches("a" * TEXT_LIMIT)
    assert not Pattern(".*").matches("a" * (TEXT_LIMIT + 1))


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "must have 1 to 200 characters, has 0"),
        ("a" * (PATTERN_LIMIT + 1), "has 201"),
        ("(a", "has a ( that is not closed"),
        ("a)", "has a ) that closes nothing, at character 2"),
        ("[a", "has a [ that is not closed"),
        ("[]", "has [] with nothing in it"),
        ("a**", "has two repetitions"),
        ("?", "has a ? with a meaning of its own"),
        ("^a$", "has a ^ with a meaning of its own"),
        ("a{", "expects {6}, {2,4} or {2,}"),
        ("a{x}", "expects {6}"),
        ("a{1,x}", "expects {6}"),
        ("a{101}", "numbers up to 100"),
        ("a{3,2}", "repeats at least 3 and at most 2 times"),
        ("a\\", "ends with a backslash"),
        ("[\\", "ends with a backslash"),
        (r"\b", r"has \b, which is not known"),
        ("[b-a]", "has the range b-a, which is empty"),
        ("(a{100}){100}", "is too long once its repetitions are written out"),
        ("(" * (DEPTH_LIMIT + 1) + "a" + ")" * (DEPTH_LIMIT + 1), "nests brackets deeper"),
    ],
)
def test_what_is_no_pattern_is_refused_with_its_place(pattern: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        Pattern(pattern)
    assert caught.value.code == "pattern.invalid"
    assert problem in caught.value.message


def test_patterns_of_one_text_are_one() -> None:
    assert Pattern("a") == Pattern("a") != Pattern("b")
    assert Pattern("a") != "a"
    assert len({Pattern("a"), Pattern("a")}) == 1
