from __future__ import annotations

from dataclasses import replace

import pytest

from edge_runtime.config.report import (
    LINE_LIMIT,
    WIDTH,
    Excerpt,
    InvalidConfigError,
    Problem,
    SourceText,
    as_json,
    make_excerpt,
    render,
    summary,
    veil,
)
from edge_runtime.config.tree import DEFAULT, Origin, Place


def at(line: int, start: int, end: int, *, end_line: int | None = None) -> Origin:
    return Origin(Place.FILE, "configs/line1.yaml", line, start, end_line or line, end)


def excerpt_of(lines: list[str], origin: Origin) -> Excerpt | None:
    return make_excerpt(SourceText(lines), origin)


LINES = ["cameras:", "  line1:", "    fps: fast"]
PROBLEM = Problem(
    "config.value",
    'fps must be a number from 0.1 to 240, got "fast"',
    at(3, 10, 14),
    "cameras.line1.fps",
    "for the camera's own rate leave it out",
)


def test_a_problem_looks_the_way_compilers_show_theirs() -> None:
    shown = render([replace(PROBLEM, excerpt=excerpt_of(LINES, PROBLEM.origin))])
    assert shown == (
        'error: fps must be a number from 0.1 to 240, got "fast"\n'
        "  --> configs/line1.yaml:3:10   cameras.line1.fps\n"
        "   |\n"
        " 3 |     fps: fast\n"
        "   |          ^^^^\n"
        "   = help: for the camera's own rate leave it out\n"
    )


def test_the_gutter_grows_with_the_line_number() -> None:
    lines = [""] * 1233 + ["a: b"]
    origin = at(1234, 4, 5)
    shown = render([Problem("c", "m", origin, excerpt=excerpt_of(lines, origin), warning=True)])
    assert shown == "warning: m\n     --> configs/line1.yaml:1234:4\n      |\n 1234 | a: b\n      |    ^\n"


def test_a_problem_outside_files_has_no_excerpt() -> None:
    problem = Problem("c", "EDGE__X names no setting", Origin(Place.ENVIRONMENT, "EDGE__X"))
    assert render([problem]) == "error: EDGE__X names no setting\n  --> $EDGE__X\n"
    assert render([]) == ""


def test_there_is_no_excerpt_of_a_line_that_does_not_exist() -> None:
    assert excerpt_of(LINES, at(9, 1, 2)) is None
    assert excerpt_of(LINES, DEFAULT) is None


def test_a_value_that_goes_on_is_underlined_to_the_end_of_its_first_line() -> None:
    assert excerpt_of(["a: [1,  ", "2]"], at(1, 4, 3, end_line=2)) == Excerpt("a: [1,  ", 3, 3)


def test_a_long_line_is_cut_around_the_caret() -> None:
    line = "x" * 300 + "HERE" + "y" * 300
    excerpt = excerpt_of([line], at(1, 301, 305))
    assert excerpt is not None
    assert len(excerpt.text) == WIDTH
    assert excerpt.text[excerpt.start : excerpt.start + excerpt.width] == "HERE"


def test_a_caret_at_the_start_of_a_long_line_keeps_the_start() -> None:
    excerpt = excerpt_of(["HERE" + "y" * 300], at(1, 1, 5))
    assert excerpt is not None
    assert (excerpt.start, excerpt.width) == (0, 4)


def test_an_endless_line_is_not_shown() -> None:
    assert excerpt_of(["x" * (LINE_LIMIT + 1)], at(1, 1, 2)) is None
    assert excerpt_of(["x" * LINE_LIMIT], at(1, 1, 2)) is not None


def test_tabs_and_control_characters_take_one_column_and_reach_no_terminal() -> None:
    assert excerpt_of(["\ta: \x1b[31mx"], at(1, 5, 6)) == Excerpt(" a:  [31mx", 4, 1)


def test_nothing_that_was_written_can_control_a_terminal() -> None:
    nasty = "a\x1b[2J\nerror: b\udcff"
    shown = render([Problem("c", nasty, Origin(Place.FILE, nasty, 1, 1), nasty, nasty)]) + summary(nasty, [])
    assert "\x1b" not in shown
    assert shown.encode()
    assert len(shown.splitlines()) == 4


def test_wide_characters_keep_the_caret_under_the_value() -> None:
    lines = ["名: 値段"]
    origin = at(1, 4, 6)
    shown = render([Problem("c", "m", origin, excerpt=excerpt_of(lines, origin))]).splitlines()
    assert shown[3] == " 1 | 名: 値段"
    assert shown[4] == "   |     ^^^^"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password: hunter2", "password: ***"),
        ("  'password': hunter2 # mine", "  'password': ***"),
        ('password: "hunter2"  # x', "password: ***  # x"),
        ('password: "hunter2', "password: ***"),
        ("mqtt: {password: hunter2, port: 1}", "mqtt: {password: ***, port: 1}"),
        ("mqtt: {password: hunter2", "mqtt: {password: ***"),
        ("a: {password: 'hunter2', token: hunter3}", "a: {password: ***, token: ***}"),
        ("source: rtsp://u:hunter2@h/x", "source: rtsp://***@h/x"),
        ("source: rtsp://u:hunter2 @h/x", "source: rtsp://***@h/x"),
        ("source: http://h/x?password=hunter2&a=1", "source: http://h/x?password=***&a=1"),
        (
            "source: http://h/x?loginpas=hunter2&psw=hunter2&pass_word=hunter2",
            "source: http://h/x?loginpas=***&psw=***&pass_word=***",
        ),
        ("source: http://h/x?usr=a&pw=hunter2", "source: http://h/x?usr=a&pw=***"),
        ("password_file: /run/x", "password_file: /run/x"),
        ('mqtt: {"port":1,"password":"hunter2"}', 'mqtt: {"port":1,"password":***}'),
        ("password:hunter2", "password:***"),
        ("kennwort: hunter2", "kennwort: ***"),
        ("pw: hunter2", "pw: ***"),
        ("mqtt_pw: hunter2", "mqtt_pw: ***"),
        ("pwm: 5", "pwm: 5"),
        ("host: admin:hunter2@10.0.0.1", "host: ***@10.0.0.1"),
        ("hosts: [admin:hunter2@10.0.0.1, b]", "hosts: [***@10.0.0.1, b]"),
        ("source: rtsp:admin:hunter/2@10.0.0.1", "source: ***@10.0.0.1"),
        ("label: a@b", "label: a@b"),
        ("password:", "password:"),
        ("plain: text", "plain: text"),
    ],
)
def test_secrets_in_a_source_line_are_masked(line: str, shown: str) -> None:
    excerpt = excerpt_of([line], at(1, 1, 2))
    assert excerpt is not None
    assert excerpt.text == shown


def test_the_lines_of_a_block_secret_are_masked() -> None:
    lines = ["mqtt:", "  password: |", "", "    hunter2", "  port: 1"]
    block = excerpt_of(lines, at(4, 5, 6))
    behind = excerpt_of(lines, at(5, 3, 7))
    assert block == Excerpt("    ***", 4, 3)
    assert behind == Excerpt("  port: 1", 2, 4)


@pytest.mark.parametrize(
    "lines",
    [
        ["password:", "- hunter2"],
        ["password:", "  - hunter2"],
        ["mqtt:", "  password:", "  - a", "  - hunter2"],
        ["password:", "# a remark", "  - hunter2"],
        ["password:", "  value:", "    deeper: hunter2"],
        ["mqtt: {password:", "  hunter2}"],
        ["? password", ": hunter2"],
        ["- ? 'password'", "  : hunter2"],
    ],
)
def test_what_stands_under_the_key_of_a_secret_is_masked(lines: list[str]) -> None:
    excerpt = excerpt_of(lines, at(len(lines), 1, 2))
    assert excerpt is not None
    assert excerpt.text.strip() == "***"


@pytest.mark.parametrize(
    "lines",
    [
        ["password:", "- a", "port: 1"],
        ["- password: a", "- port: 1"],
        ["? password", ": a", "? port"],
        ["a:", "  password: x", "  # a remark", "  port: 1"],
    ],
)
def test_what_stands_behind_a_secret_is_shown(lines: list[str]) -> None:
    excerpt = excerpt_of(lines, at(len(lines), 1, 2))
    assert excerpt is not None
    assert excerpt.text == lines[-1]


def test_the_value_of_a_key_that_is_to_be_hidden_is_masked_wherever_it_stands() -> None:
    source = SourceText(["mqtt: {pwasword: hunter2, port: 1}"], frozenset({"pwasword"}))
    excerpt = make_excerpt(source, at(1, 27, 31))
    assert excerpt is not None
    assert excerpt.text == "mqtt: {pwasword: ***, port: 1}"
    assert excerpt.text[excerpt.start : excerpt.start + excerpt.width] == "port"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("admin:hunter2@h", "***@h"), ("rtsp://a:b@h/?pw=c", "rtsp://***@h/?pw=***"), ("plain text", "plain text")],
)
def test_a_value_that_looks_like_credentials_is_veiled(text: str, shown: str) -> None:
    assert veil(text) == shown


def test_the_caret_moves_with_the_text_behind_a_mask() -> None:
    line = "mqtt: {password: hunter2hunter2, prt: 1}"
    excerpt = excerpt_of([line], at(1, line.index("prt") + 1, line.index("prt") + 4))
    assert excerpt is not None
    assert excerpt.text[excerpt.start : excerpt.start + excerpt.width] == "prt"


def test_a_caret_inside_a_secret_covers_the_mask() -> None:
    line = "mqtt: {password: hunter2hunter2}"
    start = line.index("hunter2") + 1
    excerpt = excerpt_of([line], at(1, start + 2, start + 5))
    assert excerpt is not None
    assert excerpt.text[excerpt.start : excerpt.start + excerpt.width] == "***"


def test_secrets_that_overlap_are_masked_once() -> None:
    excerpt = excerpt_of(["password: rtsp://u:hunter2@h/?token=hunter3"], at(1, 1, 2))
    assert excerpt is not None
    assert excerpt.text == "password: ***"


def test_the_error_counts_what_is_wrong_and_names_the_first() -> None:
    warning = Problem("w", "only a warning", DEFAULT, warning=True)
    error = InvalidConfigError("a.yaml", [warning, PROBLEM])
    assert error.exit_code == 78
    assert error.code == "config.invalid"
    assert error.message == f"1 problem in a.yaml; first: {PROBLEM.message} (configs/line1.yaml:3:10)"
    assert error.problems == (warning, PROBLEM)
    assert error.report().endswith("\n\n1 problem in a.yaml\n")
    assert summary("a.yaml", [PROBLEM, PROBLEM]) == "2 problems in a.yaml"
    assert summary("a.yaml", []) == "0 problems in a.yaml"


def test_programs_get_the_same_facts_as_json() -> None:
    assert as_json(PROBLEM) == {
        "severity": "error",
        "code": "config.value",
        "message": PROBLEM.message,
        "help": PROBLEM.help,
        "path": "cameras.line1.fps",
        "file": "configs/line1.yaml",
        "line": 3,
        "column": 10,
        "origin": "configs/line1.yaml:3:10",
    }
    outside = as_json(Problem("c", "m", Origin(Place.ENVIRONMENT, "X"), warning=True))
    assert (outside["severity"], outside["file"], outside["line"], outside["path"]) == ("warning", None, None, None)


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (Origin(Place.FILE, "a.yaml", 1, 2), "a.yaml:1:2"),
        (Origin(Place.FILE, "a.yaml"), "a.yaml"),
        (Origin(Place.ENVIRONMENT, "EDGE__SITE"), "$EDGE__SITE"),
        (Origin(Place.OVERRIDE, "mqtt.port"), "option mqtt.port"),
        (Origin(Place.DEFAULT, "host name"), "default (host name)"),
        (DEFAULT, "default"),
    ],
)
def test_an_origin_reads_as_people_write_it(origin: Origin, text: str) -> None:
    assert str(origin) == text
