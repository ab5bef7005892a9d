from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.config import box as box_defaults
from edge_runtime.config import loader
from edge_runtime.config.loader import find_config, load
from edge_runtime.config.report import InvalidConfigError, Problem
from edge_runtime.config.tree import Place
from edge_runtime.core.errors import ConfigError, InvariantError

SMALLEST = """\
version: 1
mqtt: {host: 10.0.0.1}
cameras:
  top: {source: "rtsp://10.0.0.5/stream"}
models:
  defects: {path: model.onnx}
"""


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A directory with a configuration and the model it names."""
    (tmp_path / "model.onnx").write_text("stands in for a model")
    (tmp_path / "edge.yaml").write_text(SMALLEST)
    return tmp_path


def write(box: Path, text: str, name: str = "edge.yaml") -> Path:
    path = box / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def problems(path: Path, environ: dict[str, str] | None = None, **overrides: object) -> tuple[Problem, ...]:
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ=environ or {}, overrides=overrides)
    return caught.value.problems


def codes(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    return [problem.code for problem in problems(path, environ)]


def test_six_lines_are_a_whole_configuration(box: Path) -> None:
    loaded = load(box / "edge.yaml", environ={})
    found = loaded.settings
    assert (found.site, found.line, found.mqtt.host, found.mqtt.port) == ("site", "line", "10.0.0.1", 1883)
    assert found.models["defects"].path == box / "model.onnx"
    assert found.inspections["top"].camera == "top"
    assert found.inspections["top"].model == "defects"
    assert found.inspections["top"].trigger.kind == "continuous"
    assert found.client_id == f"site-line-{found.edge}"
    assert loaded.warnings == ()
    assert loaded.files == (box / "edge.yaml",)


def test_every_setting_knows_where_it_comes_from(box: Path) -> None:
    path = write(box, SMALLEST + "defaults: {fps: 5}\ninspections:\n  top: {trigger: mqtt}\n")
    origins = load(path, environ={"EDGE__MQTT__PORT": "1884"}).origins
    assert str(origins["mqtt.host"]) == f"{path}:2:14"
    assert str(origins["mqtt.port"]) == "$EDGE__MQTT__PORT"
    assert str(origins["spool.max_mb"]) == "default"
    assert str(origins["edge"]) == "default (host name)"
    assert str(origins["cameras.top.fps"]) == f"{path}:7:17"
    assert str(origins["inspections.top.trigger.kind"]) == f"{path}:9:18"
    assert origins["inspections.top.camera"].place is Place.DEFAULT


def test_relative_paths_start_at_the_file_not_at_the_working_directory(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(box, SMALLEST.replace('"rtsp://10.0.0.5/stream"', "file:a.mp4") + "state_dir: state\n")
    (box / "a.mp4").touch()
    monkeypatch.chdir("/")
    found = load(Path(os.path.relpath(box / "edge.yaml", "/")), environ={}).settings
    assert found.cameras["top"].source.location == str(box / "a.mp4")
    assert found.state_dir == box / "state"


def test_a_missing_clip_or_folder_is_a_warning_because_it_may_come_later(box: Path) -> None:
    path = write(box, SMALLEST.replace('"rtsp://10.0.0.5/stream"', "images:nowhere?loop=1"))
    loaded = load(path, environ={})
    assert [(warning.code, warning.warning, warning.path) for warning in loaded.warnings] == [
        ("config.no_file", True, "cameras.top.source")
    ]
    assert loaded.warnings[0].excerpt is not None


# config.d


def test_fragments_merge_in_the_order_of_their_names_and_keep_their_positions(box: Path) -> None:
    write(box, "cameras:\n  top: {fps: 5}\n  side: {source: 'rtsp://h/'}\nsite: a\n", "config.d/10-a.yaml")
    write(box, "site: b\nmqtt: {port: 1999}\n", "config.d/20-b.yaml")
    write(box, "# nothing\n", "config.d/30-empty.yaml")
    write(box, "site: ignored\n", "config.d/40.yml")
    write(box, "site: ignored\n", "config.d/.hidden.yaml")
    loaded = load(box / "edge.yaml", environ={})
    assert sorted(loaded.settings.cameras) == ["side", "top"]
    assert loaded.settings.cameras["top"].fps == 5
    assert loaded.settings.site == "b"
    assert (loaded.settings.mqtt.host, loaded.settings.mqtt.port) == ("10.0.0.1", 1999)
    assert str(loaded.origins["site"]) == f"{box}/config.d/20-b.yaml:1:7"
    assert [path.name for path in loaded.files] == ["edge.yaml", "10-a.yaml", "20-b.yaml", "30-empty.yaml"]


def test_lists_in_fragments_replace(box: Path) -> None:
    recipe = "inspections:\n  top: {recipe: {not_ok: [{label: a}, {label: b}]}}\n"
    write(box, SMALLEST + recipe)
    write(box, recipe.replace("{label: a}, ", ""), "config.d/a.yaml")
    rules = load(box / "edge.yaml", environ={}).settings.inspections["top"].recipe.not_ok
    assert [rule.label for rule in rules] == ["b"]


def test_mistakes_in_fragments_are_reported_in_their_own_file(box: Path) -> None:
    write(box, "site: a/b\n", "config.d/a.yaml")
    write(box, SMALLEST + "line: c/d\n")
    found = problems(box / "edge.yaml")
    assert [str(problem.origin) for problem in found] == [f"{box}/edge.yaml:7:7", f"{box}/config.d/a.yaml:1:7"]
    assert found[1].excerpt is not None
    assert found[1].excerpt.text == "site: a/b"


def test_syntax_errors_of_all_files_are_told_together_and_hide_what_would_follow_from_them(box: Path) -> None:
    write(box, "a: b: c\n")
    write(box, "a: [\n", "config.d/a.yaml")
    assert codes(box / "edge.yaml") == ["yaml.syntax", "yaml.syntax"]
    write(box, SMALLEST)
    assert codes(box / "edge.yaml") == ["yaml.syntax"]


def test_a_directory_of_fragments_that_cannot_be_listed_is_a_problem(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", denied)
    assert codes(box / "edge.yaml") == ["config.unreadable"]


def test_a_file_in_the_place_of_the_directory_of_fragments_is_no_fragment(box: Path) -> None:
    (box / "config.d").write_text("not a directory")
    assert load(box / "edge.yaml", environ={}).settings.site == "site"


# the environment


def test_variables_win_over_files_and_options_over_variables(box: Path) -> None:
    environ = {
        "EDGE__SITE": "from-env",
        "edge__line": "low",
        "EDGE__MQTT__USERNAME": "007",
        "EDGE__ENGINE__CACHE": "false",
    }
    loaded = load(box / "edge.yaml", environ=environ, overrides={"site": "from-option", "mqtt.port": 1885})
    found = loaded.settings
    assert (found.site, found.line, found.mqtt.username, found.mqtt.port) == ("from-option", "low", "007", 1885)
    assert found.engine.cache is False
    assert str(loaded.origins["site"]) == "option site"


def test_variables_reach_names_with_dots_dashes_and_underscores(box: Path) -> None:
    write(box, SMALLEST.replace("top:", "Top-Left.a__b:"))
    found = load(box / "edge.yaml", environ={"EDGE__CAMERAS__TOP_LEFT_A__B__FPS": "3"}).settings
    assert found.cameras["Top-Left.a__b"].fps == 3


def test_sections_that_were_not_written_can_be_reached(box: Path) -> None:
    environ = {"EDGE__SPOOL__MAX_MB": "99", "EDGE__MQTT__TLS": "true", "EDGE__MQTT__TLS__CA_FILE": "model.onnx"}
    found = load(box / "edge.yaml", environ=environ).settings
    assert found.spool.max_mb == 99
    assert found.mqtt.tls is not None
    assert found.mqtt.tls.ca_file == box / "model.onnx"
    assert found.mqtt.port == 8883


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("EDGE__MQTT__PROT", "did you mean port?"),
        ("EDGE__QWERTZ", "known here: version"),
        ("EDGE__CAMERAS__TPO__FPS", "did you mean top?"),
        ("EDGE__CAMERAS__NEW__SOURCE", "known here: top"),
        ("EDGE__INSPECTIONS__A__CAMERA", "known here: nothing"),
        ("EDGE__MQTT", "set what is inside: host"),
        ("EDGE__CAMERAS", "write it in a file"),
        ("EDGE__SITE__X", None),
        ("EDGE__", "known here: version"),
    ],
)
def test_a_variable_that_leads_nowhere_is_a_mistake(box: Path, variable: str, words: str | None) -> None:
    (problem,) = problems(box / "edge.yaml", {variable: "1"})
    assert problem.message.startswith(variable)
    assert problem.origin.place is Place.ENVIRONMENT
    assert (problem.help or "").startswith(words or "")


def test_a_wrong_value_in_a_variable_names_the_variable(box: Path) -> None:
    (problem,) = problems(box / "edge.yaml", {"EDGE__MQTT__PORT": "abc"})
    assert str(problem.origin) == "$EDGE__MQTT__PORT"
    assert problem.message == 'port must be a whole number from 1 to 65535, got "abc"'


def test_other_variables_are_nobodys_business(box: Path) -> None:
    load(box / "edge.yaml", environ={"EDGE_CONFIG": "x", "EDGE": "y", "XEDGE__A": "z"})


def test_options_may_bring_whole_sections_and_new_names(box: Path) -> None:
    overrides = {
        "cameras.side": {"source": "rtsp://h/", "fps": 4},
        "inspections.side": {"recipe": {"not_ok": [{"label": "a", "score_min": 0.5}]}},
        "spool.durability": "strict",
        "mqtt.username": None,
    }
    found = load(box / "edge.yaml", environ={}, overrides=overrides).settings
    assert found.cameras["side"].fps == 4
    assert found.inspections["side"].recipe.not_ok[0].score_min == 0.5
    assert found.spool.durability == "strict"


def test_an_option_that_leads_nowhere_is_a_mistake(box: Path) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load(box / "edge.yaml", environ={}, overrides={"mqtt.prot": 1, "site.x": 2, "mqtt": "text"})
    assert {str(problem.origin): problem.code for problem in caught.value.problems} == {
        "option mqtt": "config.value",
        "option mqtt.prot": "config.unknown_option",
        "option site.x": "config.unknown_option",
    }


def test_references_are_expanded_in_values_and_typed_afterwards(box: Path) -> None:
    text = SMALLEST + 'site: "${SITE}"\nline: ${LINE:-line-3}\nspool: {max_mb: "64"}\n'
    write(box, text.replace('{max_mb: "64"}', "\n  max_mb: ${MB}\n  max_age_h: ${H:-1.5}"))
    found = load(box / "edge.yaml", environ={"SITE": "a", "MB": "64"}).settings
    assert (found.site, found.line, found.spool.max_mb, found.spool.max_age_h) == ("a", "line-3", 64, 1.5)


@pytest.mark.parametrize("value", ["null", "~", "", "true", "007"])
def test_a_variable_in_a_text_setting_is_text_whatever_it_holds(box: Path, value: str) -> None:
    path = write(box, SMALLEST + "log: {level: '${LEVEL}'}\n")
    assert load(path, environ={"LEVEL": "debug"}).settings.log.level == "debug"
    path = write(box, SMALLEST.replace("{host: 10.0.0.1}", "\n  host: a\n  password: ${P}"))
    if value:
        password = load(path, environ={"P": value}).settings.mqtt.password
        assert password is not None
        assert password.get_secret_value() == value
    else:
        (problem,) = problems(path, {"P": value})
        assert problem.message == "password must have at least 1 character, got 0"


def test_an_empty_variable_unsets_nothing(box: Path) -> None:
    path = write(box, SMALLEST + "defaults:\n  fps: ${FPS}\n")
    (problem,) = problems(path, {"FPS": ""})
    assert problem.message == 'fps must be a number from 0.1 to 240, got ""'
    assert load(path, environ={"FPS": "null"}).settings.cameras["top"].fps is None


def test_quotes_that_yaml_needs_around_a_reference_do_not_make_a_number_text(box: Path) -> None:
    path = write(box, SMALLEST.replace("{host: 10.0.0.1}", '{host: "${H}", port: "${P}", tls: "${T}"}'))
    found = load(path, environ={"H": "1.10", "P": "1884", "T": "false"}).settings.mqtt
    assert (found.host, found.port, found.tls) == ("1.10", 1884, None)


def test_the_reason_behind_a_question_mark_is_told_but_not_of_a_password(box: Path) -> None:
    path = write(box, SMALLEST.replace("10.0.0.1}", "'${H:?name the broker}', password: '${P:?hunter2}'}"))
    assert [problem.message for problem in problems(path)] == [
        "variable H is not set: name the broker",
        "variable P is not set",
    ]


def test_a_variable_cannot_add_keys_and_is_not_expanded_again(box: Path) -> None:
    path = write(box, SMALLEST + "site: ${SITE}\n")
    (problem,) = problems(path, {"SITE": "a\nline: ${LINE}"})
    assert problem.message.startswith("site must be a name")
    assert problem.path == "site"


# secrets


def test_secrets_are_looked_up_and_hidden(box: Path) -> None:
    (box / "cred").mkdir()
    (box / "cred" / "mqtt").write_text("hunter2\n")
    path = write(box, SMALLEST.replace("10.0.0.1}", "a, username: edge, password: !secret mqtt}"))
    loaded = load(path, environ={"CREDENTIALS_DIRECTORY": str(box / "cred")})
    assert loaded.settings.mqtt.password is not None
    assert loaded.settings.mqtt.password.get_secret_value() == "hunter2"
    assert loaded.secrets == {"hunter2"}
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in loaded.settings.model_dump_json()


def test_a_password_file_becomes_the_password(box: Path) -> None:
    (box / "pw").write_text("hunter2\n")
    path = write(box, SMALLEST.replace("10.0.0.1}", "a, password_file: pw}"))
    loaded = load(path, environ={})
    assert loaded.settings.mqtt.password is not None
    assert loaded.settings.mqtt.password.get_secret_value() == "hunter2"
    assert str(loaded.origins["mqtt.password"]) == str(box / "pw")
    assert "hunter2" in loaded.secrets


def test_a_number_may_be_the_name_of_the_password_file(box: Path) -> None:
    path = write(box, SMALLEST.replace("10.0.0.1}", "a, password_file: 1234}"))
    (problem,) = problems(path)
    assert problem.message == f"cannot read {box}/1234: No such file or directory"
    (box / "1234").write_text("hunter2\n")
    assert load(path, environ={}).secrets == {"hunter2"}


@pytest.mark.timeout(5)
def test_a_password_file_that_is_a_pipe_is_refused_instead_of_waited_for(box: Path) -> None:
    os.mkfifo(box / "pw")
    path = write(box, SMALLEST.replace("10.0.0.1}", "a, password_file: pw}"))
    (problem,) = problems(path)
    assert problem.message == f"cannot read {box}/pw: not a file"


@pytest.mark.parametrize(
    "line",
    ["password: !hunter2", "password: &hunter2 x", "password: *hunter2", "password:hunter2", "pwasword: hunter2"],
)
def test_a_password_that_is_taken_for_something_else_is_not_shown(box: Path, line: str) -> None:
    path = write(box, SMALLEST.replace("{host: 10.0.0.1}", f"\n  host: a\n  {line}\n  prt: 1"))
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ={})
    assert "hunter2" not in caught.value.report() + str(caught.value)


def test_a_misspelt_password_is_hidden_in_the_reports_about_its_neighbours_too(box: Path) -> None:
    path = write(box, SMALLEST.replace("host: 10.0.0.1}", "prt: 1, pwasword: hunter2, kenwort: hunter2}"))
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ={})
    assert len(caught.value.problems) == 3
    assert "hunter2" not in caught.value.report()


@pytest.mark.parametrize("setting", ["state_dir: !secret x", "models: {m: {path: !secret x}}"])
def test_a_secret_where_a_path_belongs_is_not_shown(box: Path, setting: str) -> None:
    (box / "secrets.yaml").write_text("x: /dev/null/hunter2\n")
    (box / "secrets.yaml").chmod(0o600)
    path = write(box, SMALLEST.replace("models:\n  defects: {path: model.onnx}\n", "") + setting)
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ={})
    assert "hunter2" not in caught.value.report() + str(caught.value)


def test_passwords_in_camera_addresses_count_as_secrets(box: Path) -> None:
    path = write(box, SMALLEST.replace("rtsp://", "rtsp://viewer:${PW}@"))
    loaded = load(path, environ={"PW": "hunter2"})
    assert loaded.secrets == {"hunter2"}
    assert loaded.settings.cameras["top"].source.location == "rtsp://viewer:hunter2@10.0.0.5/stream"
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in loaded.settings.model_dump_json()


def test_a_user_without_password_is_no_secret(box: Path) -> None:
    path = write(box, SMALLEST.replace("rtsp://", "rtsp://viewer@"))
    assert load(path, environ={}).secrets == frozenset()


def test_a_password_that_breaks_the_address_is_not_shown(box: Path) -> None:
    path = write(box, SMALLEST.replace("rtsp://", "rtsp://viewer:${PW}@"))
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ={"PW": "hun/ter2"})
    assert "ter2" not in caught.value.report()
    assert "ter2" not in str(caught.value)


def test_a_wrong_value_behind_a_secret_is_not_shown(box: Path) -> None:
    (box / "cred").mkdir()
    (box / "cred" / "x").write_text("hunter2")
    path = write(box, SMALLEST + "site: !secret x\nline: ok\nlog: {level: !secret x}\n")
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ={"CREDENTIALS_DIRECTORY": str(box / "cred")})
    assert "hunter2" not in caught.value.report()
    assert "a hidden value" in caught.value.report()


# files that are none


@pytest.mark.parametrize("name", ["nowhere.yaml", ".", "edge.yaml/x", "nul\0", "x" * 300])
def test_a_file_that_cannot_be_read_is_a_problem_like_others(box: Path, name: str) -> None:
    assert codes(Path(f"{box}/{name}")) == ["config.unreadable"]


def test_a_pipe_is_refused_instead_of_waited_for(box: Path) -> None:
    os.mkfifo(box / "pipe.yaml")
    assert codes(box / "pipe.yaml") == ["config.unreadable"]


def test_a_directory_is_said_to_be_none(box: Path) -> None:
    (problem,) = problems(box)
    assert problem.message == f"cannot read {box}: Is a directory"
    assert problem.help == "name the YAML file itself"


def test_a_working_directory_that_is_gone_is_a_problem_like_others(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (box / "gone").mkdir()
    monkeypatch.chdir(box / "gone")
    (box / "gone").rmdir()
    (problem,) = problems(Path("edge.yaml"))
    assert problem.message == "the working directory does not exist any more"
    assert load(box / "edge.yaml", environ={}).settings.site == "site"
    monkeypatch.chdir(box)


def test_a_file_beyond_the_limit_is_refused_before_it_is_parsed(box: Path) -> None:
    path = write(box, "#" * (256 * 1024 + 1))
    assert codes(path) == ["config.too_large"]
    assert codes(write(box, "#" * (256 * 1024))) == ["yaml.empty"]


def test_model_files_are_looked_at_closely(box: Path) -> None:
    (box / "package").mkdir()
    (box / "package" / "edge-model.json").write_text("{}")
    (box / "ir.xml").touch()
    (box / "whole.xml").touch()
    (box / "whole.bin").touch()
    (box / "bytes.onnx").mkdir()
    os.mkfifo(box / "pipe.onnx")
    lines = [
        "ir.xml",
        "bytes.onnx",
        "pipe.onnx",
        "edge.yaml",
        "model.onnx/x",
        "x" * 300,
        "''",
        '"nul\\0"',
        "package",
        "whole.xml",
    ]
    models = "".join(f"  m{index}: {{path: {line}}}\n" for index, line in enumerate(lines))
    path = write(box, SMALLEST.replace("  defects: {path: model.onnx}\n", models) + "inspections: {top: {model: m8}}\n")
    assert {problem.path: problem.code for problem in problems(path)} == {
        "models.m0.path": "config.no_model",
        "models.m1.path": "config.no_model",
        "models.m2.path": "config.no_file",
        "models.m3.path": "config.no_model",
        "models.m4.path": "config.no_file",
        "models.m5.path": "config.unreadable",
        "models.m6.path": "config.value",
        "models.m7.path": "config.value",
    }


def test_a_model_that_may_not_be_read_is_a_problem(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.config.files.os.access", lambda _path, _mode: False)
    assert codes(box / "edge.yaml") == ["config.unreadable"]


def test_a_mistake_in_the_defaults_is_told_once_not_for_every_camera(box: Path) -> None:
    path = write(box, SMALLEST.replace("  top:", "  side: {source: 'rtsp://h/'}\n  top:") + "defaults: {fps: fast}\n")
    assert [problem.path for problem in problems(path)] == ["defaults.fps"]


@pytest.mark.parametrize(
    "text",
    [
        SMALLEST + "inspections: {a: {recipe: {not_ok: [" + "{}," * 80_000 + "]}}}\n",
        SMALLEST.replace("  top:", "".join(f"  a{number}: {{}}\n" for number in range(15_000)) + "  top:"),
        "a: 1\n" * 50_000,
        SMALLEST + "".join(f"a{number}: 1\n" for number in range(20_000)),
        SMALLEST.replace("  top:", "".join(f"  a{number}: {{}}\n" for number in range(12_000)) + "  top:")
        + f"defaults: {{{','.join(f'k{number}: 1' for number in range(5_000))}}}\n",
    ],
)
def test_a_flood_of_mistakes_is_cut_off(box: Path, text: str) -> None:
    found = problems(write(box, text))
    assert len(found) <= loader.PROBLEMS_LIMIT + 1
    assert found[-1].code == "config.too_many"


def test_an_absolute_path_is_not_explained_twice(box: Path) -> None:
    (problem,) = problems(write(box, SMALLEST.replace("model.onnx", "/nowhere/model.onnx")))
    assert problem.help == "relative paths start at the directory of the configuration file"


def test_what_follows_from_a_refused_value_is_not_told(box: Path) -> None:
    assert codes(write(box, SMALLEST.replace("model.onnx", "*shared"))) == ["yaml.alias"]


def test_a_refusal_without_a_reason_is_a_bug_of_ours_and_says_so(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "explain", lambda _root, _findings: [])
    with pytest.raises(InvariantError):
        load(write(box, SMALLEST + "site: a/b\n"), environ={})


# defaults from the box


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/home/x/state"}, "/home/x/state/edge-runtime"),
        ({"HOME": "/home/x"}, "/home/x/.local/state/edge-runtime"),
        ({}, "{box}/system"),
    ],
)
def test_state_goes_where_this_user_can_write(
    box: Path, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(box_defaults, "STATE_DIR", box / "system")  # the real one may be there, left by a daemon
    found = str(load(box / "edge.yaml", environ=environ).settings.state_dir)
    assert found == expected.format(box=box)


def test_root_keeps_state_in_the_system_directory(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert str(load(box / "edge.yaml", environ={"HOME": "/root"}).settings.state_dir) == "/var/lib/edge-runtime"


@pytest.mark.parametrize(
    ("host", "edge"),
    [("box-17", "box-17"), ("box.plant.example", "box"), ("b\u00f6x+1", "b-x-1"), ("", "edge"), ("x" * 99, "x" * 64)],
)
def test_the_box_is_named_after_its_host(box: Path, host: str, edge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = os.uname_result(("Linux", host, "6", "1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: names)
    assert load(box / "edge.yaml", environ={}).settings.edge == edge


# which file


def test_the_file_is_named_by_option_then_variable_then_place(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(box)
    assert find_config("a.yaml", {"EDGE_CONFIG": "b.yaml"}) == Path("a.yaml")
    assert find_config(None, {"EDGE_CONFIG": "b.yaml"}) == Path("b.yaml")
    assert find_config(None, {}) == Path("edge.yaml")
    (box / "edge.yaml").unlink()
    monkeypatch.setattr(loader, "SYSTEM_FILE", box / "model.onnx")
    assert find_config(None, {}) == box / "model.onnx"
    monkeypatch.setattr(loader, "SYSTEM_FILE", box / "nowhere")
    with pytest.raises(ConfigError) as caught:
        find_config(None, {})
    assert caught.value.code == "config.not_found"


def test_a_place_that_may_not_be_looked_at_is_not_passed_over_for_the_next(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = os.stat

    def denied(path: str | Path, **more: bool) -> os.stat_result:
        if str(path) == "edge.yaml":
            raise PermissionError(13, "Permission denied", str(path))
        return looking(path, **more)

    monkeypatch.setattr(loader, "SYSTEM_FILE", box / "edge.yaml")
    monkeypatch.setattr(os, "stat", denied)
    assert find_config(None, {}) == Path("edge.yaml")
    assert [problem.message for problem in problems(Path("edge.yaml"))] == ["cannot read edge.yaml: Permission denied"]


# anything at all

FRAGMENTS = st.sampled_from(
    """\
version: 1
version: 2
cameras:
  top:
    source: rtsp://h/
    fps: 5
models:
  m: {path: model.onnx}
mqtt: {host: a}
inspections: {top: {trigger: mqtt}}
- a
a: [
}
x: ${HOME}
y: ${NOPE}
z: !secret a
<<: {a: 1}
site: *a
engine: {cache: no}
? [a]
cameras: {a: null, 5: 5, true: [1]}
models: []
inspections: {a: [], b: {recipe: {region: [[1, 2]]}}}
defaults: {queue: 4, source: x}
mqtt: {password: [x], tls: {cert_file: a}}
registry: {url: 5}
\t
inspections: {b: {recipe: {region: [[], 5, [a, b], [0.1, .nan]]}, trigger: {kind: 5}, deadline_ms: .inf}}
""".splitlines(keepends=True)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(FRAGMENTS, st.text(max_size=12)), max_size=14).map("".join))
def test_any_text_is_a_configuration_or_an_invalid_config_error(box: Path, text: str) -> None:
    path = box / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load(path, environ={"HOME": "/home/x"})
    except InvalidConfigError as error:
        assert error.report().endswith("in " + str(path) + "\n")  # noqa: PT017 - both outcomes are fine


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_an_invalid_config_error(box: Path, raw: bytes) -> None:
    path = box / "any.yaml"
    path.write_bytes(raw)
    with pytest.raises(InvalidConfigError):
        load(path, environ={})


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(alphabet="ABCMQTHOSPR_ .", max_size=20).map("EDGE__".__add__), st.text(max_size=10), max_size=3
    )
)
def test_any_variables_are_taken_or_refused(box: Path, environ: dict[str, str]) -> None:
    try:
        load(box / "edge.yaml", environ=environ)
    except InvalidConfigError as error:
        assert error.problems  # noqa: PT017 - both outcomes are fine
