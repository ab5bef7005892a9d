from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.config import yaml12
from edge_runtime.config.tree import Node, Place
from edge_runtime.config.yaml12 import LIMIT_DEPTH, Document, parse, resolve


def codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def plain(node: Node | None) -> object:
    assert node is not None
    if isinstance(node.value, dict):
        return {name: plain(entry.node) for name, entry in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(inside) for inside in node.value]
    return node.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("0", 0),
        ("-17", -17),
        ("+4", 4),
        ("0o17", 15),
        ("0xFf", 255),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0.25", -0.25),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_plain_scalars_get_their_core_type(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    found = resolve(".nan")
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    "text",
    [
        "no", "yes", "on", "off", "y", "n", "No", "12:30", "22:22", "12:30:00", "010", "-010", "1_000", "0b1", "0o8",
        "0x", "2026-11-22", "2026-11-22T10:00:00Z", "1.2.3", "e3", ".", "-", "+", "1e", "0x" + "f" * 17, "=", "<<",
        "nan", "inf", "tRUE", "nULL", " 1",
    ],
)  # fmt: skip
def test_what_only_yaml_1_1_or_nobody_takes_for_a_value_stays_text(text: str) -> None:
    assert resolve(text) == text


def test_a_number_of_thousands_of_digits_does_not_fail() -> None:
    assert resolve("9" * 5000) == math.inf
    assert resolve("9" * 40) == int("9" * 40)


def test_quoted_text_and_block_text_stay_text() -> None:
    document = parse("a: \"1\"\nb: 'true'\nc: |\n  12\nd: !!str 5\ne: ! x\nf: 5\n", "f.yaml")
    assert codes(document) == []
    assert plain(document.root) == {"a": "1", "b": "true", "c": "12\n", "d": "5", "e": "x", "f": 5}


def test_unquoted_scalars_keep_the_text_they_were_written_in() -> None:
    document = parse("version: 1.10\nname: '1.10'\n", "f.yaml")
    assert document.root is not None
    assert isinstance(document.root.value, dict)
    assert document.root.value["version"].node.raw == "1.10"
    assert document.root.value["name"].node.raw is None


def test_positions_count_characters_from_one() -> None:
    document = parse('ä: [1, "ö", x]\n', "dir/f.yaml")
    assert document.root is not None
    assert isinstance(document.root.value, dict)
    entry = document.root.value["ä"]
    assert isinstance(entry.node.value, tuple)
    third = entry.node.value[2].origin
    assert (entry.key.line, entry.key.column) == (1, 1)
    assert (third.line, third.column, third.end_line, third.end_column) == (1, 13, 1, 14)
    assert str(third) == "dir/f.yaml:1:13"
    assert third.place is Place.FILE


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert plain(parse("\ufeffa: 1\n", "f").root) == {"a": 1}


def test_windows_line_ends_are_line_ends() -> None:
    document = parse("a: 1\r\nb: 2\r\nb: 3\r\n", "f")
    assert plain(document.root) == {"a": 1, "b": 2}
    assert document.problems[0].origin.line == 3


def test_a_duplicate_key_names_both_lines_and_the_first_one_counts() -> None:
    document = parse("a: 1\nb: 2\na: 3\n", "f")
    assert codes(document) == ["yaml.duplicate"]
    assert "line 1" in document.problems[0].message
    assert document.problems[0].help == "remove one of lines 1 and 3"
    assert plain(document.root) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: *x\n", "yaml.alias"),
        ("*x : 1\nb: 1\n", "yaml.alias"),
        ("a: &x 1\n", "yaml.anchor"),
        ("a: &x [1]\n", "yaml.anchor"),
        ("<<: {a: 1}\nb: 1\n", "yaml.merge"),
        ("a: !foo 1\n", "yaml.tag"),
        ("a: !foo [1]\n", "yaml.tag"),
        ("a: !!int 1\n", "yaml.tag"),
        ("{a: 1}: 2\nb: 1\n", "yaml.key"),
        ("[a]: 2\nb: 1\n", "yaml.key"),
        ("? [a, {b: c}]\n: 2\nb: 1\n", "yaml.key"),
        ("!secret a: 2\nb: 1\n", "yaml.key"),
        ("'': 2\nb: 1\n", "yaml.key"),
        ("!foo a: 2\nb: 1\n", "yaml.tag"),
    ],
)
def test_tricks_are_refused_and_the_rest_is_still_read(text: str, code: str) -> None:
    document = parse(text + "z: 9\n", "f")
    assert codes(document) == [code]
    assert document.root is not None
    assert isinstance(document.root.value, dict)
    assert document.root.value["z"].node.value == 9


def test_a_quoted_merge_key_is_an_ordinary_key() -> None:
    document = parse("'<<': 1\n", "f")
    assert codes(document) == []
    assert plain(document.root) == {"<<": 1}


def test_an_alias_under_a_refused_merge_key_is_not_told_twice() -> None:
    document = parse("a: {<<: *x, b: 1}\n", "f")
    assert codes(document) == ["yaml.merge"]
    assert document.root is not None
    assert isinstance(document.root.value, dict)
    inside = document.root.value["a"].node
    assert inside.partial
    assert not inside.broken
    assert plain(inside) == {"b": 1}


def test_a_map_of_which_nothing_is_left_is_broken() -> None:
    document = parse("a: {{ b }}\n", "f")
    assert document.root is not None
    assert isinstance(document.root.value, dict)
    assert document.root.value["a"].node.broken


def test_a_secret_is_kept_by_its_name() -> None:
    document = parse("a: !secret mqtt\n", "f")
    assert document.root is not None
    assert isinstance(document.root.value, dict)
    node = document.root.value["a"].node
    assert (node.value, node.secret, node.raw) == ("mqtt", True, None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "yaml.empty"),
        ("# only this\n", "yaml.empty"),
        ("---\n...\n", "yaml.empty"),
        ("~\n", "yaml.empty"),
        ("- a\n", "yaml.root"),
        ("text\n", "yaml.root"),
        ("a: 1\n---\nb: 2\n", "yaml.documents"),
        ("*a\n", "yaml.alias"),
        ("a:\n\tb: 1\n", "yaml.tab"),
        ("\ta: 1\n", "yaml.tab"),
        ("a: 'b\x00'\n", "yaml.character"),
        ("a: b\u2028c\n", "yaml.character"),
        ("a: \ud800\n", "yaml.character"),
        ("a: b: c\n", "yaml.syntax"),
        ("a:1\nb: 2\n", "yaml.syntax"),
        ("\n a: b: c\n", "yaml.syntax"),
        ("a: @b\n", "yaml.syntax"),
        ("a: {b: ${C}}\n", "yaml.syntax"),
        ("%YAML 3.0\n---\na: 1\n", "yaml.syntax"),
        ("%\n", "yaml.syntax"),
        ("[" * (LIMIT_DEPTH + 1), "yaml.depth"),
        ("a: " + "{b: " * LIMIT_DEPTH, "yaml.depth"),
    ],
)
def test_what_cannot_be_read_is_one_problem_and_no_tree(text: str, code: str) -> None:
    document = parse(text, "f")
    assert codes(document) == [code]
    assert document.root is None
    assert document.problems[0].origin.line >= 1


def test_nesting_is_allowed_up_to_the_limit() -> None:
    assert codes(parse("a: " + "[" * (LIMIT_DEPTH - 1) + "]" * (LIMIT_DEPTH - 1), "f")) == []


def test_a_quarter_megabyte_of_brackets_is_refused_at_once() -> None:
    assert codes(parse("a: " + "[" * 250_000, "f")) == ["yaml.depth"]


def test_a_missing_blank_is_found_in_the_line_above() -> None:
    problem = parse("version:1\n\nsite: a\n", "f").problems[0]
    assert (problem.origin.line, problem.origin.column) == (1, 8)
    assert problem.message == "a blank is missing behind the colon"


@pytest.mark.parametrize(("line", "column"), [("path:/opt/m", 7), ("path:a:b", 7)])
def test_a_missing_blank_is_found_in_front_of_a_path_too(line: str, column: int) -> None:
    problem = parse(f"m:\n  {line}\n  device: cpu\n", "f").problems[0]
    assert (problem.origin.line, problem.origin.column) == (2, column)
    assert problem.message == "a blank is missing behind the colon"


def test_an_address_is_not_taken_for_a_missing_blank() -> None:
    assert "blank" not in parse("m:\n  rtsp://h/x\n  device: cpu\n", "f").problems[0].message


@pytest.mark.parametrize("value", ["!hunter2 x", "&hunter2 x", "*hunter2"])
def test_no_name_that_may_be_a_password_is_repeated(value: str) -> None:
    (problem,) = parse(f"password: {value}\n", "f").problems
    assert "hunter2" not in problem.message + (problem.help or "")


def test_an_error_without_a_position_points_at_the_start() -> None:
    problem = yaml12._syntax(yaml.MarkedYAMLError(problem="something new"), [], "f")
    assert (problem.origin.line, problem.origin.column) == (1, 1)
    assert problem.message == "not YAML: something new"


def test_problems_before_a_syntax_error_are_kept() -> None:
    assert codes(parse("a: 1\na: 2\nb: @\n", "f")) == ["yaml.duplicate", "yaml.syntax"]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a:\n\tb: 1\n", "yaml.tab"),
        ("a: b: c\n", "yaml.syntax"),
        ("a: [1\n", "yaml.syntax"),
        ("a: 1\na: 2\n", "yaml.duplicate"),
    ],
)
def test_both_parsers_of_pyyaml_give_the_same_problems(
    loader: type, text: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml12, "_LOADER", loader)
    assert codes(parse(text, "f")) == [code]


@given(st.text(alphabet=st.sampled_from("ab:-[]{}#&*!|>'\"%@` \n\t\\,?~<$0.\x00é"), max_size=60))
def test_any_text_gives_a_map_or_a_problem_and_no_exception(text: str) -> None:
    document = parse(text, "f")
    assert document.problems or document.root is not None
    assert document.root is None or isinstance(document.root.value, dict)
